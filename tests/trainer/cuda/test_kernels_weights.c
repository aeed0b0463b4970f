// CUDA's Adam, blends, flags and derived weights, on the host, and launches of the largest shapes;
// see trainer/cuda/kernel_test.h.
#include "trainer/cuda/kernel_test.h"
#include "trainer/oracle/ops.h"

struct adam_case {
    struct rig rig;
    struct tensor *g, *p, *m, *v, *before[3];
    struct device_values *values;
    int *bad;
};

static cudaError_t run_adam(struct rig *r, void *context) {
    struct adam_case *c = context;
    struct cuda_adam a = {c->g->pixels, 0.5, 0.999, &c->values->lr, &c->values->t, c->bad};

    return cuda_adam(&r->launch, &a, c->g->memory, c->p->memory, c->m->memory, c->v->memory);
}

static void restore(struct rig *r, void *context) {
    struct adam_case *c = context;

    memcpy(c->p->memory, c->before[0]->memory, c->p->bytes);
    memcpy(c->m->memory, c->before[1]->memory, c->m->bytes);
    memcpy(c->v->memory, c->before[2]->memory, c->v->bytes);
}

static void check_adam(size_t count, int64_t t) {
    struct adam_args args = {.count = count, .beta1 = 0.5, .beta2 = 0.999};
    struct adam_case c;

    memset(&c, 0, sizeof c);
    rig_init(&c.rig, CUDA_F32, &LIMITS[0]);
    succeed(cudaMalloc((void **)&c.values, sizeof *c.values));
    *c.values = (struct device_values){.lr = 2e-4, .t = t};
    succeed(cudaHostAlloc((void **)&c.bad, sizeof *c.bad, cudaHostAllocMapped));
    *c.bad = 0;
    c.g = tensor_in(&c.rig, FLOATS, count, 1);
    for (int i = 0; i < 3; i++)
        c.before[i] = tensor_in(&c.rig, FLOATS, count, 1);
    for (size_t i = 0; i < count; i++)
        tensor_write(c.before[2], i, 0, fabs(c.before[2]->d[i]));
    c.p = tensor_out(&c.rig, FLOATS, count, 1);
    c.m = tensor_out(&c.rig, FLOATS, count, 1);
    c.v = tensor_out(&c.rig, FLOATS, count, 1);
    run_in_all_orders(&c.rig, run_adam, restore, &c);
    memcpy(c.p->d, c.before[0]->d, sizeof(double) * count);
    memcpy(c.m->d, c.before[1]->d, sizeof(double) * count);
    memcpy(c.v->d, c.before[2]->d, sizeof(double) * count);
    ref_adam(&args, c.values, c.g->d, c.p->d, c.m->d, c.v->d);
    // The step by itself: beside p it is small.
    for (size_t i = 0; i < count; i++) {
        double step = c.p->d[i] - c.before[0]->d[i];
        double got = tensor_read(c.p, i, 0) - c.before[0]->d[i];
        assert_true(fabs(got - step) <= 1e-5 * fabs(step) + 1.2e-7); // p's rounding
    }
    tensor_check(c.p, 1e-6, "p");
    tensor_check(c.m, 1e-6, "m");
    tensor_check(c.v, 1e-6, "v");
    assert_int_equal(*c.bad, 0);
    tensor_write(c.g, count - 1, 0, -INFINITY);
    restore(&c.rig, &c);
    succeed(run_adam(&c.rig, &c));
    succeed(cudaDeviceSynchronize());
    assert_int_equal(*c.bad, 1);
    succeed(cudaFreeHost(c.bad));
    succeed(cudaFree(c.values));
    rig_fini(&c.rig);
}

static void adam_is_the_definition(void **state) {
    check_adam(1, 1);
    check_adam(517, 1);
    check_adam(1024, 7);
    check_adam(4099, 1000003);
}

