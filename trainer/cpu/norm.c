#include "cpu/norm.h"

#include <math.h>
#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

// Sums over pixels are taken per band of rows, then over the bands: enough bands for many threads,
// and their number depends on the height alone.
enum { BANDS_MAX = 32 };

struct band {
    int image, row, rows_end;
    double *sum; // [2][C]
};

static int n_bands(const struct cpu_norm *s) {
    return MIN(s->h, BANDS_MAX);
}

size_t cpu_norm_work_doubles(const struct cpu_norm *s) {
    return (size_t)s->n * n_bands(s) * 2 * s->c;
}

// Statistics are taken over a group of pictures: one, or the batch.
static int n_groups(const struct cpu_norm *s) {
    return s->kind == CPU_NORM_BATCH ? 1 : s->n;
}

static int bands_in_group(const struct cpu_norm *s) {
    return s->n / n_groups(s) * n_bands(s);
}

static double pixels_in_group(const struct cpu_norm *s) {
    int pictures = s->n / n_groups(s);

    return (double)s->h * s->w * pictures;
}

static size_t group_of(const struct cpu_norm *s, int image) {
    return s->kind == CPU_NORM_INSTANCE ? image : 0;
}

static struct band band_of(const struct cpu_norm *s, int i, double *work) {
    int bands = n_bands(s), b = i % bands;

    return (struct band){i / bands, s->h * b / bands, s->h * (b + 1) / bands,
                         work + (size_t)i * 2 * s->c};
}

static void check(const struct cpu_norm *s, int pad) {
    if (pad < 0 || pad > CPU_PAD_MAX || (pad > 0 && (pad >= s->h || pad >= s->w)))
        BUG("reflection of %d on %dx%d", pad, s->h, s->w);
}

static const float *row_of(const struct cpu_norm *s, struct cpu_padded t, int image, int row) {
    size_t width = s->w + 2 * t.pad, height = s->h + 2 * t.pad;

    return t.data + ((image * height + row) * width) * s->c;
}

// Statistics

