// Every op of the CPU backend against double precision, and that oracle against differences.
//
// Tolerance 1e-5 in the relative L2 norm: float sums of some thousand terms stay a factor of 10
// below, a wrong eps, border or mask is above.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "device/device.h"
#include "trainer/oracle/ops.h"

#define TOLERANCE 1e-5

// A tensor twice: for the device and, the same numbers, for the oracle.
struct pair {
    size_t count;
    float *f;
    double *d;
};

static uint32_t pairs_made; // so that no two hold the same numbers

static struct pair pair_new(size_t count) {
    struct pair p = {count, xaligned(count * sizeof(float)), xcalloc(count, sizeof(double))};

    pairs_made++;
    for (size_t i = 0; i < count; i++)
        p.d[i] = p.f[i] = (float)(2 * rng_uniform(7, RNG_TEST, i, pairs_made) - 1);
    return p;
}

// For an output: the device has to overwrite every NaN.
static struct pair pair_poisoned(size_t count) {
    struct pair p = {count, xaligned(count * sizeof(float)), xcalloc(count, sizeof(double))};

    for (size_t i = 0; i < count; i++)
        p.f[i] = NAN;
    return p;
}

static void pair_fini(struct pair *p) {
    free(p->f);
    free(p->d);
}

static void assert_pair_agrees(const struct pair *p) {
    double error = 0, size = 0;

    for (size_t i = 0; i < p->count; i++) {
        error += ((double)p->f[i] - p->d[i]) * ((double)p->f[i] - p->d[i]);
        size += p->d[i] * p->d[i];
    }
    if (!(sqrt(error) <= TOLERANCE * sqrt(size)))
        fail_msg("relative error %.3g", sqrt(error / size));
}

static struct device *open_device(const char *winograd) {
    struct device_options options = {.name = "cpu", .threads = 2, .winograd = winograd};
    struct device *d;

    assert_int_equal(device_open(&options, &d), ERR_OK);
    return d;
}

struct conv_case {
    struct conv_shape shape;
    const char *winograd;
};

// The layers of the nets at odd sizes, and what else the shapes allow.
static const struct conv_case convs[] = {
    {{.n = 2, .c = 3, .h = 15, .w = 13, .k = 5, .r = 7, .stride = 1, .bias = true}, "off"},
    {{.n = 1, .c = 4, .h = 9, .w = 12, .k = 8, .r = 3, .stride = 2, .pad = 1}, "off"},
    {{.n = 3, .c = 5, .h = 8, .w = 7, .k = 6, .r = 3, .stride = 1}, "off"},
    {{.n = 3, .c = 5, .h = 8, .w = 7, .k = 6, .r = 3, .stride = 1}, "f2"},
    {{.n = 3, .c = 5, .h = 9, .w = 7, .k = 6, .r = 3, .stride = 1}, "f4"},
    {{.n = 2, .c = 32, .h = 10, .w = 14, .k = 48, .r = 3, .stride = 1}, "auto"},
    {{.n = 2, .c = 16, .h = 11, .w = 8, .k = 32, .r = 3, .stride = 2, .pad = 1, .bias = true},
     "off"},
    {{.n = 2, .c = 3, .h = 15, .w = 12, .k = 16, .r = 7, .stride = 1, .bias = true}, "off"},
    {{.n = 2, .c = 32, .h = 15, .w = 12, .k = 3, .r = 7, .stride = 1, .bias = true}, "off"},
    {{.n = 1, .c = 16, .h = 9, .w = 8, .k = 1, .r = 3, .stride = 1}, "off"},
    {{.n = 1, .c = 32, .h = 9, .w = 6, .k = 16, .r = 4, .stride = 1, .pad = 1}, "off"},
    {{.n = 2,
      .c = 32,
      .h = 4,
      .w = 5,
      .k = 16,
      .r = 3,
      .stride = 2,
      .pad = 1,
      .out_pad = 1,
      .transposed = true,
      .bias = true},
     "off"},
    {{.n = 2, .c = 3, .h = 17, .w = 12, .k = 4, .r = 4, .stride = 2, .pad = 1, .bias = true},
     "off"},
    {{.n = 1, .c = 7, .h = 6, .w = 5, .k = 1, .r = 4, .stride = 1, .pad = 1, .bias = true}, "off"},
    {{.n = 2, .c = 6, .h = 5, .w = 4, .k = 8, .r = 1, .stride = 1, .bias = true}, "off"},
    {{.n = 2,
      .c = 6,
      .h = 5,
      .w = 7,
      .k = 3,
      .r = 3,
      .stride = 2,
      .pad = 1,
      .out_pad = 1,
      .transposed = true},
     "off"},
    {{.n = 2,
      .c = 8,
      .h = 4,
      .w = 3,
      .k = 4,
      .r = 4,
      .stride = 2,
      .pad = 1,
      .transposed = true,
      .bias = true},
     "off"},
};

