// Norms, backward: fold and sum the parts of the gradient, pass dropout and activation, sum over
// the pixels, write dx and the skip's gradient. The forward keeps only x and
// the statistics: its other values are computed again.
#include "cuda/kernels/norm.h"

struct backward_args {
    struct norm_layer layer;
    struct norm_parts parts;
    struct tiling tiling;
    const void *x;
    void *dx, *dskip;
    bool holds_x;       // resident: x too lies in shared memory
    bool exact;         // and u as float
    int pixels;         // of a block of `apply_backward`
    const float *means; // of u and u xhat [2,C], with per_picture [n,2,C]; NULL without a norm
    struct norm_tiles tiles;
    float *partial; // [n,tiles,2,C]
};

// u = drop(g) act'(norm(x)) of 8 channels of pixel p, where g is the gradient with borders folded
// back. Also returns x, and the place in [n,h,w,C] counted in groups. Writes the skip's gradient g
// if `writes`.
INLINE size_t passed8(const struct backward_args *a, const struct norm_line *line, int n, int p,
                      int group, bool bf16, bool writes, float x[8], float u[8]) {
    const struct norm_layer *s = &a->layer;
    int y = p / s->w, column = p % s->w;
    size_t pixel = (size_t)n * s->h * s->w + p, at = pixel * s->groups + group;

    fetch8(a->x, at, bf16, x);
    gather8(&a->parts, n, y, column, s->h, s->w, s->groups, group, bf16, u);
    if (writes && a->dskip)
        write8(a->dskip, at, bf16, u);
    if (s->drops)
        drop8(s, pixel * s->c + group * 8, group * 8, u);
#pragma unroll
    for (int i = 0; i < 8; i++)
        u[i] *= slope(s->act, norm_z(line, i, x[i]));
    return at;
}

// sum[0] += u, sum[1] += u xhat: the sums in the gradient of a norm.
INLINE void add_sums(const struct norm_line *line, const float x[8], const float u[8],
                     float sum[2][8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        sum[0][i] += u[i];
        sum[1][i] += u[i] * ((x[i] - line->mean[i]) * line->rstd[i]);
    }
}

// u becomes dx = rstd weight (u - mean(u) - xhat mean(u xhat)), see norm_backward in backend.h.
INLINE void project(const struct norm_line *line, const float mean[2][8], const float x[8],
                    float u[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float xhat = (x[i] - line->mean[i]) * line->rstd[i];
        u[i] = line->scale[i] * (u[i] - mean[0][i] - xhat * mean[1][i]);
    }
}

// One thread writes 8 channels of pixels of dx and dskip. The means have been computed, or there is
// no norm.
INLINE void apply_backward(const struct backward_args &a, const bool bf16) {
    const struct norm_layer *s = &a.layer;
    int group = (int)threadIdx.x % a.tiling.groups, lane = (int)threadIdx.x / a.tiling.groups;
    int n = (int)blockIdx.z, first = (int)blockIdx.x * a.pixels;
    int end = min(first + a.pixels, s->h * s->w);
    struct norm_line line;
    float mean[2][8], x[8], u[8];

    group += (int)blockIdx.y * a.tiling.groups;
    if (lane >= a.tiling.lanes || group >= s->groups)
        return;
    norm_line_of(s, n, group, &line);
    if (a.means) {
        const float *means = a.means + (s->per_picture ? (size_t)n * 2 * s->groups * 8 : 0);
        fetch_param(means, group * 8, s->groups * 8, 0, mean[0]);
        fetch_param(means + s->groups * 8, group * 8, s->groups * 8, 0, mean[1]);
    }
#pragma unroll 2
    for (int p = first + lane; p < end; p += a.tiling.lanes) {
        size_t at = passed8(&a, &line, n, p, group, bf16, true, x, u);
        if (a.means)
            project(&line, mean, x, u);
        write8(a.dx, at, bf16, u);
    }
}
KERNEL(apply_backward, NORM_THREADS, backward_args)

// A block sums u and u xhat over a tile of an image. The next kernel computes u again, and writes
// the skip's gradient then.
INLINE void tile_backward(const struct backward_args &a, const bool bf16) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(NORM_THREADS)];
    const struct norm_layer *s = &a.layer;
    int groups = a.tiles.tiling.groups, lanes = a.tiles.tiling.lanes;
    int side = (int)threadIdx.x % groups, lane = (int)threadIdx.x / groups;
    int n = (int)blockIdx.z, group = (int)blockIdx.y * groups + side;
    int first = (int)blockIdx.x * a.tiles.pixels;
    int end = min(first + a.tiles.pixels, s->h * s->w);
    bool works = lane < lanes && group < s->groups;
    struct norm_line line;
    float sum[2][8], x[8], u[8];

    zero8(sum[0]);
    zero8(sum[1]);
    if (works) {
        norm_line_of(s, n, group, &line);
#pragma unroll 2
        for (int p = first + lane; p < end; p += lanes) {
            (void)passed8(&a, &line, n, p, group, bf16, false, x, u);
            add_sums(&line, x, u, sum);
        }
    }
    // [n,tiles,2,C]: this tile's two rows.
    float *out = a.partial + ((size_t)n * a.tiles.count + blockIdx.x) * 2 * s->groups * 8;
