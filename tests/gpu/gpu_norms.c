// Norms with activation, dropout, skip, borders and gradients in parts; and tanh.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "gpu/gpu_bench.h"
#include "trainer/oracle/ops.h"

struct norm_case {
    const struct norm_shape *s;
    int ways; // how the gradient is divided, see parts_of; odd: with a skip
    bool drops;
    struct operand x, skip, y, dx, dskip, part[GRAD_PARTS];
    struct floats stats, weight, bias, mean, var, dweight, dbias;
    struct norm_affine affine;
    struct norm_dropout dropout;
    struct device_values values;
    struct ref_layer layer;
    struct grad_sum dy;
    void *workspace;
    bool accumulate;
};

static struct tensor_shape tensor_of(const struct norm_shape *s, int n) {
    return (struct tensor_shape){n, s->h, s->w, s->c};
}

static bool has_affine(const struct norm_shape *s) {
    return s->norm == NORM_BATCH || s->norm == NORM_RUNNING;
}

// Way i of dividing the gradient: parts, borders, ranges of pictures.
static void parts_of(struct bench *b, struct norm_case *c) {
    int n = c->s->n, last = n - 1, pad = c->s->pad;
    const struct {
        int pad, first, n;
    } ways[5][GRAD_PARTS] = {
        {{pad, 0, n}},
        {{0, 0, n}, {pad, 0, n}},
        {{pad, 0, n}, {1, 0, 1}, {0, last, 1}},
        {{3, 0, n}, {2, 0, n}, {1, 0, n}, {0, 0, n}},
        {{pad, last, 1}}, // none for the others
    };

    for (int i = 0; i < GRAD_PARTS && ways[c->ways][i].n; i++) {
        int first = ways[c->ways][i].first, pictures = ways[c->ways][i].n;
        int border = MIN(ways[c->ways][i].pad, MIN(c->s->h, c->s->w) - 1);
        c->part[i] = operand_in(b, tensor_of(c->s, pictures), border);
        c->dy.part[c->dy.count++] = (struct grad_part){c->part[i].memory, border, first, pictures};
    }
}

static void affine_of(struct bench *b, struct norm_case *c) {
    size_t n = (size_t)c->s->c;

    c->weight = floats_in(b, n);
    c->bias = floats_in(b, n);
    c->mean = floats_in(b, n);
    c->var = floats_in(b, n);
    for (size_t i = 0; i < n; i++)
        c->var.host[i] += 1.5;
    floats_send(b, &c->var);
    c->affine =
        (struct norm_affine){c->weight.memory, c->bias.memory, c->mean.memory, c->var.memory};
    c->layer = (struct ref_layer){.weight = c->weight.host,
                                  .bias = c->bias.host,
                                  .running_mean = c->mean.host,
                                  .running_var = c->var.host};
}

static void open_case(struct bench *b, struct norm_case *c, const struct norm_shape *s, int ways,
                      bool drops) {
    struct tensor_shape t = tensor_of(s, s->n);
    size_t rows = s->norm == NORM_INSTANCE ? (size_t)s->n : 1;

    memset(c, 0, sizeof *c);
    c->s = s;
    c->ways = ways;
    c->drops = drops;
    c->x = operand_in(b, t, 0);
    if (ways % 2)
        c->skip = operand_in(b, t, s->skip_pad);
    c->y = operand_out(b, t, s->pad);
    c->dx = operand_out(b, t, 0);
    if (c->skip.memory)
        c->dskip = operand_out(b, t, 0);
    c->stats = floats_out(b, 2 * rows * (size_t)s->c);
    if (has_affine(s))
        affine_of(b, c);
    if (s->norm == NORM_BATCH) {
        c->dweight = floats_out(b, (size_t)s->c);
        c->dbias = floats_out(b, (size_t)s->c);
        c->dweight.least = c->dbias.least = sqrt((double)c->x.pixels / 10);
    }
    c->dropout.op = 5;
    c->values = (struct device_values){.seed = b->g->seed, .step = 77};
    if (drops) {
        c->layer.dropout = &c->dropout;
        c->layer.values = &c->values;
    }
    parts_of(b, c);
    c->workspace = bench_workspace(b, b->d->backend->norm_workspace_bytes(b->d, s));
}