// A convolution ready to run, with tensors.
struct conv_rig {
    struct device *device;
    struct device_weights *weights;
    struct device_conv *conv;
    struct conv_shape shape;
    struct pair x, w, bias, y, dy, dx, dw, dbias;
    void *workspace;
};

static void conv_rig_open(struct conv_rig *r, const struct conv_case *c) {
    const struct conv_shape *s = &c->shape;
    int64_t dims[4] = {s->transposed ? s->c : s->k, s->transposed ? s->k : s->c, s->r, s->r};
    size_t filter = (size_t)(s->k * s->c * s->r * s->r);
    int h, w;

    ref_conv_size(s, &h, &w);
    r->shape = *s;
    r->device = open_device(c->winograd);
    r->x = pair_new((size_t)(s->n * s->h * s->w * s->c));
    r->w = pair_new(filter);
    r->bias = pair_new((size_t)s->k);
    r->dy = pair_new((size_t)(s->n * h * w * s->k));
    r->y = pair_poisoned(r->dy.count);
    r->dx = pair_poisoned(r->x.count);
    r->dw = pair_poisoned(filter);
    r->dbias = pair_poisoned((size_t)s->k);
    r->weights = r->device->backend->weights_new(r->device, r->w.f, dims);
    assert_int_equal(r->device->backend->conv_new(r->weights, s, true, &r->conv), ERR_OK);
    assert_int_equal(r->device->backend->weights_refresh(r->device, &r->weights, 1), ERR_OK);
    size_t bytes = r->device->backend->conv_workspace_bytes(r->conv);
    r->workspace = xaligned(bytes + 64);
    memset(r->workspace, 0xff, bytes); // NaN
}

static void conv_rig_close(struct conv_rig *r) {
    r->device->backend->conv_free(r->conv);
    r->device->backend->weights_free(r->weights);
    device_close(r->device);
    struct pair *all[] = {&r->x, &r->w, &r->bias, &r->y, &r->dy, &r->dx, &r->dw, &r->dbias};
    for (unsigned i = 0; i < COUNT(all); i++)
        pair_fini(all[i]);
    free(r->workspace);
}

static void run_backward(struct conv_rig *r, bool accumulate) {
    struct conv_gradients t = {
        .x = r->x.f,
        .dy = r->dy.f,
        .ret_dx = r->dx.f,
        .ret_dw = r->dw.f,
        .ret_dbias = r->shape.bias ? r->dbias.f : NULL,
        .accumulate = accumulate,
    };

    assert_int_equal(r->device->backend->conv_backward(r->conv, &t, r->workspace), ERR_OK);
}

static void conv_forward_is_the_definition(void **state) {
    for (unsigned i = 0; i < COUNT(convs); i++) {
        struct conv_rig r;
        conv_rig_open(&r, &convs[i]);
        bool bias = r.shape.bias;
        ref_conv(&r.shape, r.x.d, r.w.d, bias ? r.bias.d : NULL, r.y.d);
        assert_int_equal(r.device->backend->conv_forward(r.conv, r.x.f, bias ? r.bias.f : NULL,
                                                         r.y.f, r.workspace),
                         ERR_OK);
        assert_pair_agrees(&r.y);
        conv_rig_close(&r);
    }
}