static void adam_goes_over_all_of_many_parameters(void **state) {
    size_t count = (size_t)132 * 8 * 1024 * 2 + 3; // each thread turns more than once
    struct adam_case c;

    memset(&c, 0, sizeof c);
    rig_init(&c.rig, CUDA_F32, &LIMITS[0]);
    succeed(cudaMalloc((void **)&c.values, sizeof *c.values));
    *c.values = (struct device_values){.lr = 1, .t = 1};
    c.g = tensor_any(&c.rig, FLOATS, count, 1);
    c.p = tensor_any(&c.rig, FLOATS, count, 1);
    c.m = tensor_any(&c.rig, FLOATS, count, 1);
    c.v = tensor_any(&c.rig, FLOATS, count, 1);
    for (size_t i = 0; i < count; i++)
        tensor_write(c.g, i, 0, 1);
    memset(c.p->memory, 0, c.p->bytes);
    memset(c.m->memory, 0, c.m->bytes);
    memset(c.v->memory, 0, c.v->bytes);
    succeed(run_adam(&c.rig, &c));
    for (size_t i = 0; i < count; i++)
        if (fabs(tensor_read(c.p, i, 0) + 1) > 1e-6)
            fail_msg("parameter %zu is %g", i, tensor_read(c.p, i, 0));
    succeed(cudaFree(c.values));
    rig_fini(&c.rig);
}

struct blend_case {
    struct rig rig;
    struct tensor *x, *y, *before;
    float a, b;
};

static cudaError_t run_blend(struct rig *r, void *context) {
    struct blend_case *c = context;

    return cuda_blend(&r->launch, c->x->pixels, c->a, c->x->memory, c->b, c->y->memory);
}

static void restore_y(struct rig *r, void *context) {
    struct blend_case *c = context;

    memcpy(c->y->memory, c->before->memory, c->y->bytes);
}

static void check_blend(size_t count, float a, float b) {
    struct blend_case c = {.a = a, .b = b};

    rig_init(&c.rig, CUDA_F32, &LIMITS[1]);
    c.x = tensor_in(&c.rig, FLOATS, count, 1);
    c.before = tensor_in(&c.rig, FLOATS, count, 1);
    c.y = tensor_out(&c.rig, FLOATS, count, 1);
    run_in_all_orders(&c.rig, run_blend, restore_y, &c);
    for (size_t i = 0; i < count; i++) {
        float of_x = a * (float)c.x->d[i], of_y = b * (float)c.before->d[i];
        c.y->d[i] = of_x + of_y;
    }
    tensor_check(c.y, 0, "blend");
    rig_fini(&c.rig);
}

static void blend_is_the_weighted_sum_in_float(void **state) {
    // The last: more than all blocks take at a time.
    static const size_t counts[] = {1, 3, 257, 517, 1023, 4096, 28 * 8 * 1024 + 77};

    for (unsigned i = 0; i < COUNT(counts); i++) {
        check_blend(counts[i], 0.001f, 0.999f); // an average's step
        check_blend(counts[i], 1, 0);           // a sum of gradients begins,
        check_blend(counts[i], 1, 1);           // goes on
        check_blend(counts[i], 1 / 3.0f, 0);    // and becomes a mean
    }
}

static void check_finite(size_t count, size_t at, double value, int want) {
    struct rig r;
    struct tensor *x;
    int *bad;

    rig_init(&r, CUDA_F32, &LIMITS[0]);
    succeed(cudaHostAlloc((void **)&bad, sizeof *bad, cudaHostAllocMapped));
    x = tensor_in(&r, FLOATS, count, 1);
    *bad = 0;
    succeed(cuda_finite(&r.launch, count, x->memory, bad));
    assert_int_equal(*bad, 0);
    tensor_write(x, at, 0, value);
    succeed(cuda_finite(&r.launch, count, x->memory, bad));
    assert_int_equal(*bad, want);
    tensor_write(x, at, 0, 0);
    succeed(cuda_finite(&r.launch, count, x->memory, bad));
    assert_int_equal(*bad, want); // it stays
    succeed(cudaFreeHost(bad));
    rig_fini(&r);
}

