// CUDA's error codes in three classes: refusals, missing code, and a lost device.
#include "cuda/error.h"

#include <string.h>

#include "base/err.h"

// Codes of a device that works: it refuses this call and would refuse it again.
static int is_answer(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorLaunchOutOfResources:
        return 1;
    default:
        return 0;
    }
}

int cuda_error_is_no_code(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilationDisabled:
        return 1;
    default:
        return 0;
    }
}

// The length up to '(': the function's name if `what` is source text. Other texts have none.
static int length_of(const char *what) {
    return (int)strcspn(what, "(");
}

static int no_memory(const char *what) {
    size_t unused = 0, total = 0;

    (void)cudaMemGetInfo(&unused, &total); // both 0 if it fails
    return err_set(ERR_LIMIT, "the GPU has no memory left for %.*s: %zu of its %zu MiB are free",
                   length_of(what), what, unused >> 20, total >> 20);
}

int cuda_error(int err, const char *what, cudaError_t code) {
    // Clears the error: a later check of a launch must not find it.
    (void)cudaGetLastError(); // reported here
    if (cuda_error_is_no_code(code))
        return err_set(
            ERR_DEVICE,
            "the CUDA plugin has no code for this GPU: %.*s: %s (%s); make CUDA_ARCHS=.. "
            "builds it for others",
            length_of(what), what, cudaGetErrorString(code), cudaGetErrorName(code));
    // Callers with ERR_DEVICE_LOST are at work: how much memory is free helps the reader more.
    if (code == cudaErrorMemoryAllocation && err == ERR_DEVICE_LOST)
        return no_memory(what);
    if (is_answer(code)) // the same again if it were tried again: no loss
        return err_set(err == ERR_DEVICE_LOST ? ERR_LIMIT : err, "CUDA: %.*s: %s", length_of(what),
                       what, cudaGetErrorString(code));
    return err_set(ERR_DEVICE_LOST, "the GPU failed at %.*s: %s (%s)", length_of(what), what,
                   cudaGetErrorString(code), cudaGetErrorName(code));
}
