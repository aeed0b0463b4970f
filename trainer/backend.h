// backend - the only door to devices: one table of functions, filled once per device kind.
//
// Every tensor is float [N,H,W,C] in memory (channels innermost, nothing between pixels). A tensor
// may carry a reflection border of `pad` pixels on every side: then its memory is
// [N, H+2 pad, W+2 pad, C], its inside is the value and the border repeats it (... 2 1 | 0 1 2 ...,
// the edge pixel is not repeated). Sizes named h, w never count the border, except for conv_shape,
// which sees bordered inputs as plain larger ones.
//
// Ops take shapes and buffers, allocate nothing and keep no state. What is worth preparing is made
// once per shape (device_conv) or once per weight (device_weights). Outputs are overwritten
// completely, whatever they held before, unless an `accumulate` says otherwise. Nothing aliases.
// Sums run in an order that the shape and the number of threads fix: same inputs, same bits.
// Every op returns ERR_OK or ERR_DEVICE_LOST.
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_options {
    const char *name;     // "cpu"; "cuda" where it was built in
    int threads;          // >= 1; CPU only
    const char *winograd; // "auto", "off", "f2", "f4"; NULL is "auto"; CPU only
};

// An open device. Backends put this first in their own struct.
struct device {
    const struct backend *backend;
};

struct device_weights; // everything derived from one convolution's master weights
struct device_conv;    // one convolution shape with one device_weights, prepared

// y = conv(x) (cross-correlation) or, if transposed, its adjoint.
//   plain       x [n,h,w,c] -> y [n,ho,wo,k], ho = (h + 2 pad - r) / stride + 1, filter [k,c,r,r]
//   transposed  ho = (h - 1) stride - 2 pad + r + out_pad, filter [c,k,r,r]
struct conv_shape {
    int n, c, h, w;
    int k, r, stride, pad, out_pad; // pad: zeros, as opposed to the reflection in x
    bool transposed, bias;
};

// The buffers of conv_backward. Its outputs are wanted or NULL.
struct conv_gradients {
    const float *x, *dy;
    float *ret_dx;    // [n,h,w,c]
    float *ret_dw;    // in the master's layout; (+)=
    float *ret_dbias; // [k], sum of dy over n,h,w; (+)=; NULL exactly if no ret_dw or no bias
    bool accumulate;  // add to dw and dbias
};

// NORM_BATCH: by the batch's statistics. NORM_RUNNING: the same layer by its running ones.
enum norm_kind { NORM_NONE, NORM_INSTANCE, NORM_BATCH, NORM_RUNNING };
enum activation { ACT_NONE, ACT_RELU, ACT_LEAKY };
#define LEAKY_SLOPE 0.2f // for x <= 0
#define NORM_EPS 1e-5f
#define NORM_MOMENTUM 0.1 // of running statistics

struct norm_shape {
    int n, h, w, c;
    int pad;      // border of y
    int skip_pad; // border of skip
    enum norm_kind norm;
    enum activation act;
};

// A part of a gradient. The gradient of a tensor is the sum of its parts, each of which may cover
// only the pictures [first, first + n) and may carry the border (its values there belong to the
// pixels that the border repeats).
struct grad_part {
    const float *data; // [n, h+2 pad, w+2 pad, c]
    int pad, first, n;
};
#define GRAD_PARTS 4

struct grad_sum {
    int count;
    struct grad_part part[GRAD_PARTS];
};

// The parameters of one batch norm, [c] each.
struct norm_affine {
    const float *weight, *bias;
    float *running_mean, *running_var; // NORM_BATCH: NULL leaves them as they are
};

// drop(x) is 2 x or 0: element e of [n,h,w,c] survives if bit e % 128 (from the lowest of v[0]) of
// rng_block(seed, RNG_DROPOUT, index, e / 128) is 1. Source: Srivastava et al. 2014, p = 0.5.
struct norm_dropout {
    uint64_t seed, index;
};

