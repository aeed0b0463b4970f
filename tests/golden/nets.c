// Kinds forward, backward, init and gradient_penalty: one net.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "device/device.h"
#include "golden/golden.h"
#include "golden/rig.h"
#include "nets/init.h"
#include "nets/nets.h"
#include "nets/optimizer.h"
#include "nets/penalty.h"

// A net with all that it takes to run it.
struct rig {
    struct device *device;
    struct net *net;
    struct optimizer optimizer;
    struct graph *graph;
    void *arena;
    int shape[4], out_shape[4]; // N,C,H,W
    int x, y, r;
};

int golden_net_new(const struct json *net, struct net **ret_net) {
    struct net_options options = {
        .arch = json_text(net, "arch", ""),
        .in_nc = (int)json_int(net, "in_nc", 3),
        .out_nc = (int)json_int(net, "out_nc", 3),
        .nf = (int)json_int(net, "nf", 64),
        .n_layers = (int)json_int(net, "n_layers", 3),
        .norm = json_text(net, "norm", ""),
        .dropout = json_bool(net, "dropout"),
        .antialias = json_bool(net, "antialias"),
    };
    const char *type = json_text(net, "type", "");

    if (strcmp(type, "G") == 0)
        return generator_new(&options, ret_net);
    if (strcmp(type, "D") == 0)
        return discriminator_new(&options, ret_net);
    return err_set(ERR_CONFIG, "nets of type %s are not built yet", type);
}

static void fill_param(struct model_param *p, uint32_t index, double scale) {
    switch (p->kind) {
    case PARAM_NORM_WEIGHT:
        for (size_t i = 0; i < p->count; i++)
            p->w[i] = golden_value(index, (uint32_t)i, 0.2, 1);
        break;
    case PARAM_NORM_BIAS:
        golden_fill(p->w, p->count, index, 0.1);
        break;
    case PARAM_RUNNING_MEAN:
    case PARAM_RUNNING_VAR:
        for (size_t i = 0; i < p->count; i++)
            p->w[i] = p->kind == PARAM_RUNNING_VAR;
        break;
    case PARAM_BATCHES:
        *p->batches = 0;
        break;
    case PARAM_FIXED:
        break;
    default:
        golden_fill(p->w, p->count, index, scale);
    }
}

void golden_net_fill(const struct json *net, int n_params, struct model_param *params) {
    uint32_t base = (uint32_t)json_int(net, "base", 0);

    for (int i = 0; i < n_params; i++)
        fill_param(&params[i], base + (uint32_t)i, json_number(net, "wscale", 0.1));
}

void golden_check_buffer(struct golden_case *j, const struct json *check, int n_params,
                         const struct model_param *params) {
    const char *key = json_text(check, "key", "");

    for (int i = 0; i < n_params; i++) {
        const struct model_param *p = &params[i];
        if (strcmp(p->key, key) != 0)
            continue;
        if (p->kind != PARAM_BATCHES)
            (void)check_floats(j, key, check, p->w, p->count); // it counts failures
        else if (*p->batches != json_int_at(json_get(check, "ints"), 0))
            golden_complain(j, "%s is %lld", key, (long long)*p->batches);
        return;
    }
    golden_complain(j, "there is no parameter %s", key);
}

static int rig_open(struct rig *r, const struct golden_case *j, const struct json *net) {
    struct device_options options = {
        .name = j->device, .threads = 2, .winograd = j->winograd, .dtype = j->dtype};
    size_t size = 0;
    int err = golden_net_new(net, &r->net);

    if (err)
        return err;
    err = device_open(&options, &r->device);
    if (err)
        return err;
    net_reserve(r->net, &size);
    err = optimizer_init(&r->optimizer, r->device, size, 0.5, 0.999);
    return err ? err : net_bind(r->net, &r->optimizer);
}

// To the device, for a new tape.
static int rig_push(struct rig *r) {
    int err = r->device->backend->memory_new(r->device, graph_arena_bytes(r->graph), &r->arena);

    if (!err)
        err = optimizer_push(&r->optimizer);
    return err ? err : net_push(r->net);
}

// Runs the tape.
static int rig_go(struct rig *r) {
    const struct backend *b = r->device->backend;
    struct device_section *section = NULL;
    bool issue = false;
    int err = b->section_new(r->device, &section);

    if (!err)
        err = b->section_begin(section, &(struct device_values){0}, &issue);
    if (err)
        return err;
    err = issue ? graph_run(r->graph, r->arena, 0, graph_n_ops(r->graph), NULL) : ERR_OK;
    err = device_section_end(r->device, section, err);
    b->section_free(section);
    graph_count_batches(r->graph, 0, graph_n_ops(r->graph));
    if (!err)
        err = device_wait(r->device);
    return err ? err : net_pull(r->net);
}

