// The formulas of tangent.h, block by block of channels. Only discriminators come here, so doubles
// throughout are affordable.
#include "cpu/tangent.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// Channels that are done together.
enum { BLOCK = 16 };

struct block {
    size_t first;                  // index of the first channel of the first pixel
    size_t stride;                 // from a pixel to the next
    int pixels, channel, channels; // channel: the first
};

// Of one channel of the layer behind the norm.
struct line {
    double weight, bias;
};

static struct line line_of(const struct norm_affine *affine, int channel) {
    return affine ? (struct line){affine->weight[channel], affine->bias[channel]}
                  : (struct line){1, 0};
}

// A block and a group are one unit of parallel work, summed by one thread.
static int n_blocks(const struct norm_shape *s) {
    return (s->c + BLOCK - 1) / BLOCK;
}

// Pictures that have statistics of their own.
static int n_groups(const struct norm_shape *s) {
    return s->norm == NORM_BATCH ? 1 : s->n;
}

static struct block block_of(const struct norm_shape *s, int i) {
    int group = i / n_blocks(s), channel = i % n_blocks(s) * BLOCK;
    int pixels = s->n / n_groups(s) * s->h * s->w; // of images that follow each other in memory

    return (struct block){.first = (size_t)group * (size_t)pixels * (size_t)s->c + channel,
                          .stride = (size_t)s->c,
                          .pixels = pixels,
                          .channel = channel,
                          .channels = MIN(BLOCK, s->c - channel)};
}

static double slope(enum activation act, double x) {
    return x > 0 || act == ACT_NONE ? 1 : act == ACT_LEAKY ? LEAKY_SLOPE : 0;
}

// Of one channel.
struct moments {
    double mean, rstd;
};

static void moments_of(const struct norm_shape *s, const struct block *b, const float *x,
                       struct moments ret[BLOCK]) {
    double sum[BLOCK] = {0}, squares[BLOCK] = {0};

    for (int k = 0; k < b->channels; k++)
        // The identity, which lets a layer without a norm pass through the same formulas.
        ret[k] = (struct moments){0, 1};
    if (s->norm == NORM_NONE)
        return;
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++)
            sum[k] += x[b->first + p * b->stride + k];
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            // Two passes: the difference of large squares would lose the variance's digits.
            double d = x[b->first + p * b->stride + k] - sum[k] / b->pixels;
            squares[k] += d * d;
        }
    for (int k = 0; k < b->channels; k++)
        ret[k] = (struct moments){sum[k] / b->pixels, 1 / sqrt(squares[k] / b->pixels + NORM_EPS)};
}

static void forward_block(const struct norm_shape *s, const struct block *b,
                          const struct tangent_tensors *t) {
    const float *x = t->x, *dx = t->dx;
    float *y = t->ret_y, *dy = t->ret_dy;
    struct moments m[BLOCK];
    double sum[BLOCK] = {0}, along[BLOCK] = {0}; // of dx, and of dx xhat

    moments_of(s, b, x, m);
    for (int p = 0; p < b->pixels && s->norm != NORM_NONE; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            sum[k] += dx[i];
            along[k] += dx[i] * (x[i] - m[k].mean) * m[k].rstd;
        }
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            struct line l = line_of(t->affine, b->channel + k);
            double xhat = (x[i] - m[k].mean) * m[k].rstd;
            double z = l.weight * xhat + l.bias, slope_z = slope(s->act, z);
            // dx - mean(dx) - xhat mean(dx xhat): the derivative of xhat along dx, without rstd.
            double d = dx[i] - sum[k] / b->pixels - xhat * along[k] / b->pixels;
            // Both activations are z times their slope.
            y[i] = (float)(slope_z * z);
            dy[i] = (float)(slope_z * l.weight * m[k].rstd * d);
        }
}

int cpu_tangent_forward(struct device *d, const struct norm_shape *s,
                        const struct tangent_tensors *t) {
#pragma omp parallel for
    for (int i = 0; i < n_groups(s) * n_blocks(s); i++) {
        struct block b = block_of(s, i);
        forward_block(s, &b, t);
    }
    return ERR_OK;
}

