#include "trainer/oracle/heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void ref_concat(const struct concat_shape *s, const double *a, const double *b, double *ret_y) {
    for (size_t p = 0; p < s->pixels; p++)
        for (int c = 0; c < s->c_a + s->c_b; c++) {
            double x = c < s->c_a ? a[p * (size_t)s->c_a + (size_t)c]
                                  : b[p * (size_t)s->c_b + (size_t)(c - s->c_a)];
            ret_y[p * (size_t)(s->c_a + s->c_b) + (size_t)c] = s->act == ACT_NONE ? x : fmax(x, 0);
        }
}

void ref_concat_backward(const struct concat_shape *s, const double *y, const double *dy,
                         double *ret_da, double *ret_db) {
    for (size_t p = 0; p < s->pixels; p++)
        for (int c = 0; c < s->c_a + s->c_b; c++) {
            size_t i = p * (size_t)(s->c_a + s->c_b) + (size_t)c;
            double g = s->act == ACT_NONE || y[i] > 0 ? dy[i] : 0;
            if (c < s->c_a)
                ret_da[p * (size_t)s->c_a + (size_t)c] = g;
            else
                ret_db[p * (size_t)s->c_b + (size_t)(c - s->c_a)] = g;
        }
}

void ref_mix(const struct mix_shape *s, const double *share, const double *front,
             const double *real, const double *fake, double *ret_y) {
    for (int p = 0; p < s->n * s->h * s->w; p++)
        for (int c = 0; c < s->c_front + s->c; c++) {
            int i = p * s->c + c - s->c_front;
            double a = share[p / (s->h * s->w)];
            ret_y[p * (s->c_front + s->c) + c] =
                c < s->c_front ? front[p * s->c_front + c] : a * real[i] + (1 - a) * fake[i];
        }
}

void ref_flip(const struct tensor_shape *s, bool flip, const double *x, double *ret_y) {
    for (int line = 0; line < s->n * s->h; line++)
        for (int i = 0; i < s->w; i++)
            memcpy(ret_y + (line * s->w + i) * s->c,
                   x + (line * s->w + (flip ? s->w - 1 - i : i)) * s->c, (size_t)s->c * sizeof *x);
}

// What output i of one axis is made of: up to 3 inputs of `size` and their weights.
struct taps {
    int count, at[3];
    double weight[3];
};

static struct taps taps_of(bool up, int i, int size) {
    if (!up)
        return (struct taps){3, {2 * i, 2 * i + 1, 2 * i + 2}, {0.25, 0.5, 0.25}};
    int other = i / 2 + (i % 2 ? 1 : -1);
    return (struct taps){2, {i / 2, MAX(0, MIN(other, size - 1))}, {0.75, 0.25}};
}

void ref_resample(const struct resample_shape *s, const double *x, double *ret_y) {
    bool up = s->kind == RESAMPLE_UP || s->kind == RESAMPLE_UP_ADJOINT;
    bool adjoint = s->kind == RESAMPLE_BLUR_ADJOINT || s->kind == RESAMPLE_UP_ADJOINT;
    // Of the filter, whichever way it is applied.
    int h_in = adjoint ? s->to_h : s->h, w_in = adjoint ? s->to_w : s->w;
    int h_out = adjoint ? s->h : s->to_h, w_out = adjoint ? s->w : s->to_w;

    memset(ret_y, 0, (size_t)(s->n * s->to_h * s->to_w * s->c) * sizeof *ret_y);
    for (int n = 0; n < s->n; n++)
        for (int p = 0; p < h_out * w_out; p++) {
            struct taps a = taps_of(up, p / w_out, h_in), b = taps_of(up, p % w_out, w_in);
            for (int t = 0; t < a.count * b.count; t++) {
                int i = t / b.count, j = t % b.count;
                int in = ((n * h_in + a.at[i]) * w_in + b.at[j]) * s->c;
                int out = (n * h_out * w_out + p) * s->c;
                for (int c = 0; c < s->c; c++)
                    ret_y[(adjoint ? in : out) + c] +=
                        a.weight[i] * b.weight[j] * x[(adjoint ? out : in) + c];
            }
        }
}

// The first channel of patch i in the map.
static size_t patch_at(const struct sample_shape *s, const int *ids, int i) {
    int w = s->w + 2 * s->pad, h = s->h + 2 * s->pad, id = ids[i];
    int pixel = s->border ? id : (id / s->w + s->pad) * w + id % s->w + s->pad;

    return (size_t)(i / s->count * h * w + pixel) * (size_t)s->c;
}

