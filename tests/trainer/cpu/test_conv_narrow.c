// The judge is the direct sum in double. Every instruction set
// of this machine is tried.
#include "trainer/cpu/kernel_test.h"

#include "trainer/cpu/each_instructions.h"

#include "cpu/conv_narrow.h"

// y (+)= conv(x, w) [k,c,r,r], x padded; or, of dy: dx (+)=, dw (+)= its gradients; NULL: not
// asked.
struct direct {
    int n, c, k, h, w, r;
    const float *x, *filter, *dy;
    double *y, *dx, *dw;
};

static void judge(const struct direct *d) {
    for (int n = 0; n < d->n; n++)
        for (int p = 0; p < d->h * d->w; p++)
            for (int tap = 0; tap < d->r * d->r; tap++) {
                size_t row = (size_t)n * (d->h + d->r - 1) + p / d->w + tap / d->r;
                size_t at_x = (row * (d->w + d->r - 1) + p % d->w + tap % d->r) * d->c;
                size_t at_y = ((size_t)n * d->h * d->w + p) * d->k;
                for (int k = 0; k < d->k; k++)
                    for (int c = 0; c < d->c; c++) {
                        size_t at_w = ((size_t)k * d->c + c) * d->r * d->r + tap;
                        if (d->y)
                            d->y[at_y + k] += (double)d->x[at_x + c] * d->filter[at_w];
                        if (d->dx)
                            d->dx[at_x + c] += (double)d->dy[at_y + k] * d->filter[at_w];
                        if (d->dw)
                            d->dw[at_w] += (double)d->dy[at_y + k] * d->x[at_x + c];
                    }
            }
}

