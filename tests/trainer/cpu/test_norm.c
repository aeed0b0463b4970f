// The oracle computes in double, pixel by pixel from the formula in backend.h, and reflects by
// coordinates instead of copying rows.
#include "trainer/cpu/kernel_test.h"

#include "cpu/cpu.h"
#include "cpu/norm.h"

struct problem {
    struct norm_shape s;
    float *x, *skip, *y, *stats; // skip NULL: none
    double *work;
    size_t pixels, padded;
    const struct norm_affine *affine;
    const struct norm_dropout *dropout;
};

static size_t floats_with_pad(const struct norm_shape *s, int pad) {
    return (size_t)s->n * (s->h + 2 * pad) * (s->w + 2 * pad) * s->c;
}

static size_t at_padded(const struct norm_shape *s, int pad, int n, int y, int x, int c) {
    return (((size_t)n * (s->h + 2 * pad) + y) * (s->w + 2 * pad) + x) * s->c + c;
}

static struct problem problem_new(struct norm_shape s, bool with_skip, uint64_t seed) {
    struct problem p = {.s = s};

    p.pixels = floats_with_pad(&s, 0);
    p.padded = floats_with_pad(&s, s.pad);
    p.x = random_floats(p.pixels, seed);
    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] = 3 * p.x[i] + 1; // a mean that is not 0
    p.skip = with_skip ? random_floats(floats_with_pad(&s, s.skip_pad), seed + 2) : NULL;
    p.y = poison(p.padded);
    p.work = xaligned(cpu_norm_workspace_bytes(NULL, &s));
    p.stats = poison(2 * (size_t)s.n * s.c);
    return p;
}

static void problem_free(struct problem *p) {
    free(p->x);
    free(p->skip);
    free(p->y);
    free(p->work);
    free(p->stats);
}

static double activated(enum activation act, double z) {
    return z > 0 || act == ACT_NONE ? z : act == ACT_RELU ? 0 : LEAKY_SLOPE * z;
}

// z[n,h,w,c] = norm(x) for a double x.
static void ref_norm(const struct problem *p, const double *x, double *z) {
    const struct norm_shape *s = &p->s;
    int hw = s->h * s->w;

    for (int n = 0; n < s->n; n++)
        for (int c = 0; c < s->c; c++) {
            const double *in = x + (size_t)n * hw * s->c + c;
            double *out = z + (size_t)n * hw * s->c + c, mean = 0, var = 0;
            for (int i = 0; i < hw; i++)
                mean += in[i * s->c] / hw;
            for (int i = 0; i < hw; i++)
                var += (in[i * s->c] - mean) * (in[i * s->c] - mean) / hw;
            for (int i = 0; i < hw; i++)
                out[i * s->c] = s->norm == NORM_INSTANCE
                                    ? (in[i * s->c] - mean) / sqrt(var + NORM_EPS)
                                    : in[i * s->c];
        }
}

static void ref_forward(const struct problem *p, const double *x, double *y) {
    const struct norm_shape *s = &p->s;
    double *z = doubles(p->pixels);

    ref_norm(p, x, z);
    for (int n = 0; n < s->n; n++)
        for (int i = 0; i < s->h + 2 * s->pad; i++)
            for (int j = 0; j < s->w + 2 * s->pad; j++)
                for (int c = 0; c < s->c; c++) {
                    int r = reflected(i, s->pad, s->h), q = reflected(j, s->pad, s->w);
                    double v = activated(s->act, z[at_padded(s, 0, n, r, q, c)]);
                    if (p->skip)
                        v += p->skip[at_padded(s, s->skip_pad, n, r + s->skip_pad, q + s->skip_pad,
                                               c)];
                    y[at_padded(s, s->pad, n, i, j, c)] = v;
                }
    free(z);
}

static double *in_double(size_t count, const float *x) {
    double *d = doubles(count);

    for (size_t i = 0; i < count; i++)
        d[i] = x[i];
    return d;
}

static void run_forward(const struct device *d, struct problem *p) {
    struct norm_tensors t = {.x = p->x,
                             .skip = p->skip,
                             .ret_y = p->y,
                             .ret_stats = p->stats,
                             .affine = p->affine,
                             .dropout = p->dropout};

    assert_int_equal(cpu_norm_forward((struct device *)d, &p->s, &t, p->work), ERR_OK);
}