static void one_number_that_is_not_finite_is_found(void **state) {
    static const size_t counts[] = {1, 3, 4, 1027, 600001};

    for (unsigned i = 0; i < COUNT(counts); i++) {
        check_finite(counts[i], counts[i] - 1, NAN, 1);
        check_finite(counts[i], counts[i] / 2, INFINITY, 1);
        check_finite(counts[i], 0, -INFINITY, 1);
        check_finite(counts[i], 0, 3.4e38, 0);
    }
}

// a, b, r of filters of the nets and others.
static const int filters[][3] = {{64, 3, 7}, {128, 64, 3},  {3, 64, 7}, {1, 512, 4},
                                 {64, 6, 4}, {256, 256, 3}, {5, 20, 1}, {8, 600, 1},
                                 {1, 1, 3},  {9, 3000, 1},  {2, 3, 16}};

struct weights_case {
    struct rig rig;
    struct cuda_weight *table;
    struct tensor *master[COUNT(filters)], *derived[COUNT(filters)], *dw;
    unsigned blocks;
    int one;
    bool accumulate;
};

static cudaError_t run_refresh(struct rig *r, void *context) {
    struct weights_case *c = context;

    return cuda_refresh(&r->launch, COUNT(filters), c->table, c->blocks);
}

static cudaError_t run_add(struct rig *r, void *context) {
    struct weights_case *c = context;
    const int *f = filters[c->one];

    return cuda_add_dw(&r->launch, f[0], f[1], f[2], c->accumulate, c->derived[c->one]->memory,
                       c->dw->memory);
}

static void check_weights(enum cuda_element element) {
    struct weights_case c;

    memset(&c, 0, sizeof c);
    rig_init(&c.rig, element, &LIMITS[0]);
    succeed(cudaMalloc((void **)&c.table, sizeof(struct cuda_weight) * COUNT(filters)));
    for (unsigned i = 0; i < COUNT(filters); i++) {
        int a = filters[i][0], b = filters[i][1], r = filters[i][2];
        c.master[i] = tensor_in(&c.rig, FLOATS, (size_t)a, b * r * r);
        c.derived[i] = tensor_out(&c.rig, ELEMENTS, (size_t)(cuda_channels(a) * r * r), b);
        c.table[i] = (struct cuda_weight){c.master[i]->memory, c.derived[i]->memory, a, b, r, 0};
    }
    c.blocks = cuda_refresh_plan(COUNT(filters), c.table);
    run_in_all_orders(&c.rig, run_refresh, NULL, &c);
    for (unsigned i = 0; i < COUNT(filters); i++) {
        int a = filters[i][0], b = filters[i][1], taps = filters[i][2] * filters[i][2];
        for (int k = 0; k < a * b * taps; k++) {
            int tap = k % taps, of_b = k / taps % b, of_a = k / taps / b;
            c.derived[i]->d[(of_a * taps + tap) * b + of_b] = c.master[i]->d[k];
        }
        tensor_check(c.derived[i], element == CUDA_F32 ? 0 : 5e-3, "derived weights");
        free(c.derived[i]->saved);
        c.derived[i]->saved = NULL; // what add_dw reads
    }
    for (c.one = 0; c.one < (int)COUNT(filters); c.one++) {
        int a = filters[c.one][0], b = filters[c.one][1], taps = filters[c.one][2];
        taps *= taps;
        c.dw = tensor_out(&c.rig, FLOATS, (size_t)a, b * taps);
        c.accumulate = false;
        run_in_all_orders(&c.rig, run_add, NULL, &c);
        for (int k = 0; k < a * b * taps; k++) {
            int tap = k % taps, of_b = k / taps % b, of_a = k / taps / b;
            c.dw->d[k] = tensor_read(c.derived[c.one], (size_t)(of_a * taps + tap), of_b);
        }
        tensor_check(c.dw, 0, "weight gradient");
        c.accumulate = true;
        succeed(run_add(&c.rig, &c));
        for (int k = 0; k < a * b * taps; k++)
            c.dw->d[k] *= 2;
        tensor_check(c.dw, 0, "added weight gradient");
        free(c.dw->saved);
        free(c.dw->d);
        succeed(cudaFree(c.dw->memory));
        c.rig.n--;
    }
    succeed(cudaFree(c.table));
    rig_fini(&c.rig);
}

