// Pillow's 8-bit bicubic resampling (its Resample.c), restated: a table of integer weights for
// each output column and row, a horizontal pass rounded to bytes, then a vertical pass.
#include "image.h"

#include <math.h>
#include <stdlib.h>

#include "err.h"
#include "util.h"

enum {
    WEIGHT_BITS = 22,
    HALF = 1 << (WEIGHT_BITS - 1),
    ROWS = 16,  // the horizontal pass takes so many rows at once,
    BLOCK = 32, // the vertical pass so many bytes: constant counts, which compilers vectorise
};

// GCC builds these functions twice and picks the faster one when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

// One direction: `in` pixels become `out`, of which [from, from + n) are made.
struct axis {
    int in, out, from, n;
};

// Output from + i is the sum over k < count[i] of weight[i * width + k] * input[first[i] + k].
struct weights {
    int width;
    int *first, *count;
    int32_t *weight;
};

static double cubic(double t) {
    const double a = -0.5;
    t = fabs(t);
    if (t < 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2)
        return (((t - 5) * t + 8) * t - 4) * a;
    return 0;
}

static int32_t fixed(double w) {
    double scaled = w * (1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

static void fill_weights(struct weights *t, const struct axis *axis, int i, double *scratch) {
    double scale = (double)axis->in / axis->out, stretch = MAX(scale, 1.0);
    double center = (axis->from + i + 0.5) * scale, support = 2 * stretch;
    double inverse = 1 / stretch, sum = 0;
    int first = MAX(0, (int)(center - support + 0.5));
    int count = MIN(axis->in, (int)(center + support + 0.5)) - first;
    for (int k = 0; k < count; k++) {
        scratch[k] = cubic((k + first - center + 0.5) * inverse);
        sum += scratch[k];
    }
    for (int k = 0; k < count; k++)
        t->weight[(size_t)i * (size_t)t->width + (size_t)k] = fixed(scratch[k] / sum);
    t->first[i] = first;
    t->count[i] = count;
}

static void weights_init(struct weights *t, const struct axis *axis) {
    size_t n = (size_t)axis->n;
    t->width = (int)ceil(2 * MAX((double)axis->in / axis->out, 1.0)) * 2 + 1;
    t->first = xmalloc(n * sizeof *t->first);
    t->count = xmalloc(n * sizeof *t->count);
    t->weight = xcalloc(n * (size_t)t->width, sizeof *t->weight);
    double *scratch = xmalloc((size_t)t->width * sizeof *scratch);
    for (int i = 0; i < axis->n; i++)
        fill_weights(t, axis, i, scratch);
    free(scratch);
}

static void weights_fini(struct weights *t) {
    free(t->first);
    free(t->count);
    free(t->weight);
}

static inline uint8_t byte_of(int32_t sum) {
    int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// ROWS rows become columns: ret[(x * c + channel) * ROWS + row]. Rows past the end repeat the last.
static void interleave(const struct image *im, int y, uint8_t *ret) {
    size_t stride = (size_t)im->w * (size_t)im->c;
    for (int r = 0; r < ROWS; r++) {
        const uint8_t *row = im->pixels + (size_t)MIN(y + r, im->h - 1) * stride;
        for (size_t i = 0; i < stride; i++)
            ret[i * ROWS + (size_t)r] = row[i];
    }
}

// One output column of ROWS rows and c channels; c is a constant where this is called.
static inline void sum_column(const uint8_t *in, const int32_t *weight, int count, int c,
                              uint8_t *ret) {
    int32_t sum[3 * ROWS];
    for (int l = 0; l < c * ROWS; l++)
        sum[l] = HALF;
    for (int k = 0; k < count; k++, in += c * ROWS)
        for (int l = 0; l < c * ROWS; l++)
            sum[l] += weight[k] * in[l];
    for (int l = 0; l < c * ROWS; l++)
        ret[l] = byte_of(sum[l]);
}

WIDE static void sum_columns(const uint8_t *in, const struct weights *t, int n, int c,
                             uint8_t *ret) {
    for (int i = 0; i < n; i++, ret += c * ROWS) {
        const uint8_t *from = in + t->first[i] * c * ROWS;
        const int32_t *weight = t->weight + (size_t)i * (size_t)t->width;
        if (c == 3)
            sum_column(from, weight, t->count[i], 3, ret);
        else
            sum_column(from, weight, t->count[i], 1, ret);
    }
}

// Back to rows: those from `y` on that the target has.
static void deinterleave(const uint8_t *in, struct image *im, int y) {
    size_t stride = (size_t)im->w * (size_t)im->c;
    for (int r = 0; r < MIN(ROWS, im->h - y); r++) {
        uint8_t *row = im->pixels + (size_t)(y + r) * stride;
        for (size_t i = 0; i < stride; i++)
            row[i] = in[i * ROWS + (size_t)r];
    }
}

// Rows [y, y + h) of the picture, in the width of the axis.
static void pass_horizontal(const struct image *im, const struct axis *axis, int y, int h,
                            struct image *ret_image) {
    struct weights t;
    weights_init(&t, axis);
    size_t c = (size_t)im->c;
    uint8_t *in = xmalloc((size_t)im->w * c * ROWS), *out = xmalloc((size_t)axis->n * c * ROWS);
    image_init(ret_image, axis->n, h, im->c);
    for (int row = 0; row < h; row += ROWS) {
        interleave(im, y + row, in);
        sum_columns(in, &t, axis->n, im->c, out);
        deinterleave(out, ret_image, row);
    }
    free(in);
    free(out);
    weights_fini(&t);
}

// BLOCK bytes of one output row.
WIDE static void sum_block(const uint8_t *in, size_t stride, const int32_t *weight, int count,
                           uint8_t ret[BLOCK]) {
    int32_t sum[BLOCK];
    for (int l = 0; l < BLOCK; l++)
        sum[l] = HALF;
    for (int k = 0; k < count; k++, in += stride)
        for (int l = 0; l < BLOCK; l++)
            sum[l] += weight[k] * in[l];
    for (int l = 0; l < BLOCK; l++)
        ret[l] = byte_of(sum[l]);
}

// The last bytes of a row, fewer than BLOCK.
static void sum_rest(const uint8_t *in, size_t stride, const int32_t *weight, int count, size_t n,
                     uint8_t *ret) {
    for (size_t l = 0; l < n; l++) {
        int32_t sum = HALF;
        for (int k = 0; k < count; k++)
            sum += weight[k] * in[(size_t)k * stride + l];
        ret[l] = byte_of(sum);
    }
}

// `im` begins at row `y` of the picture that the axis counts.
static void pass_vertical(const struct image *im, const struct axis *axis, int y,
                          struct image *ret_image) {
    struct weights t;
    weights_init(&t, axis);
    image_init(ret_image, im->w, axis->n, im->c);
    size_t stride = (size_t)im->w * (size_t)im->c;
    for (int i = 0; i < axis->n; i++) {
        const uint8_t *in = im->pixels + (size_t)(t.first[i] - y) * stride;
        const int32_t *weight = t.weight + (size_t)i * (size_t)t.width;
        uint8_t *out = ret_image->pixels + (size_t)i * stride;
        size_t at = 0;
        for (; at + BLOCK <= stride; at += BLOCK)
            sum_block(in + at, stride, weight, t.count[i], out + at);
        sum_rest(in + at, stride, weight, t.count[i], stride - at, out + at);
    }
    weights_fini(&t);
}

// First and last input row that the output rows of the axis look at.
static void rows_needed(const struct axis *axis, int *ret_first, int *ret_end) {
    double scale = (double)axis->in / axis->out, support = 2 * MAX(scale, 1.0);
    double top = (axis->from + 0.5) * scale, bottom = (axis->from + axis->n - 0.5) * scale;
    *ret_first = MAX(0, (int)(top - support + 0.5));
    *ret_end = MIN(axis->in, (int)(bottom + support + 0.5));
}

void image_resize_box(const struct image *im, int w, int h, struct image_box box,
                      struct image *ret_image) {
    struct axis across = {im->w, w, box.x, box.w}, down = {im->h, h, box.y, box.h};
    if (box.x < 0 || box.y < 0 || box.w < 1 || box.h < 1 || box.x > w - box.w || box.y > h - box.h)
        BUG("box %d,%d %dx%d of a picture of %dx%d", box.x, box.y, box.w, box.h, w, h);
    int first = box.y, end = box.y + box.h;
    if (h != im->h)
        rows_needed(&down, &first, &end);
    struct image middle, out;
    if (w == im->w)
        image_crop(im, box.x, first, box.w, end - first, &middle);
    else
        pass_horizontal(im, &across, first, end - first, &middle);
    if (h == im->h) {
        *ret_image = middle;
        return;
    }
    pass_vertical(&middle, &down, first, &out);
    image_fini(&middle);
    *ret_image = out;
}

void image_resize(const struct image *im, int w, int h, struct image *ret_image) {
    image_resize_box(im, w, h, (struct image_box){0, 0, w, h}, ret_image);
}
