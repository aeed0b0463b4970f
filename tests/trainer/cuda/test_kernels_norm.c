// The CUDA norms, on the host, against double precision; see trainer/cuda/kernel_test.h.
#include "trainer/cuda/kernel_test.h"
#include "trainer/oracle/ops.h"

static const struct norm_shape shapes[] = {
    {.n = 2, .h = 7, .w = 5, .c = 3, .pad = 3, .norm = NORM_NONE},
    {.n = 1, .h = 4, .w = 6, .c = 20, .norm = NORM_NONE, .act = ACT_LEAKY},
    {.n = 1, .h = 1, .w = 1, .c = 1, .norm = NORM_NONE, .act = ACT_RELU},
    {.n = 3, .h = 5, .w = 7, .c = 8, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU},
    {.n = 2, .h = 6, .w = 3, .c = 17, .pad = 1, .skip_pad = 1, .norm = NORM_INSTANCE},
    {.n = 2, .h = 4, .w = 4, .c = 32, .pad = 3, .norm = NORM_INSTANCE, .act = ACT_RELU},
    {.n = 2, .h = 3, .w = 1, .c = 6, .norm = NORM_INSTANCE, .act = ACT_LEAKY},
    {.n = 1, .h = 33, .w = 31, .c = 72, .pad = 2, .skip_pad = 3, .norm = NORM_INSTANCE},
    {.n = 1, .h = 47, .w = 49, .c = 264, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU},
    {.n = 3, .h = 5, .w = 7, .c = 8, .pad = 1, .norm = NORM_BATCH, .act = ACT_RELU},
    {.n = 2, .h = 40, .w = 3, .c = 17, .pad = 1, .skip_pad = 1, .norm = NORM_BATCH},
    {.n = 5, .h = 2, .w = 1, .c = 5, .norm = NORM_BATCH, .act = ACT_LEAKY},
    {.n = 2, .h = 33, .w = 65, .c = 40, .norm = NORM_BATCH, .act = ACT_LEAKY},
    {.n = 2, .h = 5, .w = 4, .c = 6, .pad = 3, .norm = NORM_RUNNING, .act = ACT_RELU},
    {.n = 1, .h = 1, .w = 1, .c = 6, .norm = NORM_RUNNING},
};

struct norm_case {
    struct rig rig;
    struct norm_shape shape;
    struct tensor *x, *skip, *y, *stats, *dx, *dskip;
    struct tensor *weight, *bias, *mean, *var, *dweight, *dbias;
    double running[2][512]; // before
    struct norm_affine affine;
    struct cuda_dropout dropout;
    struct norm_dropout judge_dropout;
    struct device_values *values; // device
    struct ref_layer layer;
    bool drops, accumulate;
    struct tensor *part[GRAD_PARTS];
    struct grad_sum dy;
};

static size_t pixels(const struct norm_shape *s, int n, int pad) {
    return (size_t)n * (size_t)(s->h + 2 * pad) * (size_t)(s->w + 2 * pad);
}

static bool is_batch(const struct norm_shape *s) {
    return s->norm == NORM_BATCH || s->norm == NORM_RUNNING;
}

static void case_affine(struct norm_case *c) {
    struct rig *r = &c->rig;
    int n = c->shape.c;

    c->weight = tensor_in(r, FLOATS, 1, n);
    c->bias = tensor_in(r, FLOATS, 1, n);
    c->mean = tensor_in(r, FLOATS, 1, n);
    c->var = tensor_in(r, FLOATS, 1, n);
    for (int i = 0; i < n; i++)
        tensor_write(c->var, 0, i, 1.5 + c->var->d[i]);
    memcpy(c->running[0], c->mean->d, sizeof(double) * (size_t)n);
    memcpy(c->running[1], c->var->d, sizeof(double) * (size_t)n);
    c->affine =
        (struct norm_affine){c->weight->memory, c->bias->memory, c->mean->memory, c->var->memory};
    c->layer.weight = c->weight->d;
    c->layer.bias = c->bias->d;
    c->layer.running_mean = c->mean->d;
    c->layer.running_var = c->var->d;
}

