// Sliced Wasserstein distance of Karras et al. 2018, section 5: 7x7 patches of each pyramid level,
// random directions, sorted projections.
#include "judge/swd.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "judge/pyramid.h"

enum {
    PATCH = 7,
    AREA = PATCH * PATCH,
    LANES = 32, // descriptors that are computed together
    BLOCKS = SWD_DESCRIPTORS / LANES,
    POSITION = 1 << 16, // `sub` of positions; elements of a projection are below it
};
_Static_assert(SWD_DESCRIPTORS % LANES == 0, "whole blocks");

// Descriptors of one set at one level: values[(block * elements + element) * LANES + lane], where
// descriptor d is lane d % LANES of block d / LANES, and an element is channel * AREA + place in
// the patch.
struct set {
    int c;
    float *values;
};

static size_t elements(const struct set *s) {
    return (size_t)s->c * AREA;
}

static void cut_patch(const struct pyramid *p, int level, int d, uint64_t seed, float *ret_level) {
    int w = p->w[level], h = p->h[level];
    uint64_t index = (uint64_t)level << 32 | (uint64_t)d;
    // A function of seed, level and number alone: every checkpoint is judged at the same places.
    int x = (int)rng_below(seed, RNG_PROJECTION, index, POSITION, (uint64_t)(w - PATCH + 1));
    int y = (int)rng_below(seed, RNG_PROJECTION, index, POSITION + 1, (uint64_t)(h - PATCH + 1));
    size_t c = (size_t)p->c;
    // Lanes are innermost, so that `project` is a loop over vectors.
    float *out = ret_level + (size_t)(d / LANES) * c * AREA * LANES + d % LANES;
    for (int i = 0; i < AREA; i++) {
        const float *in =
            p->level[level] + ((size_t)(y + i / PATCH) * (size_t)w + (size_t)(x + i % PATCH)) * c;
        for (size_t k = 0; k < c; k++)
            out[(k * AREA + (size_t)i) * LANES] = in[k];
    }
}

// Normalisation of one channel, from all descriptors of the reference.
struct scale {
    float mean, factor;
};

static struct scale channel_scale(const float *level, size_t k, size_t n_elements) {
    double sum = 0, square = 0, n = (double)SWD_DESCRIPTORS * AREA;
    for (size_t b = 0; b < BLOCKS; b++) {
        const float *v = level + (b * n_elements + k * AREA) * LANES;
        for (size_t i = 0; i < (size_t)AREA * LANES; i++) {
            sum += v[i];
            square += (double)v[i] * v[i];
        }
    }
    double variance = square / n - (sum / n) * (sum / n);
    // A constant reference has no deviation to divide by.
    return (struct scale){(float)(sum / n), variance > 1e-9 ? (float)(1 / sqrt(variance)) : 1};
}

static void apply_scale(float *level, size_t k, size_t n_elements, struct scale scale) {
    for (size_t b = 0; b < BLOCKS; b++) {
        float *v = level + (b * n_elements + k * AREA) * LANES;
        for (size_t i = 0; i < (size_t)AREA * LANES; i++)
            v[i] = (v[i] - scale.mean) * scale.factor;
    }
}

static void normalise(struct set *s, struct set *reference) {
    size_t n = elements(reference);
    if (!s->values || !reference->values)
        BUG("a set without descriptors");
    for (size_t k = 0; k < (size_t)reference->c; k++) {
        struct scale scale = channel_scale(reference->values, k, n);
        apply_scale(s->values, k, n, scale);
        apply_scale(reference->values, k, n, scale);
    }
}

static void set_init(struct set *s, const struct image *images, int n, int level, uint64_t seed) {
    *s = (struct set){.c = images->c};
    s->values = xmalloc(SWD_DESCRIPTORS * elements(s) * sizeof *s->values);
    int d = 0;
    for (int i = 0; i < n && d < SWD_DESCRIPTORS; i++) {
        // Descriptors are spread evenly over the images.
        int end = (int)((int64_t)(i + 1) * SWD_DESCRIPTORS / n);
        if (end == d)
            continue; // more images than descriptors
        struct pyramid p;
        pyramid_init(&p, &images[i]);
        for (; d < end; d++)
            cut_patch(&p, level, d, seed, s->values);
        pyramid_fini(&p);
    }
}