// A tensor as floats; the caller frees them.
static float *rig_read(struct golden_case *j, struct rig *r, int tensor) {
    size_t bytes = graph_count(r->graph, tensor) * sizeof(float);
    float *x = xmalloc(bytes);
    void *shared = NULL;

    memset(x, 0xff, bytes); // NaN
    if (r->device->backend->shared_new(r->device, bytes, &shared) ||
        graph_read(r->graph, r->arena, tensor, PIXELS_FLOAT, shared) || device_wait(r->device))
        golden_complain(j, "%s", err_text());
    else
        memcpy(x, shared, bytes);
    r->device->backend->shared_free(r->device, shared);
    return x;
}

static int rig_write(struct rig *r, int tensor, const int shape[4], uint32_t index) {
    float *x = xmalloc(graph_count(r->graph, tensor) * sizeof *x);

    golden_fill_pictures(x, shape, index);
    int err = graph_write(r->graph, r->arena, tensor, PIXELS_FLOAT, x);
    free(x);
    return err;
}

// Drops the tape.
static void rig_reset(struct rig *r) {
    if (r->device && r->arena)
        r->device->backend->memory_free(r->device, r->arena);
    graph_free(r->graph);
    r->arena = NULL;
    r->graph = NULL;
}

static void rig_close(struct rig *r) {
    rig_reset(r);
    net_free(r->net);
    optimizer_fini(&r->optimizer);
    device_close(r->device);
}

// The tape: forward and, if wanted, the backward of the loss sum(out r).
static int rig_build(struct rig *r, bool backward, enum net_mode mode) {
    int err;

    r->graph = graph_new(r->device);
    r->x = graph_input(r->graph, r->shape[0], r->shape[2], r->shape[3], r->shape[1]);
    if (backward)
        graph_require_gradient(r->graph, r->x);
    err = net_forward(r->net, r->graph, r->x, mode, &r->y);
    if (err)
        return err;
    graph_keep(r->graph, r->y);
    struct graph_size s = graph_size(r->graph, r->y);
    memcpy(r->out_shape, (int[4]){s.n, s.c, s.h, s.w}, sizeof r->out_shape);
    if (backward) {
        r->r = graph_input(r->graph, s.n, s.h, s.w, s.c);
        graph_dot(r->graph, r->y, r->r);
        graph_backward(r->graph);
        graph_keep(r->graph, graph_gradient(r->graph, r->x));
    }
    graph_place(r->graph, false);
    return rig_push(r);
}

static int run_pass(struct rig *r, const struct json *c, const struct json *pass) {
    bool eval = strcmp(json_text(pass, "mode", ""), "eval") == 0;
    int err;

    rig_reset(r);
    err = rig_build(r, json_get(c, "r_index") != NULL, eval ? NET_EVAL : NET_TRAIN);
    if (err)
        return err;
    err = rig_write(r, r->x, r->shape, (uint32_t)json_int(pass, "index", 0));
    if (!err && json_get(c, "r_index"))
        err = rig_write(r, r->r, r->out_shape, (uint32_t)json_int(c, "r_index", 0));
    return err ? err : rig_go(r);
}

static int rig_run(struct rig *r, const struct json *c) {
    const struct json *passes = json_get(c, "passes");
    int err = ERR_OK;

    for (int i = 0; i < json_count(passes) && !err; i++)
        err = run_pass(r, c, json_at(passes, i));
    return err;
}

static void check_pictures(struct golden_case *j, const char *what, const struct json *check,
                           struct rig *r, int tensor) {
    struct graph_size s = graph_size(r->graph, tensor);
    size_t count = graph_count(r->graph, tensor);
    double *a = xcalloc(count, sizeof *a);
    float *x = rig_read(j, r, tensor);

    golden_to_nchw(x, (int[4]){s.n, s.c, s.h, s.w}, a);
    (void)check_tensor(j, what, check, a, count); // it counts failures
    free(a);
    free(x);
}

static void check_gradient(struct golden_case *j, struct rig *r, const struct json *check) {
    const char *key = json_text(check, "key", "");
    struct model_param *params = net_params(r->net);

    for (int i = 0; i < net_n_params(r->net); i++)
        if (strcmp(params[i].key, key) == 0) {
            float *g = xcalloc(params[i].count, sizeof *g);
            if (r->device->backend->copy_out(r->device, g, net_gradient(r->net, i),
                                             params[i].count * sizeof *g))
                golden_complain(j, "%s", err_text());
            (void)check_floats(j, key, check, g, params[i].count);
            free(g);
            return;
        }
    golden_complain(j, "there is no parameter %s", key);
}

