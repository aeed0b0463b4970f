// Parameters: Adam, blends, the search for numbers that are not finite, and the conversion of
// weights between the state dict's layout and cuDNN's.
#include "cuda/kernels/kernel.h"

enum { THREADS = 256 };

// The float constants are rounded on the host from double, as on the CPU.
struct adam_kernel_args {
    size_t count;
    float beta1, beta2, one_minus_beta1, one_minus_beta2;
    double exact_beta1, exact_beta2;
    const double *lr;
    const int64_t *t;
    const float *g;
    float *p, *m, *v;
    int *bad;
};

// An exponent of ones: infinity or NaN. A comparison of bits, so that no compiler option can remove
// it.
INLINE bool is_bad(float x) {
    return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u;
}

INLINE bool any_bad(float4 x) {
    return is_bad(x.x) || is_bad(x.y) || is_bad(x.z) || is_bad(x.w);
}

// x^t by squaring: the same steps on every machine, unlike pow.
INLINE double power(double x, int64_t t) {
    double y = 1;

    for (; t > 0; t >>= 1, x *= x)
        y = t & 1 ? y * x : y;
    return y;
}

// Kingma and Ba 2014, algorithm 1: step = lr / (1 - beta1^t), root = sqrt(1 - beta2^t).
INLINE void adam_one(const struct adam_kernel_args *a, float step, float root, float g, float *p,
                     float *m, float *v) {
    *m = a->beta1 * *m + a->one_minus_beta1 * g;
    *v = a->beta2 * *v + a->one_minus_beta2 * g * g;
    *p = *p - step * *m / (sqrtf(*v) / root + (float)ADAM_EPS);
}

// One thread updates 4 parameters at a time. All threads that find a bad gradient write the same 1.
INLINE void adam(const struct adam_kernel_args &a) {
    __shared__ float step, root;
    size_t threads = (size_t)gridDim.x * THREADS,
           first = (size_t)blockIdx.x * THREADS + threadIdx.x;
    size_t fours = a.count / 4;
    bool bad = false;

    // lr and t are read when the kernel runs, so a recorded step uses those of its section. In
    // double: 1 - beta2^t is small in the first steps.
    if (threadIdx.x == 0) {
        step = (float)(*a.lr / (1 - power(a.exact_beta1, *a.t)));
        root = (float)sqrt(1 - power(a.exact_beta2, *a.t));
    }
    __syncthreads();
    for (size_t i = first; i < fours; i += threads) {
        float4 g = __ldg((const float4 *)a.g + i);
        float4 p = ((float4 *)a.p)[i], m = ((float4 *)a.m)[i], v = ((float4 *)a.v)[i];
        bad = bad || any_bad(g);
        adam_one(&a, step, root, g.x, &p.x, &m.x, &v.x);
        adam_one(&a, step, root, g.y, &p.y, &m.y, &v.y);
        adam_one(&a, step, root, g.z, &p.z, &m.z, &v.z);
        adam_one(&a, step, root, g.w, &p.w, &m.w, &v.w);
        ((float4 *)a.p)[i] = p;
        ((float4 *)a.m)[i] = m;
        ((float4 *)a.v)[i] = v;
    }
    // The last 0 to 3 numbers.
    for (size_t i = fours * 4 + first; i < a.count; i += threads) {
        bad = bad || is_bad(a.g[i]);
        adam_one(&a, step, root, a.g[i], &a.p[i], &a.m[i], &a.v[i]);
    }
    if (bad && a.bad)
        *a.bad = 1;
}
KERNEL_PLAIN(adam, THREADS, adam_kernel_args)

// Blocks of a flat kernel for each processor: as many as it holds at once, since more would be a
// second wave. On sm_90 adam's 46 registers allow 5 (48 for each thread, 65,536 in all). 8.6 and
// 8.9 hold 6 of any kernel (1,536 threads).
enum { ADAM_BLOCKS = 5, FLAT_BLOCKS = 6 };

// Blocks for `count` numbers, 4 a thread; each goes on in steps of the whole grid.
static unsigned flat_blocks(const struct cuda_launch *l, size_t count, unsigned a_processor) {
    unsigned all = blocks_for(count, 4 * THREADS);
    unsigned most = a_processor * (unsigned)l->limits->processors;

    return HOST_MAX(1u, HOST_MIN(all, most));
}