// With the statistics of run_forward.
static void run_backward(const struct device *d, const struct problem *p, const struct grad_sum *dy,
                         float *ret_dx, float *ret_dskip) {
    struct norm_gradients t = {.x = p->x,
                               .stats = p->stats,
                               .dy = *dy,
                               .ret_dx = ret_dx,
                               .ret_dskip = ret_dskip,
                               .affine = p->affine,
                               .dropout = p->dropout};

    assert_int_equal(cpu_norm_backward((struct device *)d, &p->s, &t, p->work), ERR_OK);
}

static struct norm_shape random_shape(uint64_t seed) {
    return (struct norm_shape){.n = random_int(seed, 0, 1, 3),
                               .h = random_int(seed, 1, 2, 40),
                               .w = random_int(seed, 2, 2, 21),
                               .c = random_int(seed, 3, 1, 70),
                               .norm = random_int(seed, 4, 0, 1),
                               .act = random_int(seed, 5, 0, 2)};
}

static int random_pad(const struct norm_shape *s, uint64_t seed, int index) {
    return random_int(seed, index, 0, MIN(CPU_PAD_MAX, MIN(s->h, s->w) - 1));
}

static struct problem random_problem(uint64_t seed) {
    struct norm_shape s = random_shape(seed);

    s.pad = random_pad(&s, seed, 6);
    s.skip_pad = random_pad(&s, seed, 8);
    return problem_new(s, random_int(seed, 7, 0, 1), seed);
}

static void forward_is_the_formula_on_random_shapes(void **state) {
    for (uint64_t seed = 0; seed < 120; seed++) {
        struct problem p = random_problem(seed);
        double *x = in_double(p.pixels, p.x), *y = doubles(p.padded);

        run_forward(NULL, &p);
        ref_forward(&p, x, y);
        // Values below 8; a handful of float roundings, the worst where rstd is about 1 / eps.
        assert_near(p.padded, p.y, y, 2e-5, "y");
        free(x);
        free(y);
        problem_free(&p);
    }
}

static void large_mean_keeps_its_variance(void **state) {
    struct problem p = problem_new(
        (struct norm_shape){.n = 1, .h = 64, .w = 64, .c = 5, .norm = NORM_INSTANCE}, false, 3);
    double *y = doubles(p.padded);

    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] += 1000;
    run_forward(NULL, &p);
    double *x = in_double(p.pixels, p.x);
    ref_forward(&p, x, y);
    // The mean is rounded to float: 1000 * 2^-24 in units of a deviation of about 1.7.
    assert_near(p.padded, p.y, y, 1e-4, "y");
    free(x);
    free(y);
    problem_free(&p);
}

static void constant_map_becomes_zero(void **state) {
    struct problem p = problem_new(
        (struct norm_shape){.n = 2, .h = 2, .w = 3, .c = 17, .norm = NORM_INSTANCE, .pad = 1},
        false, 4);

    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] = 0.7f;
    run_forward(NULL, &p);
    for (size_t i = 0; i < p.padded; i++)
        assert_true(fabsf(p.y[i]) < 1e-4f); // one rounding of the mean times rstd = 316
    problem_free(&p);
}

// ---- backward ----

struct parts {
    struct grad_sum sum;
    double *folded; // [n,h,w,c], borders folded back, parts summed
};

// Random parts. Each has some of the images; the first has all if `whole`.
static struct parts parts_new(const struct norm_shape *s, bool whole, uint64_t seed) {
    struct parts p = {.folded = doubles(floats_with_pad(s, 0))};

    p.sum.count = random_int(seed, 20, 1, GRAD_PARTS);
    for (int k = 0; k < p.sum.count; k++) {
        int pad = random_pad(s, seed, 21 + k), first = random_int(seed, 30 + k, 0, s->n - 1);
        int count = random_int(seed, 40 + k, 1, s->n - first);
        struct norm_shape part = *s;
        if (whole && k == 0) {
            first = 0;
            count = s->n;
        }
        part.n = count;
        size_t i = 0;
        float *g = random_floats(floats_with_pad(&part, pad), seed + 100 + k);
        for (int n = first; n < first + count; n++)
            for (int y = 0; y < s->h + 2 * pad; y++)
                for (int x = 0; x < s->w + 2 * pad; x++)
                    for (int ch = 0; ch < s->c; ch++)
                        p.folded[at_padded(s, 0, n, reflected(y, pad, s->h),
                                           reflected(x, pad, s->w), ch)] += g[i++];
        p.sum.part[k] = (struct grad_part){g, pad, first, count};
    }
    return p;
}

static void parts_free(struct parts *p) {
    for (int k = 0; k < p->sum.count; k++)
        free((void *)p->sum.part[k].data);
    free(p->folded);
}