static void conv_gradients_are_the_definition(void **state) {
    for (unsigned i = 0; i < COUNT(convs); i++) {
        struct conv_rig r;
        conv_rig_open(&r, &convs[i]);
        ref_conv_backward(&r.shape, r.x.d, r.w.d, r.dy.d, r.dx.d, r.dw.d, r.dbias.d);
        run_backward(&r, false);
        assert_pair_agrees(&r.dx);
        assert_pair_agrees(&r.dw);
        if (r.shape.bias)
            assert_pair_agrees(&r.dbias);
        conv_rig_close(&r);
    }
}

static void second_contribution_to_a_weight_gradient_is_added(void **state) {
    for (unsigned i = 0; i < COUNT(convs); i++) {
        struct conv_rig r;
        conv_rig_open(&r, &convs[i]);
        ref_conv_backward(&r.shape, r.x.d, r.w.d, r.dy.d, r.dx.d, r.dw.d, r.dbias.d);
        for (size_t k = 0; k < r.dw.count; k++)
            r.dw.d[k] *= 2;
        for (size_t k = 0; k < r.dbias.count; k++)
            r.dbias.d[k] *= 2;
        run_backward(&r, false);
        run_backward(&r, true);
        assert_pair_agrees(&r.dw);
        if (r.shape.bias)
            assert_pair_agrees(&r.dbias);
        conv_rig_close(&r);
    }
}

static void changed_weights_count_after_a_refresh(void **state) {
    struct conv_rig r;

    conv_rig_open(&r, &convs[5]); // by Winograd's algorithm
    for (size_t i = 0; i < r.w.count; i++)
        r.w.d[i] = r.w.f[i] = -2 * r.w.f[i];
    assert_int_equal(r.device->backend->weights_refresh(r.device, &r.weights, 1), ERR_OK);
    ref_conv(&r.shape, r.x.d, r.w.d, NULL, r.y.d);
    assert_int_equal(r.device->backend->conv_forward(r.conv, r.x.f, NULL, r.y.f, r.workspace),
                     ERR_OK);
    assert_pair_agrees(&r.y);
    conv_rig_close(&r);
}

static void convolutions_repeat_their_bits(void **state) {
    for (unsigned i = 0; i < COUNT(convs); i++) {
        struct conv_rig r;
        conv_rig_open(&r, &convs[i]);
        float *dw = xcalloc(r.dw.count, sizeof *dw), *dx = xcalloc(r.dx.count, sizeof *dx);
        run_backward(&r, false);
        memcpy(dw, r.dw.f, r.dw.count * sizeof *dw);
        memcpy(dx, r.dx.f, r.dx.count * sizeof *dx);
        run_backward(&r, false);
        assert_memory_equal(dw, r.dw.f, r.dw.count * sizeof *dw);
        assert_memory_equal(dx, r.dx.f, r.dx.count * sizeof *dx);
        free(dw);
        free(dx);
        conv_rig_close(&r);
    }
}

static const struct norm_shape norms[] = {
    {.n = 2, .h = 7, .w = 5, .c = 3, .pad = 3, .norm = NORM_NONE},
    {.n = 1, .h = 4, .w = 6, .c = 9, .norm = NORM_NONE, .act = ACT_LEAKY},
    {.n = 3, .h = 5, .w = 7, .c = 8, .pad = 1, .norm = NORM_INSTANCE, .act = ACT_RELU},
    {.n = 2, .h = 6, .w = 3, .c = 17, .pad = 1, .skip_pad = 1, .norm = NORM_INSTANCE},
    {.n = 2, .h = 4, .w = 4, .c = 32, .pad = 3, .norm = NORM_INSTANCE, .act = ACT_RELU},
    {.n = 2, .h = 3, .w = 1, .c = 4, .norm = NORM_INSTANCE, .act = ACT_LEAKY},
    {.n = 3, .h = 5, .w = 7, .c = 8, .pad = 1, .norm = NORM_BATCH, .act = ACT_RELU},
    {.n = 2, .h = 40, .w = 3, .c = 17, .pad = 1, .skip_pad = 1, .norm = NORM_BATCH},
    {.n = 5, .h = 2, .w = 1, .c = 5, .norm = NORM_BATCH, .act = ACT_LEAKY},
    {.n = 1, .h = 6, .w = 9, .c = 70, .norm = NORM_BATCH, .act = ACT_LEAKY},
    {.n = 2, .h = 5, .w = 4, .c = 6, .pad = 3, .norm = NORM_RUNNING, .act = ACT_RELU},
    {.n = 1, .h = 1, .w = 1, .c = 6, .norm = NORM_RUNNING},
};

