// report - the results of a curation for a person and for the database.
#ifndef REPORT_H
#define REPORT_H

#include "curation/curation.h"
#include "curation/domain.h"
#include "points/points.h"

// How often a reason for rejecting occurs.
struct reason_count {
    const char *reason; // lent by the first picture that has it
    size_t count;
    const struct picture *example; // the first by path
};

// The reasons for rejecting, most frequent first, then by name. malloc'ed; *ret_count of them.
struct reason_count *report_reasons(const struct curation *c, size_t *ret_count);

// "3 broken, 2 small", "" for none. malloc'ed.
char *report_reasons_text(const struct curation *c);

// "folder: 300 files, 295 kept, 5 rejected (3 broken, 2 small), 15 held out"; held-out pictures are
// among the kept ones. malloc'ed.
char *report_line(const struct curation *c);

// "mean 127.1 110.2 98.0, ..., shorter sides 64 to 300, median 128": of the kept pictures.
// malloc'ed.
char *report_looks(const struct curation *c);

// report_verdicts: verdicts_begin, a verdict for every picture, and the looks of the known ones.
// report_params: counts as params data.A.*. p may be NULL in both.
// report_few: a warning below CURATION_FEW pictures.
void report_verdicts(const struct curation *c, struct points *p);
void report_params(const struct curation *c, struct points *p);
void report_few(const struct curation *c);

// Warns of a domain whose pixels deviate by less than CURATION_FLAT from one brightness.
void report_flat(const struct curation *c);

// Warns of pictures that a camera noted as turned or mirrored, unless loader.exif applies it.
void report_turned(const struct curation *c);

// Warns of a domain without held-out pictures: the judge then scores training pictures.
void report_held_out(const struct curation *c);

// Warns of the files that cannot be used for what they are, counted by reason, each with an example
// and its remedy; reports how many files are no pictures.
void report_unread(const struct curation *c);

// What the domain's pictures look like together: mean, shares and so on, as params data.A.*.
void report_domain(const struct curation *c, const struct domain *d, struct points *p);

// Says how far the domains lie apart, with a warning above c->warn_distance; data.distance.* as
// params.
void report_distance(const struct curation *c, const struct domain *a, const struct domain *b,
                     struct points *p);

// Warns of pictures of the same bytes in both domains, held-out ones among them: one folder given
// twice has all of them.
void report_shared(const struct curation *c, const struct manifest *own,
                   const struct manifest *other);

// "colours of A and B lie 34.2 levels apart (red 30.1, ...)". malloc'ed.
char *report_distance_text(const struct domain *a, const struct domain *b);

#endif
