// error - CUDA's failures as ours.
#ifndef CUDA_ERROR_H
#define CUDA_ERROR_H

#include <cuda_runtime_api.h>

// Sets the text "CUDA: WHAT: ..." and returns `err`. Other codes are returned for
//   a failure after which the device answers nothing any more   ERR_DEVICE_LOST
//   a GPU that this build has no code for                       ERR_DEVICE
//   a refusal (no memory, a shape) where `err` is ERR_DEVICE_LOST: a new start would meet the
//   same                                                        ERR_LIMIT
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
