// The judges are the formulas of cpu/loss.h in double, and finite differences.
#include "trainer/cpu/kernel_test.h"

#include "base/rng.h"
#include "cpu/loss.h"

static void tanh_head_and_its_gradient_are_the_formula(void **state) {
    struct cpu_norm s = {.n = 2, .h = 5, .w = 7, .c = 3};
    size_t count = 2 * 5 * 7 * 3, padded = 2 * 11 * 13 * 3;
    float *x = random_floats(count, 1), bias[] = {0.5f, -1, 0.1f}, dbias[3];
    float *a = random_floats(padded, 2), *b = random_floats(count, 3);
    float *y = poison(count), *dx = poison(count);
    double *judge = doubles(count), *slope = doubles(count), sums[3] = {0};
    double *work = doubles(cpu_norm_work_doubles(&s));
    struct cpu_norm_grads grads = {2, {{a, 3}, {b, 0}}};

    cpu_tanh(count / 3, 3, x, bias, y);
    for (size_t i = 0; i < count; i++)
        judge[i] = tanh((double)x[i] + bias[i % 3]);
    assert_near(count, y, judge, 3e-7, "y"); // the sum and the function, each below 1 or 2 ulp

    for (int i = 0; i < 2 * 11 * 13 * 3; i++) {
        int c = i % 3, q = reflected(i / 3 % 13, 3, 7), r = reflected(i / 39 % 11, 3, 5);
        slope[((i / 429 * 5 + r) * 7 + q) * 3 + c] += a[i];
    }
    for (size_t i = 0; i < count; i++) {
        slope[i] = (slope[i] + b[i]) * (1 - judge[i] * judge[i]);
        sums[i % 3] += slope[i];
    }
    cpu_tanh_backward(&s, y, &grads, work, &(struct cpu_norm_result){.dx = dx, .dbias = dbias});
    assert_near(count, dx, slope, 5e-6, "dx"); // up to 17 addends below 1
    assert_near(3, dbias, sums, 2e-5, "dbias");
    free(x);
    free(a);
    free(b);
    free(y);
    free(dx);
    free(judge);
    free(slope);
    free(work);
}

static void l1_is_the_weighted_mean_and_flat_where_equal(void **state) {
    size_t sizes[] = {1, 7, 255, 256, 257, 5000, 100003};

    for (size_t k = 0; k < COUNT(sizes); k++) {
        size_t n = sizes[k];
        float *a = random_floats(n, k), *b = random_floats(n, k + 50), *g = poison(n);
        double sum = 0, loss;
        b[n / 2] = a[n / 2];
        loss = cpu_l1(n, a, b, 10, g);
        for (size_t i = 0; i < n; i++) {
            sum += fabs((double)a[i] - b[i]);
            assert_true(g[i] == (float)(a[i] > b[i] ? 10. / n : a[i] < b[i] ? -10. / n : 0));
        }
        // Differences are rounded to float before the sum: 2^-24 of each.
        assert_true(fabs(loss - 10 * sum / n) < 1e-6);
        assert_true(cpu_l1(n, a, b, 10, a) == loss); // in place, and the same bits again
        assert_memory_equal(a, g, n * sizeof *g);
        free(a);
        free(b);
        free(g);
    }
}

static double judge_gan(enum cpu_gan mode, enum cpu_gan_target target, double x) {
    double sign = target == CPU_GAN_REAL ? -1 : 1;

    if (mode == CPU_GAN_LSGAN)
        return pow(x - (target == CPU_GAN_REAL), 2);
    if (mode == CPU_GAN_WGANGP)
        return sign * x;
    return log(1 + exp(sign * x));
}

static void gan_losses_are_the_formulas_and_their_slopes(void **state) {
    enum { N = 37 };
    float *x = random_floats(N, 9), g[N];

    for (int i = 0; i < N; i++)
        x[i] *= 4;
    for (int mode = CPU_GAN_LSGAN; mode <= CPU_GAN_NONSATURATING; mode++)
        for (int target = CPU_GAN_FAKE; target <= CPU_GAN_REAL; target++) {
            struct cpu_gan_loss l = {mode, target, 0.5};
            double sum = 0;
            for (int i = 0; i < N; i++)
                sum += judge_gan(mode, target, x[i]);
            assert_true(fabs(cpu_gan_loss(&l, N, x, g) - 0.5 * sum / N) < 1e-12);
            for (int i = 0; i < N; i++) {
                double slope =
                    (judge_gan(mode, target, x[i] + 1e-5) - judge_gan(mode, target, x[i] - 1e-5)) /
                    2e-5;
                assert_true(fabs(g[i] - 0.5 / N * slope) < 1e-8);
            }
        }
    free(x);
}

