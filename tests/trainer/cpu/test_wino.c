// The judge is the direct sum in double. Every instruction set
// of this machine is tried.
#include "trainer/cpu/kernel_test.h"

#include "trainer/cpu/each_instructions.h"

#include "cpu/wino.h"

struct problem {
    struct cpu_wino s;
    int r, h, w_x; // sides of filter and input
    size_t n_x, n_y, n_w;
    float *x, *dy, *w, *y, *dx, *dw, *u, *ub, *work;
};

static struct problem problem_new(struct cpu_wino s, uint64_t seed) {
    struct problem p = {.s = s};

    p.r = s.m == 3 ? 4 : 3;
    p.h = s.h + p.r - 1 - 2 * s.pad;
    p.w_x = s.w + p.r - 1 - 2 * s.pad;
    p.n_x = (size_t)s.n * p.h * p.w_x * s.c;
    p.n_y = (size_t)s.n * s.h * s.w * s.k;
    p.n_w = (size_t)s.k * s.c * p.r * p.r;
    p.x = random_floats(p.n_x, seed);
    p.dy = random_floats(p.n_y, seed + 1);
    p.w = random_floats(p.n_w, seed + 2);
    p.y = poison(p.n_y);
    p.dx = poison(p.n_x);
    p.dw = poison(p.n_w);
    p.u = poison(cpu_wino_filter_floats(&s));
    p.ub = poison(cpu_wino_filter_floats(&s));
    p.work = poison(cpu_wino_work_floats(&s, omp_get_max_threads(), false, true));
    return p;
}