static void close_case(struct bench *b, struct norm_case *c) {
    struct operand *operands[] = {&c->x, &c->skip, &c->y, &c->dx, &c->dskip};
    struct floats *floats[] = {&c->stats, &c->weight,  &c->bias, &c->mean,
                               &c->var,   &c->dweight, &c->dbias};

    for (unsigned i = 0; i < COUNT(operands); i++)
        operand_drop(b, operands[i]);
    for (unsigned i = 0; i < COUNT(floats); i++)
        floats_drop(b, floats[i]);
    for (int i = 0; i < GRAD_PARTS; i++)
        operand_drop(b, &c->part[i]);
    b->d->backend->memory_free(b->d, c->workspace);
}

static void run_forward(struct bench *b, void *context) {
    struct norm_case *c = context;
    struct norm_tensors t = {.x = c->x.memory,
                             .skip = c->skip.memory,
                             .ret_y = c->y.memory,
                             .ret_stats = c->stats.memory,
                             .affine = has_affine(c->s) ? &c->affine : NULL,
                             .dropout = c->drops ? &c->dropout : NULL};

    bench_must(b->d->backend->norm_forward(b->d, c->s, &t, c->workspace));
}

static void run_backward(struct bench *b, void *context) {
    struct norm_case *c = context;
    struct norm_gradients t = {.x = c->x.memory,
                               .stats = c->stats.memory,
                               .dy = c->dy,
                               .ret_dx = c->dx.memory,
                               .ret_dskip = c->dskip.memory,
                               .affine = has_affine(c->s) ? &c->affine : NULL,
                               .dropout = c->drops ? &c->dropout : NULL,
                               .ret_dweight = c->dweight.memory,
                               .ret_dbias = c->dbias.memory,
                               .accumulate = c->accumulate};

    bench_must(b->d->backend->norm_backward(b->d, c->s, &t, c->workspace));
}

// Dropout is inside of sections only.
static void run(struct bench *b, struct norm_case *c, void (*op)(struct bench *b, void *context)) {
    struct device_section *section;

    if (!c->drops) {
        op(b, c);
        return;
    }
    bench_must(b->d->backend->section_new(b->d, &section));
    bench_section(b, section, &c->values, op, c);
    b->d->backend->section_free(section);
}

static void forward_values(struct bench *b, struct norm_case *c) {
    struct gpu_check *g = b->g;

    run(b, c, run_forward);
    ref_norm(c->s, &c->layer, c->x.host, c->skip.host, c->y.host);
    gpu_value(g, "y", operand_error(b, &c->y), b->mode->op);
    if (c->s->norm != NORM_NONE) {
        ref_norm_stats(c->s, &c->layer, c->x.host, c->stats.host);
        gpu_value(g, "stats", floats_error(b, &c->stats), GPU_FLOATS);
    }
    if (c->s->norm == NORM_BATCH)
        ref_norm_move(c->s, &c->layer, c->x.host);
    if (has_affine(c->s)) { // of NORM_RUNNING they stay
        gpu_value(g, "mean", floats_error(b, &c->mean), GPU_FLOATS);
        gpu_value(g, "var", floats_error(b, &c->var), GPU_FLOATS);
    }
}

static void parameter_values(struct bench *b, struct norm_case *c, const char *dweight,
                             const char *dbias) {
    gpu_value(b->g, dweight, floats_error(b, &c->dweight), GPU_FLOATS);
    gpu_value(b->g, dbias, floats_error(b, &c->dbias), GPU_FLOATS);
}

static void backward_values(struct bench *b, struct norm_case *c) {
    const struct norm_shape *s = c->s;
    double *g = xcalloc(c->x.count, sizeof *g);
    struct ref_norm_gradients want = {c->dx.host, c->dweight.host, c->dbias.host};

    run(b, c, run_backward);
    for (int i = 0; i < c->dy.count; i++)
        ref_fold(s, c->part[i].host, c->dy.part[i].pad, c->dy.part[i].first, c->dy.part[i].n, g);
    ref_norm_backward(s, &c->layer, c->x.host, g, &want);
    gpu_value(b->g, "dx", operand_error(b, &c->dx), b->mode->gradient);
    if (c->dskip.memory) {
        memcpy(c->dskip.host, g, c->x.count * sizeof *g);
        gpu_value(b->g, "dskip", operand_error(b, &c->dskip), b->mode->gradient);
    }
    free(g);
    if (s->norm != NORM_BATCH)
        return;
    parameter_values(b, c, "dw", "db");
    c->accumulate = true;
    run(b, c, run_backward);
    for (int i = 0; i < s->c; i++) {
        c->dweight.host[i] *= 2;
        c->dbias.host[i] *= 2;
    }
    parameter_values(b, c, "+dw", "+db");
}

