// stats - what a picture looks like in a few numbers: for curation and for comparing domains.
#ifndef STATS_H
#define STATS_H

#include "image/image.h"

#define STATS_BINS 32      // of 8 levels each
#define STATS_CHANNELS 4   // red, green, blue, luma
#define STATS_WHOLE 65535  // what a share of 1 is in a histogram
#define STATS_SIDE_MAX 511 // of the shorter side of what sharpness is measured on

struct image_stats {
    double mean[3], std[3]; // per channel, 0..255; gray: three times the same
    double luma;            // mean of image_gray, 0..255
    double contrast;        // standard deviation of image_gray
    double sharpness; // variance of the 4-neighbour Laplacian of stats_reduce; 0 below 3 pixels
    double entropy;   // of image_gray's 256 levels, 0..8 bits: 0 is one plain colour
    double chroma;    // mean of the largest minus the smallest channel, 0..255; gray: 0. Of every
                      // fourth row
};

// The share of the pixels in each bin, in units of 1 / STATS_WHOLE.
struct image_histogram {
    uint16_t bins[STATS_CHANNELS][STATS_BINS];
};

// What one picture of 1 or 3 channels looks like.
//   gray           image_gray of it
//   ret_histogram  may be NULL
void image_stats(const struct image *im, const struct image *gray, struct image_stats *ret_stats,
                 struct image_histogram *ret_histogram);

// Gray reduced by a whole factor f = max(1, int(shorter side / 256)), each pixel the rounded mean
// of f x f: the shorter side is at most STATS_SIDE_MAX. On this scale sharpness can be compared
// between pictures of different sizes. What is left over at the right and the bottom is cut.
void stats_reduce(const struct image *gray, struct image *ret_image);

// Means over many pictures of each field: start from a zeroed struct.
struct stats_sum {
    long long n;
    struct image_stats sum, square;
};
void stats_add(struct stats_sum *s, const struct image_stats *stats);

// Mean and standard deviation (of the population) over the pictures of each field; 0 of none.
void stats_mean(const struct stats_sum *s, struct image_stats *ret_mean,
                struct image_stats *ret_std);

#endif
