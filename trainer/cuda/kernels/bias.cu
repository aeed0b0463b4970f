// The gradient of a bias: sums over the pixels, per channel. One kernel sums tiles of pixels, a
// second one adds up the tiles. No atomics: the order of the sums is that of the shape.
#include "cuda/kernels/kernel.h"

// TILES_MAX bounds the partial sums; beyond it tiles get larger.
enum { THREADS = 256, GROUPS = 32, PIXELS_A_THREAD = 16, TILES_MAX = 512 };

struct bias_args {
    size_t pixels, tile; // tile: pixels of a block
    int c, groups, tiles;
    bool accumulate;
    struct tiling tiling;
    const void *dy;
    float *partial; // [tiles,C]
    float *dbias;
};

// A block sums a tile of pixels for some groups of channels. Thread `lane * groups + side` takes
// every `lanes`-th pixel of one group, so that neighbours read neighbouring memory.
INLINE void bias_tile(const struct bias_args &a, const bool bf16) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(THREADS)];
    int side = (int)threadIdx.x % a.tiling.groups, lane = (int)threadIdx.x / a.tiling.groups;
    int group = (int)blockIdx.y * a.tiling.groups + side;
    size_t first = blockIdx.x * a.tile, end = min(first + a.tile, a.pixels);
    bool works = lane < a.tiling.lanes && group < a.groups;
    float v[8], sum[8];

    zero8(sum);
    if (works) {
#pragma unroll 8
        for (size_t p = first + lane; p < end; p += a.tiling.lanes) {
            fetch8(a.dy, p * a.groups + group, bf16, v);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += v[i];
        }
    }
    // Idle threads take part with zeros: it has barriers.
    block_sum8(scratch, a.tiling.groups, a.tiling.lanes, side, sum);
    if (works && lane == 0)
#pragma unroll
        for (int i = 0; i < 8; i++)
            a.partial[((size_t)blockIdx.x * a.groups + group) * 8 + i] = sum[i];
}
KERNEL(bias_tile, THREADS, bias_args)

// A block adds up the tiles of one group of 8 channels.
INLINE void bias_merge(const struct bias_args &a) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(THREADS)];
    int group = (int)blockIdx.x;
    float sum[8];

    zero8(sum);
    for (int k = (int)threadIdx.x; k < a.tiles; k += THREADS)
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum[i] += a.partial[((size_t)k * a.groups + group) * 8 + i];
    block_sum8(scratch, 1, THREADS, 0, sum);
    if (threadIdx.x > 0)
        return;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        // dbias has exactly c channels, without surplus ones.
        int channel = group * 8 + i;
        if (channel < a.c)
            a.dbias[channel] = sum[i] + (a.accumulate ? a.dbias[channel] : 0);
    }
}
KERNEL_PLAIN(bias_merge, THREADS, bias_args)

static struct bias_args args_of(size_t pixels, int c) {
    struct bias_args a;

    memset(&a, 0, sizeof a);
    a.pixels = pixels;
    a.c = c;
    a.groups = cuda_channels(c) / 8;
    a.tiling = tiling_of(a.groups, GROUPS, THREADS);
    // At least PIXELS_A_THREAD pixels a thread, so that loads overlap.
    a.tile =
        HOST_MAX((size_t)a.tiling.lanes * PIXELS_A_THREAD, (pixels + TILES_MAX - 1) / TILES_MAX);
    a.tiles = (int)((pixels + a.tile - 1) / a.tile);
    return a;
}

size_t cuda_bias_gradient_bytes(const struct cuda_launch *l, size_t pixels, int c) {
    struct bias_args a = args_of(pixels, c);

    return (size_t)a.tiles * (size_t)a.groups * 8 * sizeof(float);
}

cudaError_t cuda_bias_gradient(const struct cuda_launch *l, size_t pixels, int c, bool accumulate,
                               const void *dy, float *ret_dbias, void *workspace) {
    struct bias_args a = args_of(pixels, c);
    cudaError_t error;

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    a.dy = dy;
    a.partial = (float *)workspace;
    a.dbias = ret_dbias;
    a.accumulate = accumulate;
    error = LAUNCH(l, bias_tile, dim3(a.tiles, a.tiling.chunks), THREADS, 0, a);
    if (error)
        return error;
    return LAUNCH_PLAIN(l, bias_merge, a.groups, THREADS, 0, a);
}
