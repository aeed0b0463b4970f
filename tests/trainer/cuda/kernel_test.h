// kernel_test - what the tests of the CUDA kernels share: tensors in device memory and, with the
// same numbers in double, for the judge. Every case runs in several orders of blocks and threads.
//
// Bounds on the relative L2 error: 1e-5 for float; 5e-3 for bfloat16, whose rounding alone is
// 1.7e-3; 1e-2 for gradients, whose inputs were rounded on the way.
#ifndef CUDA_TEST_H
#define CUDA_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "cuda/kernels/launch.h"

enum { TENSORS_MAX = 32 };

// ELEMENTS: a tensor with surplus channels. FLOATS and BYTES: arrays without.
enum place { ELEMENTS, FLOATS, BYTES };
struct tensor {
    enum place place;
    size_t pixels;
    int c, stride; // stride: channels in memory
    enum cuda_element element;
    size_t bytes;
    double *d;    // [pixels,c] of the judge
    void *memory; // device
    void *saved;  // of the first run, outputs only
};

// A launch with its stream and scratch, and the tensors of a case.
struct rig {
    struct cuda_limits limits;
    struct cuda_launch launch;
    int n;
    struct tensor tensors[TENSORS_MAX];
    void *workspace;
    size_t workspace_bytes;
};

// An H200, an RTX 3060, and an H200 whose norms take two passes.
static const struct cuda_limits LIMITS[] = {{132, 232448}, {28, 101376}, {132, 0}};
static uint32_t tensors_made; // so that no two hold the same numbers

static inline void succeed(cudaError_t error) {
    if (error)
        fail_msg("%s", cudaGetErrorString(error));
}

static inline void rig_init(struct rig *r, enum cuda_element element,
                            const struct cuda_limits *limits) {
    memset(r, 0, sizeof *r);
    r->limits = *limits;
    r->launch.element = element;
    r->launch.limits = &r->limits;
    succeed(cudaStreamCreate(&r->launch.stream));
    succeed(cudaMalloc(&r->launch.scratch, CUDA_SCRATCH_BYTES));
    succeed(cudaMemset(r->launch.scratch, 0, CUDA_SCRATCH_BYTES));
}

static inline void rig_fini(struct rig *r) {
    succeed(cudaStreamDestroy(r->launch.stream));
    succeed(cudaFree(r->launch.scratch));
    succeed(cudaFree(r->workspace));
    for (int i = 0; i < r->n; i++) {
        free(r->tensors[i].d);
        free(r->tensors[i].saved);
        succeed(cudaFree(r->tensors[i].memory));
    }
}

static inline void rig_workspace(struct rig *r, size_t bytes) {
    r->workspace_bytes = bytes;
    succeed(cudaMalloc(&r->workspace, bytes));
}

static inline size_t element_bytes(const struct tensor *t) {
    return t->place == FLOATS ? 4 : t->place == BYTES ? 1 : cuda_element_bytes(t->element);
}

// bfloat16 of x, rounded to nearest even.
static inline uint16_t to_bf16(float x) {
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Device memory of the emulation is the host's, so tests address it directly.
static inline double tensor_read(const struct tensor *t, size_t pixel, int c) {
    size_t i = pixel * (size_t)t->stride + (size_t)c;
    float x;

    if (t->place == BYTES)
        return ((const uint8_t *)t->memory)[i];
    if (t->place == FLOATS || t->element == CUDA_F32)
        return ((const float *)t->memory)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)t->memory)[i] << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// The judge gets the rounded number: an op cannot know more than its input.
static inline void tensor_write(struct tensor *t, size_t pixel, int c, double value) {
    size_t i = pixel * (size_t)t->stride + (size_t)c;

    if (t->place == BYTES)
        ((uint8_t *)t->memory)[i] = (uint8_t)value;
    else if (t->place == FLOATS || t->element == CUDA_F32)
        ((float *)t->memory)[i] = (float)value;
    else
        ((uint16_t *)t->memory)[i] = to_bf16((float)value);
    if (c < t->c)
        t->d[pixel * (size_t)t->c + (size_t)c] = tensor_read(t, pixel, c);
}

