// The judge computes in double, pixel by pixel from the formula in cpu/norm.h, and reflects by
// coordinates instead of copying rows.
#include "trainer/cpu/kernel_test.h"

#include "cpu/norm.h"

struct problem {
    struct cpu_norm s;
    int skip_pad; // -1: no skip
    bool with_bias;
    struct cpu_norm_saved saved;
    float *x, *bias, *skip, *y;
    double *work;
    size_t pixels, padded;
};

static size_t floats_with_pad(const struct cpu_norm *s, int pad) {
    return (size_t)s->n * (s->h + 2 * pad) * (s->w + 2 * pad) * s->c;
}

static size_t at_padded(const struct cpu_norm *s, int pad, int n, int y, int x, int c) {
    return (((size_t)n * (s->h + 2 * pad) + y) * (s->w + 2 * pad) + x) * s->c + c;
}

static struct problem problem_new(struct cpu_norm s, int skip_pad, bool with_bias, uint64_t seed) {
    struct problem p = {.s = s, .skip_pad = skip_pad, .with_bias = with_bias};

    p.pixels = floats_with_pad(&s, 0);
    p.padded = floats_with_pad(&s, s.pad);
    p.x = random_floats(p.pixels, seed);
    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] = 3 * p.x[i] + 1; // a mean that is not 0
    p.bias = with_bias ? random_floats(s.c, seed + 1) : NULL;
    p.skip = skip_pad >= 0 ? random_floats(floats_with_pad(&s, skip_pad), seed + 2) : NULL;
    p.y = poison(p.padded);
    p.work = xcalloc(cpu_norm_work_doubles(&s), sizeof(double));
    p.saved = (struct cpu_norm_saved){
        .x = p.x, .bias = p.bias, .mean = poison(s.n * s.c), .rstd = poison(s.n * s.c)};
    return p;
}

static void problem_free(struct problem *p) {
    free(p->x);
    free(p->bias);
    free(p->skip);
    free(p->y);
    free(p->work);
    free(p->saved.mean);
    free(p->saved.rstd);
}

static double activated(enum cpu_act act, double z) {
    return z > 0 || act == CPU_ACT_NONE ? z : act == CPU_ACT_RELU ? 0 : 0.2 * z;
}

// z[n,h,w,c] = norm(x + bias) for a double x.
static void judge_norm(const struct problem *p, const double *x, double *z) {
    const struct cpu_norm *s = &p->s;
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
                out[i * s->c] = s->kind == CPU_NORM_INSTANCE
                                    ? (in[i * s->c] - mean) / sqrt(var + 1e-5)
                                    : in[i * s->c] + (p->bias ? p->bias[c] : 0);
        }
}

