// tangent - a norm and an activation together with their derivative along a direction.
//
// x depends on a number e, dx = d x / d e. All tensors are float [N,H,W,C] without borders.
//
//   forward   y = act(norm(x)),   dy = d y / d e = act'(norm(x)) rstd (dx - mean(dx) - xhat c)
//   backward  for a loss of y and dy, its gradients by x and dx. With v = act' g_dy, u = act' g_y,
//             xhat = (x - mean) rstd, b = mean(v xhat), c = mean(dx xhat), and
//             P(t) = rstd (t - mean(t) - xhat mean(t xhat)):
//               g_dx = P(v)
//               g_x  = P(u) - rstd^2 (mean(v dx) - mean(v) mean(dx) - b c) xhat
//                      - rstd (c P(v) + b P(dx))
//             without a norm  g_dx = v,  g_x = u
// Means are over the pixels of a channel of a picture (instance norm) or of all pictures (batch
// norm), as in cpu/norm.h; running statistics are neither read nor moved. Batch norm's weight and
// bias w, o stand between: y = act(w xhat + o), u and v take the factor w, and with xhat' = d xhat
// / d e
//               g_w  = sum act' (g_y xhat + g_dy xhat'),   g_o = sum act' g_y
// The activation's second derivative is 0 wherever it has one.
//
// Runs on the current number of OpenMP threads; sums in double, in an order that the shape fixes:
// the bits do not depend on the threads. Nothing is allocated or kept.
#ifndef CPU_TANGENT_H
#define CPU_TANGENT_H

#include <stdbool.h>

#include "cpu/norm.h"

struct cpu_tangent_forward {
    const float *x, *dx;
    const float *weight, *bias; // [C], batch norm; else NULL
    float *ret_y, *ret_dy;
};
struct cpu_tangent_backward {
    const float *x, *dx, *g_y, *g_dy; // g_y NULL: zero
    const float *weight, *bias;       // as forward
    float *ret_gx, *ret_gdx;          // ret_gx NULL: not wanted
    float *ret_dweight, *ret_dbias;   // [C], batch norm; NULL: not wanted
    bool accumulate;                  // add to those two
};

// Of s, n, h, w, c, kind (NONE, INSTANCE, BATCH) and act are read.
void cpu_tangent_forward(const struct cpu_norm *s, const struct cpu_tangent_forward *t);
void cpu_tangent_backward(const struct cpu_norm *s, const struct cpu_tangent_backward *t);

// The penalty of Gulrajani et al. 2017 (arXiv:1704.00028) on gradients g [n,count]:
//   returns  scale mean over n of (|g_n + 1e-16| - 1)^2, 1e-16 added to every component
//   ret_u    its gradient by g
double cpu_penalty(int n, size_t count, double scale, const float *g, float *ret_u);

#endif
