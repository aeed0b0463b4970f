// concat - the CPU's ops that lay tensors behind each other on the channels: entries of struct
// backend, which has shapes and formulas.
#ifndef CPU_CONCAT_H
#define CPU_CONCAT_H

#include "backend/backend.h"

int cpu_concat_forward(struct device *d, const struct concat_shape *s, const void *a, const void *b,
                       void *ret_y);
int cpu_concat_backward(struct device *d, const struct concat_shape *s,
                        const struct concat_gradients *t);
// Runs on one thread: mixed images are made once for each update of a discriminator.
int cpu_mix(struct device *d, const struct mix_shape *s, const struct mix_tensors *t);

#endif
