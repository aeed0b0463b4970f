// cuda_tune - which of several plans is the fastest here. Private to cuda_conv.c.
#ifndef CUDA_TUNE_H
#define CUDA_TUNE_H

#include <cuda_runtime_api.h>

#include "cuda_engine.h"

// Plans that want a larger workspace than this are not chosen if others are there.
#define CUDA_TUNE_WORKSPACE ((size_t)512 << 20)

// Runs each of `count` plans of the problem on random numbers on the stream, which is the target's
// handle's, and returns the fastest (median of captured repetitions) and its milliseconds. What
// cannot be run or captured is left out. Fails with ERR_DEVICE (none can be run; or no memory to
// try, the text says how much), ERR_DEVICE_LOST.
int cuda_tune(const struct cuda_problem *p, const struct cuda_target *target, cudaStream_t stream,
              int count, const struct cuda_built *plans, int *ret_best, float *ret_ms);

#endif
