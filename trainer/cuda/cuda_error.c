#include "cuda_error.h"

#include "err.h"

// What can be answered without the device having failed.
static int is_answer(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
        return 1;
    default:
        return 0;
    }
}

int cuda_error(int err, const char *what, cudaError_t code) {
    (void)cudaGetLastError(); // it is told here
    if (is_answer(code))
        return err_set(err, "CUDA: %s: %s", what, cudaGetErrorString(code));
    return err_set(ERR_DEVICE_LOST, "the GPU failed: %s: %s (%s)", what, cudaGetErrorString(code),
                   cudaGetErrorName(code));
}
