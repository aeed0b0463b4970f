// Norms, forward: statistics, then normalise, activate, drop, add the skip, write with the border.
// Instance norm does all in one kernel if a block can hold its pixels; else one kernel sums and
// another applies.
#include "cuda/kernels/norm.h"

struct forward_args {
    struct norm_layer layer;
    struct tiling tiling;
    int pad, skip_pad;
    const void *x, *skip;
    void *y;
    float *ret_mean, *ret_rstd; // resident only
    int pixels;                 // of y that a block of `apply` writes
};

// 8 channels of y at pixel (y, x) of image n, from x's numbers in `raw`. A border calls it once for
// each place that repeats the pixel: all of them get the same bits.
INLINE void finish8(const struct forward_args *a, const struct norm_line *line, int n, int y, int x,
                    int group, bool bf16, raw8 raw, float v[8]) {
    const struct norm_layer *s = &a->layer;

    unpack8(raw, bf16, v);
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = activate(s->act, norm_z(line, i, v[i]));
    if (s->drops)
        drop8(s, (((size_t)n * s->h + y) * s->w + x) * s->c + group * 8, group * 8, v);
    if (a->skip) {
        size_t width = s->w + 2 * a->skip_pad, height = s->h + 2 * a->skip_pad;
        size_t at = (n * height + y + a->skip_pad) * width + x + a->skip_pad;
        add_fetched(a->skip, at * s->groups + group, bf16, v);
    }
}

// One thread writes 8 channels of pixels of y, border included. The statistics have been computed.
INLINE void apply(const struct forward_args &a, const bool bf16) {
    const struct norm_layer *s = &a.layer;
    int group = (int)threadIdx.x % a.tiling.groups, lane = (int)threadIdx.x / a.tiling.groups;
    int n = (int)blockIdx.z, width = s->w + 2 * a.pad, all = (s->h + 2 * a.pad) * width;
    int first = (int)blockIdx.x * a.pixels, end = min(first + a.pixels, all);
    struct norm_line line;

    group += (int)blockIdx.y * a.tiling.groups;
    if (lane >= a.tiling.lanes || group >= s->groups)
        return;
    norm_line_of(s, n, group, &line);
#pragma unroll 4
    for (int p = first + lane; p < end; p += a.tiling.lanes) {
        int y = reflected(p / width - a.pad, s->h), x = reflected(p % width - a.pad, s->w);
        size_t from = (((size_t)n * s->h + y) * s->w + x) * s->groups + group;
        float v[8];
        finish8(&a, &line, n, y, x, group, bf16, fetch_raw(a.x, from, bf16), v);
        write8(a.y, ((size_t)n * all + p) * s->groups + group, bf16, v);
    }
}
KERNEL(apply, NORM_THREADS, forward_args)

// A block normalises some groups of channels of one image that it holds in shared memory. x is read
// once from memory.
INLINE void resident(const struct forward_args &a, const bool bf16) {
    const struct norm_layer *s = &a.layer;
    DYNAMIC_SHARED(shared);
    float *scratch = (float *)shared;
    void *slab = scratch + SUM_FLOATS((int)blockDim.x);
    int groups = a.tiling.groups, lanes = a.tiling.lanes;
    int side = (int)threadIdx.x % groups, lane = (int)threadIdx.x / groups;
    int n = (int)blockIdx.y, group = (int)blockIdx.x * groups + side, pixels = s->h * s->w;
    bool works = lane < lanes && group < s->groups;
    size_t from = (size_t)n * pixels * s->groups + group;
    struct norm_line line;
    float v[8], sum[8];

    zero8(sum);
    if (works) {
#pragma unroll 8
        for (int p = lane; p < pixels; p += lanes) {
            raw8 raw = fetch_raw(a.x, from + (size_t)p * s->groups, bf16);
            write_raw(slab, p * groups + side, bf16, raw);
            unpack8(raw, bf16, v);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += v[i];
        }
    }
    block_sum8(scratch, groups, lanes, side, sum);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        // The variance is taken about the mean in a second pass: sum of squares minus square of sum
        // would cancel.
        line.mean[i] = sum[i] / (float)pixels;
        sum[i] = 0;
    }
    if (works) {
#pragma unroll 4
        for (int p = lane; p < pixels; p += lanes) {
            unpack8(read_raw(slab, p * groups + side, bf16), bf16, v);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += (v[i] - line.mean[i]) * (v[i] - line.mean[i]);
        }
    }
    block_sum8(scratch, groups, lanes, side, sum); // the slab is complete behind its barrier
    if (!works)
        return;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        line.rstd[i] = 1 / sqrtf(sum[i] / (float)pixels + (float)NORM_EPS);
        // The backward pass reads the statistics; they have no surplus channels.
        if (lane == 0 && group * 8 + i < s->c) {
            a.ret_mean[n * s->c + group * 8 + i] = line.mean[i];
            a.ret_rstd[n * s->c + group * 8 + i] = line.rstd[i];
        }
    }
    norm_line_layer(s, group * 8, &line);
    int width = s->w + 2 * a.pad, all = (s->h + 2 * a.pad) * width;
    // Over the output's pixels: those of the border read a reflected pixel of the slab.
