// error - CUDA's failures as ours.
#ifndef CUDA_ERROR_H
#define CUDA_ERROR_H

#include <cuda_runtime_api.h>

// Sets the text "CUDA: WHAT: ..." and returns `err`, or ERR_DEVICE_LOST for a failure after which
// the device answers nothing any more.
int cuda_error(int err, const char *what, cudaError_t code);

// Returns `err` (or ERR_DEVICE_LOST, see above) from the calling function if CUDA fails.
#define CUDA(err, call)                                                                            \
    do {                                                                                           \
        cudaError_t code_ = (call);                                                                \
        if (code_ != cudaSuccess)                                                                  \
            return cuda_error(err, #call, code_);                                                  \
    } while (0)

#endif
