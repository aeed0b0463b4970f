// backend - the contract of a device: one table of functions, filled once for each kind of device.
//
// Tensors. In memory a tensor is [N,H,W,C], channels innermost, without gaps; here it is void *. A
// number has device.element_bytes (4: float; 2: bfloat16). device_channels of C channels are
// stored, and every op writes zeros into the surplus ones. A tensor may carry a reflection border
// of `pad` pixels on every side. Its memory then is [N, H+2 pad, W+2 pad, C]: the inside is the
// value, and the border repeats it (... 2 1 | 0 1 2 ..., the edge pixel is not repeated). Sizes
// named h, w never count the border, with one exception: conv_shape takes a bordered input as a
// plain larger one. Parameters, their gradients and moments, and statistics are float and have
// exactly C channels on every device. Losses are double.
//
// Ops take shapes and buffers. They allocate nothing and keep no state, except scratch of the
// device for each stream. Work that can be prepared is done once per shape (device_conv) or once
// per weight (device_weights). An op overwrites its outputs completely unless `accumulate` is set.
// No buffers alias. The shape fixes the order of every sum, on the CPU together with the
// instruction set: the same inputs give the same bits, with any number of threads.
//
// Every op returns ERR_OK or ERR_DEVICE_LOST; ERR_LIMIT where the device has no memory left for its
// own needs or does not take the shape. On an asynchronous device (device.asynchronous) an op has
// only been issued when its call returns: later ops may read its outputs, the host may read them
// after a fence. A lost device is reported by one of the next calls and by all later ones.
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_options {
    const char *name;     // "cpu", or the name of a plugin, see device/device.h
    int threads;          // >= 1; CPU only
    const char *winograd; // "auto", "off", "f2", "f4"; NULL is "auto"; CPU only
    bool weights_change;  // weights change with every step, so their repacked copies are made for
                          // each use and not kept; CPU only
    const char *dtype;    // of the arithmetic: "fp32", "tf32", "bf16"; NULL or "auto": the device
                          // chooses. The CPU has fp32 alone
    int gpu;              // number of the device among the visible ones; not for the CPU
    const char *plans;    // file of plans_save whose plans are used for its shapes; NULL: none
};

// An open device. Backends put this first in their own struct.
struct device {
    const struct backend *backend;
    const char *dtype;    // in use: "fp32", "tf32", "bf16"
    size_t element_bytes; // of a number in a tensor
    int channel_step;     // channels are stored in multiples of so many
    int streams;          // 1, or DEVICE_STREAMS
    bool asynchronous;    // computes while the host goes on, in memory that the host cannot address
    bool has_plans;       // it chooses plans by measuring; plans_save writes them
    size_t reserve_bytes; // of its memory, taken by its driver in the first steps; 0: none
};

// Ops of one stream run in the order in which they were issued. Ops of different streams may run at
// the same time unless event_wait orders them.
#define DEVICE_STREAMS 4
#define DEVICE_SIDE_STREAMS 2 // this stream and later ones: for results that are needed late
#define DEVICE_EVENTS 4096    // events are numbers below this one
#define DEVICE_PREFETCHES 2   // batches of A and of B

enum device_fence {
    FENCE_NOW,   // waited for at once
    FENCE_STEP,  // the updates of a training step
    FENCE_FAKES, // its images for the pool
    DEVICE_FENCES
};

struct device_section; // a list of ops that is issued repeatedly
struct device_weights; // everything derived from one convolution's master weights
struct device_conv;    // one convolution shape with one device_weights, prepared

// Values that change from step to step. They are no arguments of ops: a device may repeat a
// recorded section without calling the ops.
struct device_values {
    double lr;     // of adam
    int64_t t;     // of adam: 1 at the first step
    uint64_t seed; // of dropout
    uint64_t step;
};

// Without border and surplus channels, as all sizes of this header.
struct tensor_shape {
    int n, h, w, c;
};

enum pixel_type {
    PIXELS_FLOAT,  // in [-1,1]
    PIXELS_BYTE,   // v is (v / 255 - 0.5) / 0.5, each operation rounded to float; in only
    PIXELS_NATIVE, // the tensor's own numbers, bit for bit, without surplus channels
};

