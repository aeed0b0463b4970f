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
// Means are over the pixels of a channel of an image (instance norm) or of all images (batch
// norm); running statistics are neither read nor moved. Batch norm's weight and
// bias w, o come in between: y = act(w xhat + o), u and v take the factor w, and with xhat' = d
// xhat / d e
//               g_w  = sum act' (g_y xhat + g_dy xhat'),   g_o = sum act' g_y
// The activation's second derivative is 0 wherever it has one.
//
// Runs on the current number of OpenMP threads; sums in double, in an order that the shape fixes:
// the bits do not depend on the threads. Nothing is allocated or kept.
#ifndef CPU_TANGENT_H
#define CPU_TANGENT_H

#include "backend/backend.h"

// The entries of struct backend.
int cpu_tangent_forward(struct device *d, const struct norm_shape *s,
                        const struct tangent_tensors *t);
int cpu_tangent_backward(struct device *d, const struct norm_shape *s,
                         const struct tangent_gradients *t);

#endif
