// Flat loops over all parameters of an optimizer, in parts that do not depend on the threads.
#include "cpu/parameters.h"

#include <math.h>
#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "cpu/cpu.h"
#include "cpu/flat.h"

// ---- finite ----

// A number whose exponent bits are all set is infinity or NaN.
CPU_CLONED(bool, finite_part, (size_t count, const float *x), (count, x)) {
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        // Integer operations vectorize, and no compiler flag for floats can change their meaning.
        memcpy(&bits, x + i, sizeof bits);
        // No early exit: a loop without branches is faster, and bad gradients are rare.
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

static bool all_finite(size_t count, const float *x) {
    int bad = 0;

#pragma omp parallel for reduction(| : bad)
    for (int p = 0; p < CPU_PARTS; p++) {
        size_t at = cpu_part_begin(count, p);
        bad |= !finite_part(cpu_part_begin(count, p + 1) - at, x + at);
    }
    return !bad;
}

int cpu_finite(struct device *d, size_t count, const float *x, int *ret_bad) {
    if (!all_finite(count, x))
        *ret_bad = 1;
    return ERR_OK;
}

// ---- Adam ----

struct adam_step {
    float beta1, beta2, one_minus_beta1, one_minus_beta2, root, eps, step;
};

CPU_CLONED(void, adam_part,
           (struct adam_step a, size_t count, const float *restrict g, float *restrict p,
            float *restrict m, float *restrict v),
           (a, count, g, p, m, v)) {
    for (size_t i = 0; i < count; i++) {
        m[i] = a.beta1 * m[i] + a.one_minus_beta1 * g[i];
        v[i] = a.beta2 * v[i] + a.one_minus_beta2 * g[i] * g[i];
        p[i] = p[i] - a.step * m[i] / (sqrtf(v[i]) / a.root + a.eps);
    }
}

int cpu_adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
             float *v) {
    const struct device_values *values = &((const struct cpu_device *)d)->values;
    double beta1 = args->beta1, beta2 = args->beta2, t = (double)values->t;
    struct adam_step s = {
        .beta1 = (float)beta1,
        .beta2 = (float)beta2,
        // In double and rounded once, as PyTorch does with its scalars.
        .one_minus_beta1 = (float)(1 - beta1),
        .one_minus_beta2 = (float)(1 - beta2),
        .root = (float)sqrt(1 - pow(beta2, t)),
        .eps = (float)ADAM_EPS,
        .step = (float)(values->lr / (1 - pow(beta1, t))),
    };

    if (values->t < 1)
        // At t = 0 the bias correction would divide by 0.
        BUG("Adam step %lld", (long long)values->t);
    // The update is done nevertheless, as on a device that cannot look at the flag in between.
    if (args->ret_bad && !all_finite(args->count, g))
        *args->ret_bad = 1;
#pragma omp parallel for
    for (int i = 0; i < CPU_PARTS; i++) {
        size_t at = cpu_part_begin(args->count, i);
        adam_part(s, cpu_part_begin(args->count, i + 1) - at, g + at, p + at, m + at, v + at);
    }
    return ERR_OK;
}

// ---- blend ----

CPU_CLONED(void, blend_part,
           (size_t count, float a, const float *restrict x, float b, float *restrict y),
           (count, a, x, b, y)) {
    for (size_t i = 0; i < count; i++)
        y[i] = a * x[i] + b * y[i];
}

int cpu_blend(struct device *d, size_t count, double a, const float *x, double b, float *y) {
#pragma omp parallel for
    for (int p = 0; p < CPU_PARTS; p++) {
        size_t at = cpu_part_begin(count, p);
        blend_part(cpu_part_begin(count, p + 1) - at, (float)a, x + at, (float)b, y + at);
    }
    return ERR_OK;
}
