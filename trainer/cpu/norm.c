// All norms in one chapter: bands of rows make the statistics, single rows make the output.
#include "cpu/norm.h"

#include <math.h>
#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "cpu/cpu.h"

// A tensor with a border of `pad` pixels on each side.
struct padded {
    const float *data; // NULL: absent
    int pad;
};

// What forward and backward both read. The forward writes mean and rstd, [n,c] or [c].
struct layer {
    const float *x;
    float *mean, *rstd;               // NULL without a norm
    const struct norm_affine *affine; // NULL: none
    bool drops;
    uint64_t seed, index; // of dropout's random numbers
};

static struct layer layer_of(const struct device *d, const struct norm_shape *s, const void *x,
                             const float *stats, const struct norm_affine *affine,
                             const struct norm_dropout *dropout) {
    // The backward only reads stats; the forward passes its own output here.
    struct layer l = {.x = x, .mean = (float *)stats, .affine = affine};

    if (s->norm != NORM_NONE)
        // Behind the means: a row for each image, or one for the batch.
        l.rstd = l.mean + (size_t)(affine ? 1 : s->n) * (size_t)s->c;
    if (dropout) {
        const struct device_values *values = &((const struct cpu_device *)d)->values;
        l.drops = true;
        l.seed = values->seed;
        // backend.h: the op's number has 24 bits below the step's.
        l.index = values->step << 24 | dropout->op;
    }
    return l;
}

// ---- bands ----

// Sums over pixels are taken per band of rows, then over the bands: enough bands for many threads,
// and their number depends on the height alone.
enum { BANDS_MAX = 32 };

struct band {
    int image, row, rows_end;
    double *sum; // [2][C]
};

static int n_bands(const struct norm_shape *s) {
    // A band has one row at least.
    return MIN(s->h, BANDS_MAX);
}

size_t cpu_norm_workspace_bytes(struct device *d, const struct norm_shape *s) {
    return (size_t)s->n * n_bands(s) * 2 * s->c * sizeof(double);
}

// Statistics are taken over a group of images: one, or the batch.
static int n_groups(const struct norm_shape *s) {
    return s->norm == NORM_BATCH ? 1 : s->n;
}

static int bands_in_group(const struct norm_shape *s) {
    return s->n / n_groups(s) * n_bands(s);
}

static double pixels_in_group(const struct norm_shape *s) {
    int images = s->n / n_groups(s);

    return (double)s->h * s->w * images;
}

static size_t group_of(const struct norm_shape *s, int image) {
    return s->norm == NORM_INSTANCE ? image : 0;
}

static struct band band_of(const struct norm_shape *s, int i, double *work) {
    int bands = n_bands(s), b = i % bands;

    // These quotients cut the rows into bands whose heights differ by one at most.
    return (struct band){i / bands, s->h * b / bands, s->h * (b + 1) / bands,
                         work + (size_t)i * 2 * s->c};
}

static void check_border(const struct norm_shape *s, int pad) {
    if (pad < 0 || pad > CPU_PAD_MAX || (pad > 0 && (pad >= s->h || pad >= s->w)))
        // Reflection needs pixels beyond the edge pixel, which is not repeated.
        BUG("reflection of %d on %dx%d", pad, s->h, s->w);
}

static const float *row_of(const struct norm_shape *s, struct padded t, int image, int row) {
    size_t width = s->w + 2 * t.pad, height = s->h + 2 * t.pad;

    return t.data + ((image * height + row) * width) * s->c;
}

// ---- statistics ----

// sum[c] += x[c], and sum[c] += (x[c] - mean[c])^2, over w pixels: four pixels in float before each
// addition in double, which is slow.
CPU_CLONED(void, add_values, (int w, int c, const float *x, double *restrict sum), (w, c, x, sum)) {
    int p = 0;

    for (; p + 4 <= w; p += 4, x += 4 * c)
        for (int i = 0; i < c; i++)
            sum[i] += (x[i] + x[i + c]) + (x[i + 2 * c] + x[i + 3 * c]);
    for (; p < w; p++, x += c)
        for (int i = 0; i < c; i++)
            sum[i] += x[i];
}

CPU_CLONED(void, add_squares,
           (int w, int c, const float *x, const float *mean, double *restrict sum),
           (w, c, x, mean, sum)) {
    int p = 0;

    for (; p + 4 <= w; p += 4, x += 4 * c)
        for (int i = 0; i < c; i++) {
            float a = x[i] - mean[i], b = x[i + c] - mean[i];
            float d = x[i + 2 * c] - mean[i], e = x[i + 3 * c] - mean[i];
            sum[i] += (a * a + b * b) + (d * d + e * e);
        }
    for (; p < w; p++, x += c)
        for (int i = 0; i < c; i++)
            sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
}

