// conv - the convolutions of the CUDA backend: an engine of cuDNN for each problem, chosen once.
//
// A problem in the plan file gets the file's engine. Any other gets the fastest of the
// deterministic engines (cuda/engine.h), measured on random numbers. Where nothing is measured, as
// on a described device, it gets cuDNN's first good suggestion.
//
// tests/trainer/cuda/emulation/conv_emulated.c does the same work on the emulated device, with
// plain loops.
#ifndef CUDA_CONV_H
#define CUDA_CONV_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "cuda/problem.h"

struct cuda_convs; // all convolutions of one device
struct cuda_conv;  // one use of one problem: its buffers stay the same from call to call

// What cuda_convs_open needs. All pointers are lent for the call; the streams have to outlive the
// object.
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
// Makes a handle of cuDNN for each stream, and reads the plan file.
int cuda_convs_open(const struct cuda_convs_options *options, struct cuda_convs **ret_convs);
// Accepts NULL. No cuda_conv of it may be used afterwards, except by cuda_conv_free.
void cuda_convs_close(struct cuda_convs *c);
// Writes the plans of all tuned convolutions, atomically. Fails with ERR_IO, ERR_SPACE.
int cuda_convs_save(const struct cuda_convs *c, const char *path);
// "cuDNN 9.19.0", with NVIDIA_TF32_OVERRIDE if the environment sets it. May be cut.
void cuda_convs_version(const struct cuda_convs *c, char *ret_text, size_t size);
// The problems that have an engine so far.
size_t cuda_convs_count(const struct cuda_convs *c); // distinct problems
// Bytes of memory that the last cuda_conv_new held while it tried engines; 0: it tried none.
size_t cuda_convs_tried_bytes(const struct cuda_convs *c);

// Prepares one use of a problem. With `tune` it will run often: engines are measured, and the
// choice goes into the plan file. Otherwise an engine that cuDNN suggests is taken, which is the
// same in every process too. A problem that is known keeps its engine.
//
// Fails with ERR_DEVICE (no engine; the text names the problem), ERR_LIMIT (no memory to measure
// in), ERR_DEVICE_LOST.
int cuda_conv_new(struct cuda_convs *c, const struct cuda_problem *problem, bool tune,
                  struct cuda_conv **ret_conv);
// Accepts NULL. The engine stays for later convolutions of the same problem.
void cuda_conv_free(struct cuda_conv *c);
// Bytes that cuda_conv_run needs; 0: none.
size_t cuda_conv_workspace_bytes(const struct cuda_conv *c);
// Whether cuDNN says so of the engine.
bool cuda_conv_uses_tensor_cores(const struct cuda_conv *c);
// Lent until cuda_convs_close.
const struct cuda_problem *cuda_conv_problem(const struct cuda_conv *c);
// "engine 62", with the time and the rate if it was measured, and the number of engines that could
// not be run or recorded. May be cut.
void cuda_conv_describe(const struct cuda_conv *c, char *ret_text, size_t size);

// The tensors of a call, see cuda/problem.h: device memory, aligned to 16 bytes. The problem's pass
// says which of them is written; the others are only read.
struct cuda_operands {
    void *x, *filter, *y;
};
// Issues the convolution on stream `stream` of the options. `workspace`: device memory, aligned to
// 16 bytes, of no other work in flight. Fails with ERR_DEVICE_LOST, ERR_LIMIT (no memory).
int cuda_conv_run(struct cuda_conv *c, int stream, const struct cuda_operands *operands,
                  void *workspace);

#endif
