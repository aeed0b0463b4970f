// Losses and their gradients in one pass over the map. Formulas: struct backend.
#include "cpu/loss.h"

#include <math.h>

#include "backend/clones.h"
#include "base/err.h"
#include "cpu/flat.h"

static void keep_loss(double loss, double *ret_loss) {
    if (ret_loss)
        *ret_loss = loss;
}

// ---- L1 ----

// Eight sums side by side: the compiler may not reorder one.
CPU_CLONED(double, l1_part, (size_t count, const float *a, const float *b), (count, a, b)) {
    double sums[8] = {0};
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        for (int k = 0; k < 8; k++)
            sums[k] += fabsf(a[i + k] - b[i + k]);
    for (; i < count; i++)
        sums[i % 8] += fabsf(a[i] - b[i]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

CPU_CLONED(void, l1_gradient, (size_t count, const float *a, const float *b, float step, float *g),
           (count, a, b, step, g)) {
    for (size_t i = 0; i < count; i++)
        // 0 where equal: the subgradient that PyTorch chooses too.
        g[i] = a[i] > b[i] ? step : a[i] < b[i] ? -step : 0;
}

int cpu_l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
           void *ret_grad, double *ret_loss) {
    size_t count = tensor_count(&args->shape);
    const float *x = a, *y = b;
    float *grad = ret_grad, step = (float)(args->scale / count);
    // The number of parts is fixed, so threads do not change the order of additions.
    double sums[CPU_PARTS], sum = 0;

#pragma omp parallel for
    for (int p = 0; p < CPU_PARTS; p++) {
        size_t at = cpu_part_begin(count, p), n = cpu_part_begin(count, p + 1) - at;
        sums[p] = l1_part(n, x + at, y + at);
        l1_gradient(n, x + at, y + at, step, grad + at);
    }
    for (int p = 0; p < CPU_PARTS; p++)
        sum += sums[p];
    keep_loss(args->scale * sum / count, ret_loss);
    return ERR_OK;
}

// ---- GAN ----

// log(1 + e^x), which holds for large x too.
// exp of a negative number cannot overflow, and log1p keeps the small values.
static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double gan_value(const struct gan_args *l, double x) {
    bool real = l->target_real;

    switch (l->mode) {
    case GAN_LSGAN:
        return (x - real) * (x - real);
    case GAN_WGANGP:
        return real ? -x : x;
    case GAN_VANILLA:
    case GAN_NONSATURATING:
        return softplus(real ? -x : x);
    }
    BUG("GAN mode %d", l->mode);
}

// The derivative of gan_value by x. That of softplus is the logistic function.
static double gan_slope(const struct gan_args *l, double x) {
    bool real = l->target_real;

    switch (l->mode) {
    case GAN_LSGAN:
        return 2 * (x - real);
    case GAN_WGANGP:
        return real ? -1 : 1;
    case GAN_VANILLA:
    case GAN_NONSATURATING:
        return real ? -1 / (1 + exp(x)) : 1 / (1 + exp(-x));
    }
    BUG("GAN mode %d", l->mode);
}

// A discriminator's map has some hundred elements: one thread is enough.
int cpu_gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
            double *ret_loss) {
    size_t count = tensor_count(&args->shape);
    const float *map = x;
    float *grad = ret_grad;
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double value = map[i];
        sum += gan_value(args, value);
        grad[i] = (float)(args->scale / count * gan_slope(args, value));
    }
    keep_loss(args->scale * sum / count, ret_loss);
    return ERR_OK;
}

// ---- gradient penalty ----

int cpu_penalty(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                double *ret_loss) {
    // Each image has a norm of its own: the penalty is a mean over images.
    size_t n = args->shape.n, count = tensor_count(&args->shape) / n;
    const float *gradients = g;
    float *u = ret_u;
    double total = 0;

    for (size_t k = 0; k < n; k++) {
        const float *row = gradients + k * count;
        double squares = 0, length, slope;
        for (size_t i = 0; i < count; i++)
            squares += (row[i] + PENALTY_EPS) * (row[i] + PENALTY_EPS);
        length = sqrt(squares);
        total += (length - 1) * (length - 1);
        // u = 2 scale / n (|g| - 1) g / |g|. PENALTY_EPS keeps the length above 0.
        slope = 2 * args->scale / n * (length - 1) / length;
        for (size_t i = 0; i < count; i++)
            u[k * count + i] = (float)(slope * (row[i] + PENALTY_EPS));
    }
    keep_loss(args->scale * total / n, ret_loss);
    return ERR_OK;
}
