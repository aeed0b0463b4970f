// swd - sliced Wasserstein distance between two sets of images.
//
// Karras et al. 2018, "Progressive growing of GANs", arXiv:1710.10196, section 5: every image
// becomes a Laplacian pyramid whose smallest level has 16 pixels. 7x7 patches of each level are
// descriptors of 147 numbers. Both sets are normalised per channel, projected on random unit
// vectors, sorted, and compared:
//
//     distance = 1000 * mean over levels, projections, ranks of |sorted(P a) - sorted(P b)|
//
// Papers print this mean over the levels. Lower is nearer. It compares sets, not pairs.
//
// The paper normalises each set by its own mean and deviation. That hides a colour or contrast that
// a whole set has in common, which is often the main difference between two domains. Here both sets
// are normalised by the mean and deviation of b. So distances to the same b can be compared, but
// swd(a, b) is not swd(b, a).
#ifndef SWD_H
#define SWD_H

#include "image/image.h"

enum {
    SWD_PROJECTIONS = 128,  // per level; the paper: 512 in 4 rounds
    SWD_DESCRIPTORS = 6400, // per set and level, spread evenly over the images
};

//   a             the images to score
//   b             the reference images; all images RGB or all gray, of one size, sides >= 16
//   n_a, n_b      >= 1, may differ
//   seed          of positions and projections; the same seed gives the same number
//   ret_distance  out, >= 0; exactly 0 for a = b
//
// Descriptor d of both sets has the same position, so equal sets give exactly 0. Memory: 8 MB and
// the pyramid of one image, for any number of images. Fails with ERR_SHAPE.
int swd(const struct image *a, int n_a, const struct image *b, int n_b, uint64_t seed,
        double *ret_distance);

#endif