static void direction(uint64_t seed, int level, int projection, int n, float *ret) {
    uint64_t index = (uint64_t)level << 32 | (uint64_t)projection;
    double pair[2], square = 0;
    for (int i = 0; i < n; i++) {
        // Normal components give a uniform direction after division by the length.
        rng_normal2(seed, RNG_PROJECTION, index, (uint32_t)i, pair);
        ret[i] = (float)pair[0];
        square += pair[0] * pair[0];
    }
    for (int i = 0; i < n; i++)
        ret[i] *= (float)(1 / sqrt(square));
}

static void project(const struct set *s, const float *dir, float *ret) {
    size_t n = elements(s);
    const float *v = s->values;
    for (size_t b = 0; b < BLOCKS; b++) {
        float sum[LANES] = {0};
        for (size_t i = 0; i < n; i++, v += LANES)
            for (size_t l = 0; l < LANES; l++)
                sum[l] += dir[i] * v[l];
        for (size_t l = 0; l < LANES; l++)
            ret[b * LANES + l] = sum[l];
    }
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double level_distance(const struct set *a, const struct set *b, int level, uint64_t seed) {
    static const size_t n = SWD_DESCRIPTORS;
    float *of_a = xmalloc(n * sizeof *of_a), *of_b = xmalloc(n * sizeof *of_b), dir[3 * AREA];
    double sum = 0;
    for (int p = 0; p < SWD_PROJECTIONS; p++) {
        direction(seed, level, p, (int)elements(a), dir);
        project(a, dir, of_a);
        project(b, dir, of_b);
        // In one dimension the optimal transport pairs sorted values.
        qsort(of_a, n, sizeof *of_a, by_value);
        qsort(of_b, n, sizeof *of_b, by_value);
        for (size_t i = 0; i < n; i++)
            sum += fabs((double)of_a[i] - of_b[i]);
    }
    free(of_a);
    free(of_b);
    // Times 1000, the unit in Karras et al. 2018.
    return 1000 * sum / ((double)n * SWD_PROJECTIONS);
}

static int check_sizes(const struct image *images, int n, const struct image *first) {
    if (n < 1)
        return err_set(ERR_SHAPE, "a set without pictures");
    for (int i = 0; i < n; i++)
        if (images[i].w != first->w || images[i].h != first->h || images[i].c != first->c)
            return err_set(ERR_SHAPE, "a picture of %dx%dx%d among %dx%dx%d", images[i].w,
                           images[i].h, images[i].c, first->w, first->h, first->c);
    if (MIN(first->w, first->h) < PYRAMID_SIDE_MIN)
        return err_set(ERR_SHAPE, "pictures of %dx%d are below %d pixels", first->w, first->h,
                       PYRAMID_SIDE_MIN);
    return ERR_OK;
}

int swd(const struct image *a, int n_a, const struct image *b, int n_b, uint64_t seed,
        double *ret_distance) {
    int err = check_sizes(a, n_a, a);
    if (err)
        return err;
    // Both sets against the first image of a.
    err = check_sizes(b, n_b, a);
    if (err)
        return err;
    int levels = pyramid_count(a->w, a->h);
    double sum = 0;
    // Level by level, so that memory does not grow with the size of the images.
    for (int level = 0; level < levels; level++) {
        struct set set_a, set_b;
        set_init(&set_a, a, n_a, level, seed);
        set_init(&set_b, b, n_b, level, seed);
        normalise(&set_a, &set_b);
        sum += level_distance(&set_a, &set_b, level, seed);
        free(set_a.values);
        free(set_b.values);
    }
    *ret_distance = sum / levels;
    return ERR_OK;
}