// y = conv(x) (cross-correlation) or, if transposed, its adjoint.
//   plain       x [n,h,w,c] -> y [n,ho,wo,k], ho = (h + 2 pad - r) / stride + 1, filter [k,c,r,r]
//   transposed  ho = (h - 1) stride - 2 pad + r + out_pad, filter [c,k,r,r]
struct conv_shape {
    int n, c, h, w;
    int k, r, stride, pad, out_pad; // pad: zeros, as opposed to the reflection in x
    bool transposed, bias;
};

// The buffers of conv_backward. An output is NULL if it is not wanted.
struct conv_gradients {
    const void *x, *dy; // x NULL: no ret_dw
    void *ret_dx;       // [n,h,w,c]
    float *ret_dw;      // in the master's layout; (+)=
    float *ret_dbias;   // [k], sum of dy over n,h,w; (+)=; NULL exactly if no ret_dw or no bias
    bool accumulate;    // add to dw and dbias
};

// NORM_BATCH normalizes by the batch's statistics, NORM_RUNNING by the layer's running ones.
enum norm_kind { NORM_NONE, NORM_INSTANCE, NORM_BATCH, NORM_RUNNING };
// tanh is an op of its own, because no norm comes before it.
enum activation { ACT_NONE, ACT_RELU, ACT_LEAKY };
// In double; code that computes in float rounds them first.
#define LEAKY_SLOPE 0.2   // for x <= 0
#define NORM_EPS 1e-5     // added to a variance
#define NORM_MOMENTUM 0.1 // of running statistics
#define PENALTY_EPS 1e-16 // added to each component of a gradient
#define ADAM_EPS 1e-8

struct norm_shape {
    int n, h, w, c;
    int pad;      // border of y
    int skip_pad; // border of skip
    enum norm_kind norm;
    enum activation act;
};

// A part of a gradient. The gradient of a tensor is the sum of its parts. A part covers the images
// [first, first + n) and may carry a border, whose values belong to the pixels that it repeats.
struct grad_part {
    const void *data; // [n, h+2 pad, w+2 pad, c]
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
    float *running_mean, *running_var; // NORM_BATCH: NULL if they are not to move
};

// drop(x) is 2 x or 0. Element e of [n,h,w,c], surplus channels not counted, survives if bit e %
// 128 (from the lowest of v[0]) of rng_block(values.seed, RNG_DROPOUT, values.step << 24 | op, e /
// 128) is
// 1. Source: Srivastava et al. 2014, p = 0.5.
struct norm_dropout {
    uint64_t op; // the op's number, below 2^24
};

// The buffers of norm_forward and norm_backward.
struct norm_tensors {
    const void *x, *skip;
    void *ret_y;
    float *ret_stats;
    const struct norm_affine *affine;   // NORM_BATCH and NORM_RUNNING; else NULL
    const struct norm_dropout *dropout; // NULL: none
};
struct norm_gradients {
    const void *x;
    const float *stats;
    struct grad_sum dy;
    void *ret_dx, *ret_dskip;
    const struct norm_affine *affine;
    const struct norm_dropout *dropout;
    float *ret_dweight, *ret_dbias; // [c]; (+)=; NULL: not wanted; NORM_BATCH only
    bool accumulate;                // add to dweight and dbias
};

// a and b have the same images and sizes, so only the number of pixels counts.
struct concat_shape {
    size_t pixels; // n h w
    int c_a, c_b;
    enum activation act; // ACT_NONE or ACT_RELU
};

// The buffers of concat_backward. An output is NULL if it is not wanted.
struct concat_gradients {
    const void *y, *dy;
    void *ret_da, *ret_db;
};

// The buffers of tangent_forward, [n,h,w,c] each.
struct tangent_tensors {
    const void *x, *dx;
    void *ret_y, *ret_dy;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
};
// The buffers of tangent_backward. g_y and g_dy are the gradients by y and by dy.
struct tangent_gradients {
    const void *x, *dx, *g_y, *g_dy;
    void *ret_gx, *ret_gdx;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
    float *ret_dweight, *ret_dbias;   // [c]; (+)=; NULL: not wanted; NORM_BATCH only
    bool accumulate;
};

