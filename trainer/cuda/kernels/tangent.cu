// A norm and an activation with their tangent, for the gradient penalty; cpu/tangent.h has the
// formulas and the letters used here. A block takes 8 channels of an image, or with batch norm of
// all images. Without sums it takes a part of the pixels, by the grid's z.
#include "cuda/kernels/norm.h"

enum { THREADS = 256 };

struct tangent_args {
    struct norm_layer layer; // statistics are computed here
    enum norm_kind norm;
    int pixels; // that statistics are over
    const void *x, *dx, *g_y, *g_dy;
    void *y, *dy, *gx, *gdx; // gx NULL: not wanted
    float *dweight, *dbias;
    bool accumulate;
};

// The statistics of 8 channels, the layer's weight and bias, and the means of dx and of dx xhat.
struct tangent_line {
    float mean[8], rstd[8], weight[8], bias[8];
    float dx[8], dx_xhat[8]; // means of dx and of dx xhat
};

// The activation's argument. One function, like norm_z: forward and backward have to agree on its
// sign.
INLINE float tangent_z(const tangent_line *l, int i, float xhat) {
    return __fmaf_rn(l->weight[i], xhat, l->bias[i]);
}

// From each thread's sums to the means over the pixels, in every thread.
INLINE void means(float *scratch, int pixels, float v[8]) {
    block_sum8(scratch, 1, THREADS, 0, v);
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] /= (float)pixels;
}

// Pixel p in groups. With batch norm the grid's y is 0, and p goes over all images.
INLINE size_t tangent_at(const struct tangent_args *a, int p) {
    return ((size_t)blockIdx.y * a->pixels + p) * a->layer.groups + blockIdx.x;
}

// Statistics of x and dx. Squares and products are taken about the means in a second pass: sums of
// squares would cancel.
INLINE void tangent_line_of(const struct tangent_args *a, float *scratch, bool bf16,
                            tangent_line *l) {
    float x[8], dx[8], squares[8];
    int first = (int)blockIdx.x * 8;

    fill8(l->weight, 1);
    zero8(l->bias);
    if (a->layer.weight) {
        fetch_param(a->layer.weight, first, a->layer.c, 0, l->weight);
        fetch_param(a->layer.bias, first, a->layer.c, 0, l->bias);
    }
    zero8(l->mean);
    fill8(l->rstd, 1);
    zero8(l->dx);
    zero8(l->dx_xhat);
    // xhat is x then: mean 0, rstd 1, and no sums.
    if (a->norm == NORM_NONE)
        return;
    for (int p = (int)threadIdx.x; p < a->pixels; p += THREADS) {
        fetch8(a->x, tangent_at(a, p), bf16, x);
        fetch8(a->dx, tangent_at(a, p), bf16, dx);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            l->mean[i] += x[i];
            l->dx[i] += dx[i];
        }
    }
    means(scratch, a->pixels, l->mean);
    means(scratch, a->pixels, l->dx);
    zero8(squares);
    for (int p = (int)threadIdx.x; p < a->pixels; p += THREADS) {
        fetch8(a->x, tangent_at(a, p), bf16, x);
        fetch8(a->dx, tangent_at(a, p), bf16, dx);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            squares[i] += (x[i] - l->mean[i]) * (x[i] - l->mean[i]);
            l->dx_xhat[i] += (dx[i] - l->dx[i]) * (x[i] - l->mean[i]);
        }
    }
    means(scratch, a->pixels, squares);
    means(scratch, a->pixels, l->dx_xhat);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        l->rstd[i] = 1 / sqrtf(squares[i] + (float)NORM_EPS);
        // xhat = (x - mean) rstd, and the sum had x - mean.
        l->dx_xhat[i] *= l->rstd[i];
    }
}

// A thread's first pixel and the step to the next.
INLINE int tangent_first(void) {
    return (int)(blockIdx.z * THREADS + threadIdx.x);
}

INLINE int tangent_step(void) {
    return (int)gridDim.z * THREADS;
}

// A block writes y and dy of its pixels.
INLINE void tangent_forward(const struct tangent_args &a, const bool bf16) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(THREADS)];
    tangent_line l;
    float x[8], dx[8];

    tangent_line_of(&a, scratch, bf16, &l);
    for (int p = tangent_first(); p < a.pixels; p += tangent_step()) {
        fetch8(a.x, tangent_at(&a, p), bf16, x);
        fetch8(a.dx, tangent_at(&a, p), bf16, dx);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float xhat = (x[i] - l.mean[i]) * l.rstd[i];
            float z = tangent_z(&l, i, xhat), s = slope(a.layer.act, z);
            // All activations are linear on both sides of 0: act(z) = act'(z) z.
            x[i] = s * z;
            dx[i] = s * l.weight[i] * l.rstd[i] * (dx[i] - l.dx[i] - xhat * l.dx_xhat[i]);
        }
        write8(a.y, tangent_at(&a, p), bf16, x);
        write8(a.dy, tangent_at(&a, p), bf16, dx);
    }
}
KERNEL(tangent_forward, THREADS, tangent_args)

// The values of a pixel in the formulas; u and v without the layer's weight.
struct tangent_point {
    float xhat[8], dx[8], u[8], v[8];
};

INLINE void tangent_point_at(const struct tangent_args *a, const tangent_line *l, int p, bool bf16,
                             tangent_point *q) {
    size_t at = tangent_at(a, p);

    fetch8(a->x, at, bf16, q->xhat);
    fetch8(a->dx, at, bf16, q->dx);
    fetch8(a->g_dy, at, bf16, q->v);
    zero8(q->u);
    // Without g_y the loss does not depend on y, and u is 0.
    if (a->g_y)
        fetch8(a->g_y, at, bf16, q->u);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        q->xhat[i] = (q->xhat[i] - l->mean[i]) * l->rstd[i];
        float s = slope(a->layer.act, tangent_z(l, i, q->xhat[i]));
        q->u[i] *= s;
        q->v[i] *= s;
    }
}