// The buffers of norm_forward and norm_backward; see there.
struct norm_tensors {
    const float *x, *skip;
    float *ret_y, *ret_stats;
    const struct norm_affine *affine;   // NORM_BATCH and NORM_RUNNING; else NULL
    const struct norm_dropout *dropout; // NULL: none
};
struct norm_gradients {
    const float *x, *stats;
    struct grad_sum dy;
    float *ret_dx, *ret_dskip;
    const struct norm_affine *affine;
    const struct norm_dropout *dropout;
    float *ret_dweight, *ret_dbias; // [c]; (+)=; NULL: not wanted; NORM_BATCH only
    bool accumulate;                // add to dweight and dbias
};

struct join_shape {
    size_t pixels; // n h w
    int c_a, c_b;
    enum activation act; // ACT_NONE or ACT_RELU
};

// The buffers of join_backward. Its outputs are wanted or NULL.
struct join_gradients {
    const float *y, *dy;
    float *ret_da, *ret_db;
};

struct dual_tensors {
    const float *x, *dx;
    float *ret_y, *ret_dy;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
};
struct dual_gradients {
    const float *x, *dx, *g_y, *g_dy;
    float *ret_gx, *ret_gdx;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
    float *ret_dweight, *ret_dbias;   // [c]; (+)=; NULL: not wanted; NORM_BATCH only
    bool accumulate;
};

struct penalty_args {
    int n;
    size_t count;
    double scale;
};

// From x [n,h,w,c] to y [n,to_h,to_w,c], borders included:
//   RESAMPLE_BLUR  halves a map that carries a border of 1: to_h = (h - 1) / 2
//   RESAMPLE_UP    doubles a map: to_h = 2 h
// RESAMPLE_*_ADJOINT take a gradient of y to one of x, h and to_h exchanged.
enum resample_kind { RESAMPLE_BLUR, RESAMPLE_BLUR_ADJOINT, RESAMPLE_UP, RESAMPLE_UP_ADJOINT };
struct resample_shape {
    enum resample_kind kind;
    int n, h, w, to_h, to_w, c;
};

// Pixels of maps [n,h,w,c] with a border of `pad`: `ids` [n,count] are y w' + x in the map without
// its border or, with `border`, in the whole map.
struct sample_shape {
    int n, h, w, c, pad, count;
    bool border;
    const int *ids;
};

struct nce_args {
    int n, patches, dim; // of q and k [n,patches,dim]
    double temperature, scale;
    bool all; // patches of the other pictures of the batch are negatives too
};

enum gan_mode { GAN_LSGAN, GAN_VANILLA, GAN_WGANGP, GAN_NONSATURATING };

struct gan_args {
    enum gan_mode mode;
    bool target_real;
    size_t count;
    double scale;
};

struct adam_args {
    size_t count;
    double lr, beta1, beta2;
    int64_t t; // 1 at the first step
};

struct backend {
    const char *name;
    void (*close)(struct device *d);

    // Zeroed memory, aligned to 64 bytes, that the host and the device can both address. Ends the
    // process if there is none.
    void *(*memory_new)(struct device *d, size_t bytes);
    void (*memory_free)(struct device *d, void *memory);

    // `master` [dims] in the state dict's layout stays where it is for the object's life; it is
    // read by weights_refresh only, which has to follow every change of it. Convs that use the same
    // weights in the same packing share one packed copy. weights_free after all its convs.
    struct device_weights *(*weights_new)(struct device *d, const float *master,
                                          const int64_t dims[4]);
    void (*weights_free)(struct device_weights *w);
    int (*weights_refresh)(struct device_weights *w);
    size_t (*weights_bytes)(const struct device_weights *w);

