// Halving, doubling, samples and PatchNCE of the CPU against double precision, from definitions
// that are not ours: the filters as the reference pads and crops them, gradients by differences.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "cpu/nce.h"
#include "cpu/resample.h"

static uint32_t made; // so that no two arrays hold the same numbers

static float *numbers(size_t count) {
    float *x = xcalloc(count, sizeof *x);

    made++;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(2 * rng_uniform(7, RNG_TEST, i, made) - 1);
    return x;
}

static float *poison(size_t count) {
    float *x = xcalloc(count, sizeof *x);

    for (size_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static double dot(size_t count, const float *a, const float *b) {
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

// Sizes of maps without borders: odd, even, and as small as can be.
static const int sizes[][4] = {
    {2, 7, 6, 5}, {1, 8, 8, 17}, {3, 2, 2, 4}, {1, 5, 9, 1}, {1, 2, 3, 33}};

static size_t floats(const int s[4], int h, int w) {
    return (size_t)s[0] * (size_t)h * (size_t)w * (size_t)s[3];
}

// Four terms of float at most 16: 1e-6 of numbers up to 1.
static void halving_is_the_blur_at_every_second_pixel(void **state) {
    static const double line[3] = {1, 2, 1};

    for (unsigned i = 0; i < COUNT(sizes); i++) {
        const int *s = sizes[i];
        int h = s[1] + 2, w = s[2] + 2, c = s[3], ho = (s[1] + 1) / 2, wo = (s[2] + 1) / 2;
        struct resample_shape r = {RESAMPLE_BLUR, s[0], h, w, ho, wo, c};
        float *x = numbers(floats(s, h, w)), *y = poison(floats(s, ho, wo));
        cpu_resample(NULL, &r, x, y);
        for (int p = 0; p < s[0] * ho * wo * c; p++) {
            int k = p % c, b = p / c % wo, a = p / c / wo % ho, n = p / c / wo / ho;
            double want = 0;
            for (int t = 0; t < 9; t++)
                want += line[t / 3] * line[t % 3] / 16 *
                        x[((n * h + 2 * a + t / 3) * w + 2 * b + t % 3) * c + k];
            assert_true(fabs(y[p] - want) < 1e-6);
        }
        free(x);
        free(y);
    }
}

// The reference's way: replicate the edge, a transposed convolution of stride 2 with padding 2,
// then drop the first and last row and column.
static void doubling_is_the_transposed_filter_with_its_edges_dropped(void **state) {
    static const double line[4] = {1, 3, 3, 1};

    for (unsigned i = 0; i < COUNT(sizes); i++) {
        const int *s = sizes[i];
        int h = s[1], w = s[2], c = s[3];
        struct resample_shape r = {RESAMPLE_UP, s[0], h, w, 2 * h, 2 * w, c};
        float *x = numbers(floats(s, h, w)), *y = poison(floats(s, 2 * h, 2 * w));
        double *want = xcalloc(floats(s, 2 * h, 2 * w), sizeof *want);
        for (int p = 0; p < s[0] * (h + 2) * (w + 2) * 16 * c; p++) {
            int k = p % c, t = p / c % 16, b = p / c / 16 % (w + 2);
            int a = p / c / 16 / (w + 2) % (h + 2), n = p / c / 16 / (w + 2) / (h + 2);
            int row = 2 * a + t / 4 - 2 - 1, column = 2 * b + t % 4 - 2 - 1;
            int from_row = MIN(MAX(a - 1, 0), h - 1), from_column = MIN(MAX(b - 1, 0), w - 1);
            if (row >= 0 && row < 2 * h && column >= 0 && column < 2 * w)
                want[((n * 2 * h + row) * 2 * w + column) * c + k] +=
                    line[t / 4] * line[t % 4] / 16 *
                    x[((n * h + from_row) * w + from_column) * c + k];
        }
        cpu_resample(NULL, &r, x, y);
        for (size_t p = 0; p < floats(s, 2 * h, 2 * w); p++)
            assert_true(fabs(y[p] - want[p]) < 1e-6);
        free(x);
        free(y);
        free(want);
    }
}

// <A x, y> = <x, A' y>; both sums have some hundred float terms below 1, so 1e-4.
static void adjoints_are_adjoint(void **state) {
    for (unsigned i = 0; i < 2 * COUNT(sizes); i++) {
        const int *s = sizes[i / 2];
        bool up = i & 1;
        int h = s[1] + (up ? 0 : 2), w = s[2] + (up ? 0 : 2);
        int ho = up ? 2 * h : (h - 1) / 2, wo = up ? 2 * w : (w - 1) / 2;
        struct resample_shape there = {up ? RESAMPLE_UP : RESAMPLE_BLUR, s[0], h, w, ho, wo, s[3]};
        struct resample_shape back = {
            up ? RESAMPLE_UP_ADJOINT : RESAMPLE_BLUR_ADJOINT, s[0], ho, wo, h, w, s[3]};
        size_t nx = floats(s, h, w), ny = floats(s, ho, wo);
        float *x = numbers(nx), *y = numbers(ny), *ax = poison(ny), *ay = poison(nx);
        cpu_resample(NULL, &there, x, ax);
        cpu_resample(NULL, &back, y, ay);
        assert_true(fabs(dot(ny, ax, y) - dot(nx, x, ay)) < 1e-4);
        free(x);
        free(y);
        free(ax);
        free(ay);
    }
}

static void samples_are_the_pixels_named(void **state) {
    static const int ids[2 * 3] = {0, 11, 5, 3, 3, 8};

    for (int border = 0; border < 2; border++) { // the same pixels, counted in two ways
        int whole[6];
        for (int i = 0; i < 6; i++)
            whole[i] = border ? (ids[i] / 4 + 1) * 6 + ids[i] % 4 + 1 : ids[i];
        struct sample_shape s = {2, 3, 4, 5, 1, 3, border, whole};
        float *x = numbers(2 * 5 * 6 * 5), y[2 * 3 * 5];
        cpu_sample_forward(NULL, &s, x, y);
        for (int p = 0; p < 2 * 3 * 5; p++) {
            int n = p / 15, id = ids[p / 5], row = id / 4 + 1, column = id % 4 + 1;
            assert_true(y[p] == x[((n * 5 + row) * 6 + column) * 5 + p % 5]);
        }
        free(x);
    }
}

static void gradients_of_samples_go_where_they_came_from(void **state) {
    static const int ids[2 * 3] = {0, 11, 5, 3, 3, 8}; // one twice
    struct sample_shape s = {2, 3, 4, 5, 1, 3, false, ids};
    size_t count = 2 * 5 * 6 * 5;
    float *x = numbers(count), *dy = numbers(30), *dx = poison(count), y[30];

    cpu_sample_forward(NULL, &s, x, y);
    cpu_sample_backward(NULL, &s, dy, false, dx);
    assert_true(fabs(dot(30, y, dy) - dot(count, x, dx)) < 1e-5);
    cpu_sample_backward(NULL, &s, dy, true, dx);
    assert_true(fabs(2 * dot(30, y, dy) - dot(count, x, dx)) < 1e-5);
    free(x);
    free(dy);
    free(dx);
}

// ---- PatchNCE ----

// A row over its length, in double.
static double unit(int dim, const double *row, int k) {
    double squares = 0;

    for (int i = 0; i < dim; i++)
        squares += row[i] * row[i];
    return row[k] / (sqrt(squares) + 1e-7);
}

static double logit(const struct nce_args *s, const double *q, const double *k) {
    double sum = 0;

    for (int i = 0; i < s->dim; i++)
        sum += unit(s->dim, q, i) * unit(s->dim, k, i);
    return sum / s->temperature;
}

// The definition, in double.
static double reference_nce(const struct nce_args *s, const double *q, const double *k) {
    int total = s->n * s->patches, group = s->all ? total : s->patches;
    double loss = 0;

    for (int i = 0; i < total; i++) {
        double own = logit(s, q + i * s->dim, k + i * s->dim);
        double sum = exp(own) + exp(-10 / s->temperature);
        for (int j = i / group * group; j < (i / group + 1) * group; j++)
            if (j != i)
                sum += exp(logit(s, q + i * s->dim, k + j * s->dim));
        loss += log(sum) - own;
    }
    return s->scale * loss / total;
}

static void contrastive_loss_and_its_gradient_are_the_definition(void **state) {
    for (int all = 0; all < 2; all++) {
        struct nce_args s = {2, 5, 6, 0.07, 3, all, false};
        size_t count = (size_t)(s.n * s.patches * s.dim);
        float *q = numbers(count), *k = numbers(count), *dq = poison(count), each[10];
        void *work = xaligned(cpu_nce_workspace_bytes(NULL, &s));
        double *dq_want = xcalloc(count, sizeof(double)), *qd = xcalloc(count, sizeof(double));
        double *kd = xcalloc(count, sizeof(double)), sum = 0;
        for (size_t i = 0; i < count; i++) {
            qd[i] = q[i];
            kd[i] = k[i];
        }
        double loss, want = reference_nce(&s, qd, kd);
        assert_int_equal(cpu_nce(NULL, &s, q, k, dq, each, &loss, work), ERR_OK);
        // Float logits up to 14 are good to 1e-6, and so is the loss.
        assert_true(fabs(loss - want) <= 1e-5 * want);
        for (int i = 0; i < 10; i++)
            sum += each[i];
        assert_true(fabs(sum / 10 * s.scale - want) <= 1e-5 * want);
        for (size_t i = 0; i < count; i++) {
            double at = qd[i], value[2];
            for (int side = 0; side < 2; side++) {
                qd[i] = at + (side ? -1e-5 : 1e-5);
                value[side] = reference_nce(&s, qd, kd);
            }
            qd[i] = at;
            dq_want[i] = (value[0] - value[1]) / 2e-5;
            // Softmax of float logits, 1e-5; the differences are good to 1e-6.
            assert_true(fabs(dq[i] - dq_want[i]) <= 3e-5 * fmax(1, fabs(dq_want[i])));
        }
        void *arrays[] = {q, k, dq, work, dq_want, qd, kd};
        for (unsigned i = 0; i < COUNT(arrays); i++)
            free(arrays[i]);
    }
}

static void patches_that_are_zero_have_a_finite_gradient(void **state) {
    struct nce_args s = {1, 3, 4, 0.07, 1, false, false};
    float q[12] = {0}, *k = numbers(12), dq[12];
    void *work = xaligned(cpu_nce_workspace_bytes(NULL, &s));
    double loss;

    assert_int_equal(cpu_nce(NULL, &s, q, k, dq, NULL, &loss, work), ERR_OK);
    assert_true(isfinite(loss));
    for (int i = 0; i < 12; i++)
        assert_true(isfinite(dq[i]));
    free(k);
    free(work);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halving_is_the_blur_at_every_second_pixel),
        cmocka_unit_test(doubling_is_the_transposed_filter_with_its_edges_dropped),
        cmocka_unit_test(adjoints_are_adjoint),
        cmocka_unit_test(samples_are_the_pixels_named),
        cmocka_unit_test(gradients_of_samples_go_where_they_came_from),
        cmocka_unit_test(contrastive_loss_and_its_gradient_are_the_definition),
        cmocka_unit_test(patches_that_are_zero_have_a_finite_gradient),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
