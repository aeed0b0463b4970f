// trial - the memory that engines are tried in. Private to cuda/tune.c and
// trainer/cuda/emulation/conv_emulated.c.
#ifndef CUDA_TRIAL_H
#define CUDA_TRIAL_H

#include "cuda/problem.h"

// x, filter and y of a problem, and a workspace, in one allocation.
struct cuda_trial {
    void *memory;
    size_t bytes; // of all of it
    char *operands[3], *workspace;
    size_t operand_bytes; // of the three, from `memory` on
};

// Fails with ERR_LIMIT (says how much there was not), ERR_DEVICE_LOST. Nothing is left then.
int cuda_trial_init(struct cuda_trial *t, const struct cuda_problem *problem,
                    size_t workspace_bytes);
void cuda_trial_fini(struct cuda_trial *t);

#endif
