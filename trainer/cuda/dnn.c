// Error texts and buffer packs of cuDNN, shared by the engines and by tuning.
#include "cuda/dnn.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/error.h"

void cuda_dnn_text(cudnnStatus_t status, char *ret_text, size_t size) {
    ret_text[0] = 0;
    // cuDNN's text has details, but may be empty.
    cudnnGetLastErrorString(ret_text, size);
    if (!ret_text[0])
        (void)text_copy(ret_text, size, cudnnGetErrorString(status)); // may be cut
}

// A wait during a capture would invalidate the capture. Then the end of the capture reports a loss.
static cudaError_t device_says(cudnnHandle_t handle) {
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStream_t stream = NULL;

    if (!handle || cudnnGetStream(handle, &stream) != CUDNN_STATUS_SUCCESS)
        return cudaSuccess;
    cudaError_t code = cudaStreamIsCapturing(stream, &status);
    if (code == cudaErrorStreamCaptureImplicit || status != cudaStreamCaptureStatusNone)
        return cudaSuccess;
    return code == cudaSuccess ? cudaDeviceSynchronize() : code;
}

int cuda_dnn_lost(cudnnHandle_t handle, const char *what, const char *text) {
    cudaError_t code = device_says(handle);

    (void)cudaGetLastError(); // reported here
    if (code == cudaSuccess)
        return ERR_OK;
    return err_set(ERR_DEVICE_LOST, "the GPU failed at %s: %s; %s (%s)", what, text,
                   cudaGetErrorString(code), cudaGetErrorName(code));
}

// A failed execution does not name its cause. With little memory free, that is the likely one.
static bool has_no_memory(cudnnStatus_t status, size_t unused) {
    if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
        status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        return true;
    return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_EXECUTION_FAILED && unused < CUDA_DNN_FULL;
}

int cuda_dnn_error(int err, const char *what, cudnnStatus_t status, cudnnHandle_t handle) {
    size_t unused = SIZE_MAX, total = 0;
    char text[512];

    // First, because later calls may replace cuDNN's text.
    cuda_dnn_text(status, text, sizeof text);
    int lost = cuda_dnn_lost(handle, what, text);
    if (lost)
        return lost;
    (void)cudaMemGetInfo(&unused, &total); // without an answer: not reported
    if (has_no_memory(status, unused))
        return err_set(ERR_LIMIT,
                       "the GPU has no memory left for %s: %s; %zu of its %zu MiB are free", what,
                       text, unused >> 20, total >> 20);
    return err_set(err, "cuDNN failed at %s: %s (%s)", what, text, cudnnGetErrorString(status));
}

static cudnnStatus_t fill(cudnnBackendDescriptor_t pack, void *const tensors[3], void *workspace) {
    // The ids that engine.c gives x, filter and y.
    const int64_t ids[3] = {1, 2, 3};
    cudnnStatus_t status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                                    CUDNN_TYPE_INT64, 3, ids);

    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                          CUDNN_TYPE_VOID_PTR, 3, tensors);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                          CUDNN_TYPE_VOID_PTR, 1, &workspace);
    return status == CUDNN_STATUS_SUCCESS ? cudnnBackendFinalize(pack) : status;
}

cudnnStatus_t cuda_dnn_pack(void *const tensors[3], void *workspace,
                            cudnnBackendDescriptor_t *ret_pack) {
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status =
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);

    if (status == CUDNN_STATUS_SUCCESS)
        status = fill(pack, tensors, workspace);
    if (status != CUDNN_STATUS_SUCCESS && pack) {
        (void)cudnnBackendDestroyDescriptor(pack); // its failure changes nothing
        pack = NULL;
    }
    *ret_pack = pack;
    return status;
}
