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

// Of a call as the code has it its name, all of other texts.
static int length_of(const char *what) {
    return (int)strcspn(what, "(");
}

static int no_memory(const char *what) {
    size_t unused = 0, total = 0;

    (void)cudaMemGetInfo(&unused, &total); // 0 says as much
    return err_set(ERR_LIMIT, "the GPU has no memory left for %.*s: %zu of its %zu MiB are free",
                   length_of(what), what, unused >> 20, total >> 20);
}

int cuda_error(int err, const char *what, cudaError_t code) {
    (void)cudaGetLastError(); // it is told here
    if (cuda_error_is_no_code(code))
        return err_set(
            ERR_DEVICE,
            "the CUDA plugin has no code for this GPU: %.*s: %s (%s); make CUDA_ARCHS=.. "
            "builds it for others",
            length_of(what), what, cudaGetErrorString(code), cudaGetErrorName(code));
    if (code == cudaErrorMemoryAllocation && err == ERR_DEVICE_LOST)
        return no_memory(what);
    if (is_answer(code)) // the same again if it were tried again: no loss
        return err_set(err == ERR_DEVICE_LOST ? ERR_LIMIT : err, "CUDA: %.*s: %s", length_of(what),
                       what, cudaGetErrorString(code));
    return err_set(ERR_DEVICE_LOST, "the GPU failed at %.*s: %s (%s)", length_of(what), what,
                   cudaGetErrorString(code), cudaGetErrorName(code));
}
