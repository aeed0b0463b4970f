// trial - the memory that engines are tried in. Private to cuda/tune.c and
// tests/trainer/cuda/emulation/conv_emulated.c.
#ifndef CUDA_TRIAL_H
#define CUDA_TRIAL_H

#include "cuda/problem.h"

// The tensors x, filter and y of a problem, and a workspace, in one allocation. Each begins at a
// multiple of 256 bytes.
struct cuda_trial {
    void *memory;
    size_t bytes; // of all of it
    char *operands[3], *workspace;
    size_t operand_bytes; // of the three, from `memory` on
};

// Allocates it, with any contents. Fails with ERR_LIMIT (the text has the bytes that are needed and
// free), ERR_DEVICE_LOST; nothing is left then.
int cuda_trial_init(struct cuda_trial *t, const struct cuda_problem *problem,
                    size_t workspace_bytes);
// Accepts one of zeros.
void cuda_trial_fini(struct cuda_trial *t);

#endif
