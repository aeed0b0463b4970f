// diversity - how much the images of a set differ from each other, as one number.
//
//     diversity = sqrt(mean over positions and channels of the variance over the images)
//
// in units of [-1,1], where one step of a byte is 1/127.5. Its square is half the mean squared
// distance between two images of the set. 0: all images are equal, as from a collapsed generator.
// Compare it with the diversity of the images that are imitated.
#ifndef DIVERSITY_H
#define DIVERSITY_H

#include "image/image.h"

// Of `n` images of one size and channel count (BUG otherwise). Unbiased variance; NaN for n < 2.
// The sums are exact, so the order does not matter. Memory: 16 bytes for each byte of one image.
double diversity(const struct image *pictures, int n);

#endif
