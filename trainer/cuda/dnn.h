// dnn - cuDNN's failures as ours. Private to the files that call cuDNN.
//
// cuDNN brings a CUDA runtime of its own, whose last error nobody else sees. What happened is in
// its text alone, and in what the device says when it is waited for.
#ifndef CUDA_DNN_H
#define CUDA_DNN_H

#include <cudnn.h>
#include <stddef.h>

// Below so much free memory of the GPU an execution that failed is taken to have found none.
#define CUDA_DNN_FULL ((size_t)64 << 20)

// What cuDNN last complained about on this thread, else the status's name; may be cut.
void cuda_dnn_text(cudnnStatus_t status, char *ret_text, size_t size);

// ERR_DEVICE_LOST if the device of `handle` is lost, with `what` failed and `text` told; else
// ERR_OK. Waits for the device, but not while the handle's stream is being captured. A handle of
// NULL is that of a device that is only described.
int cuda_dnn_lost(cudnnHandle_t handle, const char *what, const char *text);

// Tells of `what` that ended with `status`. Returns ERR_DEVICE_LOST if the device is lost,
// ERR_LIMIT if there was no memory, else `err`.
int cuda_dnn_error(int err, const char *what, cudnnStatus_t status, cudnnHandle_t handle);

// The buffers of one execution: tensors of ids 1, 2, 3 and the workspace. NULL if it fails.
cudnnStatus_t cuda_dnn_pack(void *const tensors[3], void *workspace,
                            cudnnBackendDescriptor_t *ret_pack);

#endif