static void problem_free(struct problem *p) {
    float *all[] = {p->x, p->dy, p->w, p->y, p->dx, p->dw, p->u, p->ub, p->work};

    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void run(struct problem *p) {
    struct cpu_wino_backward b = {p->x, p->dy, {p->w, p->ub}, p->dx, p->dw, false};

    cpu_wino_filters_forward(&p->s, p->w, p->u);
    cpu_wino_filters_backward(&p->s, p->w, p->ub);
    cpu_wino_forward(&p->s, p->x, (struct cpu_wino_filters){p->w, p->u}, p->work, p->y);
    cpu_wino_backward(&p->s, &b, p->work);
}

// Adds to y, dx, dw what the formula y = sum of x w says, and its derivatives.
static void judge(const struct problem *p, double *y, double *dx, double *dw) {
    const struct cpu_wino *s = &p->s;

    for (int n = 0; n < s->n; n++)
        for (int i = 0; i < s->h; i++)
            for (int j = 0; j < s->w; j++)
                for (int k = 0; k < s->k; k++) {
                    size_t at_y = (((size_t)n * s->h + i) * s->w + j) * s->k + k;
                    for (int tap = 0; tap < p->r * p->r; tap++) {
                        int row = i + tap / p->r - s->pad, col = j + tap % p->r - s->pad;
                        if (row < 0 || row >= p->h || col < 0 || col >= p->w_x)
                            continue;
                        for (int c = 0; c < s->c; c++) {
                            size_t at_x = (((size_t)n * p->h + row) * p->w_x + col) * s->c + c;
                            size_t at_w = ((size_t)k * s->c + c) * p->r * p->r + tap;
                            y[at_y] += (double)p->x[at_x] * p->w[at_w];
                            dx[at_x] += (double)p->dy[at_y] * p->w[at_w];
                            dw[at_w] += (double)p->dy[at_y] * p->x[at_x];
                        }
                    }
                }
}

static double norm_of(size_t count, const double *x) {
    double norm = 0;

    for (size_t i = 0; i < count; i++)
        norm += x[i] * x[i];
    return norm;
}

// In L2.
static double relative_error(size_t count, const float *x, const double *want) {
    double error = 0;

    for (size_t i = 0; i < count; i++)
        error += (x[i] - want[i]) * (x[i] - want[i]);
    return sqrt(error / norm_of(count, want));
}

// Lavin and Gray report errors of a direct sum's size for m = 2 and about ten times it for m = 4,
// with our points it is about four times; a direct sum of a few hundred floats has some 3e-7.
static void assert_close(size_t count, const float *x, const double *want, int m,
                         const char *what) {
    double norm = norm_of(count, want), tolerance = m == 2 ? 1.5e-6 : 5e-6;
    double error = relative_error(count, x, want);

    if (!(error <= tolerance))
        fail_msg("%s: relative error %.3g (F%d, %s)", what, error, m, cpu_wino_instructions());
    // No single element may hide in the norm.
    for (size_t i = 0; i < count; i++)
        if (!(fabs(x[i] - want[i]) <= 20 * tolerance * sqrt(norm / count)))
            fail_msg("%s[%zu] is %g, not %g", what, i, x[i], want[i]);
}

static void check_shape(struct cpu_wino s, uint64_t seed) {
    struct problem p = problem_new(s, seed);
    double *y = doubles(p.n_y), *dx = doubles(p.n_x), *dw = doubles(p.n_w);

    run(&p);
    judge(&p, y, dx, dw);
    assert_close(p.n_y, p.y, y, s.m, "y");
    assert_close(p.n_x, p.dx, dx, s.m, "dx");
    assert_close(p.n_w, p.dw, dw, s.m, "dw");
    free(y);
    free(dx);
    free(dw);
    problem_free(&p);
}

static void passes_are_the_direct_sum_on_random_shapes(void **state) {
    FOR_EACH_INSTRUCTIONS
    for (uint64_t seed = 0; seed < 24; seed++)
        check_shape((struct cpu_wino){.n = random_int(seed, 0, 1, 3),
                                      .c = random_int(seed, 1, 1, 70),
                                      .k = random_int(seed, 2, 1, 70),
                                      .h = random_int(seed, 3, 1, 11),
                                      .w = random_int(seed, 4, 1, 11),
                                      .m = seed % 2 ? 4 : 2},
                    seed);
}

static void zeros_around_and_filters_of_four(void **state) {
    FOR_EACH_INSTRUCTIONS
    for (uint64_t seed = 100; seed < 130; seed++) {
        struct cpu_wino s = {.n = random_int(seed, 0, 1, 2),
                             .c = random_int(seed, 1, 1, 40),
                             .k = random_int(seed, 2, 1, 40),
                             .h = random_int(seed, 3, 1, 11),
                             .w = random_int(seed, 4, 1, 11),
                             .m = 2 + (int)(seed % 3)};
        int r = s.m == 3 ? 4 : 3;
        s.pad = random_int(seed, 5, 0, MIN(r - 1, (MIN(s.h, s.w) + r - 2) / 2));
        check_shape(s, seed);
    }
    check_shape((struct cpu_wino){.n = 1, .c = 48, .k = 64, .h = 15, .w = 15, .m = 3, .pad = 1}, 9);
    check_shape((struct cpu_wino){.n = 3, .c = 2, .k = 3, .h = 40, .w = 44, .m = 3, .pad = 2}, 10);
}

// Their points are chosen for it: the paper's 0, 1, -1, 2, -2 leave 3.1e-6 here.
static void tiles_of_four_round_off_little(void **state) {
    FOR_EACH_INSTRUCTIONS {
        struct problem p = problem_new((struct cpu_wino){1, 256, 32, 16, 16, 4, 0}, 3);
        double *y = doubles(p.n_y), *dx = doubles(p.n_x), *dw = doubles(p.n_w);
        run(&p);
        judge(&p, y, dx, dw);
        double error = relative_error(p.n_y, p.y, y);
        assert_true(error <= 1.6e-6);
        free(y);
        free(dx);
        free(dw);
        problem_free(&p);
    }
}

static void more_tiles_than_a_chunk_are_taken_in_turns(void **state) {
    // Chunks end inside a picture; 3 chunks, an odd number of rows in each.
    check_shape((struct cpu_wino){.n = 2, .c = 3, .k = 5, .h = 61, .w = 77, .m = 4}, 1);
    check_shape((struct cpu_wino){.n = 1, .c = 3, .k = 2, .h = 50, .w = 49, .m = 2}, 2);
    // A row of tiles longer than a chunk.
    check_shape((struct cpu_wino){.n = 1, .c = 2, .k = 2, .h = 6, .w = 600, .m = 2}, 3);
}

static void filter_blocks_meet_without_gaps(void **state) {
    check_shape((struct cpu_wino){.n = 1, .c = 130, .k = 97, .h = 5, .w = 6, .m = 4}, 4);
    check_shape((struct cpu_wino){.n = 1, .c = 64, .k = 128, .h = 4, .w = 4, .m = 2}, 5);
}

static void filter_gradient_adds_when_told(void **state) {
    struct problem p =
        problem_new((struct cpu_wino){.n = 1, .c = 19, .k = 18, .h = 8, .w = 8, .m = 4}, 6);
    struct cpu_wino_backward b = {.x = p.x, .dy = p.dy, .dw = p.dw};
    float *once;

    cpu_wino_backward(&p.s, &b, p.work);
    once = xaligned(p.n_w * sizeof *once);
    memcpy(once, p.dw, p.n_w * sizeof *once);
    b.add_dw = true;
    cpu_wino_backward(&p.s, &b, p.work);
    for (size_t i = 0; i < p.n_w; i++)
        assert_true(p.dw[i] == 2 * once[i]);
    free(once);
    problem_free(&p);
}

static void one_gradient_alone_has_the_bits_of_both(void **state) {
    struct problem p =
        problem_new((struct cpu_wino){.n = 2, .c = 24, .k = 40, .h = 9, .w = 10, .m = 4}, 7);
    float *dx = poison(p.n_x), *dw = poison(p.n_w);

    run(&p);
    cpu_wino_backward(
        &p.s, &(struct cpu_wino_backward){.dy = p.dy, .filters = {.u = p.ub}, .dx = dx}, p.work);
    cpu_wino_backward(&p.s, &(struct cpu_wino_backward){.x = p.x, .dy = p.dy, .dw = dw}, p.work);
    assert_memory_equal(dx, p.dx, p.n_x * sizeof *dx);
    assert_memory_equal(dw, p.dw, p.n_w * sizeof *dw);
    free(dx);
    free(dw);
    problem_free(&p);
}

static void threads_do_not_change_the_bits(void **state) {
    struct cpu_wino shapes[] = {{1, 48, 80, 13, 17, 4, 0},
                                {2, 3, 5, 61, 77, 4, 1},
                                {1, 20, 7, 9, 9, 2, 0},
                                {2, 7, 40, 20, 21, 3, 1}};

    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct problem p[3];
        for (int threads = 1; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            p[threads - 1] = problem_new(shapes[i], 8);
            run(&p[threads - 1]);
        }
        for (int j = 1; j < 3; j++) {
            assert_memory_equal(p[0].y, p[j].y, p[0].n_y * sizeof(float));
            assert_memory_equal(p[0].dx, p[j].dx, p[0].n_x * sizeof(float));
            assert_memory_equal(p[0].dw, p[j].dw, p[0].n_w * sizeof(float));
        }
        for (int j = 0; j < 3; j++)
            problem_free(&p[j]);
    }
}

