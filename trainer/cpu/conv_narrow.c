// The two shapes of conv_narrow.h by matrix products, then shifted sums over the columns of taps.
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
    int h_in, w_in, stride;     // of x
};

static struct plan plan_of(const struct cpu_narrow *s) {
    struct plan p = {.s = s, .kernels = cpu_kernels()};

    if (s->many % 16 || s->few * s->r > COLUMNS_MAX)
        BUG("narrow convolution %d, %d channels, %d taps", s->many, s->few, s->r);
    // The product kernel takes two vectors of outputs at once.
    p.panel = 2 * p.kernels->lanes;
    p.panels = (s->few * s->r + p.panel - 1) / p.panel;
    p.columns = p.panels * p.panel;
    p.stride = MAX(1, s->stride);
    // Stride 0 marks the ordinary case, whose input is larger than y by the filter's reach.
    p.h_in = s->stride ? s->h_x : s->h + s->r - 1;
    p.w_in = s->stride ? s->w_x : s->w + s->r - 1;
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

    // Columns beyond few * r stay 0 and are never read from q.
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

// Rounded up to 64 bytes, so that two threads share no cache line.
static size_t q_floats(const struct plan *p) {
    return ((size_t)MAX(p->w_in, p->s->w) * p->columns + 15) / 16 * 16;
}

// A row of few channels between r - 1 zero pixels on either side, and what the kernel reads beyond.
static size_t wide_floats(const struct plan *p) {
    return (size_t)(p->w_in + p->s->r - 1) * p->s->few + p->kernels->lanes;
}

size_t cpu_narrow_work_floats(const struct cpu_narrow *s, int threads) {
    struct plan p = plan_of(s);

    return MAX(threads * q_floats(&p), (size_t)s->n * p.h_in * wide_floats(&p));
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
        // The row of this thread. It is reused for each row of y.
        float *q = work + omp_get_thread_num() * q_floats(&p),
              *y = ret_y + (size_t)i * s->w * s->few;
        size_t row = (size_t)i / s->h * p.h_in + i % s->h;
        for (int tap = 0; tap < s->r; tap++)
            // A row of taps adds to the same q. The shift between its columns comes at the end.
            multiply(&p, p.w_in, x + (row + tap) * p.w_in * s->many, packed_row(&p, packed, tap),
                     tap > 0, q);
        for (int j = 0; j < s->w; j++)
            for (int f = 0; f < s->few; f++) {
                const float *from = q + (size_t)j * p.columns + f * s->r;
                float sum = bias ? bias[f] : 0;
                for (int tap = 0; tap < s->r; tap++)
                    // Pixel j + tap, column tap: the product that belongs to pixel j of y.
                    sum += from[(size_t)tap * p.columns + tap];
                y[j * s->few + f] = sum;
            }
    }
}

// The pixel of y that pixel `x` of the input meets at a tap; -1: none.
static int meets(const struct plan *p, int x, int tap, int size) {
    // x = at stride + tap - pad, solved for `at`, must come out whole.
    int at = x + p->s->pad - tap;

    return at >= 0 && at % p->stride == 0 && at / p->stride < size ? at / p->stride : -1;
}

static void gather_row(const struct plan *p, const float *q, float *ret_dx) {
    const struct cpu_narrow *s = p->s;

    for (int j = 0; j < p->w_in; j++)
        for (int f = 0; f < s->few; f++) {
            float sum = 0;
            for (int tap = 0; tap < s->r; tap++) {
                int at = meets(p, j, tap, s->w);
                sum += at < 0 ? 0 : q[(size_t)at * p->columns + f * s->r + tap];
            }
            ret_dx[j * s->few + f] = sum;
        }
}

void cpu_narrow_backward_data(const struct cpu_narrow *s, const float *dy, const float *packed,
                              float *work, float *ret_dx) {
    struct plan p = plan_of(s);

#pragma omp parallel for
    for (int i = 0; i < s->n * p.h_in; i++) {
        float *q = work + omp_get_thread_num() * q_floats(&p);
        bool add = false;
        memset(q, 0, q_floats(&p) * sizeof *q); // a row may meet none
        for (int tap = 0; tap < s->r; tap++) {
            int row = meets(&p, i % p.h_in, tap, s->h);
            // With a stride some rows of taps meet no row of dy.
            if (row < 0)
                continue;
            multiply(&p, s->w, dy + ((size_t)(i / p.h_in) * s->h + row) * s->w * s->many,
                     packed_row(&p, packed, tap), add, q);
            add = true;
        }
        gather_row(&p, q, ret_dx + (size_t)i * p.w_in * s->few);
    }
}