#pragma unroll 4
    for (int p = lane; p < all; p += lanes) {
        int y = reflected(p / width - a.pad, s->h), x = reflected(p % width - a.pad, s->w);
        raw8 raw = read_raw(slab, (y * s->w + x) * groups + side, bf16);
        finish8(&a, &line, n, y, x, group, bf16, raw, v);
        write8(a.y, ((size_t)n * all + p) * s->groups + group, bf16, v);
    }
}
KERNEL(resident, NORM_RESIDENT_THREADS, forward_args)

cudaError_t norm_forward_check(void) {
    return norm_resident_check((const void *)resident_f32, (const void *)resident_bf16);
}

struct moments_args {
    int n, pixels, c, groups; // pixels of a picture
    struct norm_tiles tiles;
    const void *x;
    float *partial; // [n,tiles,2,C]: sum, and squares about the tile's mean
    float *mean, *rstd;
    float *running_mean, *running_var;
    bool per_picture;
};

// A block sums one tile of an image, then the squares about the tile's own mean.
INLINE void moments(const struct moments_args &a, const bool bf16) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(NORM_THREADS)];
    int groups = a.tiles.tiling.groups, lanes = a.tiles.tiling.lanes;
    int side = (int)threadIdx.x % groups, lane = (int)threadIdx.x / groups;
    int n = (int)blockIdx.z, group = (int)blockIdx.y * groups + side;
    int first = (int)blockIdx.x * a.tiles.pixels, end = min(first + a.tiles.pixels, a.pixels);
    bool works = lane < lanes && group < a.groups;
    size_t from = (size_t)n * a.pixels * a.groups + group;
    float v[8], sum[8], mean[8];

    zero8(sum);
    if (works) {
#pragma unroll 8
        for (int p = first + lane; p < end; p += lanes) {
            fetch8(a.x, from + (size_t)p * a.groups, bf16, v);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += v[i];
        }
    }
    block_sum8(scratch, groups, lanes, side, sum);
    float *out =
        a.partial + ((size_t)n * a.tiles.count + blockIdx.x) * 2 * a.groups * 8 + group * 8;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (works && lane == 0)
            out[i] = sum[i];
        mean[i] = sum[i] / (float)(end - first);
        sum[i] = 0;
    }
    if (works) {
#pragma unroll 8
        for (int p = first + lane; p < end; p += lanes) {
            fetch8(a.x, from + (size_t)p * a.groups, bf16, v);
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += (v[i] - mean[i]) * (v[i] - mean[i]);
        }
    }
    block_sum8(scratch, groups, lanes, side, sum);
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (works && lane == 0)
            out[a.groups * 8 + i] = sum[i];
}
KERNEL(moments, NORM_THREADS, moments_args)

// A block merges the tiles of an image, or of all images, for one group. The squares about the
// common mean are those about the tile's mean plus count (tile's mean - mean)^2. Source: Chan,
// Golub and LeVeque 1979.
INLINE void merge_moments(const struct moments_args &a) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(NORM_THREADS)];
    int group = (int)blockIdx.x, n = (int)blockIdx.y, t = (int)threadIdx.x;
    int tiles = a.tiles.count * (a.per_picture ? 1 : a.n), c = a.groups * 8;
    const float *partial = a.partial + (size_t)n * a.tiles.count * 2 * c + group * 8;
    float count = (float)a.pixels * (float)(a.per_picture ? 1 : a.n), mean[8], sum[8];

    zero8(sum);
    for (int k = t; k < tiles; k += NORM_THREADS)
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum[i] += partial[(size_t)k * 2 * c + i];
    block_sum8(scratch, 1, NORM_THREADS, 0, sum);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        mean[i] = sum[i] / count;
        sum[i] = 0;
    }
    // The last tile of an image may be smaller.
    for (int k = t; k < tiles; k += NORM_THREADS) {
        int first = k % a.tiles.count * a.tiles.pixels;
        float of_tile = (float)min(a.tiles.pixels, a.pixels - first);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float off = partial[(size_t)k * 2 * c + i] / of_tile - mean[i];
            sum[i] += partial[(size_t)k * 2 * c + c + i] + of_tile * off * off;
        }
    }
    block_sum8(scratch, 1, NORM_THREADS, 0, sum);
    // Thread t writes channel t of the group.
    if (t >= 8 || group * 8 + t >= a.c)
        return;
    int channel = group * 8 + t, at = (a.per_picture ? n * a.c : 0) + channel;
    float own_mean = 0, own_sum = 0;
    // A dynamic index would move the arrays from registers to memory.