static void judge_forward(const struct problem *p, const double *x, double *y) {
    const struct cpu_norm *s = &p->s;
    double *z = doubles(p->pixels);

    judge_norm(p, x, z);
    for (int n = 0; n < s->n; n++)
        for (int i = 0; i < s->h + 2 * s->pad; i++)
            for (int j = 0; j < s->w + 2 * s->pad; j++)
                for (int c = 0; c < s->c; c++) {
                    int r = reflected(i, s->pad, s->h), q = reflected(j, s->pad, s->w);
                    double v = activated(s->act, z[at_padded(s, 0, n, r, q, c)]);
                    if (p->skip)
                        v += p->skip[at_padded(s, p->skip_pad, n, r + p->skip_pad, q + p->skip_pad,
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

static void run_forward(struct problem *p) {
    cpu_norm_forward(&p->s, &p->saved, (struct cpu_padded){p->skip, MAX(p->skip_pad, 0)}, p->work,
                     p->y);
}

static struct cpu_norm random_shape(uint64_t seed) {
    return (struct cpu_norm){.n = random_int(seed, 0, 1, 3),
                             .h = random_int(seed, 1, 2, 40),
                             .w = random_int(seed, 2, 2, 21),
                             .c = random_int(seed, 3, 1, 70),
                             .kind = random_int(seed, 4, 0, 1),
                             .act = random_int(seed, 5, 0, 2)};
}

static int random_pad(const struct cpu_norm *s, uint64_t seed, int index) {
    return random_int(seed, index, 0, MIN(CPU_PAD_MAX, MIN(s->h, s->w) - 1));
}

static struct problem random_problem(uint64_t seed) {
    struct cpu_norm s = random_shape(seed);

    s.pad = random_pad(&s, seed, 6);
    return problem_new(s, random_int(seed, 7, 0, 1) ? random_pad(&s, seed, 8) : -1,
                       s.kind == CPU_NORM_NONE && random_int(seed, 9, 0, 1), seed);
}

static void forward_is_the_formula_on_random_shapes(void **state) {
    for (uint64_t seed = 0; seed < 120; seed++) {
        struct problem p = random_problem(seed);
        double *x = in_double(p.pixels, p.x), *y = doubles(p.padded);

        run_forward(&p);
        judge_forward(&p, x, y);
        // Values below 8; a handful of float roundings, the worst where rstd is about 1 / eps.
        assert_near(p.padded, p.y, y, 2e-5, "y");
        free(x);
        free(y);
        problem_free(&p);
    }
}

static void large_mean_keeps_its_variance(void **state) {
    struct problem p =
        problem_new((struct cpu_norm){.n = 1, .h = 64, .w = 64, .c = 5, .kind = CPU_NORM_INSTANCE},
                    -1, false, 3);
    double *y = doubles(p.padded);

    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] += 1000;
    run_forward(&p);
    double *x = in_double(p.pixels, p.x);
    judge_forward(&p, x, y);
    // The mean is rounded to float: 1000 * 2^-24 in units of a deviation of about 1.7.
    assert_near(p.padded, p.y, y, 1e-4, "y");
    free(x);
    free(y);
    problem_free(&p);
}

static void constant_map_becomes_zero(void **state) {
    struct problem p = problem_new(
        (struct cpu_norm){.n = 2, .h = 2, .w = 3, .c = 17, .kind = CPU_NORM_INSTANCE, .pad = 1}, -1,
        false, 4);

    for (size_t i = 0; i < p.pixels; i++)
        p.x[i] = 0.7f;
    run_forward(&p);
    for (size_t i = 0; i < p.padded; i++)
        assert_true(fabsf(p.y[i]) < 1e-4f); // one rounding of the mean times rstd = 316
    problem_free(&p);
}

// Backward

struct contributions {
    struct cpu_norm_grads grads;
    double *folded; // [N,H,W,C]
};

static struct contributions contributions_new(const struct cpu_norm *s, uint64_t seed) {
    struct contributions c = {.folded = doubles(floats_with_pad(s, 0))};

    c.grads.count = random_int(seed, 20, 1, CPU_NORM_GRADS_MAX);
    for (int k = 0; k < c.grads.count; k++) {
        int pad = random_pad(s, seed, 21 + k);
        size_t i = 0;
        float *g = random_floats(floats_with_pad(s, pad), seed + 100 + k);
        for (int n = 0; n < s->n; n++)
            for (int y = 0; y < s->h + 2 * pad; y++)
                for (int x = 0; x < s->w + 2 * pad; x++)
                    for (int ch = 0; ch < s->c; ch++)
                        c.folded[at_padded(s, 0, n, reflected(y, pad, s->h),
                                           reflected(x, pad, s->w), ch)] += g[i++];
        c.grads.grad[k] = (struct cpu_padded){g, pad};
    }
    return c;
}

static void contributions_free(struct contributions *c) {
    for (int k = 0; k < c->grads.count; k++)
        free((float *)c->grads.grad[k].data);
    free(c->folded);
}

// dx from the folded gradient by the chain rule, all in double; the statistics from double x.
static void judge_backward(const struct problem *p, const double *folded, double *dx,
                           double *dbias) {
    const struct cpu_norm *s = &p->s;
    double *x = in_double(p->pixels, p->x), *z = doubles(p->pixels);
    int hw = s->h * s->w;

    judge_norm(p, x, z);
    for (int n = 0; n < s->n; n++)
        for (int c = 0; c < s->c; c++) {
            double sum = 0, sum_z = 0, mean = 0, var = 0;
            size_t base = (size_t)n * hw * s->c + c;
            for (int i = 0; i < hw; i++) {
                size_t at = base + (size_t)i * s->c;
                double slope = s->act == CPU_ACT_NONE || z[at] > 0 ? 1
                               : s->act == CPU_ACT_RELU            ? 0
                                                                   : 0.2;
                dx[at] = folded[at] * slope;
                sum += dx[at];
                sum_z += dx[at] * z[at];
                mean += x[at] / hw;
            }
            dbias[c] += sum;
            if (s->kind == CPU_NORM_NONE)
                continue;
            for (int i = 0; i < hw; i++)
                var += pow(x[base + (size_t)i * s->c] - mean, 2) / hw;
            for (int i = 0; i < hw; i++) {
                size_t at = base + (size_t)i * s->c;
                dx[at] = (dx[at] - sum / hw - z[at] * sum_z / hw) / sqrt(var + 1e-5);
            }
        }
    free(x);
    free(z);
}

static void backward_is_the_formula_on_random_shapes(void **state) {
    for (uint64_t seed = 0; seed < 120; seed++) {
        struct problem p = random_problem(seed);
        struct contributions c = contributions_new(&p.s, seed);
        double *dx = doubles(p.pixels), *dbias = doubles(p.s.c);
        struct cpu_norm_result ret = {.dx = poison(p.pixels), .dskip = poison(p.pixels)};
        if (p.s.kind == CPU_NORM_NONE)
            ret.dbias = poison(p.s.c);

        run_forward(&p);
        cpu_norm_backward(&p.s, &p.saved, &c.grads, p.work, &ret);
        judge_backward(&p, c.folded, dx, dbias);
        // Contributions below 1, at most 16 copies of each of 4: sums near 64 and rstd below 3
        // outside degenerate maps; those of 2 to 9 pixels may reach 50.
        double scale = p.s.h * p.s.w < 16 ? 50 : 3;
        assert_near(p.pixels, ret.dx, dx, 1e-5 * scale, "dx");
        assert_near(p.pixels, ret.dskip, c.folded, 2e-5, "dskip");
        if (ret.dbias)
            assert_near(p.s.c, ret.dbias, dbias, 2e-4, "dbias");
        free(ret.dx);
        free(ret.dskip);
        free(ret.dbias);
        free(dx);
        free(dbias);
        contributions_free(&c);
        problem_free(&p);
    }
}

// loss = sum of y * weight over the padded output, by the double judge.
static double judge_loss(const struct problem *p, const double *x, const float *weight) {
    double *y = doubles(p->padded), loss = 0;

    judge_forward(p, x, y);
    for (size_t i = 0; i < p->padded; i++)
        loss += y[i] * weight[i];
    free(y);
    return loss;
}

static void backward_agrees_with_finite_differences(void **state) {
    for (int act = CPU_ACT_NONE; act <= CPU_ACT_LEAKY; act++) {
        struct problem p = problem_new(
            (struct cpu_norm){
                .n = 2, .h = 5, .w = 4, .c = 3, .kind = CPU_NORM_INSTANCE, .act = act, .pad = 3},
            2, false, 40 + act);
        float *weight = random_floats(p.padded, 50);
        struct cpu_norm_grads grads = {1, {{weight, 3}}};
        struct cpu_norm_result ret = {.dx = poison(p.pixels)};
        double *x = in_double(p.pixels, p.x), step = 1e-6;

        run_forward(&p);
        cpu_norm_backward(&p.s, &p.saved, &grads, p.work, &ret);
        for (size_t i = 0; i < p.pixels; i++) {
            double middle = x[i], above, below;
            x[i] = middle + step;
            above = judge_loss(&p, x, weight);
            x[i] = middle - step;
            below = judge_loss(&p, x, weight);
            x[i] = middle;
            // Float kernel against a double slope: the float's rounding is the larger part.
            assert_true(fabs((above - below) / (2 * step) - ret.dx[i]) < 2e-5);
        }
        free(weight);
        free(ret.dx);
        free(x);
        problem_free(&p);
    }
}

static void slope_at_zero_is_that_of_the_negative_side(void **state) {
    float zero[6] = {0}, ones[6] = {1, 1, 1, 1, 1, 1}, dx[6];
    struct cpu_norm s = {.n = 1, .h = 2, .w = 3, .c = 1, .act = CPU_ACT_LEAKY};
    struct cpu_norm_saved saved = {.x = zero};
    struct cpu_norm_grads grads = {1, {{ones, 0}}};
    double work[4];

    assert_true(cpu_norm_work_doubles(&s) <= 4);
    cpu_norm_backward(&s, &saved, &grads, work, &(struct cpu_norm_result){.dx = dx});
    assert_true(dx[0] == 0.2f);
    s.act = CPU_ACT_RELU;
    cpu_norm_backward(&s, &saved, &grads, work, &(struct cpu_norm_result){.dx = dx});
    assert_true(dx[0] == 0);
}

static void outputs_may_be_the_unpadded_contributions(void **state) {
    struct problem p = problem_new((struct cpu_norm){.n = 2,
                                                     .h = 9,
                                                     .w = 8,
                                                     .c = 19,
                                                     .kind = CPU_NORM_INSTANCE,
                                                     .act = CPU_ACT_RELU,
                                                     .pad = 1},
                                   -1, false, 60);
    float *padded = random_floats(p.padded, 61), *a = random_floats(p.pixels, 62),
          *b = random_floats(p.pixels, 63);
    struct cpu_norm_grads grads = {3, {{padded, 1}, {a, 0}, {b, 0}}};
    struct cpu_norm_result apart = {.dx = poison(p.pixels), .dskip = poison(p.pixels)};

    run_forward(&p);
    cpu_norm_backward(&p.s, &p.saved, &grads, p.work, &apart);
    double *dx = in_double(p.pixels, apart.dx), *dskip = in_double(p.pixels, apart.dskip);
    cpu_norm_backward(&p.s, &p.saved, &grads, p.work,
                      &(struct cpu_norm_result){.dx = a, .dskip = b});
    assert_near(p.pixels, a, dx, 5e-6, "dx"); // another order of three addends
    assert_near(p.pixels, b, dskip, 5e-6, "dskip");
    free(padded);
    free(a);
    free(b);
    free(apart.dx);
    free(apart.dskip);
    free(dx);
    free(dskip);
    problem_free(&p);
}

static void bias_gradient_adds_when_told(void **state) {
    struct problem p = problem_new(
        (struct cpu_norm){.n = 2, .h = 4, .w = 4, .c = 5, .act = CPU_ACT_LEAKY}, -1, true, 70);
    float *g = random_floats(p.pixels, 71), once[5] = {0}, twice[5];
    struct cpu_norm_grads grads = {1, {{g, 0}}};
    struct cpu_norm_result ret = {.dx = poison(p.pixels), .dbias = once};

    cpu_norm_backward(&p.s, &p.saved, &grads, p.work, &ret);
    memcpy(twice, once, sizeof once);
    ret.dbias = twice;
    ret.add = true;
    cpu_norm_backward(&p.s, &p.saved, &grads, p.work, &ret);
    for (int i = 0; i < 5; i++)
        assert_true(twice[i] == 2 * once[i]);
    free(g);
    free(ret.dx);
    problem_free(&p);
}

// Batch norm's sums run over all pictures; its running statistics are part of a training.
static void batch_norm_and_dropout_do_not_depend_on_threads(void **state) {
    struct cpu_norm s = {.n = 3, .h = 37, .w = 9, .c = 21, .kind = CPU_NORM_BATCH, .pad = 1};
    struct problem p = problem_new(s, -1, true, 90);
    struct cpu_dropout dropout = {5, 6};
    float *weight = random_floats(s.c, 91), *out[2], *running[2];
    struct contributions c = contributions_new(&s, 92);

    p.saved.weight = weight;
    p.saved.dropout = &dropout;
    for (int i = 0; i < 2; i++) {
        struct cpu_norm_result ret = {.dx = poison(p.pixels)};
        omp_set_num_threads(i + 1);
        running[i] = xcalloc(2 * s.c, sizeof(float));
        p.saved.running_mean = running[i];
        p.saved.running_var = running[i] + s.c;
        run_forward(&p);
        cpu_norm_backward(&s, &p.saved, &c.grads, p.work, &ret);
        out[i] = ret.dx;
    }
    assert_memory_equal(out[0], out[1], sizeof(float) * p.pixels);
    assert_memory_equal(running[0], running[1], sizeof(float) * 2 * s.c);
    for (int i = 0; i < 2; i++) {
        free(out[i]);
        free(running[i]);
    }
    free(weight);
    contributions_free(&c);
    problem_free(&p);
}

static void one_thread_and_two_give_the_same_bits(void **state) {
    for (uint64_t seed = 80; seed < 100; seed++) {
        struct problem p = random_problem(seed);
        struct contributions c = contributions_new(&p.s, seed);
        float *y[2], *dx[2];
        for (int i = 0; i < 2; i++) {
            omp_set_num_threads(i + 1);
            run_forward(&p);
            y[i] = xaligned(sizeof(float) * p.padded);
            memcpy(y[i], p.y, sizeof(float) * p.padded);
            dx[i] = poison(p.pixels);
            cpu_norm_backward(&p.s, &p.saved, &c.grads, p.work,
                              &(struct cpu_norm_result){.dx = dx[i]});
        }
        assert_memory_equal(y[0], y[1], sizeof(float) * p.padded);
        assert_memory_equal(dx[0], dx[1], sizeof(float) * p.pixels);
        for (int i = 0; i < 2; i++) {
            free(y[i]);
            free(dx[i]);
        }
        contributions_free(&c);
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
        cmocka_unit_test(outputs_may_be_the_unpadded_contributions),
        cmocka_unit_test(bias_gradient_adds_when_told),
        cmocka_unit_test(batch_norm_and_dropout_do_not_depend_on_threads),
        cmocka_unit_test(one_thread_and_two_give_the_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
