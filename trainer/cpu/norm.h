// norm - the norms of the CPU, and tanh: entries of struct backend, which has shapes and formulas.
//
// A norm with its activation, dropout, skip and border is one op, so that a map is read once and
// written once. `device` is read for dropout's seed and step alone.
//
// Statistics are taken in two passes, mean first, and accumulated in double. The order of every sum
// is fixed by the shape: the bits do not depend on the number of OpenMP threads. Nothing is
// allocated or kept.
#ifndef CPU_NORM_H
#define CPU_NORM_H

#include "backend/backend.h"

#define CPU_PAD_MAX 3 // borders of y and of the gradient's parts

// Bytes of the bands' sums in double. tanh needs none of them.
size_t cpu_norm_workspace_bytes(struct device *d, const struct norm_shape *s);
// Writes rows of the border together with the rows that they repeat, while these are in the cache.
int cpu_norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                     void *workspace);
// ret_dx holds the gradient before the norm between the two passes, so no scratch map is needed.
int cpu_norm_backward(struct device *d, const struct norm_shape *s, const struct norm_gradients *t,
                      void *workspace);
int cpu_tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y);
int cpu_tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                      const struct grad_sum *dy, void *ret_dx, void *workspace);

#endif