// sum[c] += over w pixels of (x - mean[c])^power; four pixels in float before each double addition.
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
CPU_CLONED(double *, merge_bands, (const struct cpu_norm *s, int group, int which, double *work),
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

static void statistics(const struct cpu_norm *s, const struct cpu_norm_saved *saved, double *work) {
    int c = s->c, bands = s->n * n_bands(s), groups = n_groups(s);
    double pixels = pixels_in_group(s);

#pragma omp parallel
    {
#pragma omp for
        for (int i = 0; i < bands; i++) {
            struct band b = band_of(s, i, work);
            memset(b.sum, 0, sizeof(double) * 2 * c);
            add_values((b.rows_end - b.row) * s->w, c,
                       row_of(s, (struct cpu_padded){saved->x, 0}, b.image, b.row), b.sum);
        }
#pragma omp for
        for (int n = 0; n < groups; n++) {
            const double *sum = merge_bands(s, n, 0, work);
            for (int i = 0; i < c; i++)
                saved->mean[n * c + i] = (float)(sum[i] / pixels);
        }
#pragma omp for
        for (int i = 0; i < bands; i++) {
            struct band b = band_of(s, i, work);
            add_squares((b.rows_end - b.row) * s->w, c,
                        row_of(s, (struct cpu_padded){saved->x, 0}, b.image, b.row),
                        saved->mean + group_of(s, b.image) * c, b.sum + c);
        }
#pragma omp for
        for (int n = 0; n < groups; n++) {
            const double *sum = merge_bands(s, n, 1, work);
            for (int i = 0; i < c; i++)
                saved->rstd[n * c + i] = (float)(1 / sqrt(sum[i] / pixels + 1e-5));
        }
    }
}

// After statistics, whose squares are in the first band of `work`.
static void move_running(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                         const double *work) {
    const double *squares = work + s->c;
    double pixels = pixels_in_group(s);

    for (int i = 0; i < s->c; i++) {
        double var = squares[i] / (pixels - 1);
        saved->running_mean[i] = (float)(0.9 * saved->running_mean[i] + 0.1 * saved->mean[i]);
        saved->running_var[i] = (float)(0.9 * saved->running_var[i] + 0.1 * var);
    }
}

static void take_running(const struct cpu_norm *s, const struct cpu_norm_saved *saved) {
    for (int i = 0; i < s->c; i++) {
        saved->mean[i] = saved->running_mean[i];
        saved->rstd[i] = (float)(1 / sqrt(saved->running_var[i] + 1e-5));
    }
}

// The value before the activation: (x - mean) * rstd, times weight plus bias if there is a weight;
// without a norm (scale NULL) x + bias; without a bias (shift NULL) x. Written the same way in
// forward and backward, so that signs agree.

struct affine {
    const float *shift, *scale, *weight, *bias;
};

static struct affine affine_of(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                               int image) {
    if (s->kind == CPU_NORM_NONE)
        return (struct affine){.shift = saved->bias};
    size_t row = group_of(s, image) * s->c;
    return (struct affine){saved->mean + row, saved->rstd + row, saved->weight, saved->bias};
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
        else if (a.shift)
            for (int i = 0; i < c; i++)
                z[i] = x[i] + a.shift[i];
        else
            memcpy(z, x, sizeof(float) * c);
}

CPU_CLONED(void, row_act, (int count, enum cpu_act act, float *z), (count, act, z)) {
    if (act == CPU_ACT_RELU)
        for (int i = 0; i < count; i++)
            z[i] = z[i] > 0 ? z[i] : 0;
    else if (act == CPU_ACT_LEAKY)
        for (int i = 0; i < count; i++)
            z[i] = z[i] > 0 ? z[i] : 0.2f * z[i];
}

CPU_CLONED(void, row_add, (int count, const float *restrict x, float *restrict y), (count, x, y)) {
    for (int i = 0; i < count; i++)
        y[i] += x[i];
}

// Elements [first, first + count) of the whole tensor.
static void row_dropout(const struct cpu_dropout *d, size_t first, size_t count, float *x) {
    struct rng_block block = {{0}};

    for (size_t i = 0; i < count; i++) {
        size_t e = first + i;
        if (i == 0 || e % 128 == 0)
            block = rng_block(d->seed, RNG_DROPOUT, d->index, (uint32_t)(e / 128));
        x[i] = block.v[e % 128 / 32] >> e % 32 & 1 ? 2 * x[i] : 0;
    }
}

// Forward

// Writes the mirrored columns of one padded row whose interior is there.
static void mirror_columns(int w, int c, int pad, float *row) {
    for (int i = 1; i <= pad; i++) {
        memcpy(row + (pad - i) * c, row + (pad + i) * c, sizeof(float) * c);
        memcpy(row + (pad + w - 1 + i) * c, row + (pad + w - 1 - i) * c, sizeof(float) * c);
    }
}

static void forward_row(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                        struct cpu_padded skip, int image, int y, float *out) {
    size_t width = (size_t)(s->w + 2 * s->pad) * s->c;
    float *image_out = out + image * (s->h + 2 * s->pad) * width;
    float *row = image_out + (y + s->pad) * width, *inside = row + s->pad * s->c;
    struct cpu_padded x = {saved->x, 0};

    row_affine(s->w, s->c, row_of(s, x, image, y), affine_of(s, saved, image), inside);
    row_act(s->w * s->c, s->act, inside);
    if (saved->dropout)
        row_dropout(saved->dropout, ((size_t)image * s->h + y) * s->w * s->c, (size_t)s->w * s->c,
                    inside);
    if (skip.data)
        row_add(s->w * s->c, row_of(s, skip, image, y + skip.pad) + skip.pad * s->c, inside);
    mirror_columns(s->w, s->c, s->pad, row);
    if (y >= 1 && y <= s->pad)
        memcpy(image_out + (s->pad - y) * width, row, sizeof(float) * width);
    if (s->h - 1 - y >= 1 && s->h - 1 - y <= s->pad)
        memcpy(image_out + (s->pad + 2 * (s->h - 1) - y) * width, row, sizeof(float) * width);
}

void cpu_norm_forward(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                      struct cpu_padded skip, double *work, float *ret_y) {
    check(s, s->pad);
    if (s->kind == CPU_NORM_INSTANCE || s->kind == CPU_NORM_BATCH)
        statistics(s, saved, work);
    if (s->kind == CPU_NORM_BATCH && saved->running_mean)
        move_running(s, saved, work);
    if (s->kind == CPU_NORM_RUNNING)
        take_running(s, saved);
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++)
        forward_row(s, saved, skip, i / s->h, i % s->h, ret_y);
}

// Backward

// dst (+)= one padded row with its mirrored columns folded in.
static void fold_row(int w, int c, const float *row, int pad, bool add, float *dst) {
    const float *inside = row + pad * c;

    if (add)
        row_add(w * c, inside, dst);
    else
        memmove(dst, inside, sizeof(float) * w * c);
    for (int i = 1; i <= pad; i++) {
        row_add(c, inside - i * c, dst + i * c);
        row_add(c, inside + (w - 1 + i) * c, dst + (w - 1 - i) * c);
    }
}

// The gradient of y's interior row: every padded row that was copied from it, every contribution.
static void gather_row(const struct cpu_norm *s, const struct cpu_norm_grads *grads, int image,
                       int y, float *g) {
    // dst may be a contribution with pad 0, so that one must be read before anything is written.
    int own = 0;
    for (int k = 1; k < grads->count; k++)
        if (grads->grad[k].pad == 0 && row_of(s, grads->grad[k], image, y) == g)
            own = k;
    for (int j = 0; j < grads->count; j++) {
        struct cpu_padded t = grads->grad[j == 0 ? own : j == own ? 0 : j];
        int low = s->h - 1 - y;
        fold_row(s->w, s->c, row_of(s, t, image, y + t.pad), t.pad, j > 0, g);
        if (y >= 1 && y <= t.pad)
            fold_row(s->w, s->c, row_of(s, t, image, t.pad - y), t.pad, true, g);
        if (low >= 1 && low <= t.pad)
            fold_row(s->w, s->c, row_of(s, t, image, t.pad + s->h - 1 + low), t.pad, true, g);
    }
}

