#include "trainer/oracle/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/util.h"

void ref_conv_size(const struct conv_shape *s, int *ret_h, int *ret_w) {
    if (s->transposed) {
        *ret_h = (s->h - 1) * s->stride - 2 * s->pad + s->r + s->out_pad;
        *ret_w = (s->w - 1) * s->stride - 2 * s->pad + s->r + s->out_pad;
    } else {
        *ret_h = (s->h + 2 * s->pad - s->r) / s->stride + 1;
        *ret_w = (s->w + 2 * s->pad - s->r) / s->stride + 1;
    }
}

// A filter lies on the small side's pixels and reaches those of the large side: tap (i, j) connects
// small pixel (a, b) and large pixel (a stride + i - pad, b stride + j - pad). A plain
// convolution's input is its large side, a transposed one's the small side; the master is
// [small,large,r,r] both times.
struct sides {
    int stride, pad, r, taps;
    int n, hs, ws, hl, wl, cs, cl;
};

static struct sides sides_of(const struct conv_shape *s) {
    bool t = s->transposed;
    int ho, wo;

    ref_conv_size(s, &ho, &wo);
    return (struct sides){
        .stride = s->stride,
        .pad = s->pad,
        .r = s->r,
        .taps = s->r * s->r,
        .n = s->n,
        .hs = t ? s->h : ho,
        .ws = t ? s->w : wo,
        .hl = t ? ho : s->h,
        .wl = t ? wo : s->w,
        .cs = t ? s->c : s->k,
        .cl = t ? s->k : s->c,
    };
}

// The large pixel that tap t connects with small pixel `a` of the batch; -1: none.
static long large_of(const struct sides *s, long a, int t) {
    int y = (int)(a / s->ws % s->hs) * s->stride + t / s->r - s->pad;
    int x = (int)(a % s->ws) * s->stride + t % s->r - s->pad;

    if (y < 0 || y >= s->hl || x < 0 || x >= s->wl)
        return -1;
    return (a / s->ws / s->hs * s->hl + y) * s->wl + x;
}

// The small pixel that tap t connects with large pixel `b` of the batch; -1: none.
static long small_of(const struct sides *s, long b, int t) {
    int y = (int)(b / s->wl % s->hl) - t / s->r + s->pad;
    int x = (int)(b % s->wl) - t % s->r + s->pad;

    if (y < 0 || x < 0 || y % s->stride || x % s->stride)
        return -1;
    if (y / s->stride >= s->hs || x / s->stride >= s->ws)
        return -1;
    return (b / s->wl / s->hl * s->hs + y / s->stride) * s->ws + x / s->stride;
}

static void add_scaled(int count, double a, const double *x, double *y) {
    for (int i = 0; i < count; i++)
        y[i] += a * x[i];
}

// The filter as [taps,from,to], `to` being the channels of the side that is computed.
static double *filter_by_tap(const struct sides *s, const double *w, bool to_small) {
    size_t from = (size_t)(to_small ? s->cl : s->cs), to = (size_t)(to_small ? s->cs : s->cl);
    double *by_tap = xcalloc(from * to * (size_t)s->taps, sizeof *by_tap);

    for (size_t i = 0; i < (size_t)s->cs; i++)
        for (size_t k = 0; k < (size_t)s->cl; k++)
            for (size_t t = 0; t < (size_t)s->taps; t++)
                by_tap[(t * from + (to_small ? k : i)) * to + (to_small ? i : k)] =
                    w[(i * (size_t)s->cl + k) * (size_t)s->taps + t];
    return by_tap;
}

// Adds to one side the other's sums over the taps. Pixels go in blocks: a row of the filter then
// stays in the cache.
static void sum_taps(const struct sides *s, const double *x, const double *w, bool to_small,
                     double *y) {
    enum { BLOCK = 16 };
    int from = to_small ? s->cl : s->cs, to = to_small ? s->cs : s->cl;
    long pixels = (long)s->n * (to_small ? (long)s->hs * s->ws : (long)s->hl * s->wl);
    double *filter = filter_by_tap(s, w, to_small);

#pragma omp parallel for schedule(dynamic)
    for (long first = 0; first < pixels; first += BLOCK)
        for (int t = 0; t < s->taps; t++) {
            long at[BLOCK], end = pixels - first < BLOCK ? pixels - first : BLOCK;
            for (long p = 0; p < end; p++)
                at[p] = to_small ? large_of(s, first + p, t) : small_of(s, first + p, t);
            for (int i = 0; i < from; i++)
                for (long p = 0; p < end; p++)
                    if (at[p] >= 0)
                        add_scaled(to, x[at[p] * from + i],
                                   filter + ((size_t)t * (size_t)from + (size_t)i) * (size_t)to,
                                   y + (first + p) * to);
        }
    free(filter);
}

