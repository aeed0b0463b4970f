// pair_scores - similarity of two images of one size: mean absolute difference, peak
// signal-to-noise ratio, structural similarity.
#ifndef PAIRS_H
#define PAIRS_H

#include "image/image.h"

// Mean of |a - b| over all pixels and channels, in units of [-1,1] (a byte is 1/127.5).
// BUG if the sizes differ.
double pairs_l1(const struct image *a, const struct image *b);

// Peak signal to noise ratio in dB, 10 log10(255^2 / mean (a - b)^2); infinite for equal images.
// BUG if the sizes differ.
double pairs_psnr(const struct image *a, const struct image *b);

// SSIM, 1 for equal images: Wang et al. 2004, "Image quality assessment: from error visibility to
// structural similarity", equation 13, per channel and then averaged; windows of 11x11 pixels
// weighted by a Gaussian of deviation 1.5, those that lie inside only; K1 = 0.01, K2 = 0.03,
// L = 255. Sides >= 11; BUG otherwise or if the sizes differ.
double pairs_ssim(const struct image *a, const struct image *b);

#define PAIRS_SSIM_SIDE_MIN 11

#endif