static size_t padded_count(const struct norm_shape *s, int pad) {
    return (size_t)(s->n * (s->h + 2 * pad) * (s->w + 2 * pad) * s->c);
}

// A section whose ops are issued.
static struct device_section *begin(struct device *d, const struct device_values *values) {
    struct device_section *section;
    bool issue = false;

    assert_int_equal(d->backend->section_new(d, &section), ERR_OK);
    assert_int_equal(d->backend->section_begin(section, values, &issue), ERR_OK);
    assert_true(issue);
    return section;
}

static void end(struct device *d, struct device_section *section) {
    assert_int_equal(d->backend->section_end(section), ERR_OK);
    d->backend->section_free(section);
}

// A norm ready to run, with tensors; for the device and for the oracle.
struct norm_rig {
    struct device *device;
    struct norm_shape shape;
    struct pair x, y, skip, stats, a, b, dx, dskip;
    struct pair weight, bias, mean, var, dweight, dbias;
    struct norm_affine affine;
    struct norm_dropout dropout;
    struct device_values values;
    struct device_section *section;
    struct ref_layer layer;
    struct norm_tensors forward;
    struct norm_gradients backward;
    void *workspace;
};

static bool is_batch(const struct norm_shape *s) {
    return s->norm == NORM_BATCH || s->norm == NORM_RUNNING;
}

static void norm_rig_pairs(struct norm_rig *r) {
    const struct norm_shape *s = &r->shape;
    size_t c = (size_t)s->c;

    r->x = pair_new(padded_count(s, 0));
    r->y = pair_poisoned(padded_count(s, s->pad));
    r->skip = pair_new(padded_count(s, s->skip_pad));
    r->stats = pair_poisoned((size_t)(2 * s->n * s->c));
    r->a = pair_new(r->y.count);
    r->b = pair_new(r->x.count);
    r->dx = pair_poisoned(r->x.count);
    r->dskip = pair_poisoned(r->x.count);
    struct pair *vectors[] = {&r->weight, &r->bias, &r->mean, &r->var};
    for (unsigned i = 0; i < COUNT(vectors); i++)
        *vectors[i] = pair_new(c);
    for (size_t i = 0; i < c; i++)
        r->var.d[i] = r->var.f[i] = 1.5f + r->var.f[i];
    r->dweight = pair_poisoned(c);
    r->dbias = pair_poisoned(c);
}

static void norm_rig_open(struct norm_rig *r, const struct norm_shape *s, bool dropout) {
    *r = (struct norm_rig){.device = open_device("auto"),
                           .shape = *s,
                           .dropout = {77},
                           .values = {.seed = 11, .step = 5}};
    norm_rig_pairs(r);
    r->affine = (struct norm_affine){r->weight.f, r->bias.f, r->mean.f, r->var.f};
    r->layer = (struct ref_layer){
        r->weight.d, r->bias.d, r->mean.d, r->var.d, dropout ? &r->dropout : NULL, &r->values};
    r->forward = (struct norm_tensors){
        .x = r->x.f,
        .ret_y = r->y.f,
        .ret_stats = r->stats.f,
        .affine = is_batch(s) ? &r->affine : NULL,
        .dropout = r->layer.dropout,
    };
    r->backward = (struct norm_gradients){
        .x = r->x.f,
        .stats = r->stats.f,
        .dy = {2, {{r->a.f, s->pad, 0, s->n}, {r->b.f, 0, 0, s->n}}},
        .ret_dx = r->dx.f,
        .ret_dskip = r->dskip.f,
        .affine = r->forward.affine,
        .dropout = r->layer.dropout,
        .ret_dweight = is_batch(s) ? r->dweight.f : NULL,
        .ret_dbias = is_batch(s) ? r->dbias.f : NULL,
    };
    r->workspace = xaligned(r->device->backend->norm_workspace_bytes(r->device, s) + 64);
    r->section = begin(r->device, &r->values);
}

