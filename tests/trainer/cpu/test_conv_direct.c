// The judge is the direct sum in double, by the formula in cpu/conv_direct.h.
#include "trainer/cpu/kernel_test.h"

#include "cpu/conv_direct.h"

static double *judge(const struct cpu_filter *s, const float *small, const float *large) {
    double *dw = doubles((size_t)s->cs * s->cl * s->r * s->r);

    for (int n = 0; n < s->n; n++)
        for (int p = 0; p < s->hs * s->ws; p++)
            for (int tap = 0; tap < s->r * s->r; tap++) {
                int row = p / s->ws * s->stride + tap / s->r - s->pad;
                int col = p % s->ws * s->stride + tap % s->r - s->pad;
                if (row < 0 || row >= s->hl || col < 0 || col >= s->wl)
                    continue;
                const float *a = small + ((size_t)n * s->hs * s->ws + p) * s->cs;
                const float *b = large + (((size_t)n * s->hl + row) * s->wl + col) * s->cl;
                for (int i = 0; i < s->cs; i++)
                    for (int j = 0; j < s->cl; j++)
                        dw[((size_t)i * s->cl + j) * s->r * s->r + tap] += (double)a[i] * b[j];
            }
    return dw;
}

static void check(struct cpu_filter s, uint64_t seed) {
    size_t count = (size_t)s.cs * s.cl * s.r * s.r;
    float *small = random_floats((size_t)s.n * s.hs * s.ws * s.cs, seed);
    float *large = random_floats((size_t)s.n * s.hl * s.wl * s.cl, seed + 1);
    float *dw = poison(count), *once = xaligned(count * sizeof *once);
    float *work = poison(cpu_filter_work_floats(&s));
    double *want = judge(&s, small, large);

    omp_set_num_threads(1);
    cpu_filter_gradient(&s, small, large, work, false, dw);
    // Sums of up to 400 products below 1, each addition rounded at a size below 30.
    assert_near(count, dw, want, 3e-5, "dw");
    memcpy(once, dw, count * sizeof *once);
    omp_set_num_threads(3);
    cpu_filter_gradient(&s, small, large, work, false, dw);
    assert_memory_equal(dw, once, count * sizeof *once); // the same bits again, on other threads
    cpu_filter_gradient(&s, small, large, work, true, dw);
    for (size_t i = 0; i < count; i++)
        want[i] *= 2;
    assert_near(count, dw, want, 6e-5, "dw, twice");
    for (size_t i = 0; i < count; i++) // a complete sum was added, not one picture after the other
        assert_true(dw[i] == once[i] + once[i]);
    free(small);
    free(large);
    free(dw);
    free(work);
    free(once);
    free(want);
}

static void layers_of_the_nets_are_the_direct_sum(void **state) {
    check((struct cpu_filter){1, 64, 8, 8, 32, 16, 16, 3, 2, 1}, 1); // G down; G up, mirrored
    check((struct cpu_filter){2, 48, 7, 5, 80, 13, 9, 3, 2, 1}, 2);  // odd sizes
    check((struct cpu_filter){1, 32, 8, 8, 16, 16, 16, 4, 2, 1}, 3); // D
    check((struct cpu_filter){2, 16, 7, 7, 32, 8, 8, 4, 1, 1}, 4);   // D, stride 1
    check((struct cpu_filter){1, 16, 5, 6, 16, 11, 12, 7, 1, 0}, 5); // padded beforehand
    check((struct cpu_filter){1, 16, 1, 1, 16, 1, 1, 3, 1, 1}, 6);   // only the middle tap
    check((struct cpu_filter){1, 16, 1, 2, 16, 2, 3, 4, 2, 1}, 7);
    check((struct cpu_filter){2, 64, 8, 8, 3, 16, 16, 4, 2, 1}, 8); // D's first and last layer
    check((struct cpu_filter){2, 1, 6, 6, 80, 7, 7, 4, 1, 1}, 9);
}

static void random_shapes_are_the_direct_sum(void **state) {
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct cpu_filter s = {
            .n = random_int(seed, 0, 1, 2),
            .cs = seed % 3 ? random_int(seed, 1, 1, 70) : 16 * random_int(seed, 1, 1, 5),
            .cl = seed % 4 ? random_int(seed, 2, 1, 70) : 16 * random_int(seed, 2, 1, 5),
            .hs = random_int(seed, 3, 1, 9),
            .ws = random_int(seed, 4, 1, 9),
            .r = random_int(seed, 5, 1, 5),
            .stride = random_int(seed, 6, 1, 2)};
        s.pad = random_int(seed, 7, 0, s.r - 1);
        s.hl = MAX(1, (s.hs - 1) * s.stride + s.r - 2 * s.pad + random_int(seed, 8, 0, 1));
        s.wl = MAX(1, (s.ws - 1) * s.stride + s.r - 2 * s.pad + random_int(seed, 9, 0, 1));
        check(s, seed + 10);
    }
}

static void channel_sums_add_when_told(void **state) {
    int channels[] = {1, 3, 16, 37};

    for (size_t k = 0; k < COUNT(channels); k++) {
        int c = channels[k];
        float *x = random_floats((size_t)c * 1001, k), *sums = poison(c);
        double *want = doubles(c);
        for (int i = 0; i < 1001 * c; i++)
            want[i % c] += x[i];
        cpu_channel_sums(1001, c, x, false, sums);
        assert_near(c, sums, want, 1e-5, "sums"); // one rounding of a sum below 100
        cpu_channel_sums(1001, c, x, true, sums);
        for (int i = 0; i < c; i++)
            want[i] *= 2;
        assert_near(c, sums, want, 2e-5, "sums");
        free(x);
        free(sums);
        free(want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_the_nets_are_the_direct_sum),
        cmocka_unit_test(random_shapes_are_the_direct_sum),
        cmocka_unit_test(channel_sums_add_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