// Means over the pixels of one channel, named as in the formulas.
struct means {
    double dx, dx_xhat, v, v_xhat, v_dx, u, u_xhat;
};

// What the formulas have of one pixel; v and u without the factor w.
struct point {
    double z, dx, v, u; // z: xhat
};

static struct point point_at(const struct norm_shape *s, const struct tangent_gradients *t,
                             size_t i, struct moments m, struct line l) {
    const float *x = t->x, *dx = t->dx, *g_y = t->g_y, *g_dy = t->g_dy;
    double z = (x[i] - m.mean) * m.rstd, slope_z = slope(s->act, l.weight * z + l.bias);

    return (struct point){z, dx[i], slope_z * g_dy[i], g_y ? slope_z * g_y[i] : 0};
}

// Of one channel: what the layer behind the norm gets, summed over its pixels.
struct line_gradient {
    double weight, bias;
};

static void store_line(const struct tangent_gradients *t, int channel, struct line_gradient g) {
    // No affine part, or its gradient is not wanted.
    if (!t->ret_dweight)
        return;
    t->ret_dweight[channel] = (float)(g.weight + (t->accumulate ? t->ret_dweight[channel] : 0));
    t->ret_dbias[channel] = (float)(g.bias + (t->accumulate ? t->ret_dbias[channel] : 0));
}

static void add_point(struct means *a, struct point p, double factor) {
    a->dx += factor * p.dx;
    a->dx_xhat += factor * p.dx * p.z;
    a->v += factor * p.v;
    a->v_xhat += factor * p.v * p.z;
    a->v_dx += factor * p.v * p.dx;
    a->u += factor * p.u;
    a->u_xhat += factor * p.u * p.z;
}

static void backward_block(const struct norm_shape *s, const struct block *b,
                           const struct tangent_gradients *t) {
    float *gx = t->ret_gx, *gdx = t->ret_gdx;
    struct moments m[BLOCK];
    struct means a[BLOCK] = {{0}}; // all zero without a norm
    struct line_gradient sum[BLOCK] = {{0}};
    struct line l[BLOCK];

    moments_of(s, b, t->x, m);
    for (int k = 0; k < b->channels; k++)
        l[k] = line_of(t->affine, b->channel + k);
    for (int p = 0; p < b->pixels && s->norm != NORM_NONE; p++)
        for (int k = 0; k < b->channels; k++)
            add_point(&a[k], point_at(s, t, b->first + p * b->stride + k, m[k], l[k]),
                      1.0 / b->pixels);
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            struct point q = point_at(s, t, i, m[k], l[k]);
            // P(v), P(u) and P(dx) of tangent.h.
            double r = m[k].rstd, pv = r * (q.v - a[k].v - q.z * a[k].v_xhat);
            double pu = r * (q.u - a[k].u - q.z * a[k].u_xhat);
            double pdx = r * (q.dx - a[k].dx - q.z * a[k].dx_xhat);
            // How the norm itself bends along dx: the only term in which x meets v and dx at once.
            double bend = a[k].v_dx - a[k].v * a[k].dx - a[k].v_xhat * a[k].dx_xhat;
            gdx[i] = (float)(l[k].weight * pv);
            if (gx)
                gx[i] = (float)(l[k].weight * (pu - r * r * bend * q.z -
                                               r * (a[k].dx_xhat * pv + a[k].v_xhat * pdx)));
            // sum act' (g_y xhat + g_dy xhat'), with xhat' = P(dx).
            sum[k].weight += q.u * q.z + q.v * pdx;
            sum[k].bias += q.u;
        }
    for (int k = 0; k < b->channels; k++)
        store_line(t, b->channel + k, sum[k]);
}

int cpu_tangent_backward(struct device *d, const struct norm_shape *s,
                         const struct tangent_gradients *t) {
#pragma omp parallel for
    for (int i = 0; i < n_groups(s) * n_blocks(s); i++) {
        struct block b = block_of(s, i);
        backward_block(s, &b, t);
    }
    return ERR_OK;
}
