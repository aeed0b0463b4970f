// duplicates - keeps one of several equal pictures.
#ifndef DUPLICATES_H
#define DUPLICATES_H

#include "curation/curation.h"

// Bits above near_duplicates up to which a picture's twin is noted as borderline.
#define DUPLICATES_BORDER 1

// Goes through the pictures in this order and rejects a good one
//   drop_duplicates, near_duplicates   as `duplicate` if one before it has the same bytes,
//   near_duplicates                    as `near_duplicate` if the hash of one before it that is
//                                      kept differs in at most so many bits.
// Of two pairs both sides have to be duplicates. Sets the twin of those and of borderline ones.
//   ordered  the good pictures, the preferred ones first; others among them are passed over
// Returns how many of them are good afterwards. A longer list that begins with the same pictures
// has the same outcome for those.
size_t duplicates_reject(const struct curation *c, struct picture *const *ordered, size_t count);

// Training pictures that are held out too: the judge would score what was trained on.
// The first two are counts of training pictures.
struct leaks {
    size_t equal, near; // the same bytes; hashes within near_duplicates, or LEAK_BITS, bits
    const struct picture *example; // the first of them by path; its twin is the held-out one
};

#define LEAK_BITS                                                                                  \
    6 // copies encoded again, resized or a little brighter; where near_duplicates is 0

// Looks for them after the selection and sets their twins. With drop_leaks they are rejected as
// `held_out_too`, else only counted. Of pairs both sides have to be alike.
void duplicates_find_leaks(struct curation *c, struct leaks *ret);

#endif