static void weights_go_to_the_filters_layout_and_back(void **state) {
    check_weights(CUDA_F32);
    check_weights(CUDA_BF16);
}

// Largest shapes: the first, the last and some blocks between of every launch. x and the gradient
// are zeros but for ones that the ends of y and of dx come from: an index that overflows, on the
// way in or out, or a grid too small leaves something else there.

static void zero_ends(void *memory, size_t bytes) {
    size_t edge = bytes > (size_t)64 << 20 ? (size_t)1 << 20 : bytes; // as the emulation poisons

    memset(memory, 0, edge);
    memset((char *)memory + bytes - edge, 0, edge);
}

// Poison at the ends or zeros; of channels that the judge has no copy of.
static struct tensor large_new(const struct rig *r, size_t pixels, int c, bool zero) {
    struct tensor t = {.place = ELEMENTS,
                       .pixels = pixels,
                       .stride = cuda_channels(c),
                       .element = r->launch.element};

    t.bytes = pixels * (size_t)t.stride * element_bytes(&t);
    succeed(cudaMalloc(&t.memory, t.bytes));
    if (zero)
        zero_ends(t.memory, t.bytes);
    return t;
}

static size_t pixels_of(const struct norm_shape *s, int pad) {
    return (size_t)s->n * (size_t)(s->h + 2 * pad) * (size_t)(s->w + 2 * pad);
}

// Ones `in` pixels inwards of the first and of the last corner of [n,h,w,c] with a border.
static void mark(struct tensor *t, const struct norm_shape *s, int pad, int in) {
    size_t at = (size_t)(pad + in) * (size_t)(s->w + 2 * pad) + (size_t)(pad + in);

    tensor_write(t, at, 0, 1);
    tensor_write(t, t->pixels - 1 - at, s->c - 1, 1);
}

static void assert_near(double got, double want, double bound, const char *what) {
    if (!(fabs(got - want) <= bound * fabs(want)))
        fail_msg("%s is %.9g, not %.9g", what, got, want);
}

// Pixels that a mean is over.
static double pixels_of_mean(const struct norm_shape *s) {
    return (double)s->h * s->w * (s->norm == NORM_BATCH ? s->n : 1);
}

static void check_large_forward(struct rig *r, const struct norm_shape *s, const struct tensor *x,
                                float *stats, void *workspace) {
    struct tensor y = large_new(r, pixels_of(s, s->pad), s->c, false);
    struct norm_tensors f = {.x = x->memory, .ret_stats = stats, .ret_y = y.memory};
    int rows = s->norm == NORM_INSTANCE ? s->n : 1;

    succeed(cuda_norm_forward(&r->launch, s, &f, NULL, workspace));
    succeed(cudaStreamSynchronize(r->launch.stream));
    for (int end = 0; end < 2; end++) {
        int channel = end ? s->c - 1 : 0, at = (end ? rows - 1 : 0) * s->c + channel;
        double mean = 0, rstd = 1;
        if (s->norm != NORM_NONE) {
            mean = stats[at];
            rstd = stats[rows * s->c + at];
            double marks = mean * pixels_of_mean(s); // one of two may lie in a tile left out
            assert_true(marks > 0.999 && marks < 2.001);
            assert_near(rstd, 1 / sqrt(mean * (1 - mean) + 1e-5), 1e-5, "rstd");
        }
        assert_near(tensor_read(&y, end ? y.pixels - 1 : 0, channel), (1 - mean) * rstd,
                    bound_of(r, false), end ? "end of y" : "start of y");
    }
    succeed(cudaFree(y.memory));
}