static void case_dropout(struct norm_case *c) {
    static const struct device_values values = {.seed = 0x123456789abcdefu, .step = 77};
    struct device_values *memory;

    c->judge_dropout = (struct norm_dropout){5};
    succeed(cudaMalloc((void **)&memory, sizeof values));
    memcpy(memory, &values, sizeof values);
    c->dropout = (struct cuda_dropout){&memory->seed, &memory->step, 5};
    c->values = memory;
    c->layer.dropout = &c->judge_dropout;
    c->layer.values = &values;
}

// Which way i of dividing the gradient: parts, borders, ranges of pictures.
static void case_parts(struct norm_case *c, int way) {
    const struct norm_shape *s = &c->shape;
    int n = s->n, last = n - 1;
    struct {
        int pad, first, n;
    } parts[5][GRAD_PARTS] = {
        {{s->pad, 0, n}},
        {{0, 0, n}, {s->pad, 0, n}},
        {{s->pad, 0, n}, {1, 0, 1}, {0, last, 1}},
        {{3, 0, n}, {2, 0, n}, {1, 0, n}, {0, 0, n}},
        {{0, 0, n}},
    };

    for (int i = 0; i < GRAD_PARTS && parts[way][i].n; i++) {
        int pad = MIN(parts[way][i].pad, MIN(s->h, s->w) - 1);
        c->part[i] = tensor_in(&c->rig, ELEMENTS, pixels(s, parts[way][i].n, pad), s->c);
        c->dy.part[c->dy.count++] = (struct grad_part){.data = c->part[i]->memory,
                                                       .pad = pad,
                                                       .first = parts[way][i].first,
                                                       .n = parts[way][i].n};
    }
}

static void case_open(struct norm_case *c, const struct norm_shape *s, enum cuda_element element,
                      const struct cuda_limits *limits, int way, bool drops) {
    struct rig *r = &c->rig;
    size_t rows = 2 * (size_t)(is_batch(s) ? 1 : s->n);

    memset(c, 0, sizeof *c);
    c->shape = *s;
    c->drops = drops;
    rig_init(r, element, limits);
    c->x = tensor_in(r, ELEMENTS, pixels(s, s->n, 0), s->c);
    if (way % 2)
        c->skip = tensor_in(r, ELEMENTS, pixels(s, s->n, s->skip_pad), s->c);
    c->y = tensor_out(r, ELEMENTS, pixels(s, s->n, s->pad), s->c);
    c->stats = tensor_out(r, FLOATS, rows, s->c);
    if (is_batch(s))
        case_affine(c);
    if (drops)
        case_dropout(c);
    case_parts(c, way);
    rig_workspace(r, cuda_norm_workspace_bytes(&r->launch, s));
}

static void case_close(struct norm_case *c) {
    succeed(cudaFree(c->values));
    rig_fini(&c->rig);
}

static void reset_running(struct rig *r, void *context) {
    struct norm_case *c = context;

    for (int i = 0; c->mean && i < c->shape.c; i++) {
        tensor_write(c->mean, 0, i, c->running[0][i]);
        tensor_write(c->var, 0, i, c->running[1][i]);
    }
}

static cudaError_t forward(struct rig *r, void *context) {
    struct norm_case *c = context;
    struct norm_tensors t = {.x = c->x->memory,
                             .skip = c->skip ? c->skip->memory : NULL,
                             .ret_y = c->y->memory,
                             .ret_stats = c->stats->memory,
                             .affine = is_batch(&c->shape) ? &c->affine : NULL};

    return cuda_norm_forward(&r->launch, &c->shape, &t, c->drops ? &c->dropout : NULL,
                             r->workspace);
}

static cudaError_t backward(struct rig *r, void *context) {
    struct norm_case *c = context;
    struct norm_gradients t = {.x = c->x->memory,
                               .stats = c->stats->memory,
                               .dy = c->dy,
                               .ret_dx = c->dx->memory,
                               .ret_dskip = c->dskip ? c->dskip->memory : NULL,
                               .affine = is_batch(&c->shape) ? &c->affine : NULL,
                               .ret_dweight = c->dweight ? c->dweight->memory : NULL,
                               .ret_dbias = c->dbias ? c->dbias->memory : NULL,
                               .accumulate = c->accumulate};

    return cuda_norm_backward(&r->launch, &c->shape, &t, c->drops ? &c->dropout : NULL,
                              r->workspace);
}