// dw [small,large,r,r] = sum over the pixels of small times large.
static void sum_pixels(const struct sides *s, const double *small, const double *large,
                       double *dw) {
    enum { BLOCK = 16 };
    int blocks = (s->cs + BLOCK - 1) / BLOCK;
    long pixels = (long)s->n * s->hs * s->ws;

#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int t = 0; t < s->taps; t++)
        for (int b = 0; b < blocks; b++) {
            int first = b * BLOCK, end = MIN(s->cs, first + BLOCK);
            double *sums = xcalloc(BLOCK * (size_t)s->cl, sizeof *sums);
            for (long a = 0; a < pixels; a++) {
                long p = large_of(s, a, t);
                for (int i = first; p >= 0 && i < end; i++)
                    add_scaled(s->cl, small[a * s->cs + i], large + p * s->cl,
                               sums + (i - first) * s->cl);
            }
            for (int i = first; i < end; i++)
                for (int k = 0; k < s->cl; k++)
                    dw[(i * s->cl + k) * s->taps + t] = sums[(i - first) * s->cl + k];
            free(sums);
        }
}

void ref_conv(const struct conv_shape *shape, const double *x, const double *w, const double *bias,
              double *ret_y) {
    struct sides s = sides_of(shape);
    int ho, wo;

    ref_conv_size(shape, &ho, &wo);
    for (int p = 0; p < shape->n * ho * wo; p++)
        for (int k = 0; k < shape->k; k++)
            ret_y[p * shape->k + k] = bias ? bias[k] : 0;
    sum_taps(&s, x, w, !shape->transposed, ret_y);
}

void ref_conv_backward(const struct conv_shape *shape, const double *x, const double *w,
                       const double *dy, double *ret_dx, double *ret_dw, double *ret_dbias) {
    struct sides s = sides_of(shape);
    int ho, wo;

    ref_conv_size(shape, &ho, &wo);
    if (ret_dx) {
        memset(ret_dx, 0, (size_t)(shape->n * shape->h * shape->w * shape->c) * sizeof *ret_dx);
        sum_taps(&s, dy, w, shape->transposed, ret_dx);
    }
    if (ret_dw)
        sum_pixels(&s, shape->transposed ? x : dy, shape->transposed ? dy : x, ret_dw);
    for (int k = 0; ret_dbias && k < shape->k; k++) {
        ret_dbias[k] = 0;
        for (int p = 0; p < shape->n * ho * wo; p++)
            ret_dbias[k] += dy[p * shape->k + k];
    }
}

// Index that position i of a border stands for.
static int reflect(int i, int size) {
    return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
}

struct moments {
    double mean, variance, rstd, weight, bias, count;
};

// Of channel c, over picture n or over all.
static struct moments moments(const struct norm_shape *s, const struct ref_layer *l,
                              const double *x, int n, int c) {
    int first = s->norm == NORM_BATCH ? 0 : n, end = s->norm == NORM_BATCH ? s->n : n + 1;
    struct moments m = {.rstd = 1, .weight = 1, .count = (end - first) * s->h * s->w};

    if (s->norm == NORM_NONE)
        return m;
    for (int p = first * s->h * s->w; p < end * s->h * s->w; p++)
        m.mean += x[p * s->c + c] / m.count;
    for (int p = first * s->h * s->w; p < end * s->h * s->w; p++)
        m.variance += (x[p * s->c + c] - m.mean) * (x[p * s->c + c] - m.mean) / m.count;
    if (s->norm == NORM_RUNNING) {
        m.mean = l->running_mean[c];
        m.variance = l->running_var[c];
    }
    m.rstd = 1 / sqrt(m.variance + 1e-5);
    if (s->norm != NORM_INSTANCE) {
        m.weight = l->weight[c];
        m.bias = l->bias[c];
    }
    return m;
}

void ref_norm_stats(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
                    double *ret_stats) {
    int rows = s->norm == NORM_INSTANCE ? s->n : 1;

    for (int n = 0; n < rows; n++)
        for (int c = 0; c < s->c; c++) {
            struct moments m = moments(s, layer, x, n, c);
            ret_stats[n * s->c + c] = m.mean;
            ret_stats[(rows + n) * s->c + c] = m.rstd;
        }
}

void ref_norm_move(const struct norm_shape *s, const struct ref_layer *l, const double *x) {
    for (int c = 0; c < s->c; c++) {
        struct moments m = moments(s, l, x, 0, c);
        double unbiased = m.variance * m.count / (m.count - 1);
        l->running_mean[c] = 0.9 * l->running_mean[c] + 0.1 * m.mean;
        l->running_var[c] = 0.9 * l->running_var[c] + 0.1 * unbiased;
    }
}

// 2 or 0; `e` is the element of [n,h,w,c].
static double survives(const struct ref_layer *l, size_t e) {
    if (!l || !l->dropout)
        return 1;
    struct rng_block b = rng_block(l->values->seed, RNG_DROPOUT,
                                   l->values->step << 24 | l->dropout->op, (uint32_t)(e / 128));
    return b.v[e / 32 % 4] & UINT32_C(1) << e % 32 ? 2 : 0;
}

static double slope(enum activation act, double x) {
    switch (act) {
    case ACT_RELU:
        return x > 0;
    case ACT_LEAKY:
        return x > 0 ? 1 : 0.2;
    default:
        return 1;
    }
}

