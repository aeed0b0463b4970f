// Losses of maps and images. Each block leaves its part of the loss, a double, in the stream's
// scratch. The last block to end adds up the parts in the order of the blocks: no atomics on
// numbers, so the same bits every time.
#include "cuda/kernels/kernel.h"

enum { THREADS = 256, BLOCKS_MAX = 1024, WARPS_MAX = 32 };

// The stream's scratch while a loss is computed.
struct loss_scratch {
    unsigned done; // blocks; zero between kernels
    double part[BLOCKS_MAX];
};
#ifdef __cplusplus
static_assert(sizeof(struct loss_scratch) <= CUDA_SCRATCH_BYTES, "scratch");
#endif

struct loss_args {
    size_t groups; // of 8 channels
    int c;
    unsigned groups_a_pixel;
    double count, scale;
    enum gan_mode mode;
    float target, sign; // 1 and -1 if real, 0 and 1 if fake
    const void *a, *b;
    void *grad;
    double *loss; // NULL: not wanted
    struct loss_scratch *scratch;
};

// Adds this block's part to the loss. All threads of all blocks call it once.
INLINE void finish_loss(struct loss_scratch *scratch, double part, double scale, double *ret_loss) {
    __shared__ double sums[WARPS_MAX];
    __shared__ int last;
    double sum = 0;

    part = block_sum(sums, part);
    if (!ret_loss)
        return;
    if (threadIdx.x == 0)
        scratch->part[blockIdx.x] = part;
    if (!is_last_block(&scratch->done, gridDim.x, &last))
        return;
    // __ldcg reads past the L1 cache, which may hold old parts.
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x)
        sum += __ldcg(&scratch->part[i]);
    sum = block_sum(sums, sum);
    if (threadIdx.x == 0)
        *ret_loss = scale * sum;
}

// One thread takes 8 channels of pixels. Surplus channels are equal, so they add 0 to the loss and
// get gradient 0.
INLINE void l1(const struct loss_args &a, const bool bf16) {
    float step = (float)(a.scale / a.count);
    double sum = 0;

    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < a.groups;
         i += (size_t)gridDim.x * THREADS) {
        float x[8], y[8], part = 0;
        fetch8(a.a, i, bf16, x);
        fetch8(a.b, i, bf16, y);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            part += fabsf(x[k] - y[k]);
            x[k] = x[k] > y[k] ? step : x[k] < y[k] ? -step : 0;
        }
        write8(a.grad, i, bf16, x);
        sum += part;
    }
    finish_loss(a.scratch, sum, a.scale / a.count, a.loss);
}
KERNEL(l1, THREADS, loss_args)

// log(1 + e^x) without overflow: the exponent is never positive.
INLINE float softplus(float x) {
    return fmaxf(x, 0) + log1pf(expf(-fabsf(x)));
}

// f(x) of one number as in backend.h, and f'(x) in *ret_slope. `sign` is -1 for real, 1 for fake.
INLINE float gan_value(const struct loss_args *a, float x, float *ret_slope) {
    if (a->mode == GAN_LSGAN) {
        *ret_slope = 2 * (x - a->target);
        return (x - a->target) * (x - a->target);
    }
    if (a->mode == GAN_WGANGP) {
        *ret_slope = a->sign;
        return a->sign * x;
    }
    // The derivative of softplus(s x) is s sigmoid(s x).
    *ret_slope = a->sign / (1 + expf(-a->sign * x));
    return softplus(a->sign * x);
}

// One thread takes 8 channels of pixels. f(0) is not 0, so surplus channels are masked.
INLINE void gan(const struct loss_args &a, const bool bf16) {
    float step = (float)(a.scale / a.count);
    double sum = 0;

    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < a.groups;
         i += (size_t)gridDim.x * THREADS) {
        int first = (int)((unsigned)i % a.groups_a_pixel) * 8;
        float x[8], part = 0;
        fetch8(a.a, i, bf16, x);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float slope, value = gan_value(&a, x[k], &slope);
            bool is = first + k < a.c;
            part += is ? value : 0;
            x[k] = is ? step * slope : 0;
        }
        write8(a.grad, i, bf16, x);
        sum += part;
    }
    finish_loss(a.scratch, sum, a.scale / a.count, a.loss);
}
KERNEL(gan, THREADS, loss_args)

// The arguments of both losses; `count` is the numbers that the mean is over.
static struct loss_args args_of(const struct cuda_launch *l, size_t pixels, int c, double scale) {
    struct loss_args a;