static inline struct tensor *tensor_any(struct rig *r, enum place place, size_t pixels, int c) {
    struct tensor *t = &r->tensors[r->n++];

    assert_true(r->n <= TENSORS_MAX);
    *t = (struct tensor){.place = place, .pixels = pixels, .c = c, .element = r->launch.element};
    t->stride = place == ELEMENTS ? cuda_channels(c) : c;
    t->bytes = pixels * (size_t)t->stride * element_bytes(t);
    t->d = xcalloc(pixels * (size_t)c + 1, sizeof(double));
    succeed(cudaMalloc(&t->memory, t->bytes));
    return t;
}

// Random in [-1,1), surplus channels zero.
static inline struct tensor *tensor_in(struct rig *r, enum place place, size_t pixels, int c) {
    struct tensor *t = tensor_any(r, place, pixels, c);

    tensors_made++;
    memset(t->memory, 0, t->bytes);
    for (size_t p = 0; p < pixels; p++)
        for (int k = 0; k < c; k++)
            tensor_write(t, p, k,
                         2 * rng_uniform(3, RNG_TEST, p * (size_t)c + (size_t)k, tensors_made) - 1);
    return t;
}

// An output: poisoned before each run, and compared with the first run.
static inline struct tensor *tensor_out(struct rig *r, enum place place, size_t pixels, int c) {
    struct tensor *t = tensor_any(r, place, pixels, c);

    t->saved = xcalloc(t->bytes + 1, 1);
    return t;
}

// Fails unless the relative L2 error is within `bound` and surplus channels are zero.
static inline void tensor_check(const struct tensor *t, double bound, const char *what) {
    double error = 0, size = 0;

    for (size_t p = 0; p < t->pixels; p++) {
        for (int k = 0; k < t->c; k++) {
            double want = t->d[p * (size_t)t->c + (size_t)k], off = tensor_read(t, p, k) - want;
            error += off * off;
            size += want * want;
        }
        for (int k = t->c; k < t->stride; k++)
            if (tensor_read(t, p, k) != 0)
                fail_msg("%s: surplus channel %d of pixel %zu is %g", what, k, p,
                         tensor_read(t, p, k));
    }
    if (!(sqrt(error) <= bound * sqrt(size) + 1e-30))
        fail_msg("%s: relative error %.3g", what, sqrt(error / size));
}

static inline double bound_of(const struct rig *r, bool gradient) {
    return r->launch.element == CUDA_F32 ? 1e-5 : gradient ? 1e-2 : 5e-3;
}

// Runs a case in three orders, and in the first one twice. Every output has to have the same bits
// each time. `reset` (or NULL) restores tensors that the case changes in place.
static inline void run_in_all_orders(struct rig *r,
                                     cudaError_t (*run)(struct rig *r, void *context),
                                     void (*reset)(struct rig *r, void *context), void *context) {
    static const uint64_t seeds[] = {0, 1, 12345, 0};

    for (unsigned i = 0; i < COUNT(seeds); i++) {
        cuda_host_order(seeds[i]);
        for (int k = 0; k < r->n; k++)
            if (r->tensors[k].saved)
                memset(r->tensors[k].memory, 0xff, r->tensors[k].bytes);
        if (r->workspace)
            memset(r->workspace, 0xff, r->workspace_bytes);
        if (reset)
            reset(r, context);
        succeed(run(r, context));
        succeed(cudaStreamSynchronize(r->launch.stream));
        for (int k = 0; k < r->n; k++) {
            const struct tensor *t = &r->tensors[k];
            if (t->saved && i == 0)
                memcpy(t->saved, t->memory, t->bytes);
            else if (t->saved && memcmp(t->saved, t->memory, t->bytes) != 0)
                fail_msg("output %d has other bits in order %u", k, i);
        }
    }
    cuda_host_order(0);
}

#endif
