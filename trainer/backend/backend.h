// backend - the only door to devices: one table of functions, filled once per device kind.
//
// Tensors are [N,H,W,C] in memory (channels innermost, nothing between pixels) and void * here: a
// number has device.element_bytes (4: float; 2: bfloat16), and of C channels device_channels are
// stored; those behind C are zero, written as zero by every op. A tensor may carry a reflection
// border of `pad` pixels on every side: then its memory is [N, H+2 pad, W+2 pad, C], its inside is
// the value and the border repeats it (... 2 1 | 0 1 2 ..., the edge pixel is not repeated). Sizes
// named h, w never count the border, except for conv_shape, which sees bordered inputs as plain
// larger ones. Parameters, their gradients and moments, statistics are float and have exactly C
// channels, losses are double, on every device.
//
// Ops take shapes and buffers, allocate nothing and keep no state, but for scratch of the device
// for each stream. What is worth preparing is made once per shape (device_conv) or once per weight
// (device_weights). Outputs are overwritten completely, whatever they held before, unless an
// `accumulate` says otherwise. Nothing aliases. Sums run in an order that the shape fixes
// (on the CPU: and the instruction set): same inputs, same bits.
//
// Every op returns ERR_OK or ERR_DEVICE_LOST; ERR_LIMIT where the device has no memory left for its
// own needs or does not take the shape. On a device that works beside the host
// (device.asynchronous) an op has only been issued when its call returns: what it writes may be
// read by later ops, and by the host after a fence. A device that is lost says so at one of the
// next calls, and from then on.
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_options {
    const char *name;     // "cpu", or that of a plugin, see device/device.h
    int threads;          // >= 1; CPU only
    const char *winograd; // "auto", "off", "f2", "f4"; NULL is "auto"; CPU only
    bool weights_change;  // with every step: what a kernel wants them repacked for is made anew for
                          // each use and not kept; CPU only
    const char *dtype;    // what it computes with: "fp32", "tf32", "bf16"; NULL or "auto": its own
                          // choice. The CPU computes with fp32 alone
    int gpu;              // number of the device among those that are visible; not for the CPU
    const char *plans;    // file that plans_save has written: its shapes get its plans; NULL: none
};

// An open device. Backends put this first in their own struct.
struct device {
    const struct backend *backend;
    const char *dtype;    // in use: "fp32", "tf32", "bf16"
    size_t element_bytes; // of a number in a tensor
    int channel_step;     // channels are stored in multiples of so many
    int streams;          // 1, or DEVICE_STREAMS
    bool asynchronous;    // computes beside the host, in memory that the host cannot address
    bool has_plans;       // plans_save has something to say
    size_t reserve_bytes; // of its memory that its driver takes in the first steps; 0: none
};

// On a device with streams, ops of one stream run in the order in which they were issued, ops of
// different streams at the same time unless event_wait orders them.
#define DEVICE_STREAMS 4
#define DEVICE_SIDE_STREAMS 2 // streams from this one on are for what nobody waits for soon
#define DEVICE_EVENTS 4096    // event_record's numbers are below
#define DEVICE_PREFETCHES 2   // pictures of A and B

enum device_fence {
    FENCE_NOW,   // is waited for at once
    FENCE_STEP,  // a training step's updates
    FENCE_FAKES, // its pictures for the pool
    DEVICE_FENCES
};

struct device_section; // ops that are issued again and again
struct device_weights; // everything derived from one convolution's master weights
struct device_conv;    // one convolution shape with one device_weights, prepared

// What changes from step to step: therefore no argument of an op, since a section's ops may be
// issued without their calls.
struct device_values {
    double lr;     // of adam
    int64_t t;     // of adam: 1 at the first step
    uint64_t seed; // of dropout
    uint64_t step;
};

struct tensor_shape {
    int n, h, w, c;
};