// Which kernels run: they need no workspace where a picture fits shared memory.
static const char *passes(struct bench *b, const struct norm_shape *s) {
    if (s->norm != NORM_INSTANCE)
        return "";
    return b->d->backend->norm_workspace_bytes(b->d, s) ? ", two passes" : ", one pass";
}

static void check_norm(struct bench *b, const struct norm_shape *s, int ways, bool drops) {
    static const char *const kinds[] = {"no norm", "instance", "batch", "running"};
    static const char *const acts[] = {"", " relu", " leaky"};
    struct norm_case c;

    open_case(b, &c, s, ways, drops);
    gpu_row(b->g, b->mode->dtype, "%s%s %dx%dx%dx%d border %d, %d part%s%s%s%s", kinds[s->norm],
            acts[s->act], s->n, s->h, s->w, s->c, s->pad, c.dy.count, c.dy.count > 1 ? "s" : "",
            ways % 2 ? ", skip" : "", drops ? ", dropout" : "", passes(b, s));
    forward_values(b, &c);
    if (s->norm != NORM_RUNNING)
        backward_values(b, &c);
    gpu_row_end(b->g);
    close_case(b, &c);
}

// 1 / sqrt(eps) is 316: a mean that is one rounding off shows. The bound is on |y|.
static void check_constant_picture(struct bench *b) {
    struct norm_shape s = {.n = 1, .h = 37, .w = 41, .c = 8, .norm = NORM_INSTANCE};
    struct norm_case c;
    double *y, worst = 0;

    open_case(b, &c, &s, 0, false);
    for (size_t i = 0; i < c.x.count; i++)
        c.x.host[i] = 0.3;
    operand_send(b, &c.x);
    run(b, &c, run_forward);
    y = xcalloc(c.y.count, sizeof *y);
    operand_fetch(b, &c.y, y);
    for (size_t i = 0; i < c.y.count; i++)
        worst = isnan(y[i]) ? INFINITY : fmax(worst, fabs(y[i]));
    gpu_row(b->g, b->mode->dtype, "a constant picture is normalised to zero%s", passes(b, &s));
    gpu_value(b->g, "largest", worst, 1e-3);
    gpu_row_end(b->g);
    free(y);
    close_case(b, &c);
}

// Statistics about a mean far from zero: a sum of squares would lose all digits. The bound is the
// mean's rounding, 3e-5, against a deviation of 0.6.
static void check_large_mean(struct bench *b) {
    struct norm_shape s = {.n = 1, .h = 40, .w = 41, .c = 16, .norm = NORM_INSTANCE};
    struct norm_case c;

    if (b->d->element_bytes != sizeof(float))
        return;
    open_case(b, &c, &s, 0, false);
    for (size_t i = 0; i < c.x.count; i++)
        c.x.host[i] += 1000;
    operand_send(b, &c.x);
    run(b, &c, run_forward);
    ref_norm(&s, NULL, c.x.host, NULL, c.y.host);
    gpu_row(b->g, b->mode->dtype, "instance norm about a mean of 1000%s", passes(b, &s));
    gpu_value(b->g, "y", operand_error(b, &c.y), 1e-3);
    gpu_row_end(b->g);
    close_case(b, &c);
}

static void check_tanh(struct bench *b, const struct norm_shape *s) {
    const struct backend *k = b->d->backend;
    struct tensor_shape t = tensor_of(s, s->n);
    struct operand x = operand_in(b, t, 0), y_in = operand_in(b, t, 0);
    struct operand y = operand_out(b, t, 0), dx = operand_out(b, t, 0);
    struct operand front = operand_in(b, tensor_of(s, s->n - 1), 0);
    struct operand back = operand_in(b, tensor_of(s, 1), 2);
    struct grad_sum dy = {2, {{front.memory, 0, 0, s->n - 1}, {back.memory, 2, s->n - 1, 1}}};
    void *workspace = bench_workspace(b, k->norm_workspace_bytes(b->d, s));

    bench_must(k->tanh_forward(b->d, s, x.memory, y.memory));
    bench_must(k->tanh_backward(b->d, s, y_in.memory, &dy, dx.memory, workspace));
    ref_fold(s, front.host, 0, 0, s->n - 1, dx.host);
    ref_fold(s, back.host, 2, s->n - 1, 1, dx.host);
    for (size_t i = 0; i < x.count; i++) {
        y.host[i] = tanh(x.host[i]);
        dx.host[i] *= 1 - y_in.host[i] * y_in.host[i];
    }
    gpu_row(b->g, b->mode->dtype, "tanh %dx%dx%dx%d, 2 parts", s->n, s->h, s->w, s->c);
    gpu_value(b->g, "y", operand_error(b, &y), b->mode->op);
    gpu_value(b->g, "dx", operand_error(b, &dx), b->mode->op);
    gpu_row_end(b->g);
    k->memory_free(b->d, workspace);
    struct operand *all[] = {&x, &y_in, &y, &dx, &front, &back};
    for (unsigned i = 0; i < COUNT(all); i++)
        operand_drop(b, all[i]);
}

