// Losses, Adam and the like on the CPU. The oracles are the formulas of backend.h in double, and
// finite differences.
#include "trainer/cpu/kernel_test.h"

#include "base/rng.h"
#include "cpu/cpu.h"
#include "cpu/loss.h"
#include "cpu/parameters.h"

static struct tensor_shape flat(size_t count) {
    return (struct tensor_shape){1, 1, 1, (int)count};
}

static double l1_loss(size_t n, const float *a, const float *b, double scale, float *ret_grad) {
    struct l1_args args = {flat(n), scale};
    double loss;

    assert_int_equal(cpu_l1(NULL, &args, a, b, ret_grad, &loss), ERR_OK);
    return loss;
}

static void l1_is_the_weighted_mean_and_flat_where_equal(void **state) {
    size_t sizes[] = {1, 7, 255, 256, 257, 5000, 100003};

    for (size_t k = 0; k < COUNT(sizes); k++) {
        size_t n = sizes[k];
        float *a = random_floats(n, k), *b = random_floats(n, k + 50), *g = poison(n);
        double sum = 0, loss;
        b[n / 2] = a[n / 2];
        loss = l1_loss(n, a, b, 10, g);
        for (size_t i = 0; i < n; i++) {
            sum += fabs((double)a[i] - b[i]);
            assert_true(g[i] == (float)(a[i] > b[i] ? 10. / n : a[i] < b[i] ? -10. / n : 0));
        }
        // Differences are rounded to float before the sum: 2^-24 of each.
        assert_true(fabs(loss - 10 * sum / n) < 1e-6);
        assert_true(l1_loss(n, a, b, 10, g) == loss); // the same bits again
        free(a);
        free(b);
        free(g);
    }
}

static double ref_gan(enum gan_mode mode, bool real, double x) {
    double sign = real ? -1 : 1;

    if (mode == GAN_LSGAN)
        return pow(x - real, 2);
    if (mode == GAN_WGANGP)
        return sign * x;
    return log(1 + exp(sign * x));
}

static double gan_loss(const struct gan_args *args, const float *x, float *ret_grad) {
    double loss;

    assert_int_equal(cpu_gan(NULL, args, x, ret_grad, &loss), ERR_OK);
    return loss;
}

static void gan_losses_are_the_formulas_and_their_slopes(void **state) {
    enum { N = 37 };
    float *x = random_floats(N, 9), g[N];

    for (int i = 0; i < N; i++)
        x[i] *= 4;
    for (int mode = GAN_LSGAN; mode <= GAN_NONSATURATING; mode++)
        for (int real = 0; real < 2; real++) {
            struct gan_args l = {mode, real, flat(N), 0.5};
            double sum = 0;
            for (int i = 0; i < N; i++)
                sum += ref_gan(mode, real, x[i]);
            assert_true(fabs(gan_loss(&l, x, g) - 0.5 * sum / N) < 1e-12);
            for (int i = 0; i < N; i++) {
                double slope =
                    (ref_gan(mode, real, x[i] + 1e-5) - ref_gan(mode, real, x[i] - 1e-5)) / 2e-5;
                assert_true(fabs(g[i] - 0.5 / N * slope) < 1e-8);
            }
        }
    free(x);
}

static void softplus_holds_far_out(void **state) {
    float x[2] = {200, -200}, g[2];
    struct gan_args l = {GAN_VANILLA, true, flat(2), 1};

    assert_true(fabs(gan_loss(&l, x, g) - 100) < 1e-12);
    assert_true(g[0] == 0 || fabsf(g[0]) < 1e-30f);
    assert_true(g[1] == -0.5f);
}

static void run_adam(int64_t t, size_t count, const float *g, float *w, float *m, float *v) {
    struct cpu_device d = {.values = {.lr = 2e-4, .t = t}};
    struct adam_args args = {.count = count, .beta1 = 0.5, .beta2 = 0.999};

    assert_int_equal(cpu_adam(&d.base, &args, g, w, m, v), ERR_OK);
}