// Parts of a panel, of more inputs than one has room for, and of tiles, for more threads than
// panels.
static void check_kept_or_not(struct cpu_wino s, int threads) {
    struct problem p = problem_new(s, 11);
    float *y = poison(p.n_y), *dx = poison(p.n_x), *dw = poison(p.n_w);
    struct cpu_wino_backward b = {p.x, p.dy, {.w = p.w}, dx, dw, false};

    run(&p);
    omp_set_num_threads(threads);
    float *work = poison(cpu_wino_work_floats(&s, threads, false, true));
    cpu_wino_forward(&s, p.x, b.filters, work, y);
    cpu_wino_backward(&s, &b, work);
    assert_memory_equal(y, p.y, p.n_y * sizeof *y);
    assert_memory_equal(dx, p.dx, p.n_x * sizeof *dx);
    assert_memory_equal(dw, p.dw, p.n_w * sizeof *dw);
    free(work);
    free(y);
    free(dx);
    free(dw);
    problem_free(&p);
}

static void filters_that_are_not_kept_give_the_same_bits(void **state) {
    struct cpu_wino shapes[] = {{1, 300, 40, 8, 9, 4, 0},
                                {2, 17, 530, 5, 5, 2, 0},
                                {1, 33, 50, 7, 8, 3, 1},
                                {1, 20, 24, 70, 66, 4, 0}};
    int threads = omp_get_max_threads();

    FOR_EACH_INSTRUCTIONS
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int t = 1; t <= 5; t += 2)
            check_kept_or_not(shapes[i], t);
    omp_set_num_threads(threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_that_are_not_kept_give_the_same_bits),
        cmocka_unit_test(passes_are_the_direct_sum_on_random_shapes),
        cmocka_unit_test(zeros_around_and_filters_of_four),
        cmocka_unit_test(tiles_of_four_round_off_little),
        cmocka_unit_test(more_tiles_than_a_chunk_are_taken_in_turns),
        cmocka_unit_test(filter_blocks_meet_without_gaps),
        cmocka_unit_test(filter_gradient_adds_when_told),
        cmocka_unit_test(one_gradient_alone_has_the_bits_of_both),
        cmocka_unit_test(threads_do_not_change_the_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