// Adds the bands of a group for `which` of the two sums into that of its first band.
CPU_CLONED(double *, merge_bands, (const struct norm_shape *s, int group, int which, double *work),
           (s, group, which, work)) {
    int bands = bands_in_group(s), c = s->c;
    double *total = work + ((size_t)group * bands * 2 + which) * c;

    for (int b = 1; b < bands; b++) {
        const double *part = total + (size_t)b * 2 * c;
        for (int i = 0; i < c; i++)
            total[i] += part[i];
    }
    return total;
}

// One parallel region. Each `omp for` ends in a barrier: the next loop reads what it wrote.
static void measure(const struct norm_shape *s, const struct layer *l, double *work) {
    int c = s->c, bands = s->n * n_bands(s), groups = n_groups(s);
    double pixels = pixels_in_group(s);

#pragma omp parallel
    {
#pragma omp for
        for (int i = 0; i < bands; i++) {
            struct band b = band_of(s, i, work);
            // Both sums are cleared here, that of the squares too.
            memset(b.sum, 0, sizeof(double) * 2 * c);
            add_values((b.rows_end - b.row) * s->w, c,
                       row_of(s, (struct padded){l->x, 0}, b.image, b.row), b.sum);
        }
#pragma omp for
        for (int n = 0; n < groups; n++) {
            const double *sum = merge_bands(s, n, 0, work);
            for (int i = 0; i < c; i++)
                l->mean[n * c + i] = (float)(sum[i] / pixels);
        }
#pragma omp for
        for (int i = 0; i < bands; i++) {
            struct band b = band_of(s, i, work);
            add_squares((b.rows_end - b.row) * s->w, c,
                        row_of(s, (struct padded){l->x, 0}, b.image, b.row),
                        l->mean + group_of(s, b.image) * c, b.sum + c);
        }
#pragma omp for
        for (int n = 0; n < groups; n++) {
            const double *sum = merge_bands(s, n, 1, work);
            for (int i = 0; i < c; i++)
                l->rstd[n * c + i] = (float)(1 / sqrt(sum[i] / pixels + NORM_EPS));
        }
    }
}

// After measure, which leaves the sums of squares in the first band of `work`. The running variance
// takes the unbiased one.
static void move_running(const struct norm_shape *s, const struct layer *l, const double *work) {
    const double *squares = work + s->c;
    double pixels = pixels_in_group(s);
    float *mean = l->affine->running_mean, *var = l->affine->running_var;

    for (int i = 0; i < s->c; i++) {
        // The tape refuses batches of a single value, so the divisor is not 0.
        double unbiased = squares[i] / (pixels - 1);
        mean[i] = (float)((1 - NORM_MOMENTUM) * mean[i] + NORM_MOMENTUM * l->mean[i]);
        var[i] = (float)((1 - NORM_MOMENTUM) * var[i] + NORM_MOMENTUM * unbiased);
    }
}

static void copy_running(const struct norm_shape *s, const struct layer *l) {
    for (int i = 0; i < s->c; i++) {
        // Copied, so that rows read all norms' statistics from one place.
        l->mean[i] = l->affine->running_mean[i];
        l->rstd[i] = (float)(1 / sqrt(l->affine->running_var[i] + NORM_EPS));
    }
}

// ---- rows ----

// The value before the activation: (x - mean) * rstd, times weight plus bias with an affine part;
// x without a norm. Forward and backward write it the same way, so that its signs agree.
struct affine {
    const float *shift, *scale, *weight, *bias;
};

static struct affine affine_of(const struct norm_shape *s, const struct layer *l, int image) {
    struct affine a = {0};

    if (s->norm == NORM_NONE)
        return a;
    a.shift = l->mean + group_of(s, image) * s->c;
    a.scale = l->rstd + group_of(s, image) * s->c;
    if (l->affine) {
        a.weight = l->affine->weight;
        a.bias = l->affine->bias;
    }
    return a;
}

CPU_CLONED(void, row_affine,
           (int w, int c, const float *restrict x, struct affine a, float *restrict z),
           (w, c, x, a, z)) {
    for (int p = 0; p < w; p++, x += c, z += c)
        if (a.weight)
            for (int i = 0; i < c; i++)
                z[i] = (x[i] - a.shift[i]) * a.scale[i] * a.weight[i] + a.bias[i];
        else if (a.scale)
            for (int i = 0; i < c; i++)
                z[i] = (x[i] - a.shift[i]) * a.scale[i];
        else
            memcpy(z, x, sizeof(float) * c);
}

