// tune - which of several plans is the fastest here. Private to cuda/conv.c.
#ifndef CUDA_TUNE_H
#define CUDA_TUNE_H

#include <cuda_runtime_api.h>

#include "cuda/engine.h"

// Plans that want a larger workspace than this are not chosen if others are there.
#define CUDA_TUNE_WORKSPACE ((size_t)512 << 20)

struct cuda_tuned {
    int best;
    float ms;     // of the best: the median of captured repetitions
    int left_out; // plans that cannot be run or recorded
    size_t bytes; // of memory that they were tried in
};

// Runs each of `count` plans of the problem on random numbers on the stream, which is the target's
// handle's, and returns the fastest. What cannot be run or captured is left out. Where there is no
// memory for all, those that want little are tried. Fails with ERR_DEVICE (none can be run; the
// text has the reason of the last), ERR_LIMIT (no memory to try, the text says how much),
// ERR_DEVICE_LOST.
int cuda_tune(const struct cuda_op_graph *g, struct cuda_target *target, cudaStream_t stream,
              int count, const struct cuda_built *plans, struct cuda_tuned *ret_tuned);

#endif