static void check_large_backward(struct rig *r, const struct norm_shape *s, const struct tensor *x,
                                 float *stats, void *workspace) {
    struct tensor g = large_new(r, pixels_of(s, s->pad), s->c, true);
    struct tensor dx = large_new(r, x->pixels, s->c, false);
    struct norm_gradients b = {.x = x->memory,
                               .stats = stats,
                               .dy = {1, {{g.memory, s->pad, 0, s->n}}},
                               .ret_dx = dx.memory};
    int half = (s->norm == NORM_INSTANCE ? s->n : 1) * s->c;
    double want = s->norm == NORM_NONE ? 1 : 1 - 2 / pixels_of_mean(s); // u = xhat = 1

    for (int i = 0; i < half; i++) {
        stats[i] = 0;
        stats[half + i] = 1;
    }
    mark(&g, s, s->pad, 0);
    succeed(cuda_norm_backward(&r->launch, s, &b, NULL, workspace));
    succeed(cudaStreamSynchronize(r->launch.stream));
    assert_near(tensor_read(&dx, 0, 0), want, bound_of(r, true), "start of dx");
    assert_near(tensor_read(&dx, dx.pixels - 1, s->c - 1), want, bound_of(r, true), "end of dx");
    succeed(cudaFree(g.memory));
    succeed(cudaFree(dx.memory));
}

// y is gone before the gradients come, so that three large tensors are held at most.
static void check_large_norm(struct rig *r, const struct norm_shape *s) {
    struct tensor x = large_new(r, pixels_of(s, 0), s->c, true);
    size_t stats_bytes = sizeof(float) * 2 * (size_t)s->n * (size_t)s->c;
    size_t workspace_bytes = cuda_norm_workspace_bytes(&r->launch, s);
    void *stats, *workspace;

    succeed(cudaMalloc(&stats, stats_bytes));
    succeed(cudaMalloc(&workspace, workspace_bytes));
    memset(stats, 0, stats_bytes); // of blocks left out
    memset(workspace, 0, workspace_bytes);
    mark(&x, s, 0, 0);
    mark(&x, s, 0, s->pad); // what the border's corners mirror
    check_large_forward(r, s, &x, stats, workspace);
    memset(workspace, 0, workspace_bytes);
    check_large_backward(r, s, &x, stats, workspace);
    succeed(cudaFree(x.memory));
    succeed(cudaFree(stats));
    succeed(cudaFree(workspace));
}

static void largest_shapes_stay_inside_their_memory(void **state) {
    static const struct norm_shape shapes[] = {
        {.n = 6, .h = 512, .w = 512, .c = 64, .pad = 3, .norm = NORM_INSTANCE, .act = ACT_RELU},
        {.n = 12, .h = 512, .w = 512, .c = 64, .norm = NORM_BATCH, .act = ACT_RELU},
        {.n = 16, .h = 32, .w = 32, .c = 512, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU},
        {.n = 70, .h = 512, .w = 512, .c = 64, .norm = NORM_NONE, .act = ACT_LEAKY}, // > 2^31 bytes
    };

    cuda_host_sample(24);
    for (unsigned i = 0; i < COUNT(shapes); i++) {
        struct rig r;
        rig_init(&r, i == 0 ? CUDA_F32 : CUDA_BF16, &LIMITS[0]);
        check_large_norm(&r, &shapes[i]);
        rig_fini(&r);
    }
    cuda_host_sample(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_is_the_definition),
        cmocka_unit_test(adam_goes_over_all_of_many_parameters),
        cmocka_unit_test(blend_is_the_weighted_sum_in_float),
        cmocka_unit_test(one_number_that_is_not_finite_is_found),
        cmocka_unit_test(weights_go_to_the_filters_layout_and_back),
        cmocka_unit_test(largest_shapes_stay_inside_their_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