CPU_CLONED(void, row_act, (int count, enum activation act, float *z), (count, act, z)) {
    if (act == ACT_RELU)
        for (int i = 0; i < count; i++)
            z[i] = z[i] > 0 ? z[i] : 0;
    else if (act == ACT_LEAKY)
        for (int i = 0; i < count; i++)
            z[i] = z[i] > 0 ? z[i] : (float)LEAKY_SLOPE * z[i];
}

CPU_CLONED(void, row_add, (int count, const float *restrict x, float *restrict y), (count, x, y)) {
    for (int i = 0; i < count; i++)
        y[i] += x[i];
}

// Elements [first, first + count) of the whole tensor. Each block of random bits serves 128 of
// them.
static void row_dropout(const struct layer *l, size_t first, size_t count, float *x) {
    // A row may begin within a block, whose first bits then belong to the row before.
    struct rng_block block = {{0}};

    for (size_t i = 0; i < count; i++) {
        size_t e = first + i;
        if (i == 0 || e % 128 == 0)
            block = rng_block(l->seed, RNG_DROPOUT, l->index, (uint32_t)(e / 128));
        // p = 0.5: one bit decides, and survivors are doubled to keep the mean.
        x[i] = block.v[e % 128 / 32] >> e % 32 & 1 ? 2 * x[i] : 0;
    }
}

// ---- forward ----

// Writes the reflected columns of one padded row whose inside is there.
static void reflect_columns(int w, int c, int pad, float *row) {
    for (int i = 1; i <= pad; i++) {
        memcpy(row + (pad - i) * c, row + (pad + i) * c, sizeof(float) * c);
        memcpy(row + (pad + w - 1 + i) * c, row + (pad + w - 1 - i) * c, sizeof(float) * c);
    }
}

// Row y of the inside and the rows of the border that repeat it.
static void forward_row(const struct norm_shape *s, const struct layer *l, struct padded skip,
                        int image, int y, float *out) {
    size_t width = (size_t)(s->w + 2 * s->pad) * s->c;
    float *image_out = out + image * (s->h + 2 * s->pad) * width;
    float *row = image_out + (y + s->pad) * width, *inside = row + s->pad * s->c;
    struct padded x = {l->x, 0};

    row_affine(s->w, s->c, row_of(s, x, image, y), affine_of(s, l, image), inside);
    row_act(s->w * s->c, s->act, inside);
    if (l->drops)
        row_dropout(l, ((size_t)image * s->h + y) * s->w * s->c, (size_t)s->w * s->c, inside);
    if (skip.data)
        row_add(s->w * s->c, row_of(s, skip, image, y + skip.pad) + skip.pad * s->c, inside);
    reflect_columns(s->w, s->c, s->pad, row);
    // The border repeats the rows within `pad` of the first and last row, but not these two.
    if (y >= 1 && y <= s->pad)
        memcpy(image_out + (s->pad - y) * width, row, sizeof(float) * width);
    if (s->h - 1 - y >= 1 && s->h - 1 - y <= s->pad)
        memcpy(image_out + (s->pad + 2 * (s->h - 1) - y) * width, row, sizeof(float) * width);
}

int cpu_norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                     void *workspace) {
    struct layer l = layer_of(d, s, t->x, t->ret_stats, t->affine, t->dropout);
    struct padded skip = {t->skip, s->skip_pad};

    check_border(s, s->pad);
    if (s->norm == NORM_INSTANCE || s->norm == NORM_BATCH)
        // Before move_running, which reads the sums that stay in the workspace.
        measure(s, &l, workspace);
    if (s->norm == NORM_BATCH && t->affine->running_mean)
        move_running(s, &l, workspace);
    if (s->norm == NORM_RUNNING)
        copy_running(s, &l);
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++)
        forward_row(s, &l, skip, i / s->h, i % s->h, t->ret_y);
    return ERR_OK;
}

// ---- backward ----

// dst (+)= one padded row with its reflected columns folded in.
static void fold_row(int w, int c, const float *row, int pad, bool add, float *dst) {
    const float *inside = row + pad * c;

    if (add)
        row_add(w * c, inside, dst);
    else
        memcpy(dst, inside, sizeof(float) * w * c);
    for (int i = 1; i <= pad; i++) {
        // The adjoint of reflect_columns: a copy in the border gives its gradient to the original.
        row_add(c, inside - i * c, dst + i * c);
        row_add(c, inside + (w - 1 + i) * c, dst + (w - 1 - i) * c);
    }
}

