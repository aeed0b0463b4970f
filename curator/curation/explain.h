// explain - why one picture was kept or not, and whether little decided it.
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include <stdio.h>

#include "curation/curation.h"

// Prints verdict, reason, score, rank and cut-off of `file` on `out`, after a curation; then every
// measured value beside its bound, and the picture's twin.
//   file  a path (absolute, or relative to the manifest's or the curator's root); if no such file
//         exists, a file's name alone
// ERR_USAGE if it was no candidate.
int explain(const struct curation *c, const char *file, FILE *out);

// The setting that decided the picture by little, lent; "" if none did.
//   a bound of check.h    within CHECK_BORDER of the picture's value. Of a rejected picture the
//                         bound that rejected it; of a kept one the nearest
//   near_duplicates       the hashes differ by at most DUPLICATES_BORDER more or fewer bits
//   the kind's keep_name  among the last kept or the first cut of a ranking, 8 on each side
const char *explain_border(const struct curation *c, const struct picture *p);

#endif
