// nce - patches of maps and PatchNCE on the CPU: entries of struct backend, which has shapes and
// formulas.
//
// The products are oneDNN's: the bits of PatchNCE are a function of the shape and of the number of
// OpenMP threads. Nothing is allocated or kept.
#ifndef CPU_NCE_H
#define CPU_NCE_H

#include "backend/backend.h"

// Samples copy whole pixels: all channels of one place.
int cpu_sample_forward(struct device *d, const struct sample_shape *s, const void *x, void *ret_y);
int cpu_sample_backward(struct device *d, const struct sample_shape *s, const void *dy,
                        bool accumulate, void *ret_dx);
// Bytes of the logits, the unit vectors and their gradient, of one group of patches.
size_t cpu_nce_workspace_bytes(struct device *d, const struct nce_args *args);
int cpu_nce(struct device *d, const struct nce_args *args, const void *q, const void *k,
            void *ret_dq, float *ret_each, double *ret_loss, void *workspace);

#endif
