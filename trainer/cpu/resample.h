// resample - the CPU's halving, doubling and flip of maps: entries of struct backend, which has
// shapes and formulas.
//
// Every output is one sum in a fixed order: the bits do not depend on the number of OpenMP threads.
#ifndef CPU_RESAMPLE_H
#define CPU_RESAMPLE_H

#include "backend/backend.h"

// Doubling repeats the pixels at the edges. Halving reads a border that is there already.
int cpu_resample(struct device *d, const struct resample_shape *s, const void *x, void *ret_y);
int cpu_flip(struct device *d, const struct tensor_shape *s, const int *flip, const void *x,
             void *ret_y);

#endif
