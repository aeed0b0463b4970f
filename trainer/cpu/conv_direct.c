// Sums of outer products over pixels. A block of a filter stays in the cache while pixels stream
// by.
#include "cpu/conv_direct.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/simd.h"

// One thread makes the gradient of one row of taps for this many channels, near its core.
enum { BLOCK_SMALL = 32, BLOCK_LARGE = 64, TAPS_MAX = 7 };

struct block {
    int small, large, row; // first channels; the row of taps
};

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

static struct block block_of(const struct cpu_filter *s, int i) {
    // The row of taps changes fastest, so neighbouring blocks read the same channels of both maps.
    int larges = ceil_div(s->cl, BLOCK_LARGE);

    return (struct block){i / s->r / larges * BLOCK_SMALL, i / s->r % larges * BLOCK_LARGE,
                          i % s->r};
}

// Channels in memory, filled up with zeros.
// 16 is the widest vector: kernels read whole vectors of channels.
static int padded(int channels) {
    enum { CHANNELS = 16 };

    return ceil_div(channels, CHANNELS) * CHANNELS;
}

struct maps {
    const float *small, *large;
};

// Small pixels [begin, end) of a line whose large ones exist for this tap.
struct range {
    int begin, end;
};

static struct range range_of(const struct cpu_filter *s, int tap, int small, int large) {
    // 0 <= small * stride + tap - pad < large, solved for small.
    int first = s->pad - tap, last = large - 1 + s->pad - tap;

    return (struct range){first > 0 ? ceil_div(first, s->stride) : 0,
                          last < 0 ? 0 : MIN(small, last / s->stride + 1)};
}

// dw [BLOCK_SMALL][BLOCK_LARGE] = the sum over all pixels, in their order, for one tap.
static void sum_tap(const struct cpu_filter *s, const struct block *b, int tap_col,
                    const struct maps *in, float *dw) {
    const struct cpu_kernels *kernels = cpu_kernels();
    int cs = padded(s->cs), cl = padded(s->cl);
    struct range rows = range_of(s, b->row, s->hs, s->hl);
    struct range cols = range_of(s, tap_col, s->ws, s->wl);
    struct cpu_outer o = {
        .tiles = MAX(cols.end - cols.begin, 0),
        .group = s->ws,
        .rows = MIN(BLOCK_SMALL, s->cs - b->small),
        .vectors = MIN(BLOCK_LARGE, cl - b->large) / kernels->lanes,
        .out = dw,
        .z_tile = cs,
        .z_block = kernels->lanes,
        .v_tile = (ptrdiff_t)s->stride * cl,
        .v_block = kernels->lanes,
        .out_row = BLOCK_LARGE,
    };

    for (int n = 0; n < s->n; n++)
        for (int i = rows.begin; i < rows.end; i++) {
            int row = i * s->stride + b->row - s->pad;
            int col = cols.begin * s->stride + tap_col - s->pad;
            // A row of the small map meets one row of the large map: `row` exists by range_of.
            o.z = in->small + (((size_t)n * s->hs + i) * s->ws + cols.begin) * cs + b->small;
            o.v = in->large + (((size_t)n * s->hl + row) * s->wl + col) * cl + b->large;
            kernels->outer(&o);
            // The first row overwrites dw, the others add. If no row exists, dw stays 0.
            o.add = true;
        }
}

// dw [r][BLOCK_SMALL][BLOCK_LARGE]
static void write_block(const struct cpu_filter *s, const struct block *b, const float *dw,
                        bool add, float *ret_dw) {
    for (int i = 0; i < MIN(BLOCK_SMALL, s->cs - b->small); i++)
        for (int j = 0; j < MIN(BLOCK_LARGE, s->cl - b->large); j++) {
            // The kernel sums each tap apart. The master has the taps of a filter side by side.
            size_t filter = (size_t)(b->small + i) * s->cl + b->large + j;
            float *to = ret_dw + (filter * s->r + b->row) * s->r;
            for (int tap = 0; tap < s->r; tap++)
                to[tap] = dw[(tap * BLOCK_SMALL + i) * BLOCK_LARGE + j] + (add ? to[tap] : 0);
        }
}

// Maps whose channels are to be filled up are copied, a picture at a time.

static size_t small_copy(const struct cpu_filter *s) {
    return s->cs != padded(s->cs) ? (size_t)s->hs * s->ws * padded(s->cs) : 0;
}

static size_t large_copy(const struct cpu_filter *s) {
    return s->cl != padded(s->cl) ? (size_t)s->hl * s->wl * padded(s->cl) : 0;
}