static const struct norm_shape small[] = {
    {2, 7, 5, 3, 3, 0, NORM_NONE, ACT_NONE},        {1, 4, 6, 20, 0, 1, NORM_NONE, ACT_LEAKY},
    {2, 5, 5, 8, 1, 0, NORM_NONE, ACT_RELU},        {3, 5, 7, 8, 1, 0, NORM_INSTANCE, ACT_RELU},
    {2, 6, 4, 17, 1, 1, NORM_INSTANCE, ACT_NONE},   {2, 4, 4, 32, 3, 0, NORM_INSTANCE, ACT_LEAKY},
    {1, 33, 31, 72, 0, 3, NORM_INSTANCE, ACT_NONE}, {3, 5, 7, 8, 1, 0, NORM_BATCH, ACT_RELU},
    {2, 40, 3, 17, 0, 1, NORM_BATCH, ACT_NONE},     {5, 3, 2, 5, 0, 0, NORM_BATCH, ACT_LEAKY},
    {2, 5, 4, 6, 3, 0, NORM_RUNNING, ACT_RELU},     {1, 2, 2, 20, 0, 1, NORM_RUNNING, ACT_NONE},
};

// The largest that go in one pass on compute capability 9.0, in bf16 and in float: launches of
// nearly all shared memory, which need the kernel's attribute set. Smaller GPUs take two passes.
static const struct norm_shape edge[] = {
    {1, 115, 115, 8, 1, 0, NORM_INSTANCE, ACT_RELU},
    {1, 81, 81, 8, 1, 0, NORM_INSTANCE, ACT_RELU},
};

// As the nets have them: blocks at 128 and 256, a first layer at 256, D's at batch 16.
static const struct norm_shape large[] = {
    {2, 32, 32, 256, 1, 1, NORM_INSTANCE, ACT_RELU},
    {2, 64, 64, 256, 1, 1, NORM_INSTANCE, ACT_NONE},
    {2, 128, 128, 64, 3, 0, NORM_INSTANCE, ACT_RELU},
    {1, 256, 256, 64, 3, 0, NORM_INSTANCE, ACT_RELU},
    {34, 32, 32, 256, 1, 1, NORM_INSTANCE, ACT_RELU}, // two blocks a processor
    {16, 15, 15, 512, 0, 0, NORM_BATCH, ACT_LEAKY},
    {1, 64, 64, 128, 0, 0, NORM_BATCH, ACT_RELU},
    {2, 256, 256, 64, 0, 0, NORM_NONE, ACT_LEAKY},
};

void gpu_norms(struct bench *b) {
    static const struct norm_shape heads[] = {{.n = 4, .h = 5, .w = 4, .c = 11},
                                              {.n = 2, .h = 31, .w = 17, .c = 3}};

    for (unsigned i = 0; i < COUNT(small); i++)
        for (int ways = 0; ways < 5; ways++)
            if ((!b->two_passes || small[i].norm == NORM_INSTANCE) &&
                (small[i].norm != NORM_RUNNING || ways < 2))
                check_norm(b, &small[i], ways, (i + (unsigned)ways) % 2);
    for (unsigned i = 0; i < COUNT(edge) && !b->two_passes; i++)
        check_norm(b, &edge[i], 1, false);
    for (unsigned i = 0; i < COUNT(large) && !b->g->small; i++)
        if (!b->two_passes || large[i].norm == NORM_INSTANCE)
            check_norm(b, &large[i], (int)i % 2, i == 0);
    check_constant_picture(b);
    check_large_mean(b);
    for (unsigned i = 0; i < COUNT(heads) && !b->two_passes; i++)
        check_tanh(b, &heads[i]);
}
