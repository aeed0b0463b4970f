// launch - launchers of the CUDA backend's own kernels: everything but the convolutions.
//
// Each call issues its kernels on l->stream and returns; the formulas are those of backend.h.
// Nothing is allocated, nothing waits, so every call can be captured into a graph; what may change
// from step to step (learning rate, step, dropout) is read from device memory when the kernel runs.
//
// Memory of a tensor [n,h,w,c]: elements (float or bfloat16) [N,H,W,C] with C = cuda_channels(c), c
// rounded up to a multiple of 8. The channels c .. C - 1 are zero in every tensor; every op writes
// them so. A reflection border counts as pixels, as in backend.h. Tensors are aligned to 16 bytes
// (cudaMalloc's 256 are more than enough) and 8 channels of a pixel are one access of 16 bytes (two
// of float).
// Parameters, their gradients, moments and a norm's statistics [2,n,c] or [2,c] are float, without
// surplus channels. Losses are double; they, flags and ids may lie in pinned host memory.
//
// Arithmetic is float whatever the element; sums are taken in an order that the shape fixes: same
// inputs, same bits, in every run of one build on devices of one kind with the same `limits`. (The
// compiler may fuse products and sums differently for another kind.)
//
// All return cudaErrorInvalidValue for a shape they do not take (no pixels, more than 65535
// pictures, 2^34 stored numbers or more; see the penalty and weights for theirs) and what the
// launch returned otherwise. Pointers are to device memory unless they say otherwise; nothing
// aliases unless an op says so.
#ifndef CUDA_KERNELS_H
#define CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "backend/backend.h"

// The element of all tensors of a device.
enum cuda_element { CUDA_F32, CUDA_BF16 };
enum {
    CUDA_CHANNELS = 8,         // C is a multiple of this
    CUDA_R_MAX = 16,           // largest side of a filter
    CUDA_SCRATCH_BYTES = 65536 // see struct cuda_launch
};

// Channels that are stored for c: device_channels of this device.
static inline int cuda_channels(int c) {
    return (c + CUDA_CHANNELS - 1) / CUDA_CHANNELS * CUDA_CHANNELS;
}

static inline size_t cuda_element_bytes(enum cuda_element e) {
    return e == CUDA_BF16 ? 2 : 4;
}

// Properties of the GPU that decide on kernels and grids. Other values give another order of sums,
// and so other bits.
struct cuda_limits {
    int processors;      // cudaDeviceProp.multiProcessorCount
    size_t shared_bytes; // cudaDeviceProp.sharedMemPerBlockOptin; 0 forces the kernels that pass
                         // over memory twice
};

// The stream and the tensors' element of a call. One for each stream, since calls in flight must
// not share scratch.
struct cuda_launch {
    cudaStream_t stream;
    enum cuda_element element;
    const struct cuda_limits *limits;
    void *scratch; // CUDA_SCRATCH_BYTES of device memory for this stream alone, zeroed once at
                   // start; every call leaves its counters zero again
};

// Dropout's random numbers: rng_block(*seed, RNG_DROPOUT, *step << 24 | draw, ...), see
// norm_dropout in backend.h. seed and step are read when the kernel runs.
struct cuda_dropout {
    const uint64_t *seed, *step; // device memory
    uint64_t draw;
};

// Whether this build has code for the current device. Fails with cudaErrorNoKernelImageForDevice or
// the like; with cudaErrorInvalidValue if a resident norm kernel has static shared memory, so that
// its launch would be refused.
cudaError_t cuda_kernels_check(void);

// norm_forward and norm_backward. t->dropout is not read; `dropout` is (host memory, NULL: none).
//   workspace  cuda_norm_workspace_bytes, aligned to 16; for either direction
// Weights, biases, running statistics and the gradients of the first two are float [c]. Instance
// norm passes over memory once if 8 channels of an image fit in shared memory, else twice. 0 bytes:
// the shape takes one pass, or there is no norm.
size_t cuda_norm_workspace_bytes(const struct cuda_launch *l, const struct norm_shape *s);
cudaError_t cuda_norm_forward(const struct cuda_launch *l, const struct norm_shape *s,
                              const struct norm_tensors *t, const struct cuda_dropout *dropout,
                              void *workspace);