static void norm_rig_close(struct norm_rig *r) {
    end(r->device, r->section);
    struct pair *all[] = {&r->x,    &r->y,   &r->skip,    &r->stats,  &r->a,
                          &r->b,    &r->dx,  &r->dskip,   &r->weight, &r->bias,
                          &r->mean, &r->var, &r->dweight, &r->dbias};

    for (unsigned i = 0; i < COUNT(all); i++)
        pair_fini(all[i]);
    free(r->workspace);
    device_close(r->device);
}

static void run_norm_forward(struct norm_rig *r) {
    const struct backend *b = r->device->backend;

    assert_int_equal(b->norm_forward(r->device, &r->shape, &r->forward, r->workspace), ERR_OK);
}

static void run_norm_backward(struct norm_rig *r) {
    const struct backend *b = r->device->backend;

    assert_int_equal(b->norm_backward(r->device, &r->shape, &r->backward, r->workspace), ERR_OK);
}

static void norm_forward_is_the_definition(void **state) {
    for (unsigned i = 0; i < 4 * COUNT(norms); i++) {
        struct norm_rig r;
        bool with_skip = i & 1, dropout = i & 2;
        norm_rig_open(&r, &norms[i / 4], dropout);
        r.forward.skip = with_skip ? r.skip.f : NULL;
        ref_norm(&r.shape, &r.layer, r.x.d, with_skip ? r.skip.d : NULL, r.y.d);
        if (r.shape.norm == NORM_BATCH)
            ref_norm_move(&r.shape, &r.layer, r.x.d);
        run_norm_forward(&r);
        assert_pair_agrees(&r.y);
        assert_pair_agrees(&r.mean);
        assert_pair_agrees(&r.var);
        norm_rig_close(&r);
    }
}

static void norm_gradient_is_the_definition(void **state) {
    for (unsigned i = 0; i < 2 * COUNT(norms); i++) {
        struct norm_rig r;
        norm_rig_open(&r, &norms[i / 2], i & 1);
        const struct norm_shape *s = &r.shape;
        struct ref_norm_gradients want = {r.dx.d, r.dweight.d, r.dbias.d};
        if (s->norm == NORM_RUNNING) {
            norm_rig_close(&r);
            continue;
        }
        run_norm_forward(&r);
        run_norm_backward(&r);
        ref_fold(s, r.a.d, s->pad, 0, s->n, r.dskip.d);
        ref_fold(s, r.b.d, 0, 0, s->n, r.dskip.d);
        ref_norm_backward(s, &r.layer, r.x.d, r.dskip.d, &want);
        assert_pair_agrees(&r.dskip);
        assert_pair_agrees(&r.dx);
        if (is_batch(s)) {
            assert_pair_agrees(&r.dweight);
            assert_pair_agrees(&r.dbias);
        }
        norm_rig_close(&r);
    }
}

static void second_contribution_to_a_batch_norm_is_added(void **state) {
    struct norm_rig r;

    norm_rig_open(&r, &norms[6], false);
    run_norm_forward(&r);
    run_norm_backward(&r);
    for (size_t i = 0; i < r.dweight.count; i++) {
        r.dweight.d[i] = 2 * r.dweight.f[i];
        r.dbias.d[i] = 2 * r.dbias.f[i];
    }
    r.backward.accumulate = true;
    run_norm_backward(&r);
    assert_pair_agrees(&r.dweight);
    assert_pair_agrees(&r.dbias);
    norm_rig_close(&r);
}

static void dropout_drops_half_and_draws_anew_for_each_index(void **state) {
    struct norm_shape s = {.n = 4, .h = 32, .w = 30, .c = 13, .norm = NORM_NONE};
    struct norm_rig r;
    size_t dropped = 0, moved = 0;

    norm_rig_open(&r, &s, true);
    run_norm_forward(&r);
    memcpy(r.dx.f, r.y.f, r.y.count * sizeof(float));
    r.dropout.op++;
    run_norm_forward(&r);
    for (size_t i = 0; i < r.y.count; i++) {
        dropped += r.y.f[i] == 0;
        moved += r.y.f[i] != r.dx.f[i];
        assert_true(r.y.f[i] == 0 || r.y.f[i] == 2 * r.x.f[i]);
    }
    // 49920 fair coins: their standard deviation is 112, six of them 670.
    assert_in_range(dropped, 24960 - 670, 24960 + 670);
    assert_in_range(moved, 24960 - 670, 24960 + 670);
    norm_rig_close(&r);
}

