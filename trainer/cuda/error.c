#include "cuda/error.h"

#include <string.h>

#include "base/err.h"

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

// Of a call as the code has it its name, all of other texts.
static int length_of(const char *what) {
    return (int)strcspn(what, "(");
}

int cuda_error(int err, const char *what, cudaError_t code) {
    (void)cudaGetLastError(); // it is told here
    if (is_answer(code))
        return err_set(err, "CUDA: %.*s: %s", length_of(what), what, cudaGetErrorString(code));
    return err_set(ERR_DEVICE_LOST, "the GPU failed at %.*s: %s (%s)", length_of(what), what,
                   cudaGetErrorString(code), cudaGetErrorName(code));
}