static void adam_follows_the_formula_for_fifty_steps(void **state) {
    enum { N = 1003 };
    float *w = random_floats(N, 1), *m = xcalloc(N, sizeof *m), *v = xcalloc(N, sizeof *v);
    double *want = doubles(N), *jm = doubles(N), *jv = doubles(N);

    for (int i = 0; i < N; i++)
        want[i] = w[i];
    for (int t = 1; t <= 50; t++) {
        float *g = random_floats(N, 100 + t);
        run_adam(t, N, g, w, m, v);
        for (int i = 0; i < N; i++) {
            jm[i] = 0.5 * jm[i] + 0.5 * g[i];
            jv[i] = 0.999 * jv[i] + (1 - 0.999) * g[i] * g[i];
            want[i] -=
                2e-4 / (1 - pow(0.5, t)) * jm[i] / (sqrt(jv[i]) / sqrt(1 - pow(0.999, t)) + 1e-8);
        }
        free(g);
    }
    // 50 roundings of a weight below 1, 2^-25 each.
    assert_near(N, w, want, 1.5e-6, "w");
    assert_near(N, m, jm, 1e-6, "m");
    assert_near(N, v, jv, 1e-7, "v");
    free(w);
    free(m);
    free(v);
    free(want);
    free(jm);
    free(jv);
}

static void adam_has_the_bits_of_the_named_order(void **state) {
    float w = 0.3f, m = 0.01f, v = 0.002f, g = -0.7f, one = (float)(1 - 0.999);
    float jm = 0.5f * m + 0.5f * g, jv = 0.999f * v + one * g * g;
    float denominator = sqrtf(jv) / (float)sqrt(1 - pow(0.999, 3)) + 1e-8f;
    float jw = w - (float)(2e-4 / (1 - pow(0.5, 3))) * jm / denominator;

    run_adam(3, 1, &g, &w, &m, &v);
    assert_true(m == jm && v == jv && w == jw);
}

static bool all_finite(size_t count, const float *x) {
    int bad = 0;

    assert_int_equal(cpu_finite(NULL, count, x, &bad), ERR_OK);
    return !bad;
}

static void one_bad_number_anywhere_is_found(void **state) {
    enum { N = 3001 };
    float *x = random_floats(N, 5), bad[] = {NAN, INFINITY, -INFINITY};

    x[0] = 3.4e38f;
    x[1] = 1e-45f;
    assert_true(all_finite(N, x));
    for (int i = 0; i < N; i += 37) {
        float kept = x[i];
        x[i] = bad[i % 3];
        assert_false(all_finite(N, x));
        x[i] = kept;
    }
    assert_true(all_finite(0, x));
    free(x);
}

static void threads_do_not_change_the_bits(void **state) {
    size_t n = 70001;
    float *a = random_floats(n, 1), *b = random_floats(n, 2);
    double loss[2];
    float *g = poison(n);

    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i + 1);
        loss[i] = l1_loss(n, a, b, 1, g);
    }
    assert_true(loss[0] == loss[1]);
    free(a);
    free(b);
    free(g);
}

static void blend_is_the_weighted_sum_in_float(void **state) {
    enum { N = 1003 };
    float x[N], y[N], before[N];

    for (int i = 0; i < N; i++) {
        x[i] = (float)rng_uniform(3, RNG_TEST, 1, (uint32_t)i) - 0.5f;
        before[i] = y[i] = (float)rng_uniform(3, RNG_TEST, 2, (uint32_t)i) - 0.5f;
    }
    assert_int_equal(cpu_blend(NULL, N, 0.001, x, 0.999, y), ERR_OK);
    for (int i = 0; i < N; i++) {
        float a = 0.001f * x[i], b = 0.999f * before[i];
        assert_true(y[i] == a + b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
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