static void constant_picture_normalizes_to_zero(void **state) {
    struct device *d = open_device("auto");
    struct norm_shape s = {.n = 1, .h = 5, .w = 5, .c = 8, .norm = NORM_INSTANCE};
    struct pair x = pair_new(padded_count(&s, 0)), y = pair_poisoned(x.count);
    struct pair stats = pair_poisoned(16);
    void *workspace = xaligned(d->backend->norm_workspace_bytes(d, &s) + 64);
    struct norm_tensors t = {.x = x.f, .ret_y = y.f, .ret_stats = stats.f};

    for (size_t i = 0; i < x.count; i++)
        x.f[i] = 0.3f;
    assert_int_equal(d->backend->norm_forward(d, &s, &t, workspace), ERR_OK);
    for (size_t i = 0; i < y.count; i++)
        assert_true(fabsf(y.f[i]) < 1e-4f); // rounding of the mean, times 1 / sqrt(eps) = 316
    pair_fini(&x);
    pair_fini(&y);
    pair_fini(&stats);
    free(workspace);
    device_close(d);
}

static void tanh_gradient_sums_parts_of_the_batch(void **state) {
    struct device *d = open_device("auto");
    struct norm_shape s = {.n = 4, .h = 5, .w = 3, .c = 3};
    struct pair x = pair_new(padded_count(&s, 0)), y = pair_poisoned(x.count);
    struct pair a = pair_new(x.count / 4 * 2), b = pair_new(x.count / 4 * 2);
    struct pair dx = pair_poisoned(x.count);
    void *workspace = xaligned(d->backend->norm_workspace_bytes(d, &s) + 64);
    struct grad_sum dy = {2, {{a.f, 0, 0, 2}, {b.f, 0, 1, 2}}}; // none for the last picture

    for (size_t i = 0; i < x.count; i++)
        y.d[i] = tanh(x.d[i]);
    ref_fold(&s, a.d, 0, 0, 2, dx.d);
    ref_fold(&s, b.d, 0, 1, 2, dx.d);
    for (size_t i = 0; i < x.count; i++)
        dx.d[i] *= 1 - y.d[i] * y.d[i];
    assert_int_equal(d->backend->tanh_forward(d, &s, x.f, y.f), ERR_OK);
    assert_int_equal(d->backend->tanh_backward(d, &s, y.f, &dy, dx.f, workspace), ERR_OK);
    assert_pair_agrees(&y);
    assert_pair_agrees(&dx);
    struct pair *all[] = {&x, &y, &a, &b, &dx};
    for (unsigned k = 0; k < COUNT(all); k++)
        pair_fini(all[k]);
    free(workspace);
    device_close(d);
}

static void check_concat(struct device *d, enum activation act) {
    struct concat_shape s = {35, 3, 5, act};
    struct pair a = pair_new(35 * 3), b = pair_new(35 * 5), dy = pair_new(35 * 8);
    struct pair y = pair_poisoned(dy.count), da = pair_poisoned(a.count);
    struct pair db = pair_poisoned(b.count);
    struct concat_gradients t = {y.f, dy.f, da.f, db.f}, half = {y.f, dy.f, NULL, db.f};

    for (int p = 0; p < 35; p++)
        for (int k = 0; k < 8; k++) {
            double x = k < 3 ? a.d[3 * p + k] : b.d[5 * p + k - 3];
            bool passes = act == ACT_NONE || x > 0;
            y.d[8 * p + k] = passes ? x : 0;
            *(k < 3 ? &da.d[3 * p + k] : &db.d[5 * p + k - 3]) = passes ? dy.d[8 * p + k] : 0;
        }
    assert_int_equal(d->backend->concat_forward(d, &s, a.f, b.f, y.f), ERR_OK);
    assert_int_equal(d->backend->concat_backward(d, &s, &t), ERR_OK);
    assert_pair_agrees(&y);
    assert_pair_agrees(&da);
    assert_pair_agrees(&db);
    memset(db.f, 0xff, db.count * sizeof *db.f); // NaN
    assert_int_equal(d->backend->concat_backward(d, &s, &half), ERR_OK);
    assert_pair_agrees(&db);
    struct pair *all[] = {&a, &b, &dy, &y, &da, &db};
    for (unsigned k = 0; k < COUNT(all); k++)
        pair_fini(all[k]);
}