#pragma unroll
    for (int k = 0; k < 2; k++) {
        block_sum8(scratch, groups, lanes, side, sum[k]);
        if (works && lane == 0)
#pragma unroll
            for (int i = 0; i < 8; i++)
                out[(size_t)k * s->groups * 8 + group * 8 + i] = sum[k][i];
    }
}
KERNEL(tile_backward, NORM_THREADS, backward_args)

struct merge_args {
    int n, tiles, c, groups;
    float pixels; // that a mean is over
    bool per_picture, accumulate;
    const float *partial;
    float *means;           // [n,2,C] or [2,C]
    float *dweight, *dbias; // NULL: not wanted
};

// A block adds up the tiles of an image (instance norm) or of all images (batch norm) for one
// group. The sum of u is the bias's gradient, that of u xhat the weight's.
INLINE void merge_backward(const struct merge_args &a) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(NORM_THREADS)];
    int group = (int)blockIdx.x, n = (int)blockIdx.y, t = (int)threadIdx.x, c = a.groups * 8;
    int tiles = a.tiles * (a.per_picture ? 1 : a.n);
    const float *partial = a.partial + (size_t)n * a.tiles * 2 * c + group * 8;

    for (int which = 0; which < 2; which++) {
        float sum[8], *gradient = which ? a.dweight : a.dbias;
        zero8(sum);
        // Each thread takes every NORM_THREADS-th tile: the order depends on the shape alone.
        for (int k = t; k < tiles; k += NORM_THREADS)
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] += partial[((size_t)k * 2 + which) * c + i];
        block_sum8(scratch, 1, NORM_THREADS, 0, sum);
        if (t > 0)
            continue;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int channel = group * 8 + i;
            if (a.means)
                a.means[((size_t)n * 2 + which) * c + channel] = sum[i] / a.pixels;
            if (gradient && channel < a.c)
                gradient[channel] = sum[i] + (a.accumulate ? gradient[channel] : 0);
        }
    }
}
KERNEL_PLAIN(merge_backward, NORM_THREADS, merge_args)

// A block has some groups of channels of one image. u stays in shared memory: as float, or rounded
// to the element where there is no room for that. The sums are of u before the rounding. x stays
// there too if there is room; else it is read again.
INLINE void resident_backward(const struct backward_args &a, const bool bf16) {
    const struct norm_layer *s = &a.layer;
    DYNAMIC_SHARED(shared);
    float *scratch = (float *)shared;
    void *slab = scratch + SUM_FLOATS((int)blockDim.x);
    int groups = a.tiling.groups, lanes = a.tiling.lanes, pixels = s->h * s->w;
    bool rounded = bf16 && !a.exact;
    void *x_slab = (char *)slab + (size_t)pixels * groups * (rounded ? 16 : 32);
    int side = (int)threadIdx.x % groups, lane = (int)threadIdx.x / groups;
    int n = (int)blockIdx.y, group = (int)blockIdx.x * groups + side;
    bool works = lane < lanes && group < s->groups;
    struct norm_line line;
    float mean[2][8], x[8], u[8];

    zero8(mean[0]);
    zero8(mean[1]);
    if (works) {
        norm_line_of(s, n, group, &line);
#pragma unroll 2
        for (int p = lane; p < pixels; p += lanes) {
            (void)passed8(&a, &line, n, p, group, bf16, true, x, u);
            // Both branches have a constant element, so that each is compiled without a test per
            // number.
            if (rounded)
                write8(slab, p * groups + side, true, u);
            else
                write8(slab, p * groups + side, false, u);
            if (a.holds_x)
                write8(x_slab, p * groups + side, bf16, x);
            add_sums(&line, x, u, mean);
        }
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        block_sum8(scratch, groups, lanes, side, mean[k]);
#pragma unroll
        for (int i = 0; i < 8; i++)
            mean[k][i] /= (float)pixels;
    }
    if (!works)
        return;
#pragma unroll 4
    for (int p = lane; p < pixels; p += lanes) {
        size_t at = ((size_t)n * pixels + p) * s->groups + group;
        raw8 raw = a.holds_x ? read_raw(x_slab, p * groups + side, bf16) : fetch_raw(a.x, at, bf16);
        unpack8(raw, bf16, x);
        if (rounded)
            unpack8(read_raw(slab, p * groups + side, true), true, u);
        else
            unpack8(read_raw(slab, p * groups + side, false), false, u);
        project(&line, mean, x, u);
        write8(a.dx, at, bf16, u);
    }
}
KERNEL(resident_backward, NORM_RESIDENT_THREADS, backward_args)