// [n,h,w,c] of the gradient, and the factor of the loss.
struct penalty_args {
    struct tensor_shape shape;
    double scale;
};

struct mix_shape {
    int n, h, w, c_front, c;
};

// The buffers of mix.
struct mix_tensors {
    const float *alpha;              // [n]
    const void *front, *real, *fake; // [n,h,w,c_front], [n,h,w,c], [n,h,w,c]; front NULL: c_front 0
    void *ret_y;                     // [n,h,w,c_front + c]
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
    bool all;        // patches of the batch's other images are negatives too
    bool accumulate; // add to the loss
};

// The objectives of `gan`, which has their formulas. The penalty of WGAN-GP is a separate op.
enum gan_mode { GAN_LSGAN, GAN_VANILLA, GAN_WGANGP, GAN_NONSATURATING };

struct gan_args {
    enum gan_mode mode;
    bool target_real;
    struct tensor_shape shape;
    double scale;
};

// l1 takes a mean, so the scale needs no division by the number of elements.
struct l1_args {
    struct tensor_shape shape;
    double scale;
};

// beta1 and beta2 belong to the optimizer and never change. lr and t are in device_values.
struct adam_args {
    size_t count;
    double beta1, beta2;
    int *ret_bad; // shared_new's: set as by `finite`, for the gradients; NULL: not wanted
};

struct backend {
    const char *name;
    void (*close)(struct device *d);
    // Names the device for a person: "NVIDIA H200, driver 580.65, cuDNN 9.19".
    void (*describe)(struct device *d, char *ret_text, size_t size);

    // ---- memory ----

    // Zeroed memory of the device, aligned to 64 bytes. The host may address it only if the device
    // is not asynchronous. Fails with ERR_LIMIT (the text has the free bytes).
    int (*memory_new)(struct device *d, size_t bytes, void **ret_memory);
    void (*memory_free)(struct device *d,
                        void *memory); // accepts NULL; waits for the ops that use it
    // Zeroed memory that host and device address by the same pointer: losses, flags, and the target
    // of image_out. Fails as memory_new does.
    int (*shared_new)(struct device *d, size_t bytes, void **ret_memory);
    void (*shared_free)(struct device *d, void *memory);
    // The most bytes of its own memory that the device has held; 0: its memory is the host's.
    size_t (*memory_peak)(struct device *d);

    // Copy between host memory and memory_new's, after everything issued before. On return copy_in
    // has read its source, copy_out has written. Not inside of a section.
    int (*copy_in)(struct device *d, void *to, const void *from, size_t bytes);
    int (*copy_out)(struct device *d, void *to, const void *from, size_t bytes);
    // An op; both are memory_new's.
    int (*copy)(struct device *d, void *to, const void *from, size_t bytes);

