// Resampling with fixed filters, and patches of maps. Adjoints gather as well: each output is one
// sum in a fixed order, without atomics.
#include "cuda/kernels/kernel.h"

// TAPS_MAX: the adjoint of UP has four taps, the others fewer.
enum { THREADS = 256, TAPS_MAX = 4 };

struct resample_args {
    struct resample_shape shape;
    int groups;
    const void *x;
    void *y;
};

// An input row (or column) and its weight in an output row. A tap outside of the input has weight
// 0.
struct tap {
    int at;
    float weight;
};

// Tap `i` of output `to`. The input has `size` rows, the output `to_size`. backend.h has the
// formulas of BLUR and UP; the adjoints are their transposed matrices.
INLINE tap tap_of(enum resample_kind kind, int i, int to, int size, int to_size) {
    tap t = {-1, 0};

    if (kind == RESAMPLE_BLUR) {
        // The border of 1 makes the input row 2 to + 1 the middle one.
        t.at = i < 3 ? 2 * to + i : -1;
        t.weight = i == 1 ? 0.5f : 0.25f;
    } else if (kind == RESAMPLE_BLUR_ADJOINT) {
        // An even row was at the end of two filters, an odd one in the middle of one.
        t.at = i == 0 ? to / 2 : i == 1 && to % 2 == 0 ? to / 2 - 1 : -1;
        t.weight = to % 2 ? 0.5f : 0.25f;
    } else if (kind == RESAMPLE_UP) {
        // The neighbour above or below, clamped at the edges.
        int other = to % 2 ? to / 2 + 1 : to / 2 - 1;
        t.at = i == 0 ? to / 2 : i == 1 ? min(max(other, 0), size - 1) : -1;
        t.weight = i == 0 ? 0.75f : 0.25f;
    } else { // at the edges the clamped quarter is the pixel's own
        // Rows 2 to and 2 to + 1 have this pixel as their nearest, the two around them as a
        // neighbour.
        bool edge = i == 0 ? to == 0 : to == to_size - 1;
        t.at = 2 * to + (i < 2 ? i : i == 2 ? -1 : 2);
        t.weight = i >= 2 ? 0.25f : edge ? 1.0f : 0.75f;
    }
    if (t.at < 0 || t.at >= size)
        return {0, 0};
    return t;
}

// One thread computes 8 channels of a pixel of y. The grid's y goes over rows, z over images. The
// filter is the product of one on rows and one on columns.
INLINE void resample(const struct resample_args &a, const bool bf16) {
    const struct resample_shape *s = &a.shape;
    int i = (int)(blockIdx.x * THREADS + threadIdx.x), column = i / a.groups, group = i % a.groups;
    int row = (int)blockIdx.y, n = (int)blockIdx.z;

    if (column >= s->to_w)
        return;
    tap columns[TAPS_MAX];
    float sum[8], v[8];
#pragma unroll
    for (int m = 0; m < TAPS_MAX; m++)
        columns[m] = tap_of(s->kind, m, column, s->w, s->to_w);
    zero8(sum);
#pragma unroll 1
    for (int k = 0; k < TAPS_MAX; k++) {
        tap of_row = tap_of(s->kind, k, row, s->h, s->to_h);
        size_t line = ((size_t)n * s->h + of_row.at) * s->w;
#pragma unroll
        for (int m = 0; m < TAPS_MAX; m++) {
            float weight = of_row.weight * columns[m].weight;
            // An invalid tap: its place must not be read.
            if (weight == 0)
                continue;
            fetch8(a.x, (line + columns[m].at) * a.groups + group, bf16, v);
#pragma unroll
            for (int j = 0; j < 8; j++)
                sum[j] += weight * v[j];
        }
    }
    write8(a.y, (((size_t)n * s->to_h + row) * s->to_w + column) * a.groups + group, bf16, sum);
}
KERNEL(resample, THREADS, resample_args)

cudaError_t cuda_resample(const struct cuda_launch *l, const struct resample_shape *s,
                          const void *x, void *ret_y) {
    struct resample_args a;

    if (!takes(s->n, s->h, s->w, 0, s->c) || !takes(s->n, s->to_h, s->to_w, 0, s->c) ||
        s->to_h > 65535) // the grid's y
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.shape = *s;
    a.groups = cuda_channels(s->c) / 8;
    a.x = x;
    a.y = ret_y;
    return LAUNCH(l, resample, dim3(blocks_for((size_t)s->to_w * a.groups, THREADS), s->to_h, s->n),
                  THREADS, 0, a);
}

