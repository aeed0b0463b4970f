// tune - finds the fastest of several plans on this device. Private to cuda/conv.c.
//
// Times vary from run to run, and so may the choice. Therefore the choice is kept in the plan file.
#ifndef CUDA_TUNE_H
#define CUDA_TUNE_H

#include <cuda_runtime_api.h>

#include "cuda/engine.h"

// Plans that want a larger workspace than this are chosen only if there are no others.
#define CUDA_TUNE_WORKSPACE ((size_t)512 << 20)

// The result of cuda_tune.
struct cuda_tuned {
    int best;
    float ms;     // of the best: the median of captured repetitions
    int left_out; // plans that cannot be run or recorded
    size_t bytes; // of memory that they were tried in
};

// Runs each of `count` plans of the graph on random numbers, and returns the fastest. The stream is
// the one that the target's handle is bound to. Plans that cannot be run or captured are left out.
// If memory is short, only plans with a small workspace are tried. Waits for the device.
//
// Fails with ERR_DEVICE (no plan can be run; the text has the last reason), ERR_LIMIT (no memory to
// try in; the text says how much), ERR_DEVICE_LOST.
int cuda_tune(const struct cuda_op_graph *g, struct cuda_target *target, cudaStream_t stream,
              int count, const struct cuda_built *plans, struct cuda_tuned *ret_tuned);

#endif
