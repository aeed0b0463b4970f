#include "cpu/conv_narrow.h"

#include <omp.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/simd.h"

enum { COLUMNS_MAX = 32, BLOCK = 32 }; // BLOCK: channels of a filter gradient made at once

struct plan {
    const struct cpu_narrow *s;
    const struct cpu_kernels *kernels;
    int panel, panels, columns; // floats of a panel's row; columns of q, rounded up to panels
    int h_in, w_in;             // of x
};

static struct plan plan_of(const struct cpu_narrow *s) {
    struct plan p = {.s = s, .kernels = cpu_kernels()};

    if (s->many % 16 || s->few * s->r > COLUMNS_MAX)
        BUG("narrow convolution %d, %d channels, %d taps", s->many, s->few, s->r);
    p.panel = 2 * p.kernels->lanes;
    p.panels = (s->few * s->r + p.panel - 1) / p.panel;
    p.columns = p.panels * p.panel;
    p.h_in = s->h + s->r - 1;
    p.w_in = s->w + s->r - 1;
    return p;
}

// Packed filters: [r][panels][many][panel], column f * r + s of the panels' row for tap column s.

size_t cpu_narrow_filter_floats(const struct cpu_narrow *s) {
    struct plan p = plan_of(s);

    return (size_t)s->r * s->many * p.columns;
}

// Of w, `few` and `many` are the floats from one such channel to the next.
static void pack(const struct plan *p, const float *w, ptrdiff_t few, ptrdiff_t many,
                 float *ret_packed) {
    const struct cpu_narrow *s = p->s;

    memset(ret_packed, 0, cpu_narrow_filter_floats(s) * sizeof *ret_packed);
    for (int row = 0; row < s->r; row++)
        for (int f = 0; f < s->few; f++)
            for (int col = 0; col < s->r; col++) {
                int column = f * s->r + col, panel = row * p->panels + column / p->panel;
                float *to = ret_packed + (size_t)panel * s->many * p->panel + column % p->panel;
                for (int m = 0; m < s->many; m++)
                    to[m * p->panel] = w[f * few + m * many + row * s->r + col];
            }
}

void cpu_narrow_filters_output(const struct cpu_narrow *s, const float *w, float *ret_packed) {
    struct plan p = plan_of(s);
    int taps = s->r * s->r;

    pack(&p, w, (ptrdiff_t)s->many * taps, taps, ret_packed);
}

void cpu_narrow_filters_input(const struct cpu_narrow *s, const float *w, float *ret_packed) {
    struct plan p = plan_of(s);
    int taps = s->r * s->r;

    pack(&p, w, taps, (ptrdiff_t)s->few * taps, ret_packed);
}

// Scratch: a row q [w_in][columns] of each thread, or the gradient's widened rows.

static size_t q_floats(const struct plan *p) {
    return ((size_t)p->w_in * p->columns + 15) / 16 * 16;
}

// A row of dy between r - 1 zero pixels on either side, and what the kernel reads beyond it.
static size_t wide_floats(const struct plan *p) {
    return (size_t)(p->w_in + p->s->r - 1) * p->s->few + p->kernels->lanes;
}

size_t cpu_narrow_work_floats(const struct cpu_narrow *s, int threads) {
    struct plan p = plan_of(s);

    return MAX(threads * q_floats(&p), (size_t)s->n * s->h * wide_floats(&p));
}

// q (+)= `pixels` pixels of many channels times the filters of one row of taps.
static void multiply(const struct plan *p, int pixels, const float *in, const float *packed,
                     bool add, float *q) {
    for (int i = 0; i < p->panels; i++)
        p->kernels->product(&(struct cpu_product){
            .tiles = pixels,
            .blocks = p->s->many / p->kernels->lanes,
            .in = in,
            .panel = packed + (size_t)i * p->s->many * p->panel,
            .out = q + i * p->panel,
            .in_tile = p->s->many,
            .in_block = p->kernels->lanes,
            .out_tile = p->columns,
            .out_block = p->kernels->lanes,
            .add = add,
        });
}

static const float *packed_row(const struct plan *p, const float *packed, int row) {
    return packed + (size_t)row * p->columns * p->s->many;
}

