// kernel_test - what the tests of the CPU kernels share: random tensors, poison, comparison.
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"

// `count` floats, uniform in [-1,1), a function of `seed`; freed with free().
static inline float *random_floats(size_t count, uint64_t seed) {
    float *x = xaligned(sizeof(float) * (count + 1));

    for (size_t i = 0; i < count; i++)
        x[i] = (float)(2 * rng_uniform(seed, RNG_TEST, i, 0) - 1);
    return x;
}

// `count` NaNs: an output that is not written shows.
static inline float *poison(size_t count) {
    float *x = xaligned(sizeof(float) * (count + 1));

    for (size_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static inline int random_int(uint64_t seed, uint64_t index, int low, int high) {
    return low + (int)rng_below(seed, RNG_TEST, index, 1, (uint64_t)(high - low + 1));
}

// Every element within `tolerance` of its reference; a NaN is never near.
static inline void assert_near(size_t count, const float *x, const double *want, double tolerance,
                               const char *what) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(x[i] - want[i]) <= tolerance))
            fail_msg("%s[%zu] is %.9g, not %.9g (tolerance %.3g)", what, i, x[i], want[i],
                     tolerance);
}

static inline double *doubles(size_t count) {
    return xcalloc(count + 1, sizeof(double));
}

// Where padded coordinate i of a border `pad` was copied from, in [0, n).
static inline int reflected(int i, int pad, int n) {
    i -= pad;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

#endif
