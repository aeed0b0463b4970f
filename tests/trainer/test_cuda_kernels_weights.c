// CUDA's Adam, flags and derived weights, on the host; see cuda_test.h. And the launches of the
// largest shapes.
#include "cuda_test.h"
#include "reference_ops.h"

struct adam_case {
    struct rig rig;
    struct tensor *g, *p, *m, *v, *before[3];
    struct device_values *values;
};

static cudaError_t run_adam(struct rig *r, void *context) {
    struct adam_case *c = context;
    struct cuda_adam a = {c->g->pixels, 0.5, 0.999, &c->values->lr, &c->values->t};

    return cuda_adam(&r->launch, &a, c->g->memory, c->p->memory, c->m->memory, c->v->memory);
}

static void restore(struct rig *r, void *context) {
    struct adam_case *c = context;

    memcpy(c->p->memory, c->before[0]->memory, c->p->bytes);
    memcpy(c->m->memory, c->before[1]->memory, c->m->bytes);
    memcpy(c->v->memory, c->before[2]->memory, c->v->bytes);
}

static void check_adam(size_t count, int64_t t) {
    struct adam_args args = {count, 0.5, 0.999};
    struct adam_case c;

    memset(&c, 0, sizeof c);
    rig_init(&c.rig, CUDA_F32, &LIMITS[0]);
    succeed(cudaMalloc((void **)&c.values, sizeof *c.values));
    *c.values = (struct device_values){.lr = 2e-4, .t = t};
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
};

static cudaError_t run_blend(struct rig *r, void *context) {
    struct blend_case *c = context;

    return cuda_blend(&r->launch, c->x->pixels, 0.25f, c->x->memory, 0.75f, c->y->memory);
}

static void restore_blend(struct rig *r, void *context) {
    struct blend_case *c = context;

    memcpy(c->y->memory, c->before->memory, c->y->bytes);
}

static void blend_is_the_definition(void **state) {
    static const size_t counts[] = {1, 517, 4096};

    for (unsigned i = 0; i < COUNT(counts); i++) {
        struct blend_case c;
        memset(&c, 0, sizeof c);
        rig_init(&c.rig, CUDA_F32, &LIMITS[0]);
        c.x = tensor_in(&c.rig, FLOATS, counts[i], 1);
        c.before = tensor_in(&c.rig, FLOATS, counts[i], 1);
        c.y = tensor_out(&c.rig, FLOATS, counts[i], 1);
        run_in_all_orders(&c.rig, run_blend, restore_blend, &c);
        for (size_t k = 0; k < counts[i]; k++)
            c.y->d[k] = 0.25 * c.x->d[k] + 0.75 * c.before->d[k];
        tensor_check(c.y, 1e-6, "blend");
        rig_fini(&c.rig);
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

// Largest shapes: the first, the last and some blocks between of every launch; an index that
// overflows or a grid too small leaves its memory or the poison behind.

// Zeros behind the poison of the ends, most of which no one touches.
static void *large_zeros(size_t bytes) {
    size_t edge = bytes > (size_t)64 << 20 ? (size_t)1 << 20 : bytes; // as the emulation poisons
    char *p;

    succeed(cudaMalloc((void **)&p, bytes));
    memset(p, 0, edge);
    memset(p + bytes - edge, 0, edge);
    return p;
}

static void assert_ends_are_zero(const void *memory, size_t bytes) {
    const char *p = memory;

    uint16_t first, last;

    memcpy(&first, p, 2);
    memcpy(&last, p + bytes - 2, 2);
    if (first || last)
        fail_msg("first %x last %x of %zu", first, last, bytes);
}

static void check_large_norm(struct rig *r, const struct norm_shape *s) {
    size_t pixel = (size_t)cuda_channels(s->c) * cuda_element_bytes(r->launch.element);
    size_t inside = (size_t)s->n * (size_t)s->h * (size_t)s->w * pixel;
    size_t whole = (size_t)s->n * (size_t)(s->h + 2 * s->pad) * (size_t)(s->w + 2 * s->pad) * pixel;
    void *x = large_zeros(inside), *g = large_zeros(whole), *y, *dx;
    void *workspace = large_zeros(cuda_norm_workspace_bytes(&r->launch, s));
    float *stats = large_zeros(sizeof(float) * 2 * (size_t)s->n * (size_t)s->c);
    struct norm_tensors f = {.x = x, .ret_stats = stats};
    struct norm_gradients b = {.x = x, .stats = stats, .dy = {1, {{g, s->pad, 0, s->n}}}};

    succeed(cudaMalloc(&y, whole));
    succeed(cudaMalloc(&dx, inside));
    f.ret_y = y;
    b.ret_dx = dx;
    succeed(cuda_norm_forward(&r->launch, s, &f, NULL, workspace));
    assert_ends_are_zero(y, whole);
    memset(stats, 0, sizeof(float) * 2 * (size_t)s->n * (size_t)s->c);
    succeed(cuda_norm_backward(&r->launch, s, &b, NULL, workspace));
    assert_ends_are_zero(dx, inside);
    void *all[] = {x, y, g, dx, stats, workspace};
    for (unsigned i = 0; i < COUNT(all); i++)
        succeed(cudaFree(all[i]));
}

static void largest_shapes_stay_inside_their_memory(void **state) {
    static const struct norm_shape shapes[] = {
        {.n = 6, .h = 512, .w = 512, .c = 64, .pad = 3, .norm = NORM_INSTANCE, .act = ACT_RELU},
        {.n = 12, .h = 512, .w = 512, .c = 64, .norm = NORM_BATCH, .act = ACT_RELU},
        {.n = 16, .h = 32, .w = 32, .c = 512, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU},
        {.n = 66, .h = 512, .w = 512, .c = 64, .norm = NORM_NONE}, // more than 2^31 bytes
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
        cmocka_unit_test(blend_is_the_definition),
        cmocka_unit_test(one_number_that_is_not_finite_is_found),
        cmocka_unit_test(weights_go_to_the_filters_layout_and_back),
        cmocka_unit_test(largest_shapes_stay_inside_their_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
