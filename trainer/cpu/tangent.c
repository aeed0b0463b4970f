#include "cpu/tangent.h"

#include <math.h>
#include <string.h>

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

static struct line line_of(const float *weight, const float *bias, int channel) {
    return weight ? (struct line){weight[channel], bias[channel]} : (struct line){1, 0};
}

static int blocks(const struct cpu_norm *s) {
    return (s->c + BLOCK - 1) / BLOCK;
}

// Pictures that have statistics of their own.
static int groups(const struct cpu_norm *s) {
    return s->kind == CPU_NORM_BATCH ? 1 : s->n;
}

static struct block block_of(const struct cpu_norm *s, int i) {
    int group = i / blocks(s), channel = i % blocks(s) * BLOCK;
    int pixels = s->n / groups(s) * s->h * s->w; // of pictures that lie behind each other

    return (struct block){.first = (size_t)group * (size_t)pixels * (size_t)s->c + channel,
                          .stride = (size_t)s->c,
                          .pixels = pixels,
                          .channel = channel,
                          .channels = MIN(BLOCK, s->c - channel)};
}

static double slope(enum cpu_act act, double x) {
    return x > 0 || act == CPU_ACT_NONE ? 1 : act == CPU_ACT_LEAKY ? 0.2 : 0;
}

// Of one channel.
struct moments {
    double mean, rstd;
};

static void moments_of(const struct cpu_norm *s, const struct block *b, const float *x,
                       struct moments ret[BLOCK]) {
    double sum[BLOCK] = {0}, squares[BLOCK] = {0};

    for (int k = 0; k < b->channels; k++)
        ret[k] = (struct moments){0, 1};
    if (s->kind == CPU_NORM_NONE)
        return;
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++)
            sum[k] += x[b->first + p * b->stride + k];
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            double d = x[b->first + p * b->stride + k] - sum[k] / b->pixels;
            squares[k] += d * d;
        }
    for (int k = 0; k < b->channels; k++)
        ret[k] = (struct moments){sum[k] / b->pixels, 1 / sqrt(squares[k] / b->pixels + 1e-5)};
}

static void forward_block(const struct cpu_norm *s, const struct block *b,
                          const struct cpu_tangent_forward *t) {
    struct moments m[BLOCK];
    double sum[BLOCK] = {0}, along[BLOCK] = {0}; // of dx, and of dx xhat

    moments_of(s, b, t->x, m);
    for (int p = 0; p < b->pixels && s->kind != CPU_NORM_NONE; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            sum[k] += t->dx[i];
            along[k] += t->dx[i] * (t->x[i] - m[k].mean) * m[k].rstd;
        }
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            struct line l = line_of(t->weight, t->bias, b->channel + k);
            double xhat = (t->x[i] - m[k].mean) * m[k].rstd;
            double z = l.weight * xhat + l.bias, slope_z = slope(s->act, z);
            double d = t->dx[i] - sum[k] / b->pixels - xhat * along[k] / b->pixels;
            t->ret_y[i] = (float)(slope_z * z);
            t->ret_dy[i] = (float)(slope_z * l.weight * m[k].rstd * d);
        }
}

void cpu_tangent_forward(const struct cpu_norm *s, const struct cpu_tangent_forward *t) {
#pragma omp parallel for
    for (int i = 0; i < groups(s) * blocks(s); i++) {
        struct block b = block_of(s, i);
        forward_block(s, &b, t);
    }
}

// Means over the pixels of one channel, named as in the formulas.
struct means {
    double dx, dx_xhat, v, v_xhat, v_dx, u, u_xhat;
};

// What the formulas have of one pixel; v and u without the factor w.
struct point {
    double z, dx, v, u; // z: xhat
};

static struct point point_at(const struct cpu_norm *s, const struct cpu_tangent_backward *t,
                             size_t i, struct moments m, struct line l) {
    double z = (t->x[i] - m.mean) * m.rstd, slope_z = slope(s->act, l.weight * z + l.bias);

    return (struct point){z, t->dx[i], slope_z * t->g_dy[i], t->g_y ? slope_z * t->g_y[i] : 0};
}