cudaError_t cuda_norm_backward(const struct cuda_launch *l, const struct norm_shape *s,
                               const struct norm_gradients *t, const struct cuda_dropout *dropout,
                               void *workspace);

// y = tanh(x); dx = (1 - y^2) times the sum of dy's parts, which may cover some images only. Reads
// n, h, w, c of the shape.
cudaError_t cuda_tanh_forward(const struct cuda_launch *l, const struct norm_shape *s,
                              const void *x, void *ret_y);
cudaError_t cuda_tanh_backward(const struct cuda_launch *l, const struct norm_shape *s,
                               const void *y, const struct grad_sum *dy, void *ret_dx);

// y = act(x + bias) for x and y [pixels,c], which may be the same; bias float [c].
cudaError_t cuda_bias(const struct cuda_launch *l, size_t pixels, int c, enum activation act,
                      const float *bias, const void *x, void *ret_y);
// dbias [c] (+)= sum of dy [pixels,c] over the pixels. The workspace is aligned to 16.
size_t cuda_bias_gradient_bytes(const struct cuda_launch *l, size_t pixels, int c);
cudaError_t cuda_bias_gradient(const struct cuda_launch *l, size_t pixels, int c, bool accumulate,
                               const void *dy, float *ret_dbias, void *workspace);

// y = act([a; b]) on the channels, and its gradients, as in backend.h.
cudaError_t cuda_concat_forward(const struct cuda_launch *l, const struct concat_shape *s,
                                const void *a, const void *b, void *ret_y);
cudaError_t cuda_concat_backward(const struct cuda_launch *l, const struct concat_shape *s,
                                 const struct concat_gradients *t);

// Losses of tensors [pixels,c]; the mean is over pixels c numbers. ret_loss [1] is overwritten;
// NULL: not wanted.
cudaError_t cuda_l1(const struct cuda_launch *l, size_t pixels, int c, double scale, const void *a,
                    const void *b, void *ret_grad, double *ret_loss);
// As gan in backend.h, of tensors [n,h,w,c]; args->mode selects the formula.
cudaError_t cuda_gan(const struct cuda_launch *l, const struct gan_args *args, const void *x,
                     void *ret_grad, double *ret_loss);
// loss = scale mean over n of (|g_n + eps| - 1)^2, and its gradient u, of g [n,pixels,c]; n <=
// 1024.
cudaError_t cuda_penalty(const struct cuda_launch *l, int n, size_t pixels, int c, double scale,
                         const void *g, void *ret_u, double *ret_loss);
// y = [front; alpha_n real + (1 - alpha_n) fake].
cudaError_t cuda_mix(const struct cuda_launch *l, const struct mix_shape *s,
                     const struct mix_tensors *t);
// PatchNCE of q, k, dq [n,patches,dim]. ret_each float [n,patches] or NULL. With args->accumulate
// the loss is added. The workspace is aligned to 16.
size_t cuda_nce_workspace_bytes(const struct cuda_launch *l, const struct nce_args *args);
cudaError_t cuda_nce(const struct cuda_launch *l, const struct nce_args *args, const void *q,
                     const void *k, void *ret_dq, float *ret_each, double *ret_loss,
                     void *workspace);

// As tangent_forward and tangent_backward; running statistics are not touched.
cudaError_t cuda_tangent_forward(const struct cuda_launch *l, const struct norm_shape *s,
                                 const struct tangent_tensors *t);
cudaError_t cuda_tangent_backward(const struct cuda_launch *l, const struct norm_shape *s,
                                  const struct tangent_gradients *t);

// The four kinds of resampling; to_h is at most 65535.
cudaError_t cuda_resample(const struct cuda_launch *l, const struct resample_shape *s,
                          const void *x, void *ret_y);
