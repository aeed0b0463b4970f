// report - what a curation found, for a person and for the database.
#ifndef REPORT_H
#define REPORT_H

#include <stdio.h>

#include "curators.h"
#include "points.h"

// How often a reason for rejecting occurs.
struct tally {
    const char *reason;            // lent by the first picture that has it
    size_t count;
    const struct picture *example; // the first by path
};

// The reasons for rejecting, most frequent first, then by name. malloc'ed; *ret_count of them.
struct tally *report_reasons(const struct curation *c, size_t *ret_count);

// "folder: 300 files, 295 kept, 5 rejected (3 broken, 2 small), 15 held out"; held-out pictures are
// among the kept ones. malloc'ed.
char *report_line(const struct curation *c);

// "mean 127.1 110.2 98.0, ..., shorter sides 64 to 300, median 128": of the kept pictures. malloc'ed.
char *report_looks(const struct curation *c);

// ERR_DATA: no file is named like a picture; says what is there.
int report_no_files(const struct curation *c);
// ERR_DATA: everything was rejected; reasons, sizes or years, and the setting that would keep some.
int report_nothing_left(const struct curation *c);

// verdicts_begin and a verdict for every picture; data.A.* as params; warns of fewer than
// CURATION_FEW pictures. p may be NULL.
void report_verdicts(const struct curation *c, struct points *p);
void report_params(const struct curation *c, struct points *p);
void report_few(const struct curation *c);

// Why FILE was kept or not, on `out`. The name is looked for as a path (absolute, or relative to the
// manifest's or the curator's root), then as a file's name. ERR_USAGE if it was no candidate.
int report_explain(const struct curation *c, const char *file, FILE *out);

#endif