    // Prepares forward and, if `backward`, both gradients. Fails with ERR_DEVICE if the device
    // has no way to compute this shape. Packed copies it adds are valid after weights_refresh.
    int (*conv_new)(struct device_weights *w, const struct conv_shape *shape, bool backward,
                    struct device_conv **ret_conv);
    void (*conv_free)(struct device_conv *c);
    // Scratch that conv_* below need at `workspace`, aligned to 64 bytes.
    size_t (*conv_workspace_bytes)(const struct device_conv *c);
    // Which kernels it uses, for a person and for the checkpoint, e.g. "jit:avx2 jit:avx2 gemm".
    void (*conv_describe)(const struct device_conv *c, char *ret_text, size_t size);

    // y = conv(x) + bias; bias [k] is NULL exactly if the shape has none.
    int (*conv_forward)(struct device_conv *c, const float *x, const float *bias, float *ret_y,
                        void *workspace);
    // The gradients of x and of the parameters, for dy = d loss / d y; see conv_gradients.
    int (*conv_backward)(struct device_conv *c, const struct conv_gradients *t, void *workspace);

    // y = border(drop(act(norm(x))) + skip), the border by reflection.
    //   x          [n,h,w,c]
    //   skip       [n,h+2 skip_pad,w+2 skip_pad,c], its inside is added; NULL: nothing is added
    //   ret_y      [n,h+2 pad,w+2 pad,c]; needs pad < h, w
    //   ret_stats  [2,n,c], of NORM_BATCH and NORM_RUNNING [2,c]: mean, 1/sqrt(variance +
    //              NORM_EPS); untouched for NORM_NONE
    // NORM_INSTANCE: (x - mean) / sqrt(variance + eps) per (n,c) over h,w, biased variance, no
    // affine part. Source: Ulyanov et al. 2016 (arXiv:1607.08022).
    // NORM_BATCH: weight xhat + bias, xhat as above per c over n,h,w (more than one value), and
    // running += NORM_MOMENTUM (x - running) for the mean and the unbiased variance.
    // NORM_RUNNING: xhat by the running statistics. Source: Ioffe and Szegedy 2015
    // (arXiv:1502.03167).
    int (*norm_forward)(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace);
    // With g the sum of dy's parts (borders folded back) and u = drop(g) act'(norm(x)):
    //   ret_dx       [n,h,w,c] = (u - mean(u) - xhat mean(u xhat)) / sqrt(variance + eps), of
    //                NORM_BATCH times weight; NORM_NONE: u; NORM_RUNNING has no backward
    //   ret_dskip    [n,h,w,c] = g; NULL: not wanted
    //   ret_dweight  [c] = sum of u xhat over n,h,w; ret_dbias = sum of u
    // act'(0) is 0 for ReLU, LEAKY_SLOPE for leaky. stats as norm_forward left them.
    int (*norm_backward)(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace);

    // y = tanh(x); dx = (1 - y^2) times the sum of dy's parts. Of the shape, n,h,w,c are read.
    int (*tanh_forward)(struct device *d, const struct norm_shape *s, const float *x, float *ret_y);
    int (*tanh_backward)(struct device *d, const struct norm_shape *s, const float *y,
                         const struct grad_sum *dy, float *ret_dx, void *workspace);
    // Scratch that the four above need at `workspace`, aligned to 64 bytes.
    size_t (*norm_workspace_bytes)(struct device *d, const struct norm_shape *s);

    // A U-Net's skip, a conditional discriminator's input: y = act([a; b]) on the channels,
    // a [pixels,c_a], b [pixels,c_b], y [pixels,c_a + c_b]; da, db are dy's halves, with ACT_RELU
    // where y > 0, else 0.
    int (*join_forward)(struct device *d, const struct join_shape *s, const float *a,
                        const float *b, float *ret_y);
    int (*join_backward)(struct device *d, const struct join_shape *s,
                         const struct join_gradients *t);

