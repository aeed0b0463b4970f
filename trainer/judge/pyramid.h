// pyramid - Laplacian pyramid of an image (Burt and Adelson 1983), as Karras et al. 2018 use it.
//
// Filter [1 4 6 4 1] / 16 in both directions, mirrored at the edges without repeating them. Down:
// filter, then every second pixel. Up: zeros between, filter, times 4. Level i is g[i] -
// up(g[i+1]); the last level is g[last] itself.
#ifndef PYRAMID_H
#define PYRAMID_H

#include "image/image.h"

enum { PYRAMID_LEVELS_MAX = 16, PYRAMID_SIDE_MIN = 16 };

struct pyramid {
    int levels, c;
    int w[PYRAMID_LEVELS_MAX], h[PYRAMID_LEVELS_MAX];
    float *level[PYRAMID_LEVELS_MAX]; // h, w, c interleaved, in units of bytes (0..255)
};

// Number of levels: both sides of the smallest are at least 16. 64x64 has 3. At least 1.
int pyramid_count(int w, int h);

void pyramid_init(struct pyramid *p, const struct image *im);
void pyramid_fini(struct pyramid *p);

#endif