static void softplus_holds_far_out(void **state) {
    float x[2] = {200, -200}, g[2];
    struct cpu_gan_loss l = {CPU_GAN_VANILLA, CPU_GAN_REAL, 1};

    assert_true(fabs(cpu_gan_loss(&l, 2, x, g) - 100) < 1e-12);
    assert_true(g[0] == 0 || fabsf(g[0]) < 1e-30f);
    assert_true(g[1] == -0.5f);
}

static void adam_follows_the_formula_for_fifty_steps(void **state) {
    enum { N = 1003 };
    float *w = random_floats(N, 1), *m = xcalloc(N, sizeof *m), *v = xcalloc(N, sizeof *v);
    double *judge = doubles(N), *jm = doubles(N), *jv = doubles(N);

    for (int i = 0; i < N; i++)
        judge[i] = w[i];
    for (int t = 1; t <= 50; t++) {
        struct cpu_adam a = {2e-4, 0.5, 0.999, 1e-8, t};
        float *g = random_floats(N, 100 + t);
        cpu_adam(&a, N, g, w, m, v);
        for (int i = 0; i < N; i++) {
            jm[i] = 0.5 * jm[i] + 0.5 * g[i];
            jv[i] = 0.999 * jv[i] + (1 - 0.999) * g[i] * g[i];
            judge[i] -=
                2e-4 / (1 - pow(0.5, t)) * jm[i] / (sqrt(jv[i]) / sqrt(1 - pow(0.999, t)) + 1e-8);
        }
        free(g);
    }
    // 50 roundings of a weight below 1, 2^-25 each.
    assert_near(N, w, judge, 1.5e-6, "w");
    assert_near(N, m, jm, 1e-6, "m");
    assert_near(N, v, jv, 1e-7, "v");
    free(w);
    free(m);
    free(v);
    free(judge);
    free(jm);
    free(jv);
}

static void adam_has_the_bits_of_the_named_order(void **state) {
    float w = 0.3f, m = 0.01f, v = 0.002f, g = -0.7f, one = (float)(1 - 0.999);
    float jm = 0.5f * m + 0.5f * g, jv = 0.999f * v + one * g * g;
    float denominator = sqrtf(jv) / (float)sqrt(1 - pow(0.999, 3)) + 1e-8f;
    float jw = w - (float)(2e-4 / (1 - pow(0.5, 3))) * jm / denominator;
    struct cpu_adam a = {2e-4, 0.5, 0.999, 1e-8, 3};

    cpu_adam(&a, 1, &g, &w, &m, &v);
    assert_true(m == jm && v == jv && w == jw);
}

static void one_bad_number_anywhere_is_found(void **state) {
    enum { N = 3001 };
    float *x = random_floats(N, 5), bad[] = {NAN, INFINITY, -INFINITY};

    x[0] = 3.4e38f;
    x[1] = 1e-45f;
    assert_true(cpu_all_finite(N, x));
    for (int i = 0; i < N; i += 37) {
        float kept = x[i];
        x[i] = bad[i % 3];
        assert_false(cpu_all_finite(N, x));
        x[i] = kept;
    }
    assert_true(cpu_all_finite(0, x));
    free(x);
}

static void threads_do_not_change_the_bits(void **state) {
    size_t n = 70001;
    float *a = random_floats(n, 1), *b = random_floats(n, 2);
    double loss[2];

    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i + 1);
        loss[i] = cpu_l1(n, a, b, 1, NULL);
    }
    assert_true(loss[0] == loss[1]);
    free(a);
    free(b);
}

static void blend_is_the_weighted_sum_in_float(void **state) {
    enum { N = 1003 };
    float x[N], y[N], before[N];

    for (int i = 0; i < N; i++) {
        x[i] = (float)rng_uniform(3, RNG_TEST, 1, (uint32_t)i) - 0.5f;
        before[i] = y[i] = (float)rng_uniform(3, RNG_TEST, 2, (uint32_t)i) - 0.5f;
    }
    cpu_blend(N, 0.001f, x, 0.999f, y);
    for (int i = 0; i < N; i++) {
        float a = 0.001f * x[i], b = 0.999f * before[i];
        assert_true(y[i] == a + b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tanh_head_and_its_gradient_are_the_formula),
        cmocka_unit_test(l1_is_the_weighted_mean_and_flat_where_equal),
        cmocka_unit_test(gan_losses_are_the_formulas_and_their_slopes),
        cmocka_unit_test(softplus_holds_far_out),
        cmocka_unit_test(blend_is_the_weighted_sum_in_float),
        cmocka_unit_test(adam_follows_the_formula_for_fifty_steps),
        cmocka_unit_test(adam_has_the_bits_of_the_named_order),
        cmocka_unit_test(one_bad_number_anywhere_is_found),
        cmocka_unit_test(threads_do_not_change_the_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