cudaError_t cuda_adam(const struct cuda_launch *l, const struct cuda_adam *a, const float *g,
                      float *p, float *m, float *v) {
    struct adam_kernel_args args;

    memset(&args, 0, sizeof args);
    args.count = a->count;
    args.beta1 = (float)a->beta1;
    args.beta2 = (float)a->beta2;
    args.one_minus_beta1 = (float)(1 - a->beta1);
    args.one_minus_beta2 = (float)(1 - a->beta2);
    args.exact_beta1 = a->beta1;
    args.exact_beta2 = a->beta2;
    args.lr = a->lr;
    args.t = a->t;
    args.g = g;
    args.p = p;
    args.m = m;
    args.v = v;
    args.bad = a->ret_bad;
    return LAUNCH_PLAIN(l, adam, flat_blocks(l, a->count, ADAM_BLOCKS), THREADS, 0, args);
}

struct blend_args {
    size_t count;
    float a, b;
    const float *x;
    float *y;
};

// One thread takes every `threads`-th number. Each operation is rounded, as on the CPU: nothing is
// fused.
INLINE void blend(const struct blend_args &a) {
    size_t threads = (size_t)gridDim.x * THREADS;

    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < a.count; i += threads)
        a.y[i] = __fadd_rn(__fmul_rn(a.a, a.x[i]), __fmul_rn(a.b, a.y[i]));
}
KERNEL_PLAIN(blend, THREADS, blend_args)

cudaError_t cuda_blend(const struct cuda_launch *l, size_t count, float a, const float *x, float b,
                       float *y) {
    struct blend_args args = {count, a, b, x, y};

    return LAUNCH_PLAIN(l, blend, flat_blocks(l, count, FLAT_BLOCKS), THREADS, 0, args);
}

struct finite_args {
    size_t count;
    const float *x;
    int *bad;
};

// One thread looks at 4 numbers at a time. All threads that find a bad one write the same 1.
INLINE void finite_flag(const struct finite_args &a) {
    size_t threads = (size_t)gridDim.x * THREADS,
           first = (size_t)blockIdx.x * THREADS + threadIdx.x;
    size_t fours = a.count / 4;
    bool bad = false;

    for (size_t i = first; i < fours; i += threads) {
        float4 x = __ldg((const float4 *)a.x + i);
        bad = bad || any_bad(x);
    }
    for (size_t i = fours * 4 + first; i < a.count; i += threads)
        bad = bad || is_bad(a.x[i]);
    if (bad)
        *a.bad = 1;
}
KERNEL_PLAIN(finite_flag, THREADS, finite_args)

cudaError_t cuda_finite(const struct cuda_launch *l, size_t count, const float *x, int *ret_bad) {
    struct finite_args a = {count, x, ret_bad};

    return LAUNCH_PLAIN(l, finite_flag, flat_blocks(l, count, FLAT_BLOCKS), THREADS, 0, a);
}

// Weights [a,b,r,r] <-> [A,r,r,B]. A block transposes r r times `width` numbers of one a in shared
// memory, so that reads and writes are runs of neighbours. Element (b, tap) moves one word further
// for every 8 b: threads with 8 b each then use different banks.
enum { TURN_FLOATS = 2304, TURN_WIDTH_MAX = 512 };
#define TURN_AT(b, tap, taps) ((b) * (taps) + (tap) + (b) / 8)

// The b that a block takes: all, or as many as fit, a multiple of 8. TURN_FLOATS holds 9 taps of
// 256 b; CUDA_R_MAX squared is 256 taps of 8 b.
static __host__ __device__ inline int turn_width(int b, int taps) {
    int most = TURN_FLOATS / taps / 8 * 8, all = (b + 7) / 8 * 8;

    most = most < TURN_WIDTH_MAX ? most : TURN_WIDTH_MAX;
    return all < most ? all : most;
}

static __host__ __device__ inline int turn_chunks(int b, int taps) {
    int all = (b + 7) / 8 * 8, width = turn_width(b, taps);

    return (all + width - 1) / width;
}

struct refresh_args {
    int count;
    const struct cuda_weight *weights;
};

// The weight of a block: the last one whose first_block is not above it.
INLINE const struct cuda_weight *weight_of(const struct refresh_args *a, unsigned block) {
    int low = 0, high = a->count - 1;

    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a->weights[middle].first_block <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return a->weights + low;
}

