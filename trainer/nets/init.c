// Initial weights. All sums are in double, so that float rounds each number only once.
#include "nets/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

static const char *const types[] = {"normal", "xavier", "kaiming", "orthogonal"};

int init_type_parse(const char *text, enum init_type *ret_type) {
    for (unsigned i = 0; i < COUNT(types); i++)
        if (strcmp(text, types[i]) == 0) {
            *ret_type = (enum init_type)i;
            return ERR_OK;
        }
    return err_set(ERR_CONFIG, "init_type \"%s\": normal, xavier, kaiming or orthogonal", text);
}

// Standard normal numbers of elements i, even, and i + 1: one block makes the pair.
static void pair_of(const struct init_args *args, int64_t i, double ret_pair[2]) {
    rng_normal2(args->seed, RNG_INIT, (uint64_t)i, args->sub, ret_pair);
}

// Random access to the same numbers: the block of an even index holds its odd neighbour too.
static double element(const struct init_args *args, int64_t i) {
    double pair[2];

    pair_of(args, i & ~INT64_C(1), pair);
    return pair[i & 1];
}

// By pairs: element by element each would be made twice.
static void normal(const struct init_args *args, double std, int64_t count, float *ret_w) {
    double pair[2];

    // An odd count leaves the last number of the last pair unused.
    for (int64_t i = 0; i < count; i += 2) {
        pair_of(args, i, pair);
        ret_w[i] = (float)(std * pair[0]);
        if (i + 1 < count)
            ret_w[i + 1] = (float)(std * pair[1]);
    }
}

static double dot(const double *a, const double *b, int64_t length) {
    double sum = 0;

    for (int64_t i = 0; i < length; i++)
        sum += a[i] * b[i];
    return sum;
}

// Makes `count` vectors orthonormal, each from what the earlier ones leave of it. A second round
// removes what rounding left of the first (Giraud et al. 2005: twice is enough).
static void gram_schmidt(double *vectors, int64_t count, int64_t length) {
    for (int64_t i = 0; i < count; i++) {
        double *v = vectors + i * length;
        for (int round = 0; round < 2; round++)
            for (int64_t j = 0; j < i; j++) {
                const double *u = vectors + j * length;
                double along = dot(u, v, length);
                for (int64_t k = 0; k < length; k++)
                    v[k] -= along * u[k];
            }
        double norm = sqrt(dot(v, v, length));
        for (int64_t k = 0; k < length; k++)
            v[k] /= norm;
    }
}

static void orthogonal(const struct init_args *args, int64_t rows, int64_t cols, float *ret_w) {
    // Only the shorter side can be orthonormal, so the vectors have the longer one's length.
    int64_t count = MIN(rows, cols), length = MAX(rows, cols);
    double *vectors = xcalloc((size_t)(count * length), sizeof *vectors);

    for (int64_t i = 0; i < count * length; i++)
        vectors[i] = element(args, i);
    gram_schmidt(vectors, count, length);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            ret_w[r * cols + c] =
                (float)(args->gain * vectors[rows <= cols ? r * length + c : c * length + r]);
    free(vectors);
}

void init_filter(const struct init_args *args, const int64_t dims[4], float *ret_w) {
    // Both fans are those of the stored layout, as PyTorch computes them.
    int64_t taps = dims[2] * dims[3], rest = dims[1] * taps, count = dims[0] * rest;
    double fan_in = (double)rest, fan_out = (double)(dims[0] * taps);

    switch (args->type) {
    case INIT_NORMAL:
        normal(args, args->gain, count, ret_w);
        break;
    case INIT_XAVIER:
        normal(args, args->gain * sqrt(2 / (fan_in + fan_out)), count, ret_w);
        break;
    case INIT_KAIMING:
        // The 2 is for a ReLU behind the layer, which removes half of the variance.
        normal(args, sqrt(2 / fan_in), count, ret_w);
        break;
    case INIT_ORTHOGONAL:
        orthogonal(args, dims[0], rest, ret_w);
        break;
    }
}

static void init_constant(struct model_param *p, float value) {
    for (size_t i = 0; i < p->count; i++)
        p->w[i] = value;
}

void init_fixed(struct model_param *p) {
    static const float blur[] = {1, 2, 1}, up[] = {1, 3, 3, 1};
    int64_t r = p->dims[2];
    const float *line = r == 3 ? blur : up;

    // Row and column of a tap give its two factors. The halving filter sums to 1, the doubling one
    // to 4, because it meets a map with three zeros for each value.
    for (size_t i = 0; i < p->count; i++)
        p->w[i] = line[i / (size_t)r % (size_t)r] * line[i % (size_t)r] / 16;
}

void init_param(const struct init_args *args, struct model_param *p) {
    switch (p->kind) {
    case PARAM_FILTER:
        init_filter(args, p->dims, p->w);
        break;
    case PARAM_NORM_WEIGHT:
        for (size_t i = 0; i < p->count; i++)
            // The reference draws these for every init_type, with init_gain as their deviation.
            p->w[i] = (float)(1 + args->gain * element(args, (int64_t)i));
        break;
    case PARAM_RUNNING_VAR:
        init_constant(p, 1);
        break;
    case PARAM_FIXED:
        init_fixed(p);
        break;
    case PARAM_BATCHES:
        *p->batches = 0;
        break;
    default:
        init_constant(p, 0);
    }
}