// dx from the folded gradient by the chain rule, all in double; the statistics from double x.
static void ref_backward(const struct problem *p, const double *folded, double *dx) {
    const struct norm_shape *s = &p->s;
    double *x = in_double(p->pixels, p->x), *z = doubles(p->pixels);
    int hw = s->h * s->w;

    ref_norm(p, x, z);
    for (int n = 0; n < s->n; n++)
        for (int c = 0; c < s->c; c++) {
            double sum = 0, sum_z = 0, mean = 0, var = 0;
            size_t base = (size_t)n * hw * s->c + c;
            for (int i = 0; i < hw; i++) {
                size_t at = base + (size_t)i * s->c;
                double slope = s->act == ACT_NONE || z[at] > 0 ? 1
                               : s->act == ACT_RELU            ? 0
                                                               : LEAKY_SLOPE;
                dx[at] = folded[at] * slope;
                sum += dx[at];
                sum_z += dx[at] * z[at];
                mean += x[at] / hw;
            }
            if (s->norm == NORM_NONE)
                continue;
            for (int i = 0; i < hw; i++)
                var += pow(x[base + (size_t)i * s->c] - mean, 2) / hw;
            for (int i = 0; i < hw; i++) {
                size_t at = base + (size_t)i * s->c;
                dx[at] = (dx[at] - sum / hw - z[at] * sum_z / hw) / sqrt(var + NORM_EPS);
            }
        }
    free(x);
    free(z);
}

static void backward_is_the_formula_on_random_shapes(void **state) {
    for (uint64_t seed = 0; seed < 240; seed++) {
        struct problem p = random_problem(seed / 2);
        struct parts parts = parts_new(&p.s, seed % 2, seed);
        double *want = doubles(p.pixels);
        float *dx = poison(p.pixels), *dskip = poison(p.pixels);

        run_forward(NULL, &p);
        run_backward(NULL, &p, &parts.sum, dx, dskip);
        ref_backward(&p, parts.folded, want);
        // Parts below 1, at most 16 copies of each of 4: sums near 64 and rstd below 3 outside
        // degenerate maps; those of 2 to 9 pixels may reach 50.
        double scale = p.s.h * p.s.w < 16 ? 50 : 3;
        assert_near(p.pixels, dx, want, 1e-5 * scale, "dx");
        assert_near(p.pixels, dskip, parts.folded, 2e-5, "dskip");
        free(dx);
        free(dskip);
        free(want);
        parts_free(&parts);
        problem_free(&p);
    }
}

// loss = sum of y * weight over the padded output, by the oracle.
static double ref_loss(const struct problem *p, const double *x, const float *weight) {
    double *y = doubles(p->padded), loss = 0;

    ref_forward(p, x, y);
    for (size_t i = 0; i < p->padded; i++)
        loss += y[i] * weight[i];
    free(y);
    return loss;
}

static void backward_agrees_with_finite_differences(void **state) {
    for (int act = ACT_NONE; act <= ACT_LEAKY; act++) {
        struct norm_shape s = {2, 5, 4, 3, .pad = 3, .skip_pad = 2, NORM_INSTANCE, act};
        struct problem p = problem_new(s, true, 40 + act);
        float *weight = random_floats(p.padded, 50), *dx = poison(p.pixels);
        struct grad_sum dy = {1, {{weight, 3, 0, 2}}};
        double *x = in_double(p.pixels, p.x), step = 1e-6;

        run_forward(NULL, &p);
        run_backward(NULL, &p, &dy, dx, NULL);
        for (size_t i = 0; i < p.pixels; i++) {
            double middle = x[i], above, below;
            x[i] = middle + step;
            above = ref_loss(&p, x, weight);
            x[i] = middle - step;
            below = ref_loss(&p, x, weight);
            x[i] = middle;
            // Float kernel against a double slope: the float's rounding is the larger part.
            assert_true(fabs((above - below) / (2 * step) - dx[i]) < 2e-5);
        }
        free(weight);
        free(dx);
        free(x);
        problem_free(&p);
    }
}

static void slope_at_zero_is_that_of_the_negative_side(void **state) {
    float ones[6] = {1, 1, 1, 1, 1, 1}, dx[6];
    struct problem p = problem_new(
        (struct norm_shape){.n = 1, .h = 2, .w = 3, .c = 1, .act = ACT_LEAKY}, false, 5);
    struct grad_sum dy = {1, {{ones, 0, 0, 1}}};

    memset(p.x, 0, p.pixels * sizeof *p.x);
    run_backward(NULL, &p, &dy, dx, NULL);
    assert_true(dx[0] == 0.2f);
    p.s.act = ACT_RELU;
    run_backward(NULL, &p, &dy, dx, NULL);
    assert_true(dx[0] == 0);
    problem_free(&p);
}

