// band_rows - norm, activation, concatenation and padding of a few rows of a feature map. Rows are
// [n,w,c] floats, channels innermost.
#ifndef ROWS_H
#define ROWS_H

#include <stddef.h>

#include "backend/backend.h"

// Running mean and sum of squared deviations per channel.
struct moments {
    int c;
    double pixels;
    double *mean, *squares; // [c]
};

void moments_init(struct moments *m, int c);
void moments_fini(struct moments *m);

// Adds n rows. The rows are added one by one, so the result depends neither on the grouping of the
// rows nor on the number of threads. Source: Chan, Golub and LeVeque 1983, equation 2.1.
void moments_add(struct moments *m, int n, int w, const float *x);

// A norm of channel i: (x - mean) * rstd * weight + bias.
struct rows_norm {
    const float *mean, *rstd;   // [c]; NULL: no norm
    const float *weight, *bias; // [c]; NULL: 1 and 0
    enum activation act;
};

// 1 / sqrt(variance + NORM_EPS) and the mean, as floats.
void moments_to_norm(const struct moments *m, float *ret_mean, float *ret_rstd);

// Row i of ret, at i * stride floats: act(norm(x)) + skip; skip [n,w,c] may be NULL. ret and x
// must not overlap.
void rows_norm(const struct rows_norm *norm, int n, int w, int c, const float *x, const float *skip,
               float *ret, size_t stride);

// Row i of ret, at i * stride floats, [w,c_a + c_b]: max(0, [a; b]).
void rows_join(int n, int w, int c_a, int c_b, const float *a, const float *b, float *ret,
               size_t stride);

// The pixels left and right of w: `border` of each by reflection, or zeros.
void rows_reflect(int n, int w, int c, int border, float *rows);
void rows_zero(int n, int w, int c, int border, float *rows);

#endif