#pragma unroll
    for (int i = 0; i < 8; i++) {
        own_mean = i == t ? mean[i] : own_mean;
        own_sum = i == t ? sum[i] : own_sum;
    }
    a.mean[at] = own_mean;
    a.rstd[at] = 1 / sqrtf(own_sum / count + (float)NORM_EPS);
    // In double, with the unbiased variance; n h w is more than 1, as backend.h demands.
    if (a.running_mean) {
        double variance = (double)own_sum / ((double)count - 1);
        a.running_mean[channel] =
            (float)((1 - NORM_MOMENTUM) * a.running_mean[channel] + NORM_MOMENTUM * own_mean);
        a.running_var[channel] =
            (float)((1 - NORM_MOMENTUM) * a.running_var[channel] + NORM_MOMENTUM * variance);
    }
}
KERNEL_PLAIN(merge_moments, NORM_THREADS, moments_args)

// One thread takes the running statistics of a channel, as the statistics of this call.
INLINE void take_running(const struct moments_args &a) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i >= a.c)
        return;
    a.mean[i] = a.running_mean[i];
    a.rstd[i] = 1 / sqrtf(a.running_var[i] + (float)NORM_EPS);
}
KERNEL_PLAIN(take_running, NORM_THREADS, moments_args)

static cudaError_t launch_moments(const struct cuda_launch *l, const struct norm_shape *s,
                                  const struct norm_tensors *t, void *workspace) {
    struct moments_args a;
    cudaError_t error;

    memset(&a, 0, sizeof a);
    a.n = s->n;
    a.pixels = s->h * s->w;
    a.c = s->c;
    a.groups = cuda_channels(s->c) / 8;
    a.tiles = norm_tiles_of(s);
    a.x = t->x;
    a.partial = (float *)workspace;
    a.per_picture = s->norm == NORM_INSTANCE;
    a.mean = (float *)t->ret_stats;
    a.rstd = a.mean + (size_t)(a.per_picture ? s->n : 1) * s->c;
    if (t->affine) {
        a.running_mean = t->affine->running_mean;
        a.running_var = t->affine->running_var;
    }
    // Nothing is summed: the statistics are there.
    if (s->norm == NORM_RUNNING)
        return LAUNCH_PLAIN(l, take_running, blocks_for(s->c, NORM_THREADS), NORM_THREADS, 0, a);
    error =
        LAUNCH(l, moments, dim3(a.tiles.count, a.tiles.tiling.chunks, s->n), NORM_THREADS, 0, a);
    if (error)
        return error;
    return LAUNCH_PLAIN(l, merge_moments, dim3(a.groups, a.per_picture ? s->n : 1), NORM_THREADS, 0,
                        a);
}

static cudaError_t launch_apply(const struct cuda_launch *l, const struct norm_shape *s,
                                struct forward_args *a) {
    enum { PIXELS_A_THREAD = 4 };
    int all = (s->h + 2 * s->pad) * (s->w + 2 * s->pad);

    a->tiling = tiling_of(a->layer.groups, NORM_GROUPS, NORM_THREADS);
    a->pixels = a->tiling.lanes * PIXELS_A_THREAD;
    return LAUNCH(l, apply, dim3(blocks_for(all, a->pixels), a->tiling.chunks, s->n), NORM_THREADS,
                  0, *a);
}

cudaError_t cuda_norm_forward(const struct cuda_launch *l, const struct norm_shape *s,
                              const struct norm_tensors *t, const struct cuda_dropout *dropout,
                              void *workspace) {
    struct norm_resident r = norm_resident_of(l, s, 1);
    struct forward_args a;
    cudaError_t error;

    if (!takes(s->n, s->h, s->w, HOST_MAX(s->pad, s->skip_pad), s->c))
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.layer = norm_layer_of(s, t->affine, (const float *)t->ret_stats, dropout);
    a.pad = s->pad;
    a.skip_pad = s->skip_pad;
    a.x = t->x;
    a.skip = t->skip;
    a.y = t->ret_y;
    if (s->norm == NORM_INSTANCE && r.threads) {
        a.ret_mean = (float *)t->ret_stats;
        a.ret_rstd = a.ret_mean + (size_t)s->n * s->c;
        a.tiling = r.tiling;
        return LAUNCH(l, resident, dim3(r.tiling.chunks, s->n), r.threads, r.shared_bytes, a);
    }
    if (s->norm != NORM_NONE) {
        error = launch_moments(l, s, t, workspace);
        if (error)
            return error;
    }
    return launch_apply(l, s, &a);
}