static void concat_is_the_definition(void **state) {
    struct device *d = open_device("auto");

    check_concat(d, ACT_RELU);
    check_concat(d, ACT_NONE);
    device_close(d);
}

static void l1_is_the_definition(void **state) {
    struct device *d = open_device("auto");
    struct pair a = pair_new(1237), b = pair_new(1237), grad = pair_poisoned(1237);
    struct l1_args args = {{1, 1, (int)a.count, 1}, 10};
    double loss, want;

    a.d[5] = a.f[5] = b.f[5]; // equal: no gradient
    want = ref_l1(a.count, 10, a.d, b.d, grad.d);
    assert_int_equal(d->backend->l1(d, &args, a.f, b.f, grad.f, &loss), ERR_OK);
    assert_true(fabs(loss - want) <= TOLERANCE * want);
    assert_true(grad.f[5] == 0);
    assert_pair_agrees(&grad);
    pair_fini(&a);
    pair_fini(&b);
    pair_fini(&grad);
    device_close(d);
}

static void gan_losses_are_the_definition(void **state) {
    struct device *d = open_device("auto");

    for (int mode = GAN_LSGAN; mode <= GAN_NONSATURATING; mode++)
        for (int real = 0; real < 2; real++) {
            struct pair x = pair_new(391), grad = pair_poisoned(391);
            struct gan_args args = {(enum gan_mode)mode, real, {1, 1, (int)x.count, 1}, 0.5};
            double loss, want = ref_gan(&args, x.d, grad.d);
            assert_int_equal(d->backend->gan(d, &args, x.f, grad.f, &loss), ERR_OK);
            assert_true(fabs(loss - want) <= TOLERANCE);
            assert_pair_agrees(&grad);
            pair_fini(&x);
            pair_fini(&grad);
        }
    device_close(d);
}

static void adam_is_the_definition(void **state) {
    struct device *d = open_device("auto");
    struct pair p = pair_new(517), m = pair_poisoned(517), v = pair_poisoned(517);

    memset(m.f, 0, m.count * sizeof *m.f);
    memset(v.f, 0, v.count * sizeof *v.f);
    for (int t = 1; t <= 3; t++) {
        struct pair g = pair_new(517);
        int bad = 0;
        struct adam_args args = {g.count, 0.5, 0.999, t == 2 ? &bad : NULL};
        struct device_values values = {.lr = 2e-4, .t = t};
        ref_adam(&args, &values, g.d, p.d, m.d, v.d);
        struct device_section *section = begin(d, &values);
        assert_int_equal(d->backend->adam(d, &args, g.f, p.f, m.f, v.f), ERR_OK);
        end(d, section);
        assert_int_equal(bad, 0);
        pair_fini(&g);
    }
    assert_pair_agrees(&p);
    assert_pair_agrees(&m);
    assert_pair_agrees(&v);
    pair_fini(&p);
    pair_fini(&m);
    pair_fini(&v);
    device_close(d);
}

static double dot(const struct pair *a, const struct pair *b) {
    double sum = 0;

    for (size_t i = 0; i < a->count; i++)
        sum += a->d[i] * b->d[i];
    return sum;
}

// Central differences of sum(y dy) in double agree to 1e-6: step 1e-5, so the cubic term is 1e-10
// and the cancellation 1e-11.
static void assert_slope(double plus, double minus, double want) {
    assert_true(fabs((plus - minus) / 2e-5 - want) <= 1e-6 * fmax(1, fabs(want)));
}

