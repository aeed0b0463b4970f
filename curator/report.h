// report - what a curation found, for a person and for the database.
#ifndef REPORT_H
#define REPORT_H

#include "curators.h"
#include "points.h"

// How often a reason for rejecting occurs.
struct tally {
    const char *reason; // lent by the first picture that has it
    size_t count;
    const struct picture *example; // the first by path
};

// The reasons for rejecting, most frequent first, then by name. malloc'ed; *ret_count of them.
struct tally *report_reasons(const struct curation *c, size_t *ret_count);

// "3 broken, 2 small", "" for none. malloc'ed.
char *report_reasons_text(const struct curation *c);

// "folder: 300 files, 295 kept, 5 rejected (3 broken, 2 small), 15 held out"; held-out pictures are
// among the kept ones. malloc'ed.
char *report_line(const struct curation *c);

// "mean 127.1 110.2 98.0, ..., shorter sides 64 to 300, median 128": of the kept pictures.
// malloc'ed.
char *report_looks(const struct curation *c);

// verdicts_begin and a verdict for every picture; data.A.* as params; warns of fewer than
// CURATION_FEW pictures. p may be NULL.
void report_verdicts(const struct curation *c, struct points *p);
void report_params(const struct curation *c, struct points *p);
void report_few(const struct curation *c);

#endif