CPU_CLONED(void, row_act_backward,
           (int w, int c, enum cpu_act act, const float *restrict x, struct affine a,
            float *restrict g),
           (w, c, act, x, a, g)) {
    float below = act == CPU_ACT_LEAKY ? 0.2f : 0;

    for (int p = 0; p < w; p++, x += c, g += c)
        if (a.weight)
            for (int i = 0; i < c; i++) {
                float z = (x[i] - a.shift[i]) * a.scale[i] * a.weight[i] + a.bias[i];
                g[i] = z > 0 ? g[i] : below * g[i];
            }
        else if (a.scale)
            for (int i = 0; i < c; i++)
                g[i] = (x[i] - a.shift[i]) * a.scale[i] > 0 ? g[i] : below * g[i];
        else if (a.shift)
            for (int i = 0; i < c; i++)
                g[i] = x[i] + a.shift[i] > 0 ? g[i] : below * g[i];
        else
            for (int i = 0; i < c; i++)
                g[i] = x[i] > 0 ? g[i] : below * g[i];
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
// one.
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

static void backward_band(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                          const struct cpu_norm_grads *grads, const struct band *b,
                          const struct cpu_norm_result *ret) {
    struct affine a = affine_of(s, saved, b->image);
    struct cpu_padded x = {saved->x, 0};

    memset(b->sum, 0, sizeof(double) * 2 * s->c);
    for (int y = b->row; y < b->rows_end; y++) {
        size_t at = ((size_t)b->image * s->h + y) * s->w * s->c;
        const float *x_row = row_of(s, x, b->image, y);
        float *g = ret->dx + at;

        gather_row(s, grads, b->image, y, g);
        if (ret->dskip)
            memcpy(ret->dskip + at, g, sizeof(float) * s->w * s->c);
        if (saved->dropout)
            row_dropout(saved->dropout, at, (size_t)s->w * s->c, g);
        if (s->act != CPU_ACT_NONE)
            row_act_backward(s->w, s->c, s->act, x_row, a, g);
        if (s->kind != CPU_NORM_NONE || ret->dbias)
            add_values(s->w, s->c, g, b->sum);
        if (s->kind != CPU_NORM_NONE)
            add_products(s->w, s->c, x_row, a, g, b->sum + s->c);
    }
}

static void put_sum(int c, const double *sum, bool add, float *ret) {
    for (int i = 0; ret && i < c; i++)
        ret[i] = (float)sum[i] + (add ? ret[i] : 0);
}

static void bias_gradient(const struct cpu_norm *s, double *work,
                          const struct cpu_norm_result *ret) {
    for (int n = 0; n < s->n; n++) {
        const double *sum = merge_bands(s, n, 0, work);
        if (n > 0)
            for (int i = 0; i < s->c; i++)
                work[i] += sum[i];
    }
    put_sum(s->c, work, ret->add, ret->dbias);
}

void cpu_norm_backward(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                       const struct cpu_norm_grads *grads, double *work,
                       const struct cpu_norm_result *ret) {
    int bands = s->n * n_bands(s);
    struct cpu_padded x = {saved->x, 0};

    if (grads->count < 1 || grads->count > CPU_NORM_GRADS_MAX)
        BUG("%d gradient contributions", grads->count);
    if (s->kind == CPU_NORM_RUNNING)
        BUG("no gradient through running statistics");
    for (int i = 0; i < grads->count; i++)
        check(s, grads->grad[i].pad);
#pragma omp parallel for
    for (int i = 0; i < bands; i++) {
        struct band b = band_of(s, i, work);
        backward_band(s, saved, grads, &b, ret);
    }
    if (s->kind == CPU_NORM_NONE) {
        if (ret->dbias)
            bias_gradient(s, work, ret);
        return;
    }
    for (int n = 0; n < n_groups(s); n++) {
        (void)merge_bands(s, n, 0, work); // the totals stay in the group's first band
        (void)merge_bands(s, n, 1, work);
    }
    if (s->kind == CPU_NORM_BATCH) {
        put_sum(s->c, work, ret->add, ret->dbias);
        put_sum(s->c, work + s->c, ret->add, ret->dweight);
    }
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++) {
        int image = i / s->h;
        row_norm_backward(s->w, s->c, row_of(s, x, image, i % s->h), affine_of(s, saved, image),
                          band_of(s, (int)group_of(s, image) * n_bands(s), work).sum,
                          pixels_in_group(s), ret->dx + (size_t)i * s->w * s->c);
    }
}

void cpu_fold(const struct cpu_norm *s, const struct cpu_norm_grads *grads, float *ret_g) {
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++)
        gather_row(s, grads, i / s->h, i % s->h, ret_g + (size_t)i * s->w * s->c);
}
