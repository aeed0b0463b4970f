// dnn - cuDNN's failures as ours. Private to the files that call cuDNN.
//
// cuDNN brings a CUDA runtime of its own, and our runtime's last error does not show its failures.
// Their causes are in cuDNN's text alone, and in the error that a wait for the device returns.
#ifndef CUDA_DNN_H
#define CUDA_DNN_H

#include <cudnn.h>
#include <stddef.h>

// An execution fails without a cause. With less free memory than this, the cause is taken to be
// memory.
#define CUDA_DNN_FULL ((size_t)64 << 20)

// cuDNN's text for the last failure on this thread, or else the status's name. May be cut.
void cuda_dnn_text(cudnnStatus_t status, char *ret_text, size_t size);

// ERR_DEVICE_LOST if the device of `handle` is lost, with an error that names `what` and `text`;
// else ERR_OK. Waits for the device, except while the handle's stream is being captured. NULL is
// the handle of a described device, which is never lost.
int cuda_dnn_lost(cudnnHandle_t handle, const char *what, const char *text);

// Describes the failure of `what` with `status`. Returns ERR_DEVICE_LOST if the device is lost,
// ERR_LIMIT if there was no memory, else `err`.
int cuda_dnn_error(int err, const char *what, cudnnStatus_t status, cudnnHandle_t handle);

// The buffers of one execution (cuDNN's variant pack): the tensors of ids 1, 2, 3, and the
// workspace. The caller destroys *ret_pack; it is NULL after a failure.
cudnnStatus_t cuda_dnn_pack(void *const tensors[3], void *workspace,
                            cudnnBackendDescriptor_t *ret_pack);

#endif