static void check_forward(struct norm_case *c) {
    run_in_all_orders(&c->rig, forward, reset_running, c);
    if (c->shape.norm == NORM_BATCH) {
        struct ref_layer moved = c->layer;
        double mean[512], var[512];
        memcpy(mean, c->running[0], sizeof mean);
        memcpy(var, c->running[1], sizeof var);
        moved.running_mean = mean;
        moved.running_var = var;
        ref_norm_move(&c->shape, &moved, c->x->d);
        memcpy(c->mean->d, mean, sizeof(double) * (size_t)c->shape.c);
        memcpy(c->var->d, var, sizeof(double) * (size_t)c->shape.c);
        tensor_check(c->mean, 1e-5, "running mean");
        tensor_check(c->var, 1e-5, "running variance");
    }
    ref_norm(&c->shape, &c->layer, c->x->d, c->skip ? c->skip->d : NULL, c->y->d);
    tensor_check(c->y, bound_of(&c->rig, false), "y");
}

static void check_backward(struct norm_case *c) {
    const struct norm_shape *s = &c->shape;
    struct rig *r = &c->rig;
    struct ref_norm_gradients want = {0};
    double *g = xcalloc(c->x->pixels * (size_t)s->c, sizeof *g);

    // The statistics are an input now.
    free(c->stats->saved);
    free(c->y->saved);
    c->stats->saved = c->y->saved = NULL;
    c->dx = tensor_out(r, ELEMENTS, c->x->pixels, s->c);
    if (c->skip)
        c->dskip = tensor_out(r, ELEMENTS, c->x->pixels, s->c);
    want.dx = c->dx->d;
    if (s->norm == NORM_BATCH) {
        c->dweight = tensor_out(r, FLOATS, 1, s->c);
        c->dbias = tensor_out(r, FLOATS, 1, s->c);
        want.dweight = c->dweight->d;
        want.dbias = c->dbias->d;
    }
    run_in_all_orders(r, backward, NULL, c);
    for (int i = 0; i < c->dy.count; i++)
        ref_fold(s, c->part[i]->d, c->dy.part[i].pad, c->dy.part[i].first, c->dy.part[i].n, g);
    if (c->dskip) {
        memcpy(c->dskip->d, g, c->dskip->pixels * (size_t)s->c * sizeof *g);
        tensor_check(c->dskip, bound_of(r, true), "dskip");
    }
    ref_norm_backward(s, &c->layer, c->x->d, g, &want);
    tensor_check(c->dx, bound_of(r, true), "dx");
    if (c->dweight) {
        tensor_check(c->dweight, 1e-5, "dweight");
        tensor_check(c->dbias, 1e-5, "dbias");
    }
    free(g);
}

static void check_all(enum cuda_element element, const struct cuda_limits *limits) {
    for (unsigned i = 0; i < COUNT(shapes); i++)
        for (int way = 0; way < 5; way++) {
            struct norm_case c;
            bool large = shapes[i].h * shapes[i].w * shapes[i].c > 50000;
            if (large && way != 1 && way != 3)
                continue;
            case_open(&c, &shapes[i], element, limits, way, way >= 2);
            check_forward(&c);
            if (shapes[i].norm != NORM_RUNNING)
                check_backward(&c);
            case_close(&c);
        }
}

static void norms_in_float_are_the_definition(void **state) {
    for (unsigned i = 0; i < COUNT(LIMITS); i++)
        check_all(CUDA_F32, &LIMITS[i]);
}

static void norms_in_bfloat16_are_the_definition(void **state) {
    for (unsigned i = 0; i < COUNT(LIMITS); i++)
        check_all(CUDA_BF16, &LIMITS[i]);
}

