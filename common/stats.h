// stats - what a picture looks like in a few numbers: for curation and for comparing domains.
#ifndef STATS_H
#define STATS_H

#include "image.h"

struct image_stats {
    double mean[3], std[3]; // per channel, 0..255; gray: three times the same
    double luma;            // mean of image_gray, 0..255
    double contrast;        // standard deviation of image_gray
    double sharpness;       // variance of the 4-neighbour Laplacian of image_gray; 0 below 3 pixels
};

// The mean, std and so on of one picture of 1 or 3 channels.
void image_stats(const struct image *im, struct image_stats *ret_stats);

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
