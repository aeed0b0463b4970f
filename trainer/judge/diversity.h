// diversity - how much the pictures of a set differ from each other, in one number.
//
//     diversity = sqrt(mean over positions and channels of the variance over the pictures)
//
// in units of [-1,1], where a byte is 1/127.5; its square is half the mean squared distance between
// two pictures of the set. 0: all are the same picture, as a generator gives them that does not
// look at its input any more. Compare it with the diversity of the pictures that are imitated.
#ifndef DIVERSITY_H
#define DIVERSITY_H

#include "image/image.h"

// `n` pictures of one size and channel count (BUG otherwise), unbiased variance; NaN for n < 2.
// Exact sums: the order of the pictures does not matter. Memory: 16 bytes a byte of one picture.
double diversity(const struct image *pictures, int n);

#endif