struct sample_args {
    struct sample_shape shape;
    int groups;
    bool accumulate;
    const void *x; // the map; dy
    void *y;       // the patches; dx
};

// The pixel of the whole map, border included, that an id names.
INLINE size_t pixel_of(const struct sample_shape *s, int id) {
    if (s->border)
        return id;
    return (size_t)(id / s->w + s->pad) * (s->w + 2 * s->pad) + id % s->w + s->pad;
}

// Pixels of one image's map, border included.
INLINE size_t map_pixels(const struct sample_shape *s) {
    return (size_t)(s->h + 2 * s->pad) * (s->w + 2 * s->pad);
}

// One thread copies 8 channels of a patch.
INLINE void sample(const struct sample_args &a, const bool bf16) {
    const struct sample_shape *s = &a.shape;
    int i = (int)(blockIdx.x * THREADS + threadIdx.x), patch = i / a.groups, group = i % a.groups;

    if (patch >= s->n * s->count)
        return;
    size_t pixel = patch / s->count * map_pixels(s) + pixel_of(s, __ldg(s->ids + patch));
    write_raw(a.y, (size_t)patch * a.groups + group, bf16,
              fetch_raw(a.x, pixel * a.groups + group, bf16));
}
KERNEL(sample, THREADS, sample_args)

// Patches with equal ids add to the same pixel. The first of them sums all, in their order, so that
// no two threads write a pixel. Rounding happens once, at the end.
INLINE void scatter(const struct sample_args &a, const bool bf16) {
    const struct sample_shape *s = &a.shape;
    int i = (int)(blockIdx.x * THREADS + threadIdx.x), patch = i / a.groups, group = i % a.groups;
    float sum[8], v[8];

    if (patch >= s->n * s->count)
        return;
    int own = patch % s->count, first = patch - own, id = __ldg(s->ids + patch);
    // An earlier patch with this id does the work.
#pragma unroll 1
    for (int k = 0; k < own; k++)
        if (__ldg(s->ids + first + k) == id)
            return;
    size_t at = (patch / s->count * map_pixels(s) + pixel_of(s, id)) * a.groups + group;
    // dx as it was, for `accumulate`.
    unpack8(read_raw(a.y, at, bf16), bf16, sum);
    if (!a.accumulate)
        zero8(sum);
#pragma unroll 1
    for (int k = own; k < s->count; k++)
        if (__ldg(s->ids + first + k) == id) {
            fetch8(a.x, (size_t)(first + k) * a.groups + group, bf16, v);
#pragma unroll
            for (int j = 0; j < 8; j++)
                sum[j] += v[j];
        }
    write8(a.y, at, bf16, sum);
}
KERNEL(scatter, THREADS, sample_args)

static struct sample_args sample_of(const struct sample_shape *s, const void *x, void *y) {
    struct sample_args a;

    memset(&a, 0, sizeof a);
    a.shape = *s;
    a.groups = cuda_channels(s->c) / 8;
    a.x = x;
    a.y = y;
    return a;
}

static bool takes_sample(const struct sample_shape *s) {
    return s->count > 0 && takes(s->n, s->h, s->w, s->pad, s->c) &&
           takes_pixels((size_t)s->n * (size_t)s->count, s->c);
}

cudaError_t cuda_sample_forward(const struct cuda_launch *l, const struct sample_shape *s,
                                const void *x, void *ret_y) {
    struct sample_args a = sample_of(s, x, ret_y);

    if (!takes_sample(s))
        return cudaErrorInvalidValue;
    return LAUNCH(l, sample, blocks_for((size_t)s->n * s->count * a.groups, THREADS), THREADS, 0,
                  a);
}

cudaError_t cuda_sample_backward(const struct cuda_launch *l, const struct sample_shape *s,
                                 const void *dy, bool accumulate, void *ret_dx) {
    struct sample_args a = sample_of(s, dy, ret_dx);
    size_t bytes = (size_t)s->n * (s->h + 2 * s->pad) * (s->w + 2 * s->pad) * cuda_channels(s->c) *
                   cuda_element_bytes(l->element);
    cudaError_t error;

    if (!takes_sample(s))
        return cudaErrorInvalidValue;
    a.accumulate = accumulate;
    // Pixels without a patch are 0. The kernel follows in the same stream.
    if (!accumulate) {
        error = cudaMemsetAsync(ret_dx, 0, bytes, l->stream);
        if (error)
            return error;
    }
    return LAUNCH(l, scatter, blocks_for((size_t)s->n * s->count * a.groups, THREADS), THREADS, 0,
                  a);
}