// The gradient of row y of the inside: of every part that has the image, the row and those rows of
// the border that repeat it. Zero where no part has it.
static void gather_row(const struct norm_shape *s, const struct grad_sum *dy, int image, int y,
                       float *g) {
    int low = s->h - 1 - y;
    bool add = false;

    for (int k = 0; k < dy->count; k++) {
        const struct grad_part *part = &dy->part[k];
        struct padded t = {part->data, part->pad};
        // A part of a view covers some of the images.
        int i = image - part->first;
        if (i < 0 || i >= part->n)
            continue;
        fold_row(s->w, s->c, row_of(s, t, i, y + t.pad), t.pad, add, g);
        if (y >= 1 && y <= t.pad)
            fold_row(s->w, s->c, row_of(s, t, i, t.pad - y), t.pad, true, g);
        if (low >= 1 && low <= t.pad)
            fold_row(s->w, s->c, row_of(s, t, i, t.pad + s->h - 1 + low), t.pad, true, g);
        add = true;
    }
    if (!add)
        // Images that no loss has read.
        memset(g, 0, sizeof(float) * s->w * s->c);
}

// Slopes first, then their products: as a choice of what to store the compiler would branch for
// each number, because AVX2 has no cheap store of some lanes.
CPU_CLONED(void, row_act_backward,
           (int w, int c, enum activation act, const float *restrict x, struct affine a,
            float *restrict g),
           (w, c, act, x, a, g)) {
    // 64 slopes stay in registers or the first cache between the two loops.
    enum { BLOCK = 64 };
    float below = act == ACT_LEAKY ? (float)LEAKY_SLOPE : 0, slope[BLOCK];

    for (int p = 0; p < w; p++, x += c, g += c)
        for (int i0 = 0; i0 < c; i0 += BLOCK) {
            int n = MIN(BLOCK, c - i0);
            const float *at = x + i0;
            if (a.weight)
                for (int i = 0; i < n; i++) {
                    float xhat = (at[i] - a.shift[i0 + i]) * a.scale[i0 + i];
                    slope[i] = xhat * a.weight[i0 + i] + a.bias[i0 + i] > 0 ? 1 : below;
                }
            else if (a.scale)
                for (int i = 0; i < n; i++)
                    slope[i] = (at[i] - a.shift[i0 + i]) * a.scale[i0 + i] > 0 ? 1 : below;
            else
                for (int i = 0; i < n; i++)
                    slope[i] = at[i] > 0 ? 1 : below;
            for (int i = 0; i < n; i++)
                g[i0 + i] *= slope[i];
        }
}

// sum[c] += g' * xhat over w pixels, two pixels in float before each double addition.
CPU_CLONED(void, add_products,
           (int w, int c, const float *x, struct affine a, const float *g, double *restrict sum),
           (w, c, x, a, g, sum)) {
    int p = 0;

    for (; p + 2 <= w; p += 2, x += 2 * c, g += 2 * c)
        for (int i = 0; i < c; i++)
            sum[i] += g[i] * ((x[i] - a.shift[i]) * a.scale[i]) +
                      g[i + c] * ((x[i + c] - a.shift[i]) * a.scale[i]);
    for (; p < w; p++, x += c, g += c)
        for (int i = 0; i < c; i++)
            sum[i] += g[i] * ((x[i] - a.shift[i]) * a.scale[i]);
}

// dx = rstd * (g' - mean(g') - xhat * mean(g' * xhat)), in place of g'; times weight if there is
// one. Blocks of channels keep the means in registers or the first cache.
CPU_CLONED(void, row_norm_backward,
           (int w, int c, const float *restrict x, struct affine a, const double *sum,
            double pixels, float *restrict g),
           (w, c, x, a, sum, pixels, g)) {
    enum { BLOCK = 64 };

    for (int i0 = 0; i0 < c; i0 += BLOCK) {
        float mean_g[BLOCK], mean_gx[BLOCK], outer[BLOCK];
        int n = MIN(BLOCK, c - i0);
        for (int i = 0; i < n; i++) {
            mean_g[i] = (float)(sum[i0 + i] / pixels);
            mean_gx[i] = (float)(sum[c + i0 + i] / pixels);
            outer[i] = a.scale[i0 + i] * (a.weight ? a.weight[i0 + i] : 1);
        }
        for (int p = 0; p < w; p++) {
            const float *xp = x + (size_t)p * c + i0;
            float *gp = g + (size_t)p * c + i0;
            for (int i = 0; i < n; i++) {
                float scale = a.scale[i0 + i], xhat = (xp[i] - a.shift[i0 + i]) * scale;
                gp[i] = outer[i] * (gp[i] - mean_g[i] - xhat * mean_gx[i]);
            }
        }
    }
}