enum pixel_type {
    PIXELS_FLOAT,  // in [-1,1]
    PIXELS_BYTE,   // v stands for (v / 255 - 0.5) / 0.5, each operation rounded to float; in only
    PIXELS_NATIVE, // a tensor's own numbers, bit for bit, without its surplus channels
};

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
    const void *x, *dy; // x NULL: no ret_dw
    void *ret_dx;       // [n,h,w,c]
    float *ret_dw;      // in the master's layout; (+)=
    float *ret_dbias;   // [k], sum of dy over n,h,w; (+)=; NULL exactly if no ret_dw or no bias
    bool accumulate;    // add to dw and dbias
};

// NORM_BATCH: by the batch's statistics. NORM_RUNNING: the same layer by its running ones.
enum norm_kind { NORM_NONE, NORM_INSTANCE, NORM_BATCH, NORM_RUNNING };
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

// A part of a gradient. The gradient of a tensor is the sum of its parts, each of which may cover
// only the pictures [first, first + n) and may carry the border (its values there belong to the
// pixels that the border repeats).
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
    float *running_mean, *running_var; // NORM_BATCH: NULL leaves them as they are
};

// drop(x) is 2 x or 0: element e of [n,h,w,c] (C as it is, not as it is stored) survives if bit
// e % 128 (from the lowest of v[0]) of rng_block(values.seed, RNG_DROPOUT, values.step << 24 | op,
// e / 128) is 1. Source: Srivastava et al. 2014, p = 0.5.
struct norm_dropout {
    uint64_t op; // its number, below 2^24
};

// The buffers of norm_forward and norm_backward; see there.
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

struct concat_shape {
    size_t pixels; // n h w
    int c_a, c_b;
    enum activation act; // ACT_NONE or ACT_RELU
};

// The buffers of concat_backward. Its outputs are wanted or NULL.
struct concat_gradients {
    const void *y, *dy;
    void *ret_da, *ret_db;
};

struct tangent_tensors {
    const void *x, *dx;
    void *ret_y, *ret_dy;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
};
struct tangent_gradients {
    const void *x, *dx, *g_y, *g_dy;
    void *ret_gx, *ret_gdx;
    const struct norm_affine *affine; // NORM_BATCH; else NULL
    float *ret_dweight, *ret_dbias;   // [c]; (+)=; NULL: not wanted; NORM_BATCH only
    bool accumulate;
};

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
    bool all;        // patches of the other pictures of the batch are negatives too
    bool accumulate; // add to the loss
};

enum gan_mode { GAN_LSGAN, GAN_VANILLA, GAN_WGANGP, GAN_NONSATURATING };

struct gan_args {
    enum gan_mode mode;
    bool target_real;
    struct tensor_shape shape;
    double scale;
};

struct l1_args {
    struct tensor_shape shape;
    double scale;
};

struct adam_args {
    size_t count;
    double beta1, beta2;
    int *ret_bad; // shared_new's: as of `finite`, for the gradients; NULL: not wanted
};

struct backend {
    const char *name;
    void (*close)(struct device *d);
    // Which device it is, for a person: "NVIDIA H200, driver 580.65, cuDNN 9.19".
    void (*describe)(struct device *d, char *ret_text, size_t size);

    // ---- memory ----

    // Zeroed memory that the device computes in, aligned to 64 bytes. The host may address it only
    // if the device is not asynchronous. Fails with ERR_LIMIT (the text says what is free).
    int (*memory_new)(struct device *d, size_t bytes, void **ret_memory);
    void (*memory_free)(struct device *d, void *memory); // accepts NULL; waits for what uses it
    // Zeroed memory that host and device address by the same pointer: a few numbers (losses,
    // flags), and what image_out writes. Fails as memory_new does.
    int (*shared_new)(struct device *d, size_t bytes, void **ret_memory);
    void (*shared_free)(struct device *d, void *memory);
    // The most bytes of its own memory that the device has held; 0: its memory is the host's.
    size_t (*memory_peak)(struct device *d);

