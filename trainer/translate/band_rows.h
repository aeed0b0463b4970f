// band_rows - what bands.c does to rows of maps, [n,w,c] floats, channels innermost.
#ifndef ROWS_H
#define ROWS_H

#include <stddef.h>

#include "backend/backend.h"

// Mean and sum of squared differences from it, per channel, of pixels seen so far.
struct moments {
    int c;
    double pixels;
    double *mean, *squares; // [c]
};

void moments_init(struct moments *m, int c);
void moments_fini(struct moments *m);

// Takes n rows more. Each row's moments are added in turn, so the result does not depend on how
// rows come in groups, nor on the threads. Source: Chan, Golub and LeVeque 1983, equation 2.1.
void moments_add(struct moments *m, int n, int w, const float *x);

// What a norm does to channel i: (x - mean) rstd, then times weight plus bias.
struct rows_norm {
    const float *mean, *rstd;   // [c]; NULL: no norm
    const float *weight, *bias; // [c]; NULL: 1 and 0
    enum activation act;
};

// 1 / sqrt(variance + NORM_EPS) and the mean, as floats.
void moments_to_norm(const struct moments *m, float *ret_mean, float *ret_rstd);

// Row i of ret, at i * stride floats: act(norm(x)) + skip; skip [n,w,c] may be NULL. ret may not
// meet x.
void rows_norm(const struct rows_norm *norm, int n, int w, int c, const float *x, const float *skip,
               float *ret, size_t stride);

// Row i of ret, at i * stride floats, [w,c_a + c_b]: max(0, [a; b]).
void rows_join(int n, int w, int c_a, int c_b, const float *a, const float *b, float *ret,
               size_t stride);

// The pixels left and right of w: `border` of each by reflection, or zeros.
void rows_reflect(int n, int w, int c, int border, float *rows);
void rows_zero(int n, int w, int c, int border, float *rows);

#endif
