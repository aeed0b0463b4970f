// conv - the convolutions of the CUDA backend: an engine of cuDNN for each problem, chosen once.
//
// A problem that the plan file names gets the file's engine; any other the fastest of the engines
// that are deterministic (cuda/engine.h), measured on random numbers, or, on a device that is only
// described, cuDNN's first suggestion. trainer/cuda/emulation/conv_emulated.c does the same work on
// the emulated device, with plain loops.
#ifndef CUDA_CONV_H
#define CUDA_CONV_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "cuda/problem.h"

struct cuda_convs; // all convolutions of one device
struct cuda_conv;  // one use of one problem: its buffers stay the same from call to call

struct cuda_convs_options {
    enum cuda_math math;
    const char *plans;     // file written by cuda_convs_save; NULL: none
    const char *described; // properties of a device as JSON: nothing can be run; NULL: the current
                           // device
    int stream_count;      // at most DEVICE_STREAMS
    const cudaStream_t *streams; // [streams]; NULL if described
};

// Fails with ERR_DEVICE (also: a cuDNN older than that of the build), ERR_IO, ERR_FORMAT (the plan
// file), ERR_MISMATCH (it is of another cuDNN or device).
int cuda_convs_open(const struct cuda_convs_options *options, struct cuda_convs **ret_convs);
void cuda_convs_close(struct cuda_convs *c);
// Writes the plans of all tuned convolutions. Fails with ERR_IO, ERR_SPACE.
int cuda_convs_save(const struct cuda_convs *c, const char *path);
// "cuDNN 9.19.0", with what the environment makes of TF32
void cuda_convs_version(const struct cuda_convs *c, char *ret_text, size_t size);
size_t cuda_convs_count(const struct cuda_convs *c); // distinct problems
// Bytes of memory that the last cuda_conv_new held while it tried engines; 0: it tried none.
size_t cuda_convs_tried_bytes(const struct cuda_convs *c);

// `tune`: it will run often: measure engines and keep the choice in the plan file. Otherwise an
// engine that cuDNN suggests is taken, which is the same in every process too. Fails with
// ERR_DEVICE (no engine; the text names the problem), ERR_LIMIT (no memory to measure in),
// ERR_DEVICE_LOST.
int cuda_conv_new(struct cuda_convs *c, const struct cuda_problem *problem, bool tune,
                  struct cuda_conv **ret_conv);
void cuda_conv_free(struct cuda_conv *c);
size_t cuda_conv_workspace_bytes(const struct cuda_conv *c);
bool cuda_conv_uses_tensor_cores(const struct cuda_conv *c);
const struct cuda_problem *cuda_conv_problem(const struct cuda_conv *c);
// "engine 62", with the time if it was measured, and how many could not be run or recorded
void cuda_conv_describe(const struct cuda_conv *c, char *ret_text, size_t size);

// Issues it on the stream's stream. x, filter, y as in cuda/problem.h, aligned to 16 bytes; which
// of them is written is the problem's pass. Fails with ERR_DEVICE_LOST, ERR_LIMIT (no memory).
struct cuda_operands {
    void *x, *filter, *y;
};
int cuda_conv_run(struct cuda_conv *c, int stream, const struct cuda_operands *operands,
                  void *workspace);

#endif
