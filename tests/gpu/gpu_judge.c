// Distances of nets and steps from the judge, and their bounds.
#include "gpu/gpu_judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/util.h"

static const struct gpu_bounds bounds_of[GPU_DTYPES] = {
    {1e-4, 1e-5, 1e-5, 1e-5}, {3e-3, 1e-3, 1e-3, 1e-3}, {2e-2, 2e-2, 2e-2, 1e-2}};

const double gpu_rounding_factors[GPU_DTYPES] = {3, 3, 2};
const enum ref_rounding gpu_roundings[GPU_DTYPES] = {REF_FP32, REF_TF32, REF_BF16};

void gpu_fill(const struct gpu_check *g, int stream, struct ref_map *m) {
    for (size_t i = 0; i < ref_map_count(m); i++)
        m->v[i] =
            floor(256 * rng_uniform(g->seed, RNG_TEST, i, (uint32_t)stream)) / 128 - 127.0 / 128;
}

struct ref_map gpu_picture(const struct gpu_check *g, int stream, int n, int size, int c) {
    struct ref_map m = ref_map_new(n, size, size, c);

    gpu_fill(g, stream, &m);
    return m;
}

float *gpu_floats(const struct ref_map *m) {
    float *x = xcalloc(ref_map_count(m), sizeof *x);

    for (size_t i = 0; i < ref_map_count(m); i++)
        x[i] = (float)m->v[i];
    return x;
}

double gpu_relative(size_t count, const double *x, const double *r) {
    double wrong = 0, size = 0;

    for (size_t i = 0; i < count; i++) {
        wrong += (x[i] - r[i]) * (x[i] - r[i]);
        size += r[i] * r[i];
    }
    return sqrt(wrong / size);
}

double gpu_one_minus_cosine(size_t count, const double *x, const double *r) {
    double xx = 0, rr = 0, xr = 0;

    for (size_t i = 0; i < count; i++) {
        xx += x[i] * x[i];
        rr += r[i] * r[i];
        xr += x[i] * r[i];
    }
    return xr > 0 ? fmax(0, 1 - xr / sqrt(xx * rr)) : xr <= 0 ? 1 : NAN;
}

void gpu_add_gradient(struct gpu_distance *d, const char *key, size_t count, const double *x,
                      const double *r) {
    double size = 0, error;

    for (size_t i = 0; i < count; i++)
        size += r[i] * r[i];
    if (size == 0)
        return;
    error = gpu_one_minus_cosine(count, x, r);
    d->gradients++;
    if (d->gradient >= error || isnan(d->gradient))
        return;
    d->gradient = error;
    (void)snprintf(d->key, sizeof d->key, "%s", key); // or cut
}

void gpu_add_loss(struct gpu_distance *d, double x, double r) {
    double error = fabs(x - r) / fabs(r);

    d->loss = isnan(error) || isnan(d->loss) ? NAN : fmax(d->loss, error);
}

struct gpu_bounds gpu_bounds_beside(const struct gpu_check *g, int dtype,
                                    const struct gpu_distance *rounding) {
    struct gpu_bounds b = bounds_of[dtype];
    double factor = gpu_rounding_factors[dtype], all = g->small ? 2 : 1;

    return (struct gpu_bounds){all * fmax(b.forward, factor * rounding->forward),
                               all * fmax(b.dx, factor * rounding->dx),
                               all * fmax(b.gradient, factor * rounding->gradient),
                               all * fmax(b.loss, 1.5 * factor * rounding->loss)};
}

void gpu_tell_rounding(int dtype, const struct gpu_distance *r) {
    printf("     %-4s        rounding alone does:", gpu_dtypes[dtype]);
    if (r->forward > 0)
        printf(" y %.1e, 1-cos dx %.1e,", r->forward, r->dx);
    else
        printf(" losses %.1e,", r->loss);
    printf(" 1-cos of gradients %.1e\n", r->gradient);
}
