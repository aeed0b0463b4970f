// Errors of the emulation: their names, the last one, one that stays.
#include <stdio.h>
#include <stdlib.h>

#include "trainer/cuda/emulation/host_runtime.h"

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion",
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capture has unjoined work"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
};

static int find_error(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error)
            return (int)i;
    return -1;
}

const char *cudaGetErrorString(cudaError_t error) {
    int i = find_error(error);

    return i < 0 ? "unknown error" : errors[i].text;
}

const char *cudaGetErrorName(cudaError_t error) {
    int i = find_error(error);

    return i < 0 ? "cudaErrorUnknown" : errors[i].name;
}

cudaError_t cudaPeekAtLastError(void) {
    return cuda_host.broken ? cuda_host.broken : cuda_host.last;
}

cudaError_t cudaGetLastError(void) {
    cudaError_t last = cudaPeekAtLastError();

    cuda_host.last = cudaSuccess;
    return last;
}

cudaError_t cuda_host_failed(cudaError_t error) {
    if (error)
        cuda_host.last = error;
    return error;
}

void cuda_host_break(cudaError_t error) {
    cuda_host.broken = error;
    cuda_host_spoil_captures();
}

cudaError_t cuda_host_enter(const char *function) {
    cudaError_t error;
    bool stays;

    if (cuda_host.broken)
        return cuda_host.broken;
    if (!cuda_host_is_due(function, &error, &stays))
        return cudaSuccess;
    cuda_host_spoil_captures();
    if (stays)
        cuda_host_break(error);
    return cuda_host_failed(error);
}

int cuda_host_objects(void) {
    return cuda_host.objects;
}

void *cuda_host_take(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p)
        cuda_host_die("no memory");
    return p;
}