    // Between host memory and that of memory_new, after everything issued before. copy_in has read
    // its source when it returns, copy_out has written. Not inside of a section.
    int (*copy_in)(struct device *d, void *to, const void *from, size_t bytes);
    int (*copy_out)(struct device *d, void *to, const void *from, size_t bytes);
    // An op: from and to memory_new's.
    int (*copy)(struct device *d, void *to, const void *from, size_t bytes);

    // Pictures [n,h,w,c] of the host, type as said, to a tensor without border, after everything
    // issued before; the source has been read when it returns. What an asynchronous device has to
    // move it moves while earlier ops still run. Not inside of a section.
    int (*image_in)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                    const void *pictures, void *ret_tensor);
    // The same for n pictures [h,w,c] that lie apart, at any addresses (floats too).
    int (*images_in)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *const *pictures, void *ret_tensor);
    // image_in in two calls: image_prefetch lets them travel while the device does what it has
    // been asked for so far, and nothing waits for them before image_arrive. The source has been
    // read when the first returns. At most DEVICE_PREFETCHES are between the two. *ret_ahead is for
    // image_arrive; -1: nothing travels on this device, image_in does it all.
    int (*image_prefetch)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                          const void *pictures, int *ret_ahead);
    int (*image_arrive)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                        int ahead, void *ret_tensor);
    // A tensor without border to pictures [n,h,w,c] in memory of shared_new, after everything
    // issued before, beside what is issued later. They are there after the next fence; until then
    // no op writes the tensor. Not PIXELS_BYTE. Not inside of a section.
    int (*image_out)(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *tensor, void *ret_shared);

    // ---- order ----

    // fence_set stands for everything issued before it; fence_wait returns when all that has ended
    // and what it has written to shared memory can be read. One that was never set has ended. Not
    // inside of a section.
    int (*fence_set)(struct device *d, enum device_fence fence);
    int (*fence_wait)(struct device *d, enum device_fence fence);

    // A section is a list of ops with their buffers, the same each time. Between begin and end its
    // ops are issued if *ret_issue says so; else the device repeats what it has recorded, and
    // section_end issues that. It begins after everything issued before and ends before everything
    // issued later, in all streams. adam and norms with dropout are inside of one, and take
    // `values`. A begin that fails leaves nothing open. After an op that failed section_drop is
    // called in the place of section_end: it ends what is being recorded, and the section is as
    // new. Sections are freed before what their ops use.
    int (*section_new)(struct device *d, struct device_section **ret_section);
    void (*section_free)(struct device_section *section); // accepts NULL
    int (*section_begin)(struct device_section *section, const struct device_values *values,
                         bool *ret_issue);
    int (*section_end)(struct device_section *section);
    void (*section_drop)(struct device_section *section);

    // Streams, inside of a section that is being issued. Its ops go to stream 0 until
    // stream_choose. event_record gives what the chosen stream has been issued so far a number, [0,
    // DEVICE_EVENTS), free again in the next section; event_wait: what the chosen stream is issued
    // from now on begins when that has ended. With one stream they do nothing.
    void (*stream_choose)(struct device *d, int stream);
    int (*event_record)(struct device *d, int event);
    int (*event_wait)(struct device *d, int event);

    // ---- convolutions ----

    // `master` [dims] in the state dict's layout (memory_new's) stays where it is for the object's
    // life; it is read by weights_refresh only, which has to follow every change of it. Convs that
    // use the same weights in the same packing share one packed copy. weights_free after all its
    // convs.
    struct device_weights *(*weights_new)(struct device *d, const float *master,
                                          const int64_t dims[4]);
    void (*weights_free)(struct device_weights *w);
    // An op on all of weights[0, count), which are those of an optimizer, always in this order.
    // Outside of a section it may allocate; it is called there after conv_new.
    int (*weights_refresh)(struct device *d, struct device_weights *const *weights, int count);
    size_t (*weights_bytes)(const struct device_weights *w);

    // Prepares forward and, if `backward`, both gradients. Fails with ERR_DEVICE if the device
    // has no way to compute this shape. Packed copies it adds are valid after weights_refresh.
    int (*conv_new)(struct device_weights *w, const struct conv_shape *shape, bool backward,
                    struct device_conv **ret_conv);
    void (*conv_free)(struct device_conv *c);
    // Scratch that conv_* below need at `workspace` (memory_new's), aligned to 64 bytes.
    size_t (*conv_workspace_bytes)(const struct device_conv *c);
    // Writes the plans of all convolutions made so far, for device_options.plans of another open
    // device: it then computes the same bits. Needs device.has_plans. Fails with ERR_IO.
    int (*plans_save)(struct device *d, const char *path);
    // Which kernels it uses, for a person and for the checkpoint, e.g. "jit:avx2 jit:avx2 gemm".
    void (*conv_describe)(const struct device_conv *c, char *ret_text, size_t size);

    // y = conv(x) + bias; bias [k] is NULL exactly if the shape has none.
    int (*conv_forward)(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                        void *workspace);
    // The gradients of x and of the parameters, for dy = d loss / d y; see conv_gradients. Both in
    // one call, or each in one of its own, which may run at the same time.
    int (*conv_backward)(struct device_conv *c, const struct conv_gradients *t, void *workspace);

    // ---- norms and what goes with them ----

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
    int (*tanh_forward)(struct device *d, const struct norm_shape *s, const void *x, void *ret_y);
    int (*tanh_backward)(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace);
    // Scratch that the four above need at `workspace`, aligned to 64 bytes.
    size_t (*norm_workspace_bytes)(struct device *d, const struct norm_shape *s);

    // A U-Net's skip, a conditional discriminator's input: y = act([a; b]) on the channels,
    // a [pixels,c_a], b [pixels,c_b], y [pixels,c_a + c_b]; da, db are dy's halves, with ACT_RELU
    // where y > 0, else 0.
    int (*concat_forward)(struct device *d, const struct concat_shape *s, const void *a,
                          const void *b, void *ret_y);
    int (*concat_backward)(struct device *d, const struct concat_shape *s,
                           const struct concat_gradients *t);

    // ---- losses; ret_loss is shared_new's, NULL: not wanted ----

    // loss = scale mean |a - b|; grad = scale sign(a - b) / count (0 where equal).
    int (*l1)(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss);
    // loss = scale mean f(x), grad = scale f'(x) / count, with, for target real | fake:
    //   lsgan (x-1)^2 | x^2; vanilla and nonsaturating softplus(-x) | softplus(x); wgangp -x | x
    // Sources: Mao et al. 2017 (arXiv:1611.04076), Goodfellow et al. 2014 (arXiv:1406.2661),
    // Arjovsky et al. 2017 (arXiv:1701.07875; no penalty).
    int (*gan)(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss);

    // ---- gradient penalty ----

    // A norm (NONE, INSTANCE or BATCH) and an activation with their derivative along a direction,
    // no borders: y = act(norm(x)) and dy = d y / d e for d x / d e = dx. Backward: the gradients
    // of x and dx for a loss of y and dy; g_y NULL: none of y; ret_gx NULL: not wanted. The
    // formulas are in cpu/tangent.h. Running statistics stay as they are.
    int (*tangent_forward)(struct device *d, const struct norm_shape *s,
                           const struct tangent_tensors *t);
    int (*tangent_backward)(struct device *d, const struct norm_shape *s,
                            const struct tangent_gradients *t);
    // loss = scale mean over n of (|g_n + PENALTY_EPS| - 1)^2, g [n,h,w,c]; u its gradient by g.
    // Source: Gulrajani et al. 2017 (arXiv:1704.00028).
    int (*penalty)(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                   double *ret_loss);
    // Pictures on the way from fake to real, behind those of `front` on the channels:
    // y = [front; alpha_n real + (1 - alpha_n) fake]. See there.
    int (*mix)(struct device *d, const struct mix_shape *s, const struct mix_tensors *t);

    // ---- resampling and patches ----

    // Antialiased change of size with fixed filters, on both axes:
    //   BLUR  every second pixel after [1 2 1] / 4
    //   UP    y[2i] = (3 x[i] + x[i-1]) / 4, y[2i+1] = (3 x[i] + x[i+1]) / 4, x clamped at the
    //   edges
    // Sources: Zhang 2019 (arXiv:1904.11486); Park et al. 2020 (arXiv:2007.15651), its code.
    int (*resample)(struct device *d, const struct resample_shape *s, const void *x, void *ret_y);
    // y = x, each line mirrored if *flip (memory_new's) is not 0; no borders.
    int (*flip)(struct device *d, const struct tensor_shape *s, const int *flip, const void *x,
                void *ret_y);

    // y [n,count,c] = x at the ids. Backward: dx (+)= dy there, 0 elsewhere; ids may repeat.
    int (*sample_forward)(struct device *d, const struct sample_shape *s, const void *x,
                          void *ret_y);
    int (*sample_backward)(struct device *d, const struct sample_shape *s, const void *dy,
                           bool accumulate, void *ret_dx);

    // PatchNCE. With q, k scaled to x / (|x| + 1e-7) and k constant: loss = scale times the mean of
    //   -log(e^(q_i k_i / T) / (e^(q_i k_i / T) + e^(-10 / T) + sum over j != i e^(q_i k_j / T)))
    // with j over the patches of the same picture, with `all` over those of the batch; dq its
    // gradient. ret_each [n,patches] (memory_new's): the unscaled terms; NULL: not wanted.
    // Source: Park et al. 2020, equation 3; the dead term stands for the diagonal, as in its code.
    size_t (*nce_workspace_bytes)(struct device *d, const struct nce_args *args);
    int (*nce)(struct device *d, const struct nce_args *args, const void *q, const void *k,
               void *ret_dq, float *ret_each, double *ret_loss, void *workspace);

    // ---- parameters ----

    // m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    // p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + ADAM_EPS). Kingma and Ba 2014 (arXiv:1412.6980).
    // lr and t are those of the section's values.
    int (*adam)(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v);
    // y = a x + b y, a and b rounded to float, each operation too.
    int (*blend)(struct device *d, size_t count, double a, const float *x, double b, float *y);
    // Sets *ret_bad (shared_new's) to 1 if a number is not finite; leaves it as it is otherwise.
    int (*finite)(struct device *d, size_t count, const float *x, int *ret_bad);
};

// Channels that are stored of c.
int device_channels(const struct device *d, int c);
// Numbers of a tensor without border, surplus channels left out.
size_t tensor_count(const struct tensor_shape *s);
// Bytes of a tensor; of [n, h+2 pad, w+2 pad, c] with `pad`.
size_t device_tensor_bytes(const struct device *d, const struct tensor_shape *s, int pad);

// Bytes of the host's pictures.
size_t device_image_bytes(const struct device *d, const struct tensor_shape *s,
                          enum pixel_type type);

// Waits until everything issued has ended. ERR_DEVICE_LOST.
int device_wait(struct device *d);

// The end of a section that has begun: `err` is what came of its ops. Returns that or what ending
// it comes to.
int device_section_end(struct device *d, struct device_section *section, int err);

// Height and width of a convolution's output; below 1 if the input is too small.
void conv_output_size(const struct conv_shape *s, int *ret_h, int *ret_w);

// What a plugin exports; it uses the functions of the program that loads it. Program and plugin
// have to be built from one backend.h: device_interface.h, which make writes.
extern const char device_plugin_interface[];
int device_plugin_open(const struct device_options *options, struct device **ret_device);

#endif