    // Writes images [n,h,w,c] of the host into a tensor without border, after everything issued
    // before. On return the source has been read. An asynchronous device transfers while earlier
    // ops still run. Not inside of a section.
    int (*image_in)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                    const void *images, void *ret_tensor);
    // The same for n separate images [h,w,c], at any addresses, floats too.
    int (*images_in)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *const *images, void *ret_tensor);
    // image_in in two calls. image_prefetch starts the transfer beside the ops issued so far, and
    // has read the source on return; image_arrive waits for it and writes the tensor. At most
    // DEVICE_PREFETCHES are in flight. *ret_slot is image_arrive's argument; -1: the device does
    // not prefetch, and image_in is to be called instead.
    int (*image_prefetch)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                          const void *images, int *ret_slot);
    int (*image_arrive)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                        int slot, void *ret_tensor);
    // Writes a tensor without border as images [n,h,w,c] into shared_new's memory, after everything
    // issued before and beside later ops. They are there after the next fence; until then no op may
    // write the tensor. Not PIXELS_BYTE. Not inside of a section.
    int (*image_out)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *tensor, void *ret_shared);

    // ---- order ----

    // fence_set marks everything issued before it. fence_wait returns when all of that has ended
    // and the host can read its shared memory; at once for a fence that was never set. Not inside
    // of a section.
    int (*fence_set)(struct device *d, enum device_fence fence);
    int (*fence_wait)(struct device *d, enum device_fence fence);

    // A section is a list of ops with their buffers, the same each time. If *ret_issue is true, the
    // caller issues the ops between begin and end. If not, the device repeats its recording, and
    // section_end issues that. A section begins after everything issued before and ends before
    // everything issued later, in all streams. adam and norms with dropout need one, for `values`.
    //
    // A begin that fails leaves nothing open. After a failed op, section_drop takes the place of
    // section_end: it ends the recording, and the section is as new. Sections are freed before the
    // buffers of their ops.
    int (*section_new)(struct device *d, struct device_section **ret_section);
    void (*section_free)(struct device_section *section); // accepts NULL
    int (*section_begin)(struct device_section *section, const struct device_values *values,
                         bool *ret_issue);
    int (*section_end)(struct device_section *section);
    void (*section_drop)(struct device_section *section);

    // Streams, inside of a section that is being issued. Ops go to stream 0 until stream_choose.
    // event_record records an event, a number in [0, DEVICE_EVENTS), behind the ops of the chosen
    // stream so far; the numbers are free again in the next section. event_wait lets later ops of
    // the chosen stream begin when the event has been reached. With one stream all three do
    // nothing.
    void (*stream_choose)(struct device *d, int stream);
    int (*event_record)(struct device *d, int event);
    int (*event_wait)(struct device *d, int event);

    // ---- convolutions ----

    // `master` [dims] (memory_new's), in the state dict's layout, is lent for the object's life.
    // Only weights_refresh reads it: the caller refreshes after every change. Convolutions that
    // need the same packing of the same weights share one packed copy. weights_free comes after
    // conv_free of all of them.
    struct device_weights *(*weights_new)(struct device *d, const float *master,
                                          const int64_t dims[4]);
    void (*weights_free)(struct device_weights *w);
    // An op on all weights[0, count) of an optimizer, always in the same order. Outside of a
    // section it may allocate; there it is called after conv_new.
    int (*weights_refresh)(struct device *d, struct device_weights *const *weights, int count);
    size_t (*weights_bytes)(const struct device_weights *w);

    // Prepares the forward pass and, if `backward`, both gradients. Fails with ERR_DEVICE if the
    // device cannot compute this shape. New packed copies are valid after weights_refresh.
    int (*conv_new)(struct device_weights *w, const struct conv_shape *shape, bool backward,
                    struct device_conv **ret_conv);
    void (*conv_free)(struct device_conv *c);
    // Scratch of conv_forward and conv_backward (memory_new's), aligned to 64 bytes.
    size_t (*conv_workspace_bytes)(const struct device_conv *c);
    // Writes the plans of all convolutions made so far. A device that opens with them as
    // device_options.plans computes the same bits. Needs device.has_plans. Fails with ERR_IO.
    int (*plans_save)(struct device *d, const char *path);
    // Names its kernels for a person and for the checkpoint, e.g. "jit:avx2 jit:avx2 gemm".
    void (*conv_describe)(const struct device_conv *c, char *ret_text, size_t size);

    // y = conv(x) + bias; bias [k] is NULL exactly if the shape has none.
    int (*conv_forward)(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                        void *workspace);
    // The gradients of x and of the parameters, for dy = d loss / d y. One call computes both, or
    // two calls one each; those may run at the same time.
    int (*conv_backward)(struct device_conv *c, const struct conv_gradients *t, void *workspace);

    // ---- norms, tanh, concatenation ----

    // y = border(drop(act(norm(x))) + skip), the border by reflection.
    //   x          [n,h,w,c]
    //   skip       [n,h+2 skip_pad,w+2 skip_pad,c], its inside is added; NULL: nothing is added
    //   ret_y      [n,h+2 pad,w+2 pad,c]; needs pad < h, w
    //   ret_stats  [2,n,c], of NORM_BATCH and NORM_RUNNING [2,c]: mean, 1/sqrt(variance +
    //              NORM_EPS); untouched for NORM_NONE
    // NORM_INSTANCE: (x - mean) / sqrt(variance + NORM_EPS) per (n,c) over h,w, biased variance, no
    // affine part. Source: Ulyanov et al. 2016 (arXiv:1607.08022).
    // NORM_BATCH: weight xhat + bias, xhat as above per c over n,h,w (more than one value), and
    // running += NORM_MOMENTUM (x - running) for the mean and the unbiased variance.
    // NORM_RUNNING: xhat by the running statistics. Source: Ioffe and Szegedy 2015
    // (arXiv:1502.03167).
    int (*norm_forward)(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace);
    // g is the sum of dy's parts, borders folded back, and u = drop(g) act'(norm(x)):
    //   ret_dx       [n,h,w,c] = (u - mean(u) - xhat mean(u xhat)) / sqrt(variance + NORM_EPS), for
    //                NORM_BATCH times weight; NORM_NONE: u; NORM_RUNNING has no backward
    //   ret_dskip    [n,h,w,c] = g; NULL: not wanted
    //   ret_dweight  [c] = sum of u xhat over n,h,w; ret_dbias = sum of u
    // act'(0) is 0 for ReLU, LEAKY_SLOPE for leaky. stats are those of norm_forward.
    int (*norm_backward)(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace);

    // y = tanh(x); dx = (1 - y^2) times the sum of dy's parts. Of the shape, n,h,w,c are read.
    int (*tanh_forward)(struct device *d, const struct norm_shape *s, const void *x, void *ret_y);
    int (*tanh_backward)(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace);
    // Scratch of these four (memory_new's), aligned to 64 bytes.
    size_t (*norm_workspace_bytes)(struct device *d, const struct norm_shape *s);

    // Concatenation on the channels, for a U-Net's skip or a conditional discriminator's input:
    // y = act([a; b]), a [pixels,c_a], b [pixels,c_b], y [pixels,c_a + c_b]. da and db are the
    // parts of dy; with ACT_RELU they are 0 where y is 0.
    int (*concat_forward)(struct device *d, const struct concat_shape *s, const void *a,
                          const void *b, void *ret_y);
    int (*concat_backward)(struct device *d, const struct concat_shape *s,
                           const struct concat_gradients *t);

    // ---- losses; ret_loss is shared_new's, NULL: not wanted ----

    // loss = scale mean |a - b|; grad = scale sign(a - b) / count (0 where equal).
    int (*l1)(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss);
    // loss = scale mean f(x), grad = scale f'(x) / count, softplus(x) = log(1 + e^x):
    //                                target real     target fake
    //   GAN_LSGAN                    (x - 1)^2       x^2
    //   GAN_VANILLA, _NONSATURATING  softplus(-x)    softplus(x)
    //   GAN_WGANGP                   -x              x
    // Sources: Mao et al. 2017 (arXiv:1611.04076), Goodfellow et al. 2014 (arXiv:1406.2661),
    // Arjovsky et al. 2017 (arXiv:1701.07875; without a penalty).
    int (*gan)(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss);

    // ---- gradient penalty ----

    // A norm (NONE, INSTANCE or BATCH) and an activation with their tangent, without borders:
    // y = act(norm(x)) and dy = d y / d e, where d x / d e = dx. The backward has the gradients by
    // x and dx of a loss of y and dy. g_y NULL: the loss does not depend on y; ret_gx NULL: not
    // wanted. cpu/tangent.h has the formulas. Running statistics do not move.
    int (*tangent_forward)(struct device *d, const struct norm_shape *s,
                           const struct tangent_tensors *t);
    int (*tangent_backward)(struct device *d, const struct norm_shape *s,
                            const struct tangent_gradients *t);
    // loss = scale mean over n of (|g_n + PENALTY_EPS| - 1)^2 for g [n,h,w,c]; u is its gradient by
    // g. Source: Gulrajani et al. 2017 (arXiv:1704.00028).
    int (*penalty)(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                   double *ret_loss);
    // Images between fake and real, behind the channels of `front`:
    // y = [front; alpha_n real + (1 - alpha_n) fake]. Same source.
    int (*mix)(struct device *d, const struct mix_shape *s, const struct mix_tensors *t);

    // ---- resampling and patches ----

    // Antialiased change of size with fixed filters, on both axes:
    //   BLUR  every second pixel of x * [1 2 1] / 4
    //   UP    y[2i] = (3 x[i] + x[i-1]) / 4, y[2i+1] = (3 x[i] + x[i+1]) / 4; at the edges x[-1] is
    //         x[0], and x[h] is x[h-1]
    // Sources: Zhang 2019 (arXiv:1904.11486); Park et al. 2020 (arXiv:2007.15651), its code.
    int (*resample)(struct device *d, const struct resample_shape *s, const void *x, void *ret_y);
    // y = x, flipped left to right if *flip (memory_new's) is not 0; no borders.
    int (*flip)(struct device *d, const struct tensor_shape *s, const int *flip, const void *x,
                void *ret_y);

    // y [n,count,c] = x at the ids. Backward: dx (+)= dy there, 0 elsewhere; ids may repeat.
    int (*sample_forward)(struct device *d, const struct sample_shape *s, const void *x,
                          void *ret_y);
    int (*sample_backward)(struct device *d, const struct sample_shape *s, const void *dy,
                           bool accumulate, void *ret_dx);

    // PatchNCE. q and k are first scaled to x / (|x| + 1e-7); k is constant. loss = scale times the
    // mean of
    //   -log(e^(q_i k_i / T) / (e^(q_i k_i / T) + e^(-10 / T) + sum over j != i e^(q_i k_j / T)))
    // where j runs over the patches of the image, with `all` over those of the batch. dq is its
    // gradient. ret_each [n,patches] (memory_new's): the unscaled terms; NULL: not wanted.
    // Source: Park et al. 2020, equation 3. As in its code, e^(-10 / T) replaces the diagonal.
    size_t (*nce_workspace_bytes)(struct device *d, const struct nce_args *args);
    int (*nce)(struct device *d, const struct nce_args *args, const void *q, const void *k,
               void *ret_dq, float *ret_each, double *ret_loss, void *workspace);

    // ---- parameters ----

    // m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    // p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + ADAM_EPS). Kingma and Ba 2014 (arXiv:1412.6980).
    // lr and t are those of the section's values.
    int (*adam)(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v);
    // y = a x + b y; a, b and each operation are rounded to float.
    int (*blend)(struct device *d, size_t count, double a, const float *x, double b, float *y);
    // Sets *ret_bad (shared_new's) to 1 if a number is not finite; does not touch it otherwise.
    int (*finite)(struct device *d, size_t count, const float *x, int *ret_bad);
};

// The number of channels that are stored for c channels.
int device_channels(const struct device *d, int c);
// Numbers of a tensor without its border and surplus channels.
size_t tensor_count(const struct tensor_shape *s);
// Bytes of a tensor with a border of `pad`.
size_t device_tensor_bytes(const struct device *d, const struct tensor_shape *s, int pad);

// Bytes of images of the host.
size_t device_image_bytes(const struct device *d, const struct tensor_shape *s,
                          enum pixel_type type);

// Waits until everything issued has ended. ERR_DEVICE_LOST.
int device_wait(struct device *d);

// Ends an open section: with section_end if `err`, the result of its ops, is ERR_OK, else with
// section_drop. Returns `err` or the error of the end.
int device_section_end(struct device *d, struct device_section *section, int err);

// Height and width of a convolution's output; below 1 if the input is too small.
void conv_output_size(const struct conv_shape *s, int *ret_h, int *ret_w);

// The exports of a plugin, which uses functions of the program that loads it. Both have to be built
// from the same backend.h: make writes its digest to device_interface.h.
extern const char device_plugin_interface[];
int device_plugin_open(const struct device_options *options, struct device **ret_device);

#endif
