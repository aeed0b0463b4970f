// Output layers and the ops between layers: tanh, biases, concatenation, mixes of images.
#include "cuda/kernels/norm.h"

enum { THREADS = 256 };

struct map_args {
    size_t count; // groups of 8 channels
    int c;
    unsigned groups;
    enum activation act;
    const float *bias;
    const void *x;
    void *y;
};

// One thread computes 8 channels of a pixel. Surplus channels stay zero, as tanh(0) is 0.
INLINE void tanh_map(const struct map_args &a, const bool bf16) {
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    float v[8];

    if (i >= a.count)
        return;
    fetch8(a.x, i, bf16, v);
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = tanhf(v[k]);
    write8(a.y, i, bf16, v);
}
KERNEL(tanh_map, THREADS, map_args)

// One thread adds the bias to 8 channels of a pixel. y may be x, therefore read_raw: fetch_raw is
// for memory that the kernel does not write.
INLINE void bias_map(const struct map_args &a, const bool bf16) {
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    float v[8], bias[8];

    if (i >= a.count)
        return;
    unpack8(read_raw(a.x, i, bf16), bf16, v);
    // 32 bits suffice (GROUPS_MAX), and divide faster than 64. Surplus channels get bias 0.
    fetch_param(a.bias, (int)((unsigned)i % a.groups) * 8, a.c, 0, bias);
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = activate(a.act, v[k] + bias[k]);
    write8(a.y, i, bf16, v);
}
KERNEL(bias_map, THREADS, map_args)

static struct map_args map_of(size_t pixels, int c, const void *x, void *y) {
    struct map_args a;

    memset(&a, 0, sizeof a);
    a.c = c;
    a.groups = cuda_channels(c) / 8;
    a.count = pixels * (size_t)a.groups;
    a.x = x;
    a.y = y;
    return a;
}

cudaError_t cuda_tanh_forward(const struct cuda_launch *l, const struct norm_shape *s,
                              const void *x, void *ret_y) {
    struct map_args a = map_of((size_t)s->n * s->h * s->w, s->c, x, ret_y);

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, tanh_map, blocks_for(a.count, THREADS), THREADS, 0, a);
}

cudaError_t cuda_bias(const struct cuda_launch *l, size_t pixels, int c, enum activation act,
                      const float *bias, const void *x, void *ret_y) {
    struct map_args a = map_of(pixels, c, x, ret_y);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    a.bias = bias;
    a.act = act;
    return LAUNCH(l, bias_map, blocks_for(a.count, THREADS), THREADS, 0, a);
}

struct tanh_args {
    int h, w, groups;
    struct norm_parts parts;
    const void *y;
    void *dx;
};

// One thread computes 8 channels of a pixel of dx = (1 - y^2) g.
INLINE void tanh_gradient(const struct tanh_args &a, const bool bf16) {
    int i = (int)(blockIdx.x * THREADS + threadIdx.x), n = (int)blockIdx.y;
    int pixel = i / a.groups, group = i % a.groups;
    float y[8], g[8];

    if (pixel >= a.h * a.w)
        return;
    size_t at = ((size_t)n * a.h * a.w + pixel) * a.groups + group;
    gather8(&a.parts, n, pixel / a.w, pixel % a.w, a.h, a.w, a.groups, group, bf16, g);
    fetch8(a.y, at, bf16, y);
#pragma unroll
    for (int k = 0; k < 8; k++)
        g[k] *= 1 - y[k] * y[k];
    write8(a.dx, at, bf16, g);
}
KERNEL(tanh_gradient, THREADS, tanh_args)

cudaError_t cuda_tanh_backward(const struct cuda_launch *l, const struct norm_shape *s,
                               const void *y, const struct grad_sum *dy, void *ret_dx) {
    struct tanh_args a;

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.h = s->h;
    a.w = s->w;
    a.groups = cuda_channels(s->c) / 8;
    a.parts = norm_parts_of(dy);
    a.y = y;
    a.dx = ret_dx;
    return LAUNCH(l, tanh_gradient, dim3(blocks_for((size_t)s->h * s->w * a.groups, THREADS), s->n),
                  THREADS, 0, a);
}

struct concat_args {
    size_t pixels;
    int c_a, c_b;
    unsigned groups_a, groups_b, groups; // of a, b, y
    enum activation act;
    const void *a, *b, *dy;
    const void *y;
    void *ret_y, *ret_a, *ret_b;
};

// Channel k of [a; b] at a pixel; 0 for surplus channels.
INLINE float concat_value(const struct concat_args *a, size_t pixel, int k, bool bf16) {
    if (k < a->c_a)
        return fetch1(a->a, pixel * a->groups_a * 8 + k, bf16);
    k -= a->c_a;
    return k < a->c_b ? fetch1(a->b, pixel * a->groups_b * 8 + k, bf16) : 0;
}

// One thread writes 8 channels of a pixel of y.
INLINE void concat(const struct concat_args &a, const bool bf16) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    size_t pixel = i / a.groups;
    int group = (int)(i % a.groups), group_b = group - a.c_a / 8;
    float v[8];

    if (pixel >= a.pixels)
        return;
    // Whole groups of a, and of b if it begins at a group, are one access. Others go channel by
    // channel.
    if (group * 8 + 8 <= a.c_a)
        fetch8(a.a, pixel * a.groups_a + group, bf16, v);
    else if (a.c_a % 8 == 0)
        fetch8(a.b, pixel * a.groups_b + group_b, bf16, v);
    else
        for (int k = 0; k < 8; k++)
            v[k] = concat_value(&a, pixel, group * 8 + k, bf16);
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] = activate(a.act, v[k]);
    write8(a.ret_y, i, bf16, v);
}
KERNEL(concat, THREADS, concat_args)

