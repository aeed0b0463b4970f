// dhash - 128 bits that stay nearly the same when a picture is encoded again, resized or made a
// little brighter.
//
// A difference hash of rows and columns (N. Krawetz, "Kind of Like That", 2013): the gray picture
// is averaged over equal areas to 9x8 cells, and bit 8 y + x of `rows` says that cell (x + 1, y) is
// lighter than cell (x, y) by more than DHASH_MARGIN levels; of 8x9 cells, bit 8 y + x of `columns`
// says the same of (x, y + 1) and (x, y). Areas are exact to fractions of a pixel, in integers, so
// that the hash is the same on every machine. The margin keeps the noise of even areas out of it.
#ifndef DHASH_H
#define DHASH_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

#define DHASH_BITS 128
#define DHASH_MARGIN 1 // levels of 255

struct dhash {
    uint64_t rows, columns;
};

// gray: a picture of 1 channel.
void dhash_of(const struct image *gray, struct dhash *ret_hash);

// In how many bits they differ.
static inline int dhash_distance(struct dhash a, struct dhash b) {
    return __builtin_popcountll(a.rows ^ b.rows) + __builtin_popcountll(a.columns ^ b.columns);
}

static inline bool dhash_equal(struct dhash a, struct dhash b) {
    return a.rows == b.rows && a.columns == b.columns;
}

#endif