static void tanh_and_its_gradient_are_the_formula(void **state) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct norm_shape s = random_shape(seed);
        s.norm = NORM_NONE;
        s.act = ACT_NONE;
        size_t count = floats_with_pad(&s, 0);
        struct parts parts = parts_new(&s, seed % 2, seed);
        float *x = random_floats(count, 1), *y = poison(count), *dx = poison(count);
        double *want = doubles(count);

        assert_int_equal(cpu_tanh_forward(NULL, &s, x, y), ERR_OK);
        for (size_t i = 0; i < count; i++)
            want[i] = tanh((double)x[i]);
        assert_near(count, y, want, 2e-7, "y"); // 2 ulp of the function
        assert_int_equal(cpu_tanh_backward(NULL, &s, y, &parts.sum, dx, NULL), ERR_OK);
        for (size_t i = 0; i < count; i++)
            want[i] = parts.folded[i] * (1 - want[i] * want[i]);
        assert_near(count, dx, want, 2e-5, "dx"); // up to 64 addends below 1
        free(x);
        free(y);
        free(dx);
        free(want);
        parts_free(&parts);
    }
}

// Batch norm's sums run over all images; its running statistics are part of a training.
static void batch_norm_and_dropout_do_not_depend_on_threads(void **state) {
    struct norm_shape s = {.n = 3, .h = 37, .w = 9, .c = 21, .norm = NORM_BATCH, .pad = 1};
    struct problem p = problem_new(s, false, 90);
    struct cpu_device d = {.values = {.seed = 5}};
    struct norm_dropout dropout = {6};
    float *weight = random_floats(s.c, 91), *bias = random_floats(s.c, 93), *out[2], *running[2];
    struct parts parts = parts_new(&s, true, 92);
    struct norm_affine affine = {.weight = weight, .bias = bias};

    p.affine = &affine;
    p.dropout = &dropout;
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i + 1);
        running[i] = xcalloc(2 * s.c, sizeof(float));
        affine.running_mean = running[i];
        affine.running_var = running[i] + s.c;
        out[i] = poison(p.pixels);
        run_forward(&d.base, &p);
        run_backward(&d.base, &p, &parts.sum, out[i], NULL);
    }
    assert_memory_equal(out[0], out[1], sizeof(float) * p.pixels);
    assert_memory_equal(running[0], running[1], sizeof(float) * 2 * s.c);
    for (int i = 0; i < 2; i++) {
        free(out[i]);
        free(running[i]);
    }
    free(weight);
    free(bias);
    parts_free(&parts);
    problem_free(&p);
}

static void one_thread_and_two_give_the_same_bits(void **state) {
    for (uint64_t seed = 80; seed < 100; seed++) {
        struct problem p = random_problem(seed);
        struct parts parts = parts_new(&p.s, true, seed);
        float *y[2], *dx[2];
        for (int i = 0; i < 2; i++) {
            omp_set_num_threads(i + 1);
            run_forward(NULL, &p);
            y[i] = xaligned(sizeof(float) * p.padded);
            memcpy(y[i], p.y, sizeof(float) * p.padded);
            dx[i] = poison(p.pixels);
            run_backward(NULL, &p, &parts.sum, dx[i], NULL);
        }
        assert_memory_equal(y[0], y[1], sizeof(float) * p.padded);
        assert_memory_equal(dx[0], dx[1], sizeof(float) * p.pixels);
        for (int i = 0; i < 2; i++) {
            free(y[i]);
            free(dx[i]);
        }
        parts_free(&parts);
        problem_free(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_the_formula_on_random_shapes),
        cmocka_unit_test(large_mean_keeps_its_variance),
        cmocka_unit_test(constant_map_becomes_zero),
        cmocka_unit_test(backward_is_the_formula_on_random_shapes),
        cmocka_unit_test(backward_agrees_with_finite_differences),
        cmocka_unit_test(slope_at_zero_is_that_of_the_negative_side),
        cmocka_unit_test(tanh_and_its_gradient_are_the_formula),
        cmocka_unit_test(batch_norm_and_dropout_do_not_depend_on_threads),
        cmocka_unit_test(one_thread_and_two_give_the_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