// One thread writes 8 channels of a pixel of da or db. Groups of a come first, then those of b.
INLINE void concat_gradient(const struct concat_args &a, const bool bf16) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x, both = a.groups_a + a.groups_b;
    size_t pixel = i / both;
    int side = (int)(i % both), first = side * 8, c = a.c_a;
    void *to = a.ret_a;
    size_t at = pixel * a.groups_a + side;
    float v[8];

    if (pixel >= a.pixels)
        return;
    if (side >= (int)a.groups_a) {
        to = a.ret_b;
        at = pixel * a.groups_b + (side - a.groups_a);
        first = (side - a.groups_a) * 8;
        c = a.c_b;
    }
    // That gradient is not wanted.
    if (!to)
        return;
    for (int k = 0; k < 8; k++) {
        size_t from = pixel * a.groups * 8 + (side < (int)a.groups_a ? 0 : a.c_a) + first + k;
        v[k] = 0;
        // ReLU passes the gradient where y is positive; y is not read without an activation.
        if (first + k < c && (a.act == ACT_NONE || fetch1(a.y, from, bf16) > 0))
            v[k] = fetch1(a.dy, from, bf16);
    }
    write8(to, at, bf16, v);
}
KERNEL(concat_gradient, THREADS, concat_args)

static struct concat_args concat_of(const struct concat_shape *s) {
    struct concat_args a;

    memset(&a, 0, sizeof a);
    a.pixels = s->pixels;
    a.c_a = s->c_a;
    a.c_b = s->c_b;
    a.groups_a = cuda_channels(s->c_a) / 8;
    a.groups_b = cuda_channels(s->c_b) / 8;
    a.groups = cuda_channels(s->c_a + s->c_b) / 8;
    a.act = s->act;
    return a;
}

cudaError_t cuda_concat_forward(const struct cuda_launch *l, const struct concat_shape *s,
                                const void *a, const void *b, void *ret_y) {
    struct concat_args args = concat_of(s);

    if (!takes_pixels(s->pixels, s->c_a + s->c_b))
        return cudaErrorInvalidValue;
    args.a = a;
    args.b = b;
    args.ret_y = ret_y;
    return LAUNCH(l, concat, blocks_for(s->pixels * args.groups, THREADS), THREADS, 0, args);
}

cudaError_t cuda_concat_backward(const struct cuda_launch *l, const struct concat_shape *s,
                                 const struct concat_gradients *t) {
    struct concat_args args = concat_of(s);

    if (!takes_pixels(s->pixels, 8 * (int)(args.groups_a + args.groups_b)))
        return cudaErrorInvalidValue;
    args.y = t->y;
    args.dy = t->dy;
    args.ret_a = t->ret_da;
    args.ret_b = t->ret_db;
    return LAUNCH(l, concat_gradient,
                  blocks_for(s->pixels * (args.groups_a + args.groups_b), THREADS), THREADS, 0,
                  args);
}

struct mix_args {
    size_t pixels; // of a picture
    int c_front, c;
    unsigned groups_front, groups_c, groups;
    const float *share;
    const void *front, *real, *fake;
    void *y;
};

// One thread writes 8 channels of a pixel of y = [front; alpha real + (1 - alpha) fake]. The grid's
// y is the image. Without a front, c_front is 0 and `front` is never read.
INLINE void mix(const struct mix_args &a, const bool bf16) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    size_t pixel = i / a.groups;
    int group = (int)(i % a.groups);
    float v[8], share;

    if (pixel >= a.pixels)
        return;
    share = __ldg(a.share + blockIdx.y);
    pixel += blockIdx.y * a.pixels;
    for (int k = 0; k < 8; k++) {
        int of_front = group * 8 + k, channel = of_front - a.c_front;
        size_t at = pixel * a.groups_c * 8 + channel;
        v[k] = 0;
        if (of_front < a.c_front)
            v[k] = fetch1(a.front, pixel * a.groups_front * 8 + of_front, bf16);
        else if (channel < a.c)
            v[k] = share * fetch1(a.real, at, bf16) + (1 - share) * fetch1(a.fake, at, bf16);
    }
    write8(a.y, pixel * a.groups + group, bf16, v);
}
KERNEL(mix, THREADS, mix_args)

cudaError_t cuda_mix(const struct cuda_launch *l, const struct mix_shape *s,
                     const struct mix_tensors *t) {
    struct mix_args a;

    if (!takes(s->n, s->h, s->w, 0, s->c_front + s->c))
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.pixels = (size_t)s->h * s->w;
    a.c_front = s->c_front;
    a.c = s->c;
    a.groups_front = cuda_channels(s->c_front) / 8;
    a.groups_c = cuda_channels(s->c) / 8;
    a.groups = cuda_channels(s->c_front + s->c) / 8;
    a.share = t->alpha;
    a.front = t->front;
    a.real = t->real;
    a.fake = t->fake;
    a.y = t->ret_y;
    return LAUNCH(l, mix, dim3(blocks_for(a.pixels * a.groups, THREADS), s->n), THREADS, 0, a);
}