static void check_net(struct golden_case *j, struct rig *r, const struct json *check) {
    const char *q = json_text(check, "q", "");

    if (strcmp(q, "out") == 0)
        check_pictures(j, q, check, r, r->y);
    else if (strcmp(q, "dx") == 0)
        check_pictures(j, q, check, r, graph_gradient(r->graph, r->x));
    else if (strcmp(q, "grad") == 0)
        check_gradient(j, r, check);
    else if (strcmp(q, "buffer") == 0)
        golden_check_buffer(j, check, net_n_params(r->net), net_params(r->net));
    else
        golden_complain(j, "unknown quantity \"%s\"", q);
}

void case_forward(struct golden_case *j, const struct json *c) {
    struct rig r = {0};
    const struct json *checks = json_get(c, "check");
    int err = rig_open(&r, j, json_get(c, "net"));

    if (err == ERR_CONFIG || err == ERR_DEVICE) {
        golden_skip(j, "%s", err_text());
        rig_close(&r);
        return;
    }
    for (int i = 0; i < 4; i++)
        r.shape[i] = (int)json_int_at(json_get(c, "shape"), i);
    golden_net_fill(json_get(c, "net"), net_n_params(r.net), net_params(r.net));
    err = rig_run(&r, c);
    if (err)
        golden_complain(j, "%s", err_text());
    for (int i = 0; !err && i < json_count(checks); i++)
        check_net(j, &r, json_at(checks, i));
    rig_close(&r);
}

static void check_gram(struct golden_case *j, const struct json *check, const float *w) {
    int rows = (int)json_int(check, "rows", 0), cols = (int)json_int(check, "cols", 0);
    double gain = json_number(check, "gain", 1), worst = 0;
    int count = MIN(rows, cols), length = MAX(rows, cols);
    int across = rows <= cols ? cols : 1, along = rows <= cols ? 1 : cols;

    for (int a = 0; a < count; a++)
        for (int b = 0; b <= a; b++) {
            double sum = a == b ? -gain * gain : 0;
            for (int k = 0; k < length; k++)
                sum += (double)w[a * across + k * along] * (double)w[b * across + k * along];
            worst = fmax(worst, fabs(sum));
        }
    if (!(worst <= 1e-5 * gain * gain))
        golden_fail(j, "Gram matrix", worst, 0, 1e-5 * gain * gain);
}

