#include "cpu/loss.h"

#include <math.h>
#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "base/util.h"

// A flat array is cut into parts whose number is fixed; each part's sum is one number.
enum { PARTS = 256 };

static size_t part_begin(size_t count, int part) {
    return count / PARTS * part + MIN((size_t)part, count % PARTS);
}

static double total(const double sums[PARTS]) {
    double sum = 0;

    for (int p = 0; p < PARTS; p++)
        sum += sums[p];
    return sum;
}

// Heads

void cpu_tanh(size_t pixels, int c, const float *x, const float *bias, float *ret_y) {
#pragma omp parallel for
    for (size_t p = 0; p < pixels; p++)
        for (int i = 0; i < c; i++)
            ret_y[p * c + i] = tanhf(x[p * c + i] + (bias ? bias[i] : 0));
}

CPU_CLONED(void, tanh_gradient, (size_t count, const float *restrict y, float *restrict g),
           (count, y, g)) {
    for (size_t i = 0; i < count; i++)
        g[i] = g[i] * (1 - y[i] * y[i]);
}

// The sums per channel are those of a bias in front of no norm.
void cpu_tanh_backward(const struct cpu_norm *s, const float *y, const struct cpu_norm_grads *grads,
                       double *work, const struct cpu_norm_result *ret) {
    struct cpu_norm plain = {.n = s->n, .h = s->h, .w = s->w, .c = s->c};
    struct cpu_norm_grads dense = {1, {{ret->dx, 0}}};
    size_t row = (size_t)s->w * s->c;

    if (ret->dskip)
        BUG("a head has no skip");
    cpu_fold(&plain, grads, ret->dx);
#pragma omp parallel for
    for (int i = 0; i < s->n * s->h; i++)
        tanh_gradient(row, y + i * row, ret->dx + i * row);
    if (ret->dbias)
        cpu_norm_backward(&plain, &(struct cpu_norm_saved){.x = y}, &dense, work, ret);
}

// Losses

CPU_CLONED(double, l1_part, (size_t count, const float *a, const float *b), (count, a, b)) {
    double lanes[8] = {0};
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        for (int k = 0; k < 8; k++)
            lanes[k] += fabsf(a[i + k] - b[i + k]);
    for (; i < count; i++)
        lanes[i % 8] += fabsf(a[i] - b[i]);
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

CPU_CLONED(void, l1_gradient, (size_t count, const float *a, const float *b, float step, float *g),
           (count, a, b, step, g)) {
    for (size_t i = 0; i < count; i++)
        g[i] = a[i] > b[i] ? step : a[i] < b[i] ? -step : 0;
}

double cpu_l1(size_t count, const float *a, const float *b, double weight, float *ret_grad) {
    double sums[PARTS];
    float step = (float)(weight / count);

#pragma omp parallel for
    for (int p = 0; p < PARTS; p++) {
        size_t at = part_begin(count, p), n = part_begin(count, p + 1) - at;
        sums[p] = l1_part(n, a + at, b + at);
        if (ret_grad)
            l1_gradient(n, a + at, b + at, step, ret_grad + at);
    }
    return weight * total(sums) / count;
}

static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double gan_value(const struct cpu_gan_loss *l, double x) {
    bool real = l->target == CPU_GAN_REAL;

    switch (l->mode) {
    case CPU_GAN_LSGAN:
        return (x - real) * (x - real);
    case CPU_GAN_WGANGP:
        return real ? -x : x;
    case CPU_GAN_VANILLA:
    case CPU_GAN_NONSATURATING:
        return softplus(real ? -x : x);
    }
    BUG("GAN mode %d", l->mode);
}

static double gan_slope(const struct cpu_gan_loss *l, double x) {
    bool real = l->target == CPU_GAN_REAL;

    switch (l->mode) {
    case CPU_GAN_LSGAN:
        return 2 * (x - real);
    case CPU_GAN_WGANGP:
        return real ? -1 : 1;
    case CPU_GAN_VANILLA:
    case CPU_GAN_NONSATURATING:
        return real ? -1 / (1 + exp(x)) : 1 / (1 + exp(-x));
    }
    BUG("GAN mode %d", l->mode);
}

// A map has some hundred elements: one thread does.
double cpu_gan_loss(const struct cpu_gan_loss *l, size_t count, const float *x, float *ret_grad) {
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double value = x[i];
        sum += gan_value(l, value);
        if (ret_grad)
            ret_grad[i] = (float)(l->weight / count * gan_slope(l, value));
    }
    return l->weight * sum / count;
}

// Optimizer

struct adam_step {
    float beta1, beta2, one_minus_beta1, one_minus_beta2, root, eps, step;
};

CPU_CLONED(void, adam_part,
           (struct adam_step a, size_t count, const float *restrict g, float *restrict w,
            float *restrict m, float *restrict v),
           (a, count, g, w, m, v)) {
    for (size_t i = 0; i < count; i++) {
        m[i] = a.beta1 * m[i] + a.one_minus_beta1 * g[i];
        v[i] = a.beta2 * v[i] + a.one_minus_beta2 * g[i] * g[i];
        w[i] = w[i] - a.step * m[i] / (sqrtf(v[i]) / a.root + a.eps);
    }
}

void cpu_adam(const struct cpu_adam *a, size_t count, const float *g, float *w, float *m,
              float *v) {
    struct adam_step s = {
        .beta1 = (float)a->beta1,
        .beta2 = (float)a->beta2,
        .one_minus_beta1 = (float)(1 - a->beta1),
        .one_minus_beta2 = (float)(1 - a->beta2),
        .root = (float)sqrt(1 - pow(a->beta2, (double)a->t)),
        .eps = (float)a->eps,
        .step = (float)(a->lr / (1 - pow(a->beta1, (double)a->t))),
    };

    if (a->t < 1)
        BUG("Adam step %lld", (long long)a->t);
#pragma omp parallel for
    for (int p = 0; p < PARTS; p++) {
        size_t at = part_begin(count, p);
        adam_part(s, part_begin(count, p + 1) - at, g + at, w + at, m + at, v + at);
    }
}

CPU_CLONED(void, blend_part,
           (size_t count, float a, const float *restrict x, float b, float *restrict y),
           (count, a, x, b, y)) {
    for (size_t i = 0; i < count; i++)
        y[i] = a * x[i] + b * y[i];
}

void cpu_blend(size_t count, float a, const float *x, float b, float *y) {
#pragma omp parallel for
    for (int p = 0; p < PARTS; p++) {
        size_t at = part_begin(count, p);
        blend_part(part_begin(count, p + 1) - at, a, x + at, b, y + at);
    }
}

// All bits of the exponent set: infinity or NaN.
CPU_CLONED(bool, finite_part, (size_t count, const float *x), (count, x)) {
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

bool cpu_all_finite(size_t count, const float *x) {
    int bad = 0;

#pragma omp parallel for reduction(| : bad)
    for (int p = 0; p < PARTS; p++) {
        size_t at = part_begin(count, p);
        bad |= !finite_part(part_begin(count, p + 1) - at, x + at);
    }
    return !bad;
}