cudaError_t norm_backward_check(void) {
    return norm_resident_check((const void *)resident_backward_f32,
                               (const void *)resident_backward_bf16);
}

static cudaError_t launch_apply(const struct cuda_launch *l, const struct norm_shape *s,
                                struct backward_args *a) {
    enum { PIXELS_A_THREAD = 4 };

    a->tiling = tiling_of(a->layer.groups, NORM_GROUPS, NORM_THREADS);
    a->pixels = a->tiling.lanes * PIXELS_A_THREAD;
    return LAUNCH(l, apply_backward,
                  dim3(blocks_for((size_t)s->h * s->w, a->pixels), a->tiling.chunks, s->n),
                  NORM_THREADS, 0, *a);
}

// Both sums over tiles, then merged. Leaves the means in the workspace behind the partial sums.
static cudaError_t launch_sums(const struct cuda_launch *l, const struct norm_shape *s,
                               const struct norm_gradients *t, struct backward_args *a,
                               void *workspace) {
    bool per_picture = s->norm == NORM_INSTANCE;
    struct merge_args m;
    cudaError_t error;

    a->tiles = norm_tiles_of(s);
    a->partial = (float *)workspace;
    error = LAUNCH(l, tile_backward, dim3(a->tiles.count, a->tiles.tiling.chunks, s->n),
                   NORM_THREADS, 0, *a);
    if (error)
        return error;
    memset(&m, 0, sizeof m);
    m.n = s->n;
    m.tiles = a->tiles.count;
    m.c = s->c;
    m.groups = a->layer.groups;
    // In float: the number of pixels times images may exceed an int.
    m.pixels = (float)s->h * (float)s->w * (float)(per_picture ? 1 : s->n);
    m.per_picture = per_picture;
    m.accumulate = t->accumulate;
    m.partial = a->partial;
    m.means = a->partial + norm_partial_floats(s);
    m.dweight = (float *)t->ret_dweight;
    m.dbias = (float *)t->ret_dbias;
    a->means = m.means;
    return LAUNCH_PLAIN(l, merge_backward, dim3(m.groups, per_picture ? s->n : 1), NORM_THREADS, 0,
                        m);
}

// What a block holds in shared memory. In this order: x and exact u, exact u, rounded u. The first
// wins that still has as many groups side by side as a read needs.
static struct norm_resident choose_resident(const struct cuda_launch *l, const struct norm_shape *s,
                                            struct backward_args *a) {
    int u = l->element == CUDA_BF16 ? 2 : 1; // slabs of exact u
    struct norm_resident rounded = norm_resident_of(l, s, 1), r = norm_resident_of(l, s, u + 1);
    int enough = HOST_MIN(rounded.tiling.groups, NORM_GROUPS_LEAST(l->element));

    a->holds_x = a->exact = true;
    if (r.threads && r.tiling.groups >= enough)
        return r;
    a->holds_x = false;
    r = norm_resident_of(l, s, u);
    if (r.threads && r.tiling.groups >= enough)
        return r;
    a->exact = false;
    return rounded;
}

cudaError_t cuda_norm_backward(const struct cuda_launch *l, const struct norm_shape *s,
                               const struct norm_gradients *t, const struct cuda_dropout *dropout,
                               void *workspace) {
    struct norm_resident r;
    struct backward_args a;
    cudaError_t error;

    int pad = 0;

    for (int i = 0; i < t->dy.count; i++)
        pad = HOST_MAX(pad, t->dy.part[i].pad);
    // NORM_RUNNING has no backward, as backend.h says.
    if (!takes(s->n, s->h, s->w, pad, s->c) || s->norm == NORM_RUNNING)
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.layer = norm_layer_of(s, t->affine, (const float *)t->stats, dropout);
    a.parts = norm_parts_of(&t->dy);
    a.x = t->x;
    a.dx = t->ret_dx;
    a.dskip = t->ret_dskip;
    r = choose_resident(l, s, &a);
    // Only instance norm: a batch's statistics are of all images, which no block holds.
    if (s->norm == NORM_INSTANCE && r.threads) {
        a.tiling = r.tiling;
        return LAUNCH(l, resident_backward, dim3(r.tiling.chunks, s->n), r.threads, r.shared_bytes,
                      a);
    }
    if (s->norm != NORM_NONE) {
        error = launch_sums(l, s, t, &a, workspace);
        if (error)
            return error;
    }
    return launch_apply(l, s, &a);
}