// Batch norm only: one block has all pixels of its channels, so nobody else adds to them.
INLINE void store_gradients(const struct tangent_args *a, const float weight[8],
                            const float bias[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int c = (int)blockIdx.x * 8 + i;
        if (c < a->layer.c) {
            a->dweight[c] = weight[i] + (a->accumulate ? a->dweight[c] : 0);
            a->dbias[c] = bias[i] + (a->accumulate ? a->dbias[c] : 0);
        }
    }
}

// A block writes gdx and gx of its pixels, and the layer's gradients. Sums first: every pixel needs
// the means.
INLINE void tangent_backward(const struct tangent_args &a, const bool bf16) {
    __shared__ __align__(16) float scratch[SUM_FLOATS(THREADS)];
    tangent_line l;
    tangent_point q;
    float u[8], u_xhat[8], v[8], v_xhat[8], v_dx[8], weight[8], bias[8]; // means, at first sums

    tangent_line_of(&a, scratch, bf16, &l);
    zero8(u);
    zero8(u_xhat);
    zero8(v);
    zero8(v_xhat);
    zero8(v_dx);
    if (a.norm != NORM_NONE) {
        for (int p = (int)threadIdx.x; p < a.pixels; p += THREADS) {
            tangent_point_at(&a, &l, p, bf16, &q);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                u[i] += q.u[i];
                u_xhat[i] += q.u[i] * q.xhat[i];
                v[i] += q.v[i];
                v_xhat[i] += q.v[i] * q.xhat[i];
                v_dx[i] += q.v[i] * (q.dx[i] - l.dx[i]);
            }
        }
        means(scratch, a.pixels, u);
        means(scratch, a.pixels, u_xhat);
        means(scratch, a.pixels, v);
        means(scratch, a.pixels, v_xhat);
        means(scratch, a.pixels, v_dx);
    }
    zero8(weight);
    zero8(bias);
    for (int p = tangent_first(); p < a.pixels; p += tangent_step()) {
        tangent_point_at(&a, &l, p, bf16, &q);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            // P(v), P(u) and P(dx) of cpu/tangent.h; bend = mean(v dx) - mean(v) mean(dx) - b c.
            float r = l.rstd[i], pv = r * (q.v[i] - v[i] - q.xhat[i] * v_xhat[i]);
            float pu = r * (q.u[i] - u[i] - q.xhat[i] * u_xhat[i]);
            float pdx = r * (q.dx[i] - l.dx[i] - q.xhat[i] * l.dx_xhat[i]);
            float bend = v_dx[i] - v_xhat[i] * l.dx_xhat[i];
            weight[i] += q.u[i] * q.xhat[i] + q.v[i] * pdx;
            bias[i] += q.u[i];
            q.v[i] = l.weight[i] * pv;
            q.u[i] = l.weight[i] *
                     (pu - r * r * bend * q.xhat[i] - r * (l.dx_xhat[i] * pv + v_xhat[i] * pdx));
        }
        write8(a.gdx, tangent_at(&a, p), bf16, q.v);
        if (a.gx)
            write8(a.gx, tangent_at(&a, p), bf16, q.u);
    }
    // All threads return or none, so the barriers below are safe.
    if (!a.dweight)
        return;
    block_sum8(scratch, 1, THREADS, 0, weight);
    block_sum8(scratch, 1, THREADS, 0, bias);
    if (threadIdx.x == 0)
        store_gradients(&a, weight, bias);
}
KERNEL(tangent_backward, THREADS, tangent_args)

static struct tangent_args args_of(const struct norm_shape *s, const struct norm_affine *affine) {
    struct tangent_args a;

    memset(&a, 0, sizeof a);
    a.layer = norm_layer_of(s, affine, NULL, NULL);
    a.norm = s->norm;
    a.pixels = s->h * s->w * (s->norm == NORM_BATCH ? s->n : 1);
    return a;
}

// With sums, one block has all pixels of its channels: z is 1.
static dim3 grid_of(const struct tangent_args *a, const struct norm_shape *s) {
    enum { PIXELS_A_THREAD = 4, PARTS_MAX = 256 };
    bool sums = a->norm != NORM_NONE || a->dweight;
    unsigned parts = sums ? 1 : blocks_for(a->pixels, PIXELS_A_THREAD * THREADS);

    return dim3(a->layer.groups, s->norm == NORM_BATCH ? 1 : s->n,
                HOST_MIN(parts, (unsigned)PARTS_MAX));
}

cudaError_t cuda_tangent_forward(const struct cuda_launch *l, const struct norm_shape *s,
                                 const struct tangent_tensors *t) {
    struct tangent_args a = args_of(s, t->affine);

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    a.x = t->x;
    a.dx = t->dx;
    a.y = t->ret_y;
    a.dy = t->ret_dy;
    return LAUNCH(l, tangent_forward, grid_of(&a, s), THREADS, 0, a);
}

cudaError_t cuda_tangent_backward(const struct cuda_launch *l, const struct norm_shape *s,
                                  const struct tangent_gradients *t) {
    struct tangent_args a = args_of(s, t->affine);

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    a.x = t->x;
    a.dx = t->dx;
    a.g_y = t->g_y;
    a.g_dy = t->g_dy;
    a.gx = t->ret_gx;
    a.gdx = t->ret_gdx;
    a.dweight = (float *)t->ret_dweight;
    a.dbias = (float *)t->ret_dbias;
    a.accumulate = t->accumulate;
    return LAUNCH(l, tangent_backward, grid_of(&a, s), THREADS, 0, a);
}