// The first pass: dx of the band becomes g', and the band gets the sums of g' and g' xhat.
static void backward_band(const struct norm_shape *s, const struct layer *l,
                          const struct norm_gradients *t, const struct band *b) {
    struct affine a = affine_of(s, l, b->image);
    struct padded x = {l->x, 0};
    float *dx = t->ret_dx, *dskip = t->ret_dskip;

    memset(b->sum, 0, sizeof(double) * 2 * s->c);
    for (int y = b->row; y < b->rows_end; y++) {
        size_t at = ((size_t)b->image * s->h + y) * s->w * s->c;
        const float *x_row = row_of(s, x, b->image, y);
        float *g = dx + at;

        gather_row(s, &t->dy, b->image, y, g);
        if (dskip)
            // The skip is added last in the forward pass, so its gradient is taken first.
            memcpy(dskip + at, g, sizeof(float) * s->w * s->c);
        if (l->drops)
            row_dropout(l, at, (size_t)s->w * s->c, g);
        if (s->act != ACT_NONE)
            row_act_backward(s->w, s->c, s->act, x_row, a, g);
        if (s->norm == NORM_NONE)
            continue;
        // While the row is still in the cache.
        add_values(s->w, s->c, g, b->sum);
        add_products(s->w, s->c, x_row, a, g, b->sum + s->c);
    }
}

static void store_sum(int c, const double *sum, bool accumulate, float *ret) {
    for (int i = 0; ret && i < c; i++)
        ret[i] = (float)sum[i] + (accumulate ? ret[i] : 0);
}

int cpu_norm_backward(struct device *d, const struct norm_shape *s, const struct norm_gradients *t,
                      void *workspace) {
    struct layer l = layer_of(d, s, t->x, t->stats, t->affine, t->dropout);
    int bands = s->n * n_bands(s);
    struct padded x = {t->x, 0};
    float *dx = t->ret_dx;
    double *work = workspace;

    if (s->norm == NORM_RUNNING)
        // Running statistics are for evaluation, which has no gradients.
        BUG("no gradient through running statistics");
    for (int i = 0; i < t->dy.count; i++)
        check_border(s, t->dy.part[i].pad);
#pragma omp parallel for
    for (int i = 0; i < bands; i++) {
        struct band b = band_of(s, i, work);
        backward_band(s, &l, t, &b);
    }
    if (s->norm == NORM_NONE)
        return ERR_OK;
    for (int n = 0; n < n_groups(s); n++) {
        (void)merge_bands(s, n, 0, work); // the totals stay in the group's first band
        (void)merge_bands(s, n, 1, work);
    }
    if (s->norm == NORM_BATCH) {
        // One group: its totals are at the start. They are the gradients of bias and weight.
        store_sum(s->c, work, t->accumulate, t->ret_dbias);
        store_sum(s->c, work + s->c, t->accumulate, t->ret_dweight);
    }
    // The second pass needs the sums of the whole group.
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++) {
        int image = i / s->h;
        row_norm_backward(s->w, s->c, row_of(s, x, image, i % s->h), affine_of(s, &l, image),
                          band_of(s, (int)group_of(s, image) * n_bands(s), work).sum,
                          pixels_in_group(s), dx + (size_t)i * s->w * s->c);
    }
    return ERR_OK;
}

// ---- tanh ----

int cpu_tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y) {
    size_t count = (size_t)s->n * s->h * s->w * s->c;
    const float *from = x;
    float *y = ret_y;

#pragma omp parallel for
    for (size_t i = 0; i < count; i++)
        y[i] = tanhf(from[i]);
    return ERR_OK;
}

CPU_CLONED(void, tanh_gradient, (size_t count, const float *restrict y, float *restrict g),
           (count, y, g)) {
    for (size_t i = 0; i < count; i++)
        g[i] = g[i] * (1 - y[i] * y[i]);
}

int cpu_tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                      const struct grad_sum *dy, void *ret_dx, void *workspace) {
    size_t row = (size_t)s->w * s->c;
    const float *from = y;
    float *dx = ret_dx;

#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++) {
        gather_row(s, dy, i / s->h, i % s->h, dx + i * row);
        tanh_gradient(row, from + i * row, dx + i * row);
    }
    return ERR_OK;
}