// Flips left to right if *flip is not 0. flip [1] is device memory, read when the kernel runs.
cudaError_t cuda_flip(const struct cuda_launch *l, const struct tensor_shape *s, const int *flip,
                      const void *x, void *ret_y);
// y [n,count,c] = x at the ids. s->ids is device memory, read when the kernels run.
cudaError_t cuda_sample_forward(const struct cuda_launch *l, const struct sample_shape *s,
                                const void *x, void *ret_y);
// Repeated ids are summed in their order before the element is rounded. Without `accumulate` all of
// dx is cleared first.
cudaError_t cuda_sample_backward(const struct cuda_launch *l, const struct sample_shape *s,
                                 const void *dy, bool accumulate, void *ret_dx);

// Adam over flat float arrays, aligned to 16. 1 - beta^t is computed in double when the kernel
// runs.
// The formula is that of adam in backend.h; p, m and v are updated in place.
struct cuda_adam {
    size_t count;
    double beta1, beta2;
    const double *lr; // device memory
    const int64_t *t; // device memory, >= 1
    int *ret_bad;     // 1 if a number of g is not finite, else as it was; NULL: not wanted
};
cudaError_t cuda_adam(const struct cuda_launch *l, const struct cuda_adam *a, const float *g,
                      float *p, float *m, float *v);

// y = a x + b y for float x, y [count]; each operation is rounded.
cudaError_t cuda_blend(const struct cuda_launch *l, size_t count, float a, const float *x, float b,
                       float *y);
// *ret_bad = 1 if a number of float x [count] is not finite; else it stays as it is.
cudaError_t cuda_finite(const struct cuda_launch *l, size_t count, const float *x, int *ret_bad);

// Weights. A master [a,b,r,r] has the state dict's layout: [k,c,r,r] of a plain convolution,
// [c,k,r,r] of a transposed one. Its derived copy has elements [A,r,r,B] with A, B =
// cuda_channels(a), cuda_channels(b) and zeros in the surplus. That is cuDNN's filter KRSC of the
// plain convolution, or of the plain one whose data gradient the transposed one is. r <=
// CUDA_R_MAX.
struct cuda_weight {
    const float *master;
    void *derived;
    int a, b, r;
    unsigned first_block; // of its work; set by cuda_refresh_plan
};
// Divides the work of `count` weights: fills in first_block, and returns the number of blocks.
unsigned cuda_refresh_plan(int count, struct cuda_weight *weights);
// Derives all weights of a table in device memory. `blocks` is cuda_refresh_plan's result.
cudaError_t cuda_refresh(const struct cuda_launch *l, int count, const struct cuda_weight *weights,
                         unsigned blocks);
// dw [a,b,r,r] float (+)= the elements [A,r,r,B] that cuDNN wrote.
cudaError_t cuda_add_dw(const struct cuda_launch *l, int a, int b, int r, bool accumulate,
                        const void *derived, float *ret_dw);

// Images between the host's format [pixels,c], without surplus channels, and a tensor. Both are in
// device memory. `u8` becomes (v / 255 - 0.5) / 0.5, each operation rounded to float.
cudaError_t cuda_image_in(const struct cuda_launch *l, size_t pixels, int c, const float *picture,
                          void *ret_tensor);
cudaError_t cuda_image_in_u8(const struct cuda_launch *l, size_t pixels, int c,
                             const uint8_t *picture, void *ret_tensor);
// The way back: surplus channels are left out, numbers are not clamped.
cudaError_t cuda_image_out(const struct cuda_launch *l, size_t pixels, int c, const void *tensor,
                           float *ret_picture);
// The same for images of the tensor's elements, whose bits stay as they are (NaN too).
cudaError_t cuda_picture_scatter(const struct cuda_launch *l, size_t pixels, int c,
                                 const void *picture, void *ret_tensor);
cudaError_t cuda_picture_gather(const struct cuda_launch *l, size_t pixels, int c,
                                const void *tensor, void *ret_picture);

#ifdef __cplusplus
}
#endif

#endif