void ref_sample(const struct sample_shape *s, const int *ids, const double *x, double *ret_y) {
    for (int i = 0; i < s->n * s->count; i++)
        memcpy(ret_y + i * s->c, x + patch_at(s, ids, i), (size_t)s->c * sizeof *x);
}

void ref_sample_backward(const struct sample_shape *s, const int *ids, const double *dy,
                         double *dx) {
    for (int i = 0; i < s->n * s->count; i++)
        for (int c = 0; c < s->c; c++)
            dx[patch_at(s, ids, i) + (size_t)c] += dy[i * s->c + c];
}

static double dot(int count, const double *a, const double *b) {
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static double *scaled_rows(int rows, int dim, const double *x) {
    double *y = xcalloc((size_t)rows * (size_t)dim, sizeof *y);

    for (int i = 0; i < rows * dim; i++)
        y[i] = x[i] / (sqrt(dot(dim, x + i / dim * dim, x + i / dim * dim)) + 1e-7);
    return y;
}

// The gradient of a row's scaled numbers, g, as that of the row.
static void unscale_gradient(int dim, const double *x, const double *g, double *ret_dx) {
    double length = sqrt(dot(dim, x, x)), size = length + 1e-7;
    double along = length > 0 ? dot(dim, x, g) / (length * size * size) : 0;

    for (int i = 0; i < dim; i++)
        ret_dx[i] = g[i] / size - along * x[i];
}

double ref_nce(const struct nce_args *s, const double *q, const double *k, double *ret_dq,
               double *ret_each) {
    int rows = s->n * s->patches, group = s->all ? rows : s->patches, dim = s->dim;
    double *a = scaled_rows(rows, dim, q), *b = scaled_rows(rows, dim, k), loss = 0;
    double *e = xcalloc((size_t)group, sizeof *e), *g = xcalloc((size_t)dim, sizeof *g);

    for (int i = 0; i < rows; i++) {
        const double *row = a + i * dim, *others = b + i / group * group * dim;
        double own = dot(dim, row, b + i * dim) / s->temperature, sum;
        // Relative to the own pair: e^(l - own).
        sum = exp(-10 / s->temperature - own);
        for (int j = 0; j < group; j++)
            sum += e[j] = exp(dot(dim, row, others + j * dim) / s->temperature - own);
        memset(g, 0, (size_t)dim * sizeof *g);
        for (int j = 0; j < group; j++)
            for (int c = 0; c < dim; c++)
                g[c] += (e[j] / sum - (j == i % group)) * others[j * dim + c] *
                        (s->scale / rows / s->temperature);
        unscale_gradient(dim, q + i * dim, g, ret_dq + i * dim);
        if (ret_each)
            ret_each[i] = log(sum);
        loss += s->scale / rows * log(sum);
    }
    free(a);
    free(b);
    free(e);
    free(g);
    return loss;
}

// One channel of a picture or, for NORM_BATCH, of all: element p is at first + p stride.
struct line {
    const struct norm_shape *s;
    const struct ref_tangent *t;
    int first, stride, count;
    double mean, rstd, weight, bias; // of the norm
    double mean_dx, c;               // means of dx and of dx xhat
};

static double xhat(const struct line *l, int e) {
    return (l->t->x[e] - l->mean) * l->rstd;
}

static double slope_at(const struct line *l, int e) {
    if (l->s->act == ACT_NONE || xhat(l, e) * l->weight + l->bias > 0)
        return 1;
    return l->s->act == ACT_LEAKY ? LEAKY_SLOPE : 0;
}

static struct line line_of(const struct norm_shape *s, const struct ref_tangent *t, int n, int c) {
    int pixels = s->h * s->w;
    struct line l = {.s = s,
                     .t = t,
                     .first = n * pixels * s->c + c,
                     .stride = s->c,
                     .count = s->norm == NORM_BATCH ? s->n * pixels : pixels,
                     .rstd = 1,
                     .weight = t->weight ? t->weight[c] : 1,
                     .bias = t->bias ? t->bias[c] : 0};
    double variance = 0;

    if (s->norm == NORM_NONE)
        return l;
    for (int p = 0; p < l.count; p++)
        l.mean += t->x[l.first + p * l.stride] / l.count;
    for (int p = 0; p < l.count; p++)
        variance += pow(t->x[l.first + p * l.stride] - l.mean, 2) / l.count;
    l.rstd = 1 / sqrt(variance + 1e-5);
    for (int p = 0; p < l.count; p++) {
        int e = l.first + p * l.stride;
        l.mean_dx += t->dx[e] / l.count;
        l.c += t->dx[e] * xhat(&l, e) / l.count;
    }
    return l;
}

// d xhat / d e.
static double xhat_along(const struct line *l, int e) {
    if (l->s->norm == NORM_NONE)
        return l->t->dx[e];
    return l->rstd * (l->t->dx[e] - l->mean_dx - xhat(l, e) * l->c);
}

static void tangent_forward(const struct line *l) {
    for (int p = 0; p < l->count; p++) {
        int e = l->first + p * l->stride;
        l->t->y[e] = slope_at(l, e) * (xhat(l, e) * l->weight + l->bias);
        l->t->dy[e] = slope_at(l, e) * l->weight * xhat_along(l, e);
    }
}

// u and v of cpu/tangent.h, with the weight.
static double of_y(const struct line *l, int e) {
    return l->t->g_y ? slope_at(l, e) * l->weight * l->t->g_y[e] : 0;
}

static double of_dy(const struct line *l, int e) {
    return slope_at(l, e) * l->weight * l->t->g_dy[e];
}

static void tangent_backward(const struct line *l) {
    double mean_u = 0, mean_u_xhat = 0, mean_v = 0, b = 0, mean_v_dx = 0;

    for (int p = 0; p < l->count && l->s->norm != NORM_NONE; p++) {
        int e = l->first + p * l->stride;
        mean_u += of_y(l, e) / l->count;
        mean_u_xhat += of_y(l, e) * xhat(l, e) / l->count;
        mean_v += of_dy(l, e) / l->count;
        b += of_dy(l, e) * xhat(l, e) / l->count;
        mean_v_dx += of_dy(l, e) * l->t->dx[e] / l->count;
    }
    for (int p = 0; p < l->count; p++) {
        int e = l->first + p * l->stride;
        double u = l->rstd * (of_y(l, e) - mean_u - xhat(l, e) * mean_u_xhat);
        double v = l->rstd * (of_dy(l, e) - mean_v - xhat(l, e) * b);
        double mixed = l->rstd * l->rstd * (mean_v_dx - mean_v * l->mean_dx - b * l->c);
        bool none = l->s->norm == NORM_NONE;
        l->t->gdx[e] = v;
        l->t->gx[e] =
            none ? u : u - mixed * xhat(l, e) - l->rstd * (l->c * v + b * xhat_along(l, e));
    }
}

static void tangent_parameters(const struct line *l, int c) {
    double dweight = 0, dbias = 0;

    for (int p = 0; p < l->count; p++) {
        int e = l->first + p * l->stride;
        double g_y = l->t->g_y ? l->t->g_y[e] : 0;
        dweight += slope_at(l, e) * (g_y * xhat(l, e) + l->t->g_dy[e] * xhat_along(l, e));
        dbias += slope_at(l, e) * g_y;
    }
    l->t->dweight[c] = dweight;
    l->t->dbias[c] = dbias;
}

void ref_tangent(const struct norm_shape *s, const struct ref_tangent *t) {
    for (int n = 0; n < (s->norm == NORM_BATCH ? 1 : s->n); n++)
        for (int c = 0; c < s->c; c++) {
            struct line l = line_of(s, t, n, c);
            if (t->y)
                tangent_forward(&l);
            if (t->gx)
                tangent_backward(&l);
            if (t->dweight)
                tangent_parameters(&l, c);
        }
}

double ref_penalty(int n, size_t count, double scale, const double *g, double *ret_u) {
    double loss = 0;

    for (int i = 0; i < n; i++) {
        const double *row = g + (size_t)i * count;
        double squares = 0, length;
        for (size_t k = 0; k < count; k++)
            squares += (row[k] + 1e-16) * (row[k] + 1e-16);
        length = sqrt(squares);
        loss += scale / n * (length - 1) * (length - 1);
        for (size_t k = 0; k < count; k++)
            ret_u[(size_t)i * count + k] = scale / n * 2 * (length - 1) * (row[k] + 1e-16) / length;
    }
    return loss;
}