void cpu_narrow_forward(const struct cpu_narrow *s, const float *x, const float *packed,
                        const float *bias, float *work, float *ret_y) {
    struct plan p = plan_of(s);

#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++) {
        float *q = work + omp_get_thread_num() * q_floats(&p),
              *y = ret_y + (size_t)i * s->w * s->few;
        size_t row = (size_t)i / s->h * p.h_in + i % s->h;
        for (int tap = 0; tap < s->r; tap++)
            multiply(&p, p.w_in, x + (row + tap) * p.w_in * s->many, packed_row(&p, packed, tap),
                     tap > 0, q);
        for (int j = 0; j < s->w; j++)
            for (int f = 0; f < s->few; f++) {
                const float *from = q + (size_t)j * p.columns + f * s->r;
                float sum = bias ? bias[f] : 0;
                for (int tap = 0; tap < s->r; tap++)
                    sum += from[(size_t)tap * p.columns + tap];
                y[j * s->few + f] = sum;
            }
    }
}

void cpu_narrow_backward_data(const struct cpu_narrow *s, const float *dy, const float *packed,
                              float *work, float *ret_dx) {
    struct plan p = plan_of(s);

#pragma omp parallel for
    for (int i = 0; i < s->n * p.h_in; i++) {
        float *q = work + omp_get_thread_num() * q_floats(&p);
        float *dx = ret_dx + (size_t)i * p.w_in * s->few;
        int image = i / p.h_in, y = i % p.h_in, first = MAX(0, y - s->h + 1);
        for (int tap = first; tap < s->r && tap <= y; tap++)
            multiply(&p, s->w, dy + ((size_t)image * s->h + y - tap) * s->w * s->many,
                     packed_row(&p, packed, tap), tap > first, q);
        for (int j = 0; j < p.w_in; j++)
            for (int f = 0; f < s->few; f++) {
                float sum = 0;
                for (int tap = MAX(0, j - s->w + 1); tap < s->r && tap <= j; tap++)
                    sum += q[(size_t)(j - tap) * p.columns + f * s->r + tap];
                dx[j * s->few + f] = sum;
            }
    }
}

// Filter gradient. At input pixel j, row i = t * few + f of the kernel is dy's pixel j - s,
// channel f, for tap column s = r - 1 - t: contiguous in a widened row of dy.

static void widen(const struct plan *p, const float *dy, float *ret_wide) {
    size_t row = (size_t)p->s->w * p->s->few, border = (size_t)(p->s->r - 1) * p->s->few;

#pragma omp for
    for (int i = 0; i < p->s->n * p->s->h; i++) {
        float *wide = ret_wide + i * wide_floats(p);
        memset(wide, 0, wide_floats(p) * sizeof *wide);
        memcpy(wide + border, dy + i * row, row * sizeof *wide);
    }
}

// du [COLUMNS_MAX][BLOCK]: one row of taps, channels from c on.
static void sum_block(const struct plan *p, int tap_row, int c, const float *x, const float *wide,
                      float *du) {
    const struct cpu_narrow *s = p->s;
    int lanes = p->kernels->lanes;

    for (int i = 0; i < s->n * s->h; i++) {
        size_t row = (size_t)i / s->h * p->h_in + i % s->h + tap_row;
        p->kernels->outer(&(struct cpu_outer){
            .tiles = p->w_in,
            .group = p->w_in,
            .rows = s->few * s->r,
            .vectors = MIN(BLOCK, s->many - c) / lanes,
            .z = wide + i * wide_floats(p),
            .v = x + row * p->w_in * s->many + c,
            .out = du,
            .z_tile = s->few,
            .z_block = lanes,
            .v_tile = s->many,
            .v_block = lanes,
            .out_row = BLOCK,
            .add = i > 0,
        });
    }
}

static void write_block(const struct plan *p, int tap_row, int c0, const float *du, bool add,
                        float *dw) {
    const struct cpu_narrow *s = p->s;

    for (int f = 0; f < s->few; f++)
        for (int c = 0; c < MIN(BLOCK, s->many - c0); c++)
            for (int col = 0; col < s->r; col++) {
                float *to = dw + (((size_t)f * s->many + c0 + c) * s->r + tap_row) * s->r + col;
                *to = du[((s->r - 1 - col) * s->few + f) * BLOCK + c] + (add ? *to : 0);
            }
}

void cpu_narrow_backward_weights(const struct cpu_narrow *s, const float *x, const float *dy,
                                 float *work, bool add, float *ret_dw) {
    struct plan p = plan_of(s);
    int blocks = (s->many + BLOCK - 1) / BLOCK;

#pragma omp parallel
    {
        widen(&p, dy, work);
#pragma omp for
        for (int i = 0; i < s->r * blocks; i++) {
            float du[COLUMNS_MAX * BLOCK] __attribute__((aligned(64)));
            int row = i / blocks, c = i % blocks * BLOCK;
            sum_block(&p, row, c, x, work, du);
            write_block(&p, row, c, du, add, ret_dw);
        }
    }
}