// Filter gradients. Of the map with few channels the columns of taps at a pixel are contiguous in a
// row that is widened by zeros. Narrow output: at input pixel j, row i = t * few + f of the kernel
// is dy's pixel j - s, channel f, for tap column s = r - 1 - t. Narrow input: at output pixel j,
// row i = s * few + f is x's pixel j + s, channel f.

// The rows of the map of few channels, and the zero pixels on the left of each.
struct narrow_rows {
    int count, pixels, border;
};

static struct narrow_rows narrow_rows(const struct plan *p, bool output) {
    const struct cpu_narrow *s = p->s;

    // A narrow output needs zeros on both sides of dy. A narrow input has a border already.
    return output ? (struct narrow_rows){s->n * s->h, s->w, s->r - 1}
                  : (struct narrow_rows){s->n * p->h_in, p->w_in, 0};
}

static void widen(const struct plan *p, bool output, const float *x, float *ret_wide) {
    struct narrow_rows rows = narrow_rows(p, output);
    size_t row = (size_t)rows.pixels * p->s->few, border = (size_t)rows.border * p->s->few;

#pragma omp for
    for (int i = 0; i < rows.count; i++) {
        float *wide = ret_wide + i * wide_floats(p);
        memset(wide, 0, wide_floats(p) * sizeof *wide);
        memcpy(wide + border, x + i * row, row * sizeof *wide);
    }
}

// du [COLUMNS_MAX][BLOCK]: one row of taps, channels of the other map from c on.
// All rows of all pictures one after the other, so the order does not depend on threads.
static void sum_block(const struct plan *p, bool output, int tap_row, int c, const float *many,
                      const float *wide, float *du) {
    const struct cpu_narrow *s = p->s;
    int lanes = p->kernels->lanes, pixels = output ? p->w_in : s->w;

    for (int i = 0; i < s->n * s->h; i++) {
        size_t in = (size_t)i / s->h * p->h_in + i % s->h + tap_row, row = output ? in : (size_t)i;
        p->kernels->outer(&(struct cpu_outer){
            .tiles = pixels,
            .group = pixels,
            .rows = s->few * s->r,
            .vectors = MIN(BLOCK, s->many - c) / lanes,
            .z = wide + (output ? (size_t)i : in) * wide_floats(p),
            .v = many + row * pixels * s->many + c,
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

static void write_block(const struct plan *p, bool output, int tap_row, int c0, const float *du,
                        bool add, float *dw) {
    const struct cpu_narrow *s = p->s;

    for (int f = 0; f < s->few; f++)
        for (int c = c0; c < MIN(c0 + BLOCK, s->many); c++)
            for (int col = 0; col < s->r; col++) {
                size_t filter = output ? (size_t)f * s->many + c : (size_t)c * s->few + f;
                // For a narrow output the kernel's rows count the taps from the last one.
                int column = output ? s->r - 1 - col : col;
                float *to = dw + (filter * s->r + tap_row) * s->r + col;
                *to = du[(column * s->few + f) * BLOCK + c - c0] + (add ? *to : 0);
            }
}

static void backward_weights(const struct cpu_narrow *s, bool output, const float *many,
                             const float *few, float *work, bool add, float *ret_dw) {
    struct plan p = plan_of(s);
    int blocks = (s->many + BLOCK - 1) / BLOCK;

#pragma omp parallel
    {
        widen(&p, output, few, work);
// The map has few channels, so whole rows fit into the cache of each thread.
#pragma omp for
        for (int i = 0; i < s->r * blocks; i++) {
            float du[COLUMNS_MAX * BLOCK] __attribute__((aligned(64)));
            int row = i / blocks, c = i % blocks * BLOCK;
            sum_block(&p, output, row, c, many, work, du);
            write_block(&p, output, row, c, du, add, ret_dw);
        }
    }
}

void cpu_narrow_output_weights(const struct cpu_narrow *s, const float *x, const float *dy,
                               float *work, bool add, float *ret_dw) {
    backward_weights(s, true, x, dy, work, add, ret_dw);
}

void cpu_narrow_input_weights(const struct cpu_narrow *s, const float *x, const float *dy,
                              float *work, bool add, float *ret_dw) {
    backward_weights(s, false, dy, x, work, add, ret_dw);
}
