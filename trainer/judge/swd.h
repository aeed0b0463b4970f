// swd - sliced Wasserstein distance between two sets of pictures.
//
// Karras et al. 2018, "Progressive growing of GANs", arXiv:1710.10196, section 5: every picture
// becomes a Laplacian pyramid whose smallest level has 16 pixels; from each level 7x7 patches are
// drawn as descriptors of 147 numbers; both sets are normalised per channel, projected on random
// unit vectors, sorted, and compared:
//
//     distance = 1000 * mean over levels, projections, ranks of |sorted(P a) - sorted(P b)|
//
// The mean of the levels is what papers print. Lower is nearer. It compares sets, not pairs.
//
// The paper brings each set to mean 0 and deviation 1 by itself, so that colour and contrast common
// to a whole set are not seen; but they are the first thing that tells two domains apart. Here the
// mean and deviation of the reference b serve both sets, so distances to the same b compare, and
// swd(a, b) is not swd(b, a).
#ifndef SWD_H
#define SWD_H

#include "image/image.h"

enum {
    SWD_PROJECTIONS = 128,  // per level; the paper: 512 in 4 rounds
    SWD_DESCRIPTORS = 6400, // per set and level, spread evenly over the pictures
};

//   a             judged against
//   b             the reference: RGB or gray pictures, all of one size and channel count, sides >=
//   16 n_a, n_b      >= 1; may differ seed          of positions and projections; the same seed
//   gives the same number ret_distance  out, >= 0; exactly 0 for a = b
//
// Descriptor d of either set has the same position, so that equal sets agree exactly. Memory: 8 MB
// and the pyramid of one picture, for any number of pictures.
// Fails with ERR_SHAPE.
int swd(const struct image *a, int n_a, const struct image *b, int n_b, uint64_t seed,
        double *ret_distance);

#endif
