// The gradient penalty against double precision: a discriminator of plain loops, its gradient by
// the picture from the oracle of the ops, and the gradient of the penalty by finite differences.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "cpu/loss.h"
#include "cpu/tangent.h"
#include "device/device.h"
#include "nets/penalty.h"
#include "trainer/oracle/ops.h"

static uint32_t made; // so that no two arrays hold the same numbers

static double *numbers(size_t count, double scale) {
    double *x = xcalloc(count, sizeof *x);

    made++;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(scale * (2 * rng_uniform(8, RNG_TEST, i, made) - 1));
    return x;
}

static float *as_floats(size_t count, const double *x) {
    float *y = xcalloc(count, sizeof *y);

    for (size_t i = 0; i < count; i++)
        y[i] = (float)x[i];
    return y;
}

// ---- norm and activation along a direction ----

#define H 1e-4 // of differences; with two of them inside each other 1e-6 is what is left

struct tangent_rig {
    struct norm_shape shape;
    size_t count;
    double *x, *dx, *a, *b; // the loss is <a, y> + <b, dy>
    double *weight, *bias;  // [c]; of batch norm
};

static void tangent_rig_open(struct tangent_rig *r, enum norm_kind norm, enum activation act) {
    r->shape = (struct norm_shape){.n = 2, .h = 3, .w = 4, .c = 19, .norm = norm, .act = act};
    r->count = 2 * 3 * 4 * 19;
    r->x = numbers(r->count, 1);
    r->dx = numbers(r->count, 1);
    r->a = numbers(r->count, 1);
    r->b = numbers(r->count, 1);
    r->weight = numbers(19, 1);
    r->bias = numbers(19, 1);
    for (int k = 0; k < 19; k++) // |weight xhat| < sqrt(24): away from the corner, on either side
        r->bias[k] += r->bias[k] > 0 ? 5 : -5;
    // Away from the activation's corner, which differences would see.
    for (size_t i = 0; i < r->count && norm == NORM_NONE; i++)
        r->x[i] += r->x[i] > 0 ? 0.01 : -0.01;
}

static void tangent_rig_close(struct tangent_rig *r) {
    free(r->x);
    free(r->dx);
    free(r->a);
    free(r->b);
    free(r->weight);
    free(r->bias);
}

static void value_at(const struct tangent_rig *r, double e, double *ret_y) {
    struct ref_layer layer = {.weight = r->weight, .bias = r->bias};
    double *x = xcalloc(r->count, sizeof *x);

    for (size_t i = 0; i < r->count; i++)
        x[i] = r->x[i] + e * r->dx[i];
    ref_norm(&r->shape, &layer, x, NULL, ret_y);
    free(x);
}

static double loss_of(const struct tangent_rig *r, double *ret_dy) {
    double *y = xcalloc(3 * r->count, sizeof *y), *plus = y + r->count, *minus = plus + r->count;
    double loss = 0;

    value_at(r, 0, y);
    value_at(r, H, plus);
    value_at(r, -H, minus);
    for (size_t i = 0; i < r->count; i++) {
        double dy = (plus[i] - minus[i]) / (2 * H);
        if (ret_dy)
            ret_dy[i] = dy;
        loss += r->a[i] * y[i] + r->b[i] * dy;
    }
    free(y);
    return loss;
}

static double difference(const struct tangent_rig *r, double *at) {
    double middle = *at, value[2];

    for (int side = 0; side < 2; side++) {
        *at = middle + (side ? -H : H);
        value[side] = loss_of(r, NULL);
    }
    *at = middle;
    return (value[0] - value[1]) / (2 * H);
}

static const struct {
    enum norm_kind norm;
    enum activation act;
} cases[] = {{NORM_NONE, ACT_LEAKY},    {NORM_INSTANCE, ACT_LEAKY}, {NORM_INSTANCE, ACT_NONE},
             {NORM_INSTANCE, ACT_RELU}, {NORM_BATCH, ACT_LEAKY},    {NORM_BATCH, ACT_NONE}};

