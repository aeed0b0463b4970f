// error - CUDA's failures as ours.
//
// CUDA reports an asynchronous failure at some later call. Therefore the code decides what
// happened, more than the call that returned it.
#ifndef CUDA_ERROR_H
#define CUDA_ERROR_H

#include <cuda_runtime_api.h>

// Describes the failure as "CUDA: WHAT: ..." and returns `err`. Some codes change the result:
//   the device does not answer any more             ERR_DEVICE_LOST
//   this build has no code for the GPU              ERR_DEVICE
//   a refusal (no memory, a shape) where `err` is
//   ERR_DEVICE_LOST: a new start would meet it too  ERR_LIMIT
// `what` may be source text: only the part before '(' is printed. Clears CUDA's last error.
int cuda_error(int err, const char *what, cudaError_t code);

// Whether the code means that this build has no code for the GPU.
int cuda_error_is_no_code(cudaError_t code);

// Returns `err` (or another code, see above) from the calling function if CUDA fails.
#define CUDA(err, call)                                                                            \
    do {                                                                                           \
        cudaError_t code_ = (call);                                                                \
        if (code_ != cudaSuccess)                                                                  \
            return cuda_error(err, #call, code_);                                                  \
    } while (0)

#endif