static void check_statistics(struct golden_case *j, const struct json *check, const float *w,
                             size_t count) {
    const char *key = json_text(check, "key", "");
    double sum = 0, squares = 0, mean = json_number(check, "mean", NAN);

    for (size_t i = 0; i < count; i++)
        sum += w[i];
    sum /= (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (w[i] - sum) * (w[i] - sum);
    squares = sqrt(squares / (double)count);
    if (strcmp(json_text(check, "dist", ""), "const") == 0) {
        if (sum != mean || squares != 0)
            golden_fail(j, key, sum, mean, 0);
        return;
    }
    if (!(fabs(sum - mean) <= json_number(check, "tol_mean", NAN)))
        golden_fail(j, key, sum, mean, json_number(check, "tol_mean", NAN));
    if (!(fabs(squares - json_number(check, "std", NAN)) <= json_number(check, "tol_std", NAN)))
        golden_fail(j, key, squares, json_number(check, "std", NAN),
                    json_number(check, "tol_std", NAN));
    if (strcmp(json_text(check, "dist", ""), "orthogonal") == 0)
        check_gram(j, check, w);
}

static void check_init(struct golden_case *j, struct rig *r, const struct json *check) {
    const char *key = json_text(check, "key", "");
    struct model_param *params = net_params(r->net);

    for (int i = 0; i < net_n_params(r->net); i++)
        if (strcmp(params[i].key, key) == 0) {
            check_statistics(j, check, params[i].w, params[i].count);
            return;
        }
    golden_complain(j, "there is no parameter %s", key);
}

void case_init(struct golden_case *j, const struct json *c) {
    struct rig r = {0};
    const struct json *checks = json_get(c, "check");
    struct init_args args = {.gain = json_number(c, "init_gain", 0.02), .seed = 1};
    int err = init_type_parse(json_text(c, "init_type", ""), &args.type);

    if (!err)
        err = rig_open(&r, j, json_get(c, "net"));
    if (err) {
        golden_skip(j, "%s", err_text());
        rig_close(&r);
        return;
    }
    for (int i = 0; i < net_n_params(r.net); i++) {
        struct model_param *p = &net_params(r.net)[i];
        args.sub = (uint32_t)i;
        init_param(&args, p);
    }
    for (int i = 0; i < json_count(checks); i++)
        check_init(j, &r, json_at(checks, i));
    rig_close(&r);
}

// x, mixed of the two inputs as the case says.
static int write_mixed(struct rig *r, const struct json *c) {
    size_t picture = (size_t)r->shape[1] * (size_t)r->shape[2] * (size_t)r->shape[3];
    size_t count = picture * (size_t)r->shape[0];
    float *x = xcalloc(count, sizeof *x), *fake = xcalloc(count, sizeof *fake);
    const char *type = json_text(c, "type", "");

    golden_fill_pictures(x, r->shape, (uint32_t)json_int(c, "index_real", 0));
    golden_fill_pictures(fake, r->shape, (uint32_t)json_int(c, "index_fake", 0));
    for (size_t i = 0; i < count; i++) {
        double alpha = strcmp(type, "real") == 0 ? 1
                       : strcmp(type, "fake") == 0
                           ? 0
                           : json_number_at(json_get(c, "alpha"), (int)(i / picture));
        x[i] = (float)(alpha * x[i] + (1 - alpha) * fake[i]);
    }
    int err = graph_write(r->graph, r->arena, r->x, PIXELS_FLOAT, x);
    free(fake);
    free(x);
    return err;
}

static void check_norms(struct golden_case *j, struct rig *r, const struct json *check) {
    size_t n = (size_t)r->shape[0];
    size_t picture = (size_t)r->shape[1] * (size_t)r->shape[2] * (size_t)r->shape[3];
    float *g = rig_read(j, r, r->y);
    double *norm = xcalloc(n, sizeof *norm);

    for (size_t i = 0; i < n * picture; i++)
        norm[i / picture] += ((double)g[i] + 1e-16) * ((double)g[i] + 1e-16);
    for (size_t i = 0; i < n; i++)
        norm[i] = sqrt(norm[i]);
    (void)check_tensor(j, "grad_norm", check, norm, n); // it counts failures
    free(norm);
    free(g);
}

static int penalty_rig_run(struct rig *r, const struct json *c, double *ret_loss) {
    r->graph = graph_new(r->device);
    r->x = graph_input(r->graph, r->shape[0], r->shape[2], r->shape[3], r->shape[1]);
    int err =
        penalty_append(r->graph, r->net, r->x, json_number(c, "lambda_gp", 10), ret_loss, &r->y);
    if (err)
        return err;
    graph_keep(r->graph, r->y);
    graph_place(r->graph, false);
    err = rig_push(r);
    if (!err)
        err = write_mixed(r, c);
    return err ? err : rig_go(r);
}

static void check_penalty(struct golden_case *j, struct rig *r, const struct json *check,
                          double loss) {
    const char *q = json_text(check, "q", "");

    if (strcmp(q, "value") == 0)
        (void)check_scalar(j, q, check, loss); // it counts failures
    else if (strcmp(q, "grad_norm") == 0)
        check_norms(j, r, check);
    else if (strcmp(q, "dx") == 0)
        check_pictures(j, q, check, r, r->y);
    else if (strcmp(q, "grad") == 0)
        check_gradient(j, r, check);
    else
        golden_complain(j, "unknown quantity \"%s\"", q);
}

void case_gradient_penalty(struct golden_case *j, const struct json *c) {
    struct rig r = {0};
    const struct json *checks = json_get(c, "check");
    void *loss = NULL;
    int err = rig_open(&r, j, json_get(c, "net"));

    if (err == ERR_CONFIG || err == ERR_DEVICE) {
        golden_skip(j, "%s", err_text());
        rig_close(&r);
        return;
    }
    for (int i = 0; i < 4; i++)
        r.shape[i] = (int)json_int_at(json_get(c, "shape"), i);
    golden_net_fill(json_get(c, "net"), net_n_params(r.net), net_params(r.net));
    err = r.device->backend->shared_new(r.device, sizeof(double), &loss);
    if (!err)
        err = penalty_rig_run(&r, c, loss);
    if (err)
        golden_complain(j, "%s", err_text());
    for (int i = 0; !err && i < json_count(checks); i++)
        check_penalty(j, &r, json_at(checks, i), *(double *)loss);
    r.device->backend->shared_free(r.device, loss);
    rig_close(&r);
}