static void second_contribution_to_a_batch_norm_is_added(void **state) {
    struct norm_case c;

    case_open(&c, &shapes[9], CUDA_F32, &LIMITS[0], 0, false);
    check_forward(&c);
    check_backward(&c);
    c.accumulate = true;
    succeed(backward(&c.rig, &c));
    for (int i = 0; i < c.shape.c; i++) {
        c.dweight->d[i] *= 2;
        c.dbias->d[i] *= 2;
    }
    tensor_check(c.dweight, 1e-5, "dweight");
    tensor_check(c.dbias, 1e-5, "dbias");
    case_close(&c);
}

// 1 / sqrt(eps) is 316: a mean that is one rounding off shows.
static void constant_picture_normalizes_to_zero(void **state) {
    for (unsigned k = 0; k < COUNT(LIMITS); k++) {
        struct norm_shape s = {.n = 1, .h = 37, .w = 41, .c = 8, .norm = NORM_INSTANCE};
        struct norm_case c;
        case_open(&c, &s, CUDA_F32, &LIMITS[k], 0, false);
        for (size_t i = 0; i < c.x->pixels * 8; i++)
            tensor_write(c.x, i / 8, (int)(i % 8), 0.3);
        succeed(forward(&c.rig, &c));
        for (size_t i = 0; i < c.y->pixels * 8; i++)
            assert_true(fabs(tensor_read(c.y, i / 8, (int)(i % 8))) < 1e-3);
        case_close(&c);
    }
}

// Statistics about a mean that is far from zero: a sum of squares would lose all digits.
static void small_variance_about_a_large_mean_is_exact(void **state) {
    for (unsigned k = 0; k < COUNT(LIMITS); k++) {
        struct norm_shape s = {.n = 1, .h = 40, .w = 41, .c = 16, .norm = NORM_INSTANCE};
        struct norm_case c;
        case_open(&c, &s, CUDA_F32, &LIMITS[k], 0, false);
        for (size_t i = 0; i < c.x->pixels * 16; i++)
            tensor_write(c.x, i / 16, (int)(i % 16), 1000 + c.x->d[i]);
        succeed(forward(&c.rig, &c));
        ref_norm(&c.shape, &c.layer, c.x->d, NULL, c.y->d);
        tensor_check(c.y, 1e-3, "y"); // the mean's rounding, 3e-5, against a deviation of 0.6
        case_close(&c);
    }
}

static void check_one(const struct norm_shape *s, enum cuda_element element,
                      const struct cuda_limits *limits, bool one_pass) {
    struct norm_case c;

    case_open(&c, s, element, limits, 1, false);
    assert_int_equal(cuda_norm_workspace_bytes(&c.rig.launch, s) == 0, one_pass);
    check_forward(&c);
    check_backward(&c);
    case_close(&c);
}

// Two blocks a processor with few threads each; one that has a processor for itself with many.
static void large_pictures_are_taken_by_two_blocks_or_one(void **state) {
    static const struct cuda_limits few = {4, 101376}, many = {132, 101376};
    struct norm_shape s = {
        .n = 8, .h = 24, .w = 25, .c = 32, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU};

    check_one(&s, CUDA_BF16, &few, true);
    check_one(&s, CUDA_BF16, &many, true);
}

// As docs/cuda.md says for compute capability 9.0.
static void the_largest_picture_of_one_pass_fills_shared_memory(void **state) {
    struct norm_shape s = {.n = 1, .h = 115, .w = 115, .c = 8, .norm = NORM_INSTANCE};

    check_one(&s, CUDA_BF16, &LIMITS[0], true);
    s.h = s.w = 116;
    check_one(&s, CUDA_BF16, &LIMITS[0], false);
    s.h = s.w = 81;
    check_one(&s, CUDA_F32, &LIMITS[0], true);
    s.h = s.w = 82;
    check_one(&s, CUDA_F32, &LIMITS[0], false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_in_float_are_the_definition),
        cmocka_unit_test(norms_in_bfloat16_are_the_definition),
        cmocka_unit_test(second_contribution_to_a_batch_norm_is_added),
        cmocka_unit_test(large_pictures_are_taken_by_two_blocks_or_one),
        cmocka_unit_test(the_largest_picture_of_one_pass_fills_shared_memory),
        cmocka_unit_test(constant_picture_normalizes_to_zero),
        cmocka_unit_test(small_variance_about_a_large_mean_is_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