static size_t at(const struct norm_shape *s, int pad, int n, int y, int x) {
    int h = s->h + 2 * pad, w = s->w + 2 * pad;

    return ((size_t)n * (size_t)h + (size_t)(y + pad)) * (size_t)w * (size_t)s->c +
           (size_t)(x + pad) * (size_t)s->c;
}

void ref_norm(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
              const double *skip, double *ret_y) {
#pragma omp parallel for collapse(2)
    for (int n = 0; n < s->n; n++)
        for (int c = 0; c < s->c; c++) {
            struct moments m = moments(s, layer, x, n, c);
            for (int i = -s->pad; i < s->h + s->pad; i++)
                for (int j = -s->pad; j < s->w + s->pad; j++) {
                    int y0 = reflect(i, s->h), x0 = reflect(j, s->w);
                    size_t e = at(s, 0, n, y0, x0) + (size_t)c;
                    double z = (x[e] - m.mean) * m.rstd * m.weight + m.bias;
                    double y = z * slope(s->act, z) * survives(layer, e);
                    if (skip)
                        y += skip[at(s, s->skip_pad, n, y0, x0) + (size_t)c];
                    ret_y[at(s, s->pad, n, i, j) + (size_t)c] = y;
                }
        }
}

// u and xhat of element e.
struct passed {
    double u, xhat;
};

static struct passed passed(const struct norm_shape *s, const struct ref_layer *layer,
                            const struct moments *m, double x, double g, size_t e) {
    double xhat = (x - m->mean) * m->rstd;

    return (struct passed){g * survives(layer, e) * slope(s->act, xhat * m->weight + m->bias),
                           xhat};
}

// Of channel c, of the picture or of all of them: elements from + p c, p in [0, m->count).
static void channel_backward(const struct norm_shape *s, const struct ref_layer *layer,
                             const struct moments *m, size_t from, const double *x, const double *g,
                             double sums[2], double *dx) {
    sums[0] = sums[1] = 0;
    for (int round = 0; round < 2; round++)
        for (int p = 0; p < (int)m->count; p++) {
            size_t e = from + (size_t)(p * s->c);
            struct passed q = passed(s, layer, m, x[e], g[e], e);
            if (round == 0) {
                sums[0] += q.u;
                sums[1] += q.u * q.xhat;
            } else {
                dx[e] = s->norm == NORM_NONE
                            ? q.u
                            : (q.u - sums[0] / m->count - q.xhat * sums[1] / m->count) * m->rstd *
                                  m->weight;
            }
        }
}

void ref_norm_backward(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
                       const double *g, const struct ref_norm_gradients *ret) {
    int groups = s->norm == NORM_BATCH ? 1 : s->n;

#pragma omp parallel for collapse(2)
    for (int n = 0; n < groups; n++)
        for (int c = 0; c < s->c; c++) {
            struct moments m = moments(s, layer, x, n, c);
            double sums[2];
            channel_backward(s, layer, &m, at(s, 0, n, 0, 0) + (size_t)c, x, g, sums, ret->dx);
            if (ret->dbias)
                ret->dbias[c] = sums[0];
            if (ret->dweight)
                ret->dweight[c] = sums[1];
        }
}

void ref_fold(const struct norm_shape *s, const double *part, int pad, int first, int n,
              double *g) {
    for (int k = 0; k < n; k++)
        for (int i = -pad; i < s->h + pad; i++)
            for (int j = -pad; j < s->w + pad; j++)
                for (int c = 0; c < s->c; c++)
                    g[at(s, 0, first + k, reflect(i, s->h), reflect(j, s->w)) + (size_t)c] +=
                        part[at(s, pad, k, i, j) + (size_t)c];
}

double ref_l1(size_t count, double scale, const double *a, const double *b, double *ret_grad) {
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += fabs(a[i] - b[i]);
        ret_grad[i] = scale / (double)count * ((a[i] > b[i]) - (a[i] < b[i]));
    }
    return scale * sum / (double)count;
}

double ref_gan(const struct gan_args *args, const double *x, double *ret_grad) {
    const struct tensor_shape *s = &args->shape;
    size_t count = (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
    double sum = 0, sign = args->target_real ? -1 : 1;

    for (size_t i = 0; i < count; i++) {
        double f, df;
        switch (args->mode) {
        case GAN_LSGAN:
            f = (x[i] - args->target_real) * (x[i] - args->target_real);
            df = 2 * (x[i] - args->target_real);
            break;
        case GAN_WGANGP:
            f = sign * x[i];
            df = sign;
            break;
        default:
            f = fmax(sign * x[i], 0) + log1p(exp(-fabs(x[i])));
            df = sign / (1 + exp(-sign * x[i]));
        }
        sum += f;
        ret_grad[i] = args->scale * df / (double)count;
    }
    return args->scale * sum / (double)count;
}

void ref_adam(const struct adam_args *a, const struct device_values *values, const double *g,
              double *p, double *m, double *v) {
    double t = (double)values->t;

    for (size_t i = 0; i < a->count; i++) {
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * g[i];
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g[i] * g[i];
        p[i] -= values->lr / (1 - pow(a->beta1, t)) * m[i] /
                (sqrt(v[i]) / sqrt(1 - pow(a->beta2, t)) + 1e-8);
    }
}
