// parameters - what the CPU computes on whole buffers of parameters: entries of struct backend,
// which has the formulas. In float; an element depends on nothing but its own. Nothing is
// allocated.
#ifndef CPU_PARAMETERS_H
#define CPU_PARAMETERS_H

#include "backend/backend.h"

// The operations are in PyTorch's order, so that bits can be compared. `device` has lr and t.
int cpu_adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
             float *v);
// One multiplication for each term and one addition, which are not contracted to an FMA.
int cpu_blend(struct device *d, size_t count, double a, const float *x, double b, float *y);
// Looks at the bits, so infinities and all NaNs count.
int cpu_finite(struct device *d, size_t count, const float *x, int *ret_bad);

#endif