// Of one channel: what the layer behind the norm gets, summed over its pixels.
struct line_gradient {
    double weight, bias;
};

static void store(const struct cpu_tangent_backward *t, int channel, struct line_gradient g) {
    if (!t->ret_dweight)
        return;
    t->ret_dweight[channel] = (float)(g.weight + (t->accumulate ? t->ret_dweight[channel] : 0));
    t->ret_dbias[channel] = (float)(g.bias + (t->accumulate ? t->ret_dbias[channel] : 0));
}

static void add_point(struct means *a, struct point p, double share) {
    a->dx += share * p.dx;
    a->dx_xhat += share * p.dx * p.z;
    a->v += share * p.v;
    a->v_xhat += share * p.v * p.z;
    a->v_dx += share * p.v * p.dx;
    a->u += share * p.u;
    a->u_xhat += share * p.u * p.z;
}

static void backward_block(const struct cpu_norm *s, const struct block *b,
                           const struct cpu_tangent_backward *t) {
    struct moments m[BLOCK];
    struct means a[BLOCK] = {{0}}; // all zero without a norm
    struct line_gradient sum[BLOCK] = {{0}};
    struct line l[BLOCK];

    moments_of(s, b, t->x, m);
    for (int k = 0; k < b->channels; k++)
        l[k] = line_of(t->weight, t->bias, b->channel + k);
    for (int p = 0; p < b->pixels && s->kind != CPU_NORM_NONE; p++)
        for (int k = 0; k < b->channels; k++)
            add_point(&a[k], point_at(s, t, b->first + p * b->stride + k, m[k], l[k]),
                      1.0 / b->pixels);
    for (int p = 0; p < b->pixels; p++)
        for (int k = 0; k < b->channels; k++) {
            size_t i = b->first + p * b->stride + k;
            struct point q = point_at(s, t, i, m[k], l[k]);
            double r = m[k].rstd, pv = r * (q.v - a[k].v - q.z * a[k].v_xhat);
            double pu = r * (q.u - a[k].u - q.z * a[k].u_xhat);
            double pdx = r * (q.dx - a[k].dx - q.z * a[k].dx_xhat);
            double bend = a[k].v_dx - a[k].v * a[k].dx - a[k].v_xhat * a[k].dx_xhat;
            t->ret_gdx[i] = (float)(l[k].weight * pv);
            if (t->ret_gx)
                t->ret_gx[i] = (float)(l[k].weight * (pu - r * r * bend * q.z -
                                                      r * (a[k].dx_xhat * pv + a[k].v_xhat * pdx)));
            sum[k].weight += q.u * q.z + q.v * pdx;
            sum[k].bias += q.u;
        }
    for (int k = 0; k < b->channels; k++)
        store(t, b->channel + k, sum[k]);
}

void cpu_tangent_backward(const struct cpu_norm *s, const struct cpu_tangent_backward *t) {
#pragma omp parallel for
    for (int i = 0; i < groups(s) * blocks(s); i++) {
        struct block b = block_of(s, i);
        backward_block(s, &b, t);
    }
}

double cpu_penalty(int n, size_t count, double scale, const float *g, float *ret_u) {
    double total = 0;

    for (int k = 0; k < n; k++) {
        const float *row = g + (size_t)k * count;
        double squares = 0, length, slope_g;
        for (size_t i = 0; i < count; i++)
            squares += (row[i] + 1e-16) * (row[i] + 1e-16);
        length = sqrt(squares);
        total += (length - 1) * (length - 1);
        slope_g = 2 * scale / n * (length - 1) / length;
        for (size_t i = 0; i < count; i++)
            ret_u[(size_t)k * count + i] = (float)(slope_g * (row[i] + 1e-16));
    }
    return scale * total / n;
}