static size_t filter_floats(const struct cpu_filter *s) {
    return (size_t)s->cs * s->cl * s->r * s->r;
}

// Of several pictures that are copied, the sum is made beside ret_dw.
size_t cpu_filter_work_floats(const struct cpu_filter *s) {
    size_t copies = small_copy(s) + large_copy(s);

    // One picture can go to ret_dw directly: its sum is complete when it is written.
    return copies && s->n > 1 ? copies + filter_floats(s) : copies;
}

static void pad_channels(size_t pixels, int c, const float *x, float *ret) {
    // Zeros add nothing to a sum, and their rows and columns are not written.
    int to = padded(c);

#pragma omp parallel for
    for (size_t i = 0; i < pixels; i++) {
        memcpy(ret + i * to, x + i * c, sizeof *x * c);
        memset(ret + i * to + c, 0, sizeof *x * (to - c));
    }
}

static void sum_blocks(const struct cpu_filter *s, const struct maps *in, bool add, float *ret_dw) {
    int blocks = ceil_div(s->cs, BLOCK_SMALL) * ceil_div(s->cl, BLOCK_LARGE) * s->r;

// Blocks differ in size. Each has one thread and a fixed order, so bits do not depend on it.
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < blocks; i++) {
        enum { TAP = BLOCK_SMALL * BLOCK_LARGE };
        // 56 KiB on the thread's stack, which the second cache holds.
        float dw[TAPS_MAX * TAP] __attribute__((aligned(64)));
        struct block b = block_of(s, i);
        memset(dw, 0, sizeof(float) * TAP * s->r); // a tap may have no pixel
        for (int tap = 0; tap < s->r; tap++)
            sum_tap(s, &b, tap, in, dw + tap * TAP);
        write_block(s, &b, dw, add, ret_dw);
    }
}

// Picture `n` with its channels filled up.
static void sum_padded(const struct cpu_filter *all, int n, const struct maps *in, bool add,
                       float *work, float *ret_dw) {
    struct cpu_filter s = *all;
    size_t small = (size_t)s.hs * s.ws, large = (size_t)s.hl * s.wl;
    struct maps one = {in->small + n * small * s.cs, in->large + n * large * s.cl};

    // A picture at a time bounds the scratch, whatever the batch.
    s.n = 1;
    if (small_copy(&s)) {
        pad_channels(small, s.cs, one.small, work);
        one.small = work;
        work += small_copy(&s);
    }
    if (large_copy(&s)) {
        pad_channels(large, s.cl, one.large, work);
        one.large = work;
    }
    sum_blocks(&s, &one, add, ret_dw);
}

// The pictures' sum is complete before it is added: the graph relies on a + b being b + a for the
// gradients a, b of two calls.
static void sum_all_padded(const struct cpu_filter *s, const struct maps *in, bool add, float *work,
                           float *ret_dw) {
    size_t count = filter_floats(s);
    float *sum = s->n > 1 ? work + small_copy(s) + large_copy(s) : ret_dw;

    for (int n = 0; n < s->n; n++)
        sum_padded(s, n, in, s->n > 1 ? n > 0 : add, work, sum);
    if (s->n > 1)
        for (size_t i = 0; i < count; i++)
            ret_dw[i] = sum[i] + (add ? ret_dw[i] : 0);
}

void cpu_filter_gradient(const struct cpu_filter *s, const float *small, const float *large,
                         float *work, bool add, float *ret_dw) {
    struct maps in = {small, large};

    if (s->r > TAPS_MAX)
        // The largest filter of the nets is 7x7.
        BUG("filter gradient of %d taps", s->r);
    if (cpu_filter_work_floats(s) == 0)
        sum_blocks(s, &in, add, ret_dw);
    else
        sum_all_padded(s, &in, add, work, ret_dw);
}

void cpu_channel_sums(size_t pixels, int c, const float *x, bool add, float *ret_sums) {
    // A cache line of channels for each thread. Every channel is summed in the order of pixels.
    enum { GROUP = 16 };

#pragma omp parallel for
    for (int c0 = 0; c0 < c; c0 += GROUP) {
        double sum[GROUP] = {0};
        int count = MIN(GROUP, c - c0);
        for (size_t p = 0; p < pixels; p++)
            for (int i = 0; i < count; i++)
                sum[i] += x[p * c + c0 + i];
        for (int i = 0; i < count; i++)
            ret_sums[c0 + i] = (float)sum[i] + (add ? ret_sums[c0 + i] : 0);
    }
}