static void check(struct cpu_narrow s, uint64_t seed) {
    size_t in = (size_t)s.n * (s.h + s.r - 1) * (s.w + s.r - 1), out = (size_t)s.n * s.h * s.w;
    size_t filters = (size_t)s.few * s.many * s.r * s.r;
    float *many_in = random_floats(in * s.many, seed),
          *few_out = random_floats(out * s.few, seed + 1);
    float *many_out = random_floats(out * s.many, seed + 2), *w = random_floats(filters, seed + 3);
    float *bias = random_floats(s.few, seed + 4), *packed = poison(cpu_narrow_filter_floats(&s));
    float *work = poison(cpu_narrow_work_floats(&s, omp_get_max_threads()));
    float *y = poison(out * s.few), *dx = poison(in * s.few), *dw = poison(filters);
    float *few_in = random_floats(in * s.few, seed + 5), *dw_in = poison(filters);
    double *want_y = doubles(out * s.few), *want_dx = doubles(in * s.few);
    double *want_dw = doubles(filters), *want_dw_in = doubles(filters);

    for (size_t i = 0; i < out * s.few; i++)
        want_y[i] = bias[i % s.few];
    judge(&(struct direct){s.n, s.many, s.few, s.h, s.w, s.r, many_in, w, few_out, want_y, NULL,
                           want_dw});
    judge(&(struct direct){s.n, s.few, s.many, s.h, s.w, s.r, few_in, w, many_out, NULL, want_dx,
                           want_dw_in});

    cpu_narrow_filters_output(&s, w, packed);
    cpu_narrow_forward(&s, many_in, packed, bias, work, y);
    cpu_narrow_filters_input(&s, w, packed);
    cpu_narrow_backward_data(&s, many_out, packed, work, dx);
    cpu_narrow_output_weights(&s, many_in, few_out, work, false, dw);
    cpu_narrow_input_weights(&s, few_in, many_out, work, false, dw_in);
    // Sums of up to 4000 products below 1; each addition rounds at the size of the sum, below 100.
    assert_near(out * s.few, y, want_y, 1e-4, "y");
    assert_near(in * s.few, dx, want_dx, 1e-4, "dx");
    assert_near(filters, dw, want_dw, 1e-4, "dw");
    assert_near(filters, dw_in, want_dw_in, 1e-4, "dw of a narrow input");

    float *once = xaligned(filters * sizeof *once);
    memcpy(once, dw, filters * sizeof *once);
    cpu_narrow_output_weights(&s, many_in, few_out, work, true, dw);
    for (size_t i = 0; i < filters; i++)
        assert_true(dw[i] == 2 * once[i]);
    memcpy(once, dw_in, filters * sizeof *once);
    cpu_narrow_input_weights(&s, few_in, many_out, work, true, dw_in);
    for (size_t i = 0; i < filters; i++)
        assert_true(dw_in[i] == 2 * once[i]);

    void *all[] = {many_in, few_out, many_out, w,       bias, packed, work,  y,         dx,
                   dw,      want_y,  want_dx,  want_dw, once, few_in, dw_in, want_dw_in};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void passes_are_the_direct_sum(void **state) {
    FOR_EACH_INSTRUCTIONS {
        check((struct cpu_narrow){1, 64, 3, 12, 13, 7, 0, 0, 0, 0}, 1);
        check((struct cpu_narrow){2, 48, 1, 5, 4, 4, 0, 0, 0, 0}, 2);
        check((struct cpu_narrow){1, 16, 4, 1, 1, 7, 0, 0, 0, 0}, 3); // smaller than the filter
        check((struct cpu_narrow){3, 80, 8, 2, 30, 4, 0, 0, 0, 0}, 4);
        check((struct cpu_narrow){1, 16, 32, 3, 3, 1, 0, 0, 0, 0}, 5);
        for (uint64_t seed = 10; seed < 20; seed++)
            check((struct cpu_narrow){.n = random_int(seed, 0, 1, 2),
                                      .many = 16 * random_int(seed, 1, 1, 4),
                                      .few = random_int(seed, 2, 1, 4),
                                      .h = random_int(seed, 3, 1, 15),
                                      .w = random_int(seed, 4, 1, 33),
                                      .r = random_int(seed, 5, 1, 8)},
                  seed);
    }
}

// dx of a strided layer by the formula: large pixel = small pixel * stride + tap - pad.
static void check_strided(struct cpu_narrow s, uint64_t seed) {
    size_t in = (size_t)s.n * s.h_x * s.w_x * s.few, out = (size_t)s.n * s.h * s.w * s.many;
    size_t filters = (size_t)s.few * s.many * s.r * s.r;
    float *dy = random_floats(out, seed), *w = random_floats(filters, seed + 1), *dx = poison(in);
    float *packed = poison(cpu_narrow_filter_floats(&s));
    float *work = poison(cpu_narrow_work_floats(&s, omp_get_max_threads()));
    double *want = doubles(in);

    for (size_t i = 0; i < out; i++)
        for (int tap = 0; tap < s.r * s.r; tap++)
            for (int f = 0; f < s.few; f++) {
                size_t pixel = i / s.many, m = i % s.many, line = pixel / s.w;
                int row = (int)(line % s.h) * s.stride + tap / s.r - s.pad;
                int col = (int)(pixel % s.w) * s.stride + tap % s.r - s.pad;
                if (row >= 0 && row < s.h_x && col >= 0 && col < s.w_x)
                    want[((line / s.h * s.h_x + row) * s.w_x + col) * s.few + f] +=
                        (double)dy[i] * w[(m * s.few + f) * s.r * s.r + tap];
            }
    cpu_narrow_filters_input(&s, w, packed);
    cpu_narrow_backward_data(&s, dy, packed, work, dx);
    assert_near(in, dx, want, 1e-4, "dx, strided");
    void *all[] = {dy, w, dx, packed, work, want};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void strided_inputs_have_their_gradient(void **state) {
    FOR_EACH_INSTRUCTIONS {
        check_strided((struct cpu_narrow){2, 64, 3, 8, 9, 4, 2, 1, 16, 18}, 1);
        check_strided((struct cpu_narrow){1, 16, 1, 5, 4, 3, 2, 0, 12, 9},
                      2); // a rest that meets none
        check_strided((struct cpu_narrow){1, 48, 8, 7, 6, 4, 1, 1, 8, 7}, 3);
        check_strided((struct cpu_narrow){1, 32, 3, 3, 3, 1, 3, 0, 9, 8}, 4);
    }
}

static void threads_do_not_change_the_bits(void **state) {
    struct cpu_narrow s = {2, 32, 3, 9, 11, 7, 0, 0, 0, 0};
    size_t filters = 32 * 3 * 49, in = 2 * 15 * 17 * 32, out = 2 * 9 * 11 * 3;
    float *x = random_floats(in, 1), *dy = random_floats(out, 2), *w = random_floats(filters, 3);
    float *packed = poison(cpu_narrow_filter_floats(&s)),
          *work = poison(cpu_narrow_work_floats(&s, 3));
    float *y[2] = {poison(out), poison(out)}, *dw[2] = {poison(filters), poison(filters)};
    float *dw_in[2] = {poison(filters), poison(filters)};

    cpu_narrow_filters_output(&s, w, packed);
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(1 + 2 * i);
        cpu_narrow_forward(&s, x, packed, NULL, work, y[i]);
        cpu_narrow_output_weights(&s, x, dy, work, false, dw[i]);
        cpu_narrow_input_weights(&s, x, x + 2000, work, false, dw_in[i]); // x has room for both
    }
    assert_memory_equal(y[0], y[1], out * sizeof(float));
    assert_memory_equal(dw[0], dw[1], filters * sizeof(float));
    assert_memory_equal(dw_in[0], dw_in[1], filters * sizeof(float));
    void *all[] = {x, dy, w, packed, work, y[0], y[1], dw[0], dw[1], dw_in[0], dw_in[1]};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_are_the_direct_sum),
        cmocka_unit_test(strided_inputs_have_their_gradient),
        cmocka_unit_test(threads_do_not_change_the_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