static void judge_of_convolutions_agrees_with_differences(void **state) {
    for (unsigned i = 0; i < COUNT(convs); i++) {
        struct conv_rig r;
        conv_rig_open(&r, &convs[i]);
        ref_conv_backward(&r.shape, r.x.d, r.w.d, r.dy.d, r.dx.d, r.dw.d, r.dbias.d);
        struct pair *vary[] = {&r.x, &r.w, &r.bias}, *grad[] = {&r.dx, &r.dw, &r.dbias};
        for (int k = 0; k < 3; k++) {
            double value[2], *at = &vary[k]->d[vary[k]->count / 2], middle = *at;
            for (int side = 0; side < 2; side++) {
                *at = middle + (side ? -1e-5 : 1e-5);
                ref_conv(&r.shape, r.x.d, r.w.d, r.bias.d, r.y.d);
                value[side] = dot(&r.y, &r.dy);
            }
            *at = middle;
            assert_slope(value[0], value[1], grad[k]->d[grad[k]->count / 2]);
        }
        conv_rig_close(&r);
    }
}

// d sum(y a) by the middle element of `vary`, twice: by differences, and `want`.
static void check_norm_slope(struct norm_rig *r, struct pair *vary, const struct pair *want) {
    double value[2], *at = &vary->d[vary->count / 2], middle = *at;

    for (int side = 0; side < 2; side++) {
        *at = middle + (side ? -1e-5 : 1e-5);
        ref_norm(&r->shape, &r->layer, r->x.d, NULL, r->y.d);
        value[side] = dot(&r->y, &r->a);
    }
    *at = middle;
    assert_slope(value[0], value[1], want->d[vary->count / 2]);
}

static void judge_of_norms_agrees_with_differences(void **state) {
    for (unsigned i = 0; i < 2 * COUNT(norms); i++) {
        struct norm_rig r;
        norm_rig_open(&r, &norms[i / 2], i & 1);
        struct ref_norm_gradients grad = {r.dx.d, r.dweight.d, r.dbias.d};
        if (r.shape.norm != NORM_RUNNING) {
            ref_fold(&r.shape, r.a.d, r.shape.pad, 0, r.shape.n, r.dskip.d);
            ref_norm_backward(&r.shape, &r.layer, r.x.d, r.dskip.d, &grad);
            check_norm_slope(&r, &r.x, &r.dx);
        }
        if (r.shape.norm == NORM_BATCH) {
            check_norm_slope(&r, &r.weight, &r.dweight);
            check_norm_slope(&r, &r.bias, &r.dbias);
        }
        norm_rig_close(&r);
    }
}

static void device_that_is_not_there_is_refused(void **state) {
    struct device_options cuda = {.name = "cuda", .threads = 1};
    struct device_options unknown = {.name = "abacus", .threads = 1};
    struct device_options threads = {.name = "cpu", .threads = 0};
    struct device_options winograd = {.name = "cpu", .threads = 1, .winograd = "f8"};
    struct device *d;

    assert_int_equal(device_open(&cuda, &d), ERR_DEVICE);
    assert_non_null(strstr(err_text(), "\"auto\""));
    assert_int_equal(device_open(&unknown, &d), ERR_DEVICE);
    assert_int_equal(device_open(&threads, &d), ERR_CONFIG);
    assert_int_equal(device_open(&winograd, &d), ERR_CONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_forward_is_the_definition),
        cmocka_unit_test(conv_gradients_are_the_definition),
        cmocka_unit_test(second_contribution_to_a_weight_gradient_is_added),
        cmocka_unit_test(changed_weights_count_after_a_refresh),
        cmocka_unit_test(convolutions_repeat_their_bits),
        cmocka_unit_test(norm_forward_is_the_definition),
        cmocka_unit_test(norm_gradient_is_the_definition),
        cmocka_unit_test(second_contribution_to_a_batch_norm_is_added),
        cmocka_unit_test(dropout_drops_half_and_draws_anew_for_each_index),
        cmocka_unit_test(constant_picture_normalizes_to_zero),
        cmocka_unit_test(tanh_gradient_sums_parts_of_the_batch),
        cmocka_unit_test(concat_is_the_definition),
        cmocka_unit_test(l1_is_the_definition),
        cmocka_unit_test(gan_losses_are_the_definition),
        cmocka_unit_test(adam_is_the_definition),
        cmocka_unit_test(judge_of_convolutions_agrees_with_differences),
        cmocka_unit_test(judge_of_norms_agrees_with_differences),
        cmocka_unit_test(device_that_is_not_there_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