static void assert_near(size_t count, const float *got, const double *want, double tolerance) {
    double error = 0, size = 0;

    for (size_t i = 0; i < count; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    if (!(sqrt(error) <= tolerance * sqrt(size)))
        fail_msg("relative error %.3g", sqrt(error / size));
}

// Differences of step 1e-4 are good to 1e-6; a term of the formula left out is 1e-1.
static void derivative_along_a_direction_is_a_difference(void **state) {
    for (unsigned i = 0; i < COUNT(cases); i++) {
        struct tangent_rig r;
        tangent_rig_open(&r, cases[i].norm, cases[i].act);
        float *x = as_floats(r.count, r.x), *dx = as_floats(r.count, r.dx);
        float *y = as_floats(r.count, r.x), *dy = as_floats(r.count, r.x);
        double *want = xcalloc(2 * r.count, sizeof *want);
        float *weight = as_floats(19, r.weight), *bias = as_floats(19, r.bias);
        bool batch = r.shape.norm == NORM_BATCH;
        struct norm_affine affine = {.weight = weight, .bias = bias};
        struct tangent_tensors t = {x, dx, y, dy, batch ? &affine : NULL};
        assert_int_equal(cpu_tangent_forward(NULL, &r.shape, &t), ERR_OK);
        value_at(&r, 0, want);
        (void)loss_of(&r, want + r.count); // only for the derivative
        assert_near(r.count, y, want, 1e-6);
        assert_near(r.count, dy, want + r.count, 1e-4);
        void *arrays[] = {x, dx, y, dy, want, weight, bias};
        for (unsigned k = 0; k < COUNT(arrays); k++)
            free(arrays[k]);
        tangent_rig_close(&r);
    }
}

static void gradients_of_that_derivative_are_differences(void **state) {
    for (unsigned i = 0; i < COUNT(cases); i++) {
        struct tangent_rig r;
        tangent_rig_open(&r, cases[i].norm, cases[i].act);
        float *x = as_floats(r.count, r.x), *dx = as_floats(r.count, r.dx);
        float *a = as_floats(r.count, r.a), *b = as_floats(r.count, r.b);
        float *gx = as_floats(r.count, r.x), *gdx = as_floats(r.count, r.x);
        double *want = xcalloc(2 * r.count, sizeof *want);
        float *weight = as_floats(19, r.weight), *bias = as_floats(19, r.bias);
        float line[2][19] = {{0}};
        bool batch = r.shape.norm == NORM_BATCH;
        struct norm_affine affine = {.weight = weight, .bias = bias};
        line[1][3] = 5; // is added to
        struct tangent_gradients t = {.x = x,
                                      .dx = dx,
                                      .g_y = a,
                                      .g_dy = b,
                                      .ret_gx = gx,
                                      .ret_gdx = gdx,
                                      .affine = batch ? &affine : NULL,
                                      .ret_dweight = batch ? line[0] : NULL,
                                      .ret_dbias = batch ? line[1] : NULL,
                                      .accumulate = true};
        assert_int_equal(cpu_tangent_backward(NULL, &r.shape, &t), ERR_OK);
        line[1][3] -= 5;
        for (size_t k = 0; k < r.count; k++) {
            want[k] = difference(&r, &r.x[k]);
            want[r.count + k] = difference(&r, &r.dx[k]);
        }
        assert_near(r.count, gx, want, 1e-4);
        assert_near(r.count, gdx, want + r.count, 1e-4);
        for (size_t k = 0; k < 19 && batch; k++) {
            want[k] = difference(&r, &r.weight[k]);
            want[19 + k] = difference(&r, &r.bias[k]);
        }
        if (batch) {
            assert_near(19, line[0], want, 1e-4);
            assert_near(19, line[1], want + 19, 1e-4);
        }
        void *arrays[] = {x, dx, a, b, gx, gdx, want, weight, bias};
        for (unsigned k = 0; k < COUNT(arrays); k++)
            free(arrays[k]);
        tangent_rig_close(&r);
    }
}

static void penalty_is_the_definition(void **state) {
    static const float g[2][2] = {{3, 4}, {0, 0.5f}};
    struct penalty_args args = {{2, 1, 1, 2}, 10};
    float u[2][2];
    double loss;

    assert_int_equal(cpu_penalty(NULL, &args, g, u, &loss), ERR_OK);
    // 10 / 2 ((5 - 1)^2 + (1/2 - 1)^2), and 10 (|g| - 1) g / |g|
    assert_true(fabs(loss - 81.25) < 1e-9);
    assert_true(fabsf(u[0][0] - 24) < 1e-5f && fabsf(u[0][1] - 32) < 1e-5f);
    assert_true(fabsf(u[1][0]) < 1e-5f && fabsf(u[1][1] + 5) < 1e-5f);
}

// ---- the whole, through a discriminator ----

#define LAYERS 3
#define IN 2
#define NF 3

// D of one inner layer in double: convolutions and, between them, norms with activation.
struct reference {
    enum norm_kind norm;
    struct conv_shape conv[LAYERS];
    struct norm_shape act[LAYERS - 1];
    double *w[LAYERS], *bias[LAYERS]; // bias NULL: none
    double *line[2];                  // weight and bias of the batch norm
    double *x;                        // the picture
};

static size_t out_count(const struct conv_shape *s) {
    int h, w;

    ref_conv_size(s, &h, &w);
    return (size_t)s->n * (size_t)h * (size_t)w * (size_t)s->k;
}

static size_t in_count(const struct conv_shape *s) {
    return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
}

static void reference_open(struct reference *r, enum norm_kind norm) {
    static const int channels[LAYERS + 1] = {IN, NF, 2 * NF, 1};
    int h = 12, w = 10;

    *r = (struct reference){.norm = norm};
    for (int i = 0; i < LAYERS; i++) {
        r->conv[i] = (struct conv_shape){.n = 2,
                                         .c = channels[i],
                                         .h = h,
                                         .w = w,
                                         .k = channels[i + 1],
                                         .r = 4,
                                         .stride = i == 0 ? 2 : 1,
                                         .pad = 1};
        ref_conv_size(&r->conv[i], &h, &w);
        if (i < LAYERS - 1)
            r->act[i] = (struct norm_shape){.n = 2,
                                            .h = h,
                                            .w = w,
                                            .c = channels[i + 1],
                                            .norm = i ? norm : NORM_NONE,
                                            .act = ACT_LEAKY};
        r->w[i] = numbers((size_t)(channels[i] * channels[i + 1] * 16), 0.3);
        if (i != 1)
            r->bias[i] = numbers((size_t)channels[i + 1], 0.3);
    }
    for (int i = 0; i < 2; i++)
        r->line[i] = numbers(2 * NF, 1);
    r->x = numbers(in_count(&r->conv[0]), 1);
}

static void reference_close(struct reference *r) {
    for (int i = 0; i < LAYERS; i++) {
        free(r->w[i]);
        free(r->bias[i]);
    }
    free(r->line[0]);
    free(r->line[1]);
    free(r->x);
}

// 10 mean (|d sum D(x) / d x| - 1)^2
static double reference_penalty(const struct reference *r) {
    struct ref_layer layer = {.weight = r->line[0], .bias = r->line[1]};
    double *in[LAYERS], *out[LAYERS], *g, *dx, dw[16 * NF * 2 * NF], total = 0;

    for (int i = 0; i < LAYERS; i++) {
        out[i] = xcalloc(out_count(&r->conv[i]), sizeof(double));
        in[i] = i ? xcalloc(in_count(&r->conv[i]), sizeof(double)) : r->x;
        if (i)
            ref_norm(&r->act[i - 1], &layer, out[i - 1], NULL, in[i]);
        ref_conv(&r->conv[i], in[i], r->w[i], r->bias[i], out[i]);
    }
    g = xcalloc(out_count(&r->conv[LAYERS - 1]), sizeof *g);
    for (size_t i = 0; i < out_count(&r->conv[LAYERS - 1]); i++)
        g[i] = 1;
    for (int i = LAYERS - 1; i >= 0; i--) {
        dx = xcalloc(in_count(&r->conv[i]), sizeof *dx);
        ref_conv_backward(&r->conv[i], in[i], r->w[i], g, dx, dw, NULL);
        free(g);
        g = dx;
        if (i == 0)
            break;
        struct ref_norm_gradients ret = {.dx = xcalloc(in_count(&r->conv[i]), sizeof *dx)};
        ref_norm_backward(&r->act[i - 1], &layer, out[i - 1], g, &ret);
        free(g);
        g = ret.dx;
    }
    size_t picture = in_count(&r->conv[0]) / 2;
    for (int n = 0; n < 2; n++) {
        double squares = 0;
        for (size_t i = 0; i < picture; i++)
            squares += g[(size_t)n * picture + i] * g[(size_t)n * picture + i];
        total += 5 * (sqrt(squares) - 1) * (sqrt(squares) - 1);
    }
    free(g);
    for (int i = 0; i < LAYERS; i++) {
        free(out[i]);
        if (i)
            free(in[i]);
    }
    return total;
}

static double slope_of_penalty(const struct reference *r, double *at) {
    double middle = *at, value[2];

    for (int side = 0; side < 2; side++) {
        *at = middle + (side ? -1e-6 : 1e-6);
        value[side] = reference_penalty(r);
    }
    *at = middle;
    return (value[0] - value[1]) / 2e-6;
}

// The net's gradient of a parameter against differences, all of it.
static void check_slopes(const struct reference *r, double *param, size_t count,
                         const float *gradient) {
    double *want = xcalloc(count, sizeof *want);

    for (size_t i = 0; i < count; i++)
        want[i] = slope_of_penalty(r, &param[i]);
    assert_near(count, gradient, want, 1e-4);
    free(want);
}

static void check_discriminator(struct reference *r, const char *norm) {
    struct net_options options = {
        .arch = "n_layers", .in_nc = IN, .nf = NF, .n_layers = 1, .norm = norm};
    struct device_options cpu = {.name = "cpu", .threads = 2};
    struct optimizer optimizer;
    struct device *device;
    struct net *net;
    double loss;
    size_t size = 0;
    int gradient, p = 0;

    assert_int_equal(device_open(&cpu, &device), ERR_OK);
    assert_int_equal(discriminator_new(&options, &net), ERR_OK);
    net_reserve(net, &size);
    assert_int_equal(optimizer_init(&optimizer, device, size, 0.5, 0.999), ERR_OK);
    assert_int_equal(net_bind(net, &optimizer), ERR_OK);
    struct graph *g = graph_new(device);
    int x = graph_input(g, 2, 12, 10, IN);
    assert_int_equal(penalty_append(g, net, x, 10, &loss, &gradient), ERR_OK);
    graph_place(g, false);
    void *arena = xaligned(graph_arena_bytes(g));
    memset(arena, 0xff, graph_arena_bytes(g)); // NaN
    for (size_t i = 0; i < in_count(&r->conv[0]); i++)
        ((float *)graph_data(g, arena, x))[i] = (float)r->x[i];

    const float *of_w[LAYERS], *of_bias[LAYERS], *of_line[2] = {NULL};
    for (int i = 0; i < LAYERS; i++) { // the state dict: weight, then bias if there is one
        struct model_param *w = &net_params(net)[p];
        of_w[i] = net_gradient(net, p++);
        for (size_t k = 0; k < w->count; k++)
            w->w[k] = (float)r->w[i][k];
        of_bias[i] = net_gradient(net, p);
        for (int k = 0; r->bias[i] && k < r->conv[i].k; k++)
            net_params(net)[p].w[k] = (float)r->bias[i][k];
        p += r->bias[i] || r->norm == NORM_INSTANCE;
        for (int k = 0; i == 1 && r->norm == NORM_BATCH && k < 2; k++) {
            of_line[k] = net_gradient(net, p);
            for (int c = 0; c < 2 * NF; c++)
                net_params(net)[p].w[c] = (float)r->line[k][c];
            p++;
        }
        p += i == 1 && r->norm == NORM_BATCH ? 3 : 0; // running statistics and their count
    }
    assert_int_equal(optimizer_refresh(&optimizer), ERR_OK);
    assert_int_equal(graph_run(g, arena, 0, graph_n_ops(g), NULL), ERR_OK);
    assert_true(fabs(loss - reference_penalty(r)) <= 1e-5 * loss);
    for (int i = 0; i < LAYERS; i++)
        check_slopes(r, r->w[i], (size_t)(r->conv[i].k * r->conv[i].c * 16), of_w[i]);
    for (int k = 0; k < 2 && r->norm == NORM_BATCH; k++)
        check_slopes(r, r->line[k], 2 * NF, of_line[k]);
    if (r->norm != NORM_NONE) // without a norm the penalty does not see it
        check_slopes(r, r->bias[0], NF, of_bias[0]);
    for (int k = 0; k < NF && r->norm == NORM_NONE; k++)
        assert_true(of_bias[0][k] == 0);
    assert_true(of_bias[LAYERS - 1][0] == 0);
    free(arena);
    graph_free(g);
    net_free(net);
    optimizer_fini(&optimizer);
    device_close(device);
}

// 1e-4 in the relative L2 norm: float twice through the net gives 1e-6, differences of step 1e-6 in
// double 1e-8; what a missing term would change is above 1e-2.
static void gradient_of_the_penalty_by_parameters_is_a_difference(void **state) {
    static const enum norm_kind kinds[] = {NORM_INSTANCE, NORM_NONE, NORM_BATCH};
    static const char *const names[] = {"instance", "none", "batch"};

    for (int i = 0; i < 3; i++) {
        struct reference r;
        reference_open(&r, kinds[i]);
        check_discriminator(&r, names[i]);
        reference_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivative_along_a_direction_is_a_difference),
        cmocka_unit_test(gradients_of_that_derivative_are_differences),
        cmocka_unit_test(penalty_is_the_definition),
        cmocka_unit_test(gradient_of_the_penalty_by_parameters_is_a_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