    // loss = scale mean |a - b|; grad = scale sign(a - b) / count (0 where equal).
    int (*l1)(struct device *d, size_t count, double scale, const float *a, const float *b,
              float *ret_grad, double *ret_loss);
    // loss = scale mean f(x), grad = scale f'(x) / count, with, for target real | fake:
    //   lsgan (x-1)^2 | x^2; vanilla and nonsaturating softplus(-x) | softplus(x); wgangp -x | x
    // Sources: Mao et al. 2017 (arXiv:1611.04076), Goodfellow et al. 2014 (arXiv:1406.2661),
    // Arjovsky et al. 2017 (arXiv:1701.07875; no penalty).
    int (*gan)(struct device *d, const struct gan_args *args, const float *x, float *ret_grad,
               double *ret_loss);

    // A norm (NONE, INSTANCE or BATCH) and an activation with their derivative along a direction,
    // no borders: y = act(norm(x)) and dy = d y / d e for d x / d e = dx. Backward: the gradients
    // of x and dx for a loss of y and dy; g_y NULL: none of y; ret_gx NULL: not wanted. The
    // formulas are in cpu_dual.h. Running statistics stay as they are.
    int (*dual_forward)(struct device *d, const struct norm_shape *s, const struct dual_tensors *t);
    int (*dual_backward)(struct device *d, const struct norm_shape *s,
                         const struct dual_gradients *t);
    // loss = scale mean over n of (|g_n + 1e-16| - 1)^2, g [n,count]; u its gradient by g.
    // Source: Gulrajani et al. 2017 (arXiv:1704.00028).
    int (*penalty)(struct device *d, const struct penalty_args *args, const float *g, float *ret_u,
                   double *ret_loss);

    // Antialiased change of size with fixed filters, on both axes:
    //   BLUR  every second pixel after [1 2 1] / 4
    //   UP    y[2i] = (3 x[i] + x[i-1]) / 4, y[2i+1] = (3 x[i] + x[i+1]) / 4, x clamped at the
    //   edges
    // Sources: Zhang 2019 (arXiv:1904.11486); Park et al. 2020 (arXiv:2007.15651), its code.
    int (*resample)(struct device *d, const struct resample_shape *s, const float *x, float *ret_y);

    // y [n,count,c] = x at the ids. Backward: dx (+)= dy there, 0 elsewhere; ids may repeat.
    int (*sample_forward)(struct device *d, const struct sample_shape *s, const float *x,
                          float *ret_y);
    int (*sample_backward)(struct device *d, const struct sample_shape *s, const float *dy,
                           bool accumulate, float *ret_dx);

    // PatchNCE. With q, k scaled to x / (|x| + 1e-7) and k constant: loss = scale times the mean of
    //   -log(e^(q_i k_i / T) / (e^(q_i k_i / T) + e^(-10 / T) + sum over j != i e^(q_i k_j / T)))
    // with j over the patches of the same picture, with `all` over those of the batch; dq its
    // gradient. ret_each [n,patches]: the unscaled terms; NULL: not wanted.
    // Source: Park et al. 2020, equation 3; the dead term stands for the diagonal, as in its code.
    size_t (*nce_workspace_bytes)(struct device *d, const struct nce_args *args);
    int (*nce)(struct device *d, const struct nce_args *args, const float *q, const float *k,
               float *ret_dq, float *ret_each, double *ret_loss, void *workspace);

    // m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    // p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + 1e-8). Kingma and Ba 2014 (arXiv:1412.6980).
    int (*adam)(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v);
    // Whether all numbers are finite.
    bool (*finite)(struct device *d, size_t count, const float *x);
};

// Height and width of a convolution's output; below 1 if the input is too small.
void conv_output_size(const struct conv_shape *s, int *ret_h, int *ret_w);

// Opens the device named. Fails with ERR_DEVICE (the text says what to set instead).
int device_open(const struct device_options *options, struct device **ret_device);
void device_close(struct device *d);

// For backend.c: one line per backend.
int backend_cpu_open(const struct device_options *options, struct device **ret_device);

#endif