// The part of a weight that a block converts.
struct turn {
    int row, first, width, in_b, taps, stride; // row: a; [first, first + width) of the padded b
    bool inside;                               // not a surplus row
};

INLINE turn turn_of(int a, int b, int r, unsigned block) {
    int taps = r * r, chunks = turn_chunks(b, taps), width = turn_width(b, taps);
    int all = (b + 7) / 8 * 8;
    turn t;

    t.row = (int)block / chunks;
    t.first = (int)block % chunks * width;
    t.width = min(width, all - t.first);
    t.in_b = max(0, min(t.width, b - t.first));
    t.taps = taps;
    t.stride = all;
    t.inside = t.row < a;
    return t;
}

// A block derives one part, with zeros in surplus rows and channels.
INLINE void refresh(const struct refresh_args &a, const bool bf16) {
    __shared__ float tile[TURN_FLOATS + TURN_WIDTH_MAX / 8];
    const struct cuda_weight *w = weight_of(&a, blockIdx.x);
    turn t = turn_of(w->a, w->b, w->r, blockIdx.x - w->first_block);
    const float *from = w->master + ((size_t)t.row * w->b + t.first) * t.taps;
    int real = t.inside ? t.in_b * t.taps : 0;

    // i counts [b,tap] as it is in memory; the index adds TURN_AT's word for every 8 b.
    for (int i = (int)threadIdx.x; i < real; i += THREADS)
        tile[i + i / (8 * t.taps)] = from[i];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < t.width / 8 * t.taps; i += THREADS) {
        int tap = i / (t.width / 8), first = i % (t.width / 8) * 8;
        float v[8];
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = t.inside && first + k < t.in_b ? tile[TURN_AT(first + k, tap, t.taps)] : 0;
        size_t at = ((size_t)t.row * t.taps + tap) * t.stride + t.first + first;
        write8(w->derived, at / 8, bf16, v);
    }
}
KERNEL(refresh, THREADS, refresh_args)

// Surplus rows have blocks too: their zeros are written each time.
static unsigned turn_blocks(int a, int b, int r) {
    return (unsigned)cuda_channels(a) * (unsigned)turn_chunks(b, r * r);
}

unsigned cuda_refresh_plan(int count, struct cuda_weight *weights) {
    unsigned blocks = 0;

    for (int i = 0; i < count; i++) {
        weights[i].first_block = blocks;
        blocks += turn_blocks(weights[i].a, weights[i].b, weights[i].r);
    }
    return blocks;
}

cudaError_t cuda_refresh(const struct cuda_launch *l, int count, const struct cuda_weight *weights,
                         unsigned blocks) {
    struct refresh_args a = {count, weights};

    return LAUNCH(l, refresh, blocks, THREADS, 0, a);
}

struct add_dw_args {
    int a, b, r;
    bool accumulate;
    const void *derived;
    float *dw;
};

// A block transposes one part of the gradient and adds it to dw. There are no blocks of surplus
// rows.
INLINE void add_dw(const struct add_dw_args &a, const bool bf16) {
    __shared__ float tile[TURN_FLOATS + TURN_WIDTH_MAX / 8];
    turn t = turn_of(a.a, a.b, a.r, blockIdx.x);
    float *to = a.dw + ((size_t)t.row * a.b + t.first) * t.taps;

    for (int i = (int)threadIdx.x; i < t.width / 8 * t.taps; i += THREADS) {
        int tap = i / (t.width / 8), first = i % (t.width / 8) * 8;
        size_t at = ((size_t)t.row * t.taps + tap) * t.stride + t.first + first;
        float v[8];
        fetch8(a.derived, at / 8, bf16, v);
#pragma unroll
        for (int k = 0; k < 8; k++)
            tile[TURN_AT(first + k, tap, t.taps)] = v[k];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < t.in_b * t.taps; i += THREADS)
        to[i] = tile[i + i / (8 * t.taps)] + (a.accumulate ? to[i] : 0);
}
KERNEL(add_dw, THREADS, add_dw_args)

cudaError_t cuda_add_dw(const struct cuda_launch *l, int a, int b, int r, bool accumulate,
                        const void *derived, float *ret_dw) {
    struct add_dw_args args = {a, b, r, accumulate, derived, ret_dw};

    if (r < 1 || r > CUDA_R_MAX)
        return cudaErrorInvalidValue;
    return LAUNCH(l, add_dw, (unsigned)a * (unsigned)turn_chunks(b, r * r), THREADS, 0, args);
}
