// select - which of the good pictures are trained on, which are held out, which are too many.
#ifndef SELECT_H
#define SELECT_H

#include "curation/curation.h"

// In this order:
//   1. the curator's ranking keeps its best, ties by path; the others are rejected as `rank`
//   2. `limit` keeps the first by path, or (limit_by = seed) a random part, drawn as in 3; the
//   others are rejected as `limit`
//   3. held out: the good pictures of the held_out folder; without one, round(hold_out % of the
//      kept), at least 1 of 20 or more. Each kept picture draws a number, keyed by the seed and its
//      own SHA-256; the smallest are put aside. So a picture's draw does not depend on the others.
// Afterwards no verdict is open. ERR_DATA, explained, if nothing is left to train on.
int select_pictures(struct curation *c);

// The good pictures in the order of the curator's ranking, the best first; malloc'ed.
struct picture **select_ranked(const struct curation *c, size_t *ret_count);

// The good pictures, the one first that is kept of two duplicates: by rank; without a ranking those
// of pairs by path, others by their pixels, most first, then by path. malloc'ed.
struct picture **select_preferred(const struct curation *c, size_t *ret_count);

// 0 for a percentage of 0, and at least 1 of 20 or more otherwise.
// How many of `kept` pictures are put aside.
size_t select_hold_out_count(double percent, size_t kept);

#endif