    memset(&a, 0, sizeof a);
    a.c = c;
    a.groups_a_pixel = cuda_channels(c) / 8;
    a.groups = pixels * (size_t)a.groups_a_pixel;
    a.count = (double)pixels * c;
    a.scale = scale;
    a.scratch = (struct loss_scratch *)l->scratch;
    return a;
}

// Two groups a thread, and at most as many blocks as the scratch has parts for.
static unsigned loss_blocks(const struct loss_args *a) {
    return (unsigned)HOST_MIN(blocks_for(a->groups, 2 * THREADS), (unsigned)BLOCKS_MAX);
}

cudaError_t cuda_l1(const struct cuda_launch *l, size_t pixels, int c, double scale, const void *a,
                    const void *b, void *ret_grad, double *ret_loss) {
    struct loss_args args = args_of(l, pixels, c, scale);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    args.a = a;
    args.b = b;
    args.grad = ret_grad;
    args.loss = ret_loss;
    return LAUNCH(l, l1, loss_blocks(&args), THREADS, 0, args);
}

cudaError_t cuda_gan(const struct cuda_launch *l, const struct gan_args *args, const void *x,
                     void *ret_grad, double *ret_loss) {
    const struct tensor_shape *s = &args->shape;
    struct loss_args a = args_of(l, (size_t)s->n * s->h * s->w, s->c, args->scale);

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    a.mode = args->mode;
    a.target = args->target_real ? 1 : 0;
    a.sign = args->target_real ? -1 : 1;
    a.a = x;
    a.grad = ret_grad;
    a.loss = ret_loss;
    return LAUNCH(l, gan, loss_blocks(&a), THREADS, 0, a);
}

enum { PENALTY_THREADS = 1024 };
// PENALTY_EPS of backend.h. It keeps the length of a zero gradient, a divisor, above 0.
#define PENALTY_SHIFT 1e-16f

struct penalty_kernel_args {
    size_t groups; // of a picture
    int n, c;
    unsigned groups_a_pixel;
    double scale;
    const void *g;
    void *u;
    double *loss;
    struct loss_scratch *scratch;
};

// A block takes one image: first the length of g + eps, then u = 2 scale / n (1 - 1 / length) (g +
// eps).
INLINE void penalty(const struct penalty_kernel_args &a, const bool bf16) {
    __shared__ double sums[WARPS_MAX];
    size_t first = blockIdx.x * a.groups;
    double squares = 0, length;
    float v[8], slope;

    for (size_t i = threadIdx.x; i < a.groups; i += PENALTY_THREADS) {
        int channel = (int)((unsigned)i % a.groups_a_pixel) * 8;
        fetch8(a.g, first + i, bf16, v);
        for (int k = 0; k < 8; k++) {
            // In double: squares of small gradients would underflow in float.
            double x = (double)v[k] + PENALTY_SHIFT;
            squares += channel + k < a.c ? x * x : 0;
        }
    }
    length = sqrt(block_sum(sums, squares));
    slope = (float)(2 * a.scale / a.n * (length - 1) / length);
    for (size_t i = threadIdx.x; i < a.groups; i += PENALTY_THREADS) {
        int channel = (int)((unsigned)i % a.groups_a_pixel) * 8;
        fetch8(a.g, first + i, bf16, v);
        for (int k = 0; k < 8; k++)
            v[k] = channel + k < a.c ? slope * (v[k] + PENALTY_SHIFT) : 0;
        write8(a.u, first + i, bf16, v);
    }
    // All threads have the length; one of them gives the image's term.
    finish_loss(a.scratch, threadIdx.x == 0 ? (length - 1) * (length - 1) : 0, a.scale / a.n,
                a.loss);
}
KERNEL(penalty, PENALTY_THREADS, penalty_kernel_args)

cudaError_t cuda_penalty(const struct cuda_launch *l, int n, size_t pixels, int c, double scale,
                         const void *g, void *ret_u, double *ret_loss) {
    struct penalty_kernel_args a;

    // One block and one part of the scratch for each image.
    if (n < 1 || n > BLOCKS_MAX || !takes_pixels((size_t)n * pixels, c))
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.n = n;
    a.c = c;
    a.groups_a_pixel = cuda_channels(c) / 8;
    a.groups = pixels * (size_t)a.groups_a_pixel;
    a.scale = scale;
    a.g = g;
    a.u = ret_u;
    a.loss = ret_loss;
    a.scratch = (struct loss_scratch *)l->scratch;
    return LAUNCH(l, penalty, n, PENALTY_THREADS, 0, a);
}
