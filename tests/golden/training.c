// Kinds cycle_gan, pix2pix and cut: training steps through model.h, with a pool of the test's own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "config/config.h"
#include "golden/golden.h"
#include "golden/rig.h"
#include "models/model.h"

// The replay pool of one domain, written from its definition: once full, a draw (p, id) swaps the
// picture with slot id if p > 0.5.
struct test_pool {
    int size, count, drawn;
    const struct json *draws;
    size_t picture; // floats
    float *slots;
};

struct training {
    struct golden_case *result;
    const struct json *c;
    struct model *model;
    int n, step;                 // step counts from 1
    int shape[2][4];             // of this step's A and B, N,C,H,W
    const struct json *input[2]; // by enum model_domain
    float *initial[4];           // all parameters of a net at the start, in state-dict order
    struct test_pool pool[2];
    float *pooled[2];
};

static const struct json *find_net(const struct json *c, const char *name) {
    const struct json *nets = json_get(c, "nets");

    for (int i = 0; i < json_count(nets); i++)
        if (strcmp(json_text(json_at(nets, i), "name", ""), name) == 0)
            return json_at(nets, i);
    return NULL;
}

// [0,4,8] as "0,4,8".
static void layers_text(const struct json *layers, char *ret, size_t size) {
    size_t at = 0;

    ret[0] = 0;
    for (int i = 0; i < json_count(layers) && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%lld", i ? "," : "", json_int_at(layers, i));
}

static int new_model(struct training *t) {
    const struct json *c = t->c, *nets = json_get(c, "nets");
    const char *kind = json_text(c, "kind", ""), *gan_mode = json_text(c, "gan_mode", "");
    bool cycle = strcmp(kind, "cycle_gan") == 0;
    const struct json *g = json_at(nets, 0), *d = json_at(nets, cycle ? 2 : 1);
    char layers[64];

    layers_text(json_get(c, "nce_layers"), layers, sizeof layers);
    struct config_trainer options = {
        .model = (char *)kind,
        .device = (char *)t->result->device,
        .dtype = (char *)t->result->dtype,
        .winograd = (char *)t->result->winograd,
        .netG = (char *)json_text(g, "arch", ""),
        .netD = (char *)json_text(d, "arch", ""),
        .norm = (char *)json_text(g, "norm", ""),
        .gan_mode = (char *)(strcmp(gan_mode, "wgangp") == 0 ? "wgangp_no_penalty" : gan_mode),
        .input_nc = (int)json_int(g, "in_nc", 3),
        .output_nc = (int)json_int(g, "out_nc", 3),
        .ngf = (int)json_int(g, "nf", 64),
        .ndf = (int)json_int(d, "nf", 64),
        .n_layers_D = (int)json_int(d, "n_layers", 3),
        .beta1 = json_number(c, "beta1", 0.5),
        .beta2 = json_number(c, "beta2", 0.999),
        .lambda_A = json_number(c, "lambda_A", 10),
        .lambda_B = json_number(c, "lambda_B", 10),
        .lambda_identity = json_number(c, "lambda_identity", 0),
        .lambda_L1 = json_number(c, "lambda_L1", 100),
        .lambda_GAN = json_number(c, "lambda_GAN", 1),
        .lambda_NCE = json_number(c, "lambda_NCE", 1),
        .nce_T = json_number(c, "nce_T", 0.07),
        .nce_layers = layers,
        .netF_nc = (int)json_int(c, "netF_nc", 256),
        .num_patches = (int)json_int(c, "num_patches", 256),
        .nce_idt = json_bool(c, "nce_idt"),
        .nce_includes_all_negatives_from_minibatch = json_bool(c, "all_negatives"),
        .flip_equivariance = json_bool(c, "flip_equivariance"),
        .no_antialias = !json_bool(g, "antialias"),
        .no_dropout = true,
        .threads = 2,
        .shapes = 2,
    };

    return model_new(&options, &(struct model_host){0}, &t->model);
}

static void fill_nets(struct training *t) {
    for (int i = 0; i < model_n_nets(t->model); i++) {
        struct model_net *net = model_net(t->model, i);
        size_t size = 0;
        golden_net_fill(find_net(t->c, net->name), net->n_params, net->params);
        for (int k = 0; k < net->n_params; k++)
            size += net->params[k].count;
        t->initial[i] = xcalloc(size, sizeof(float));
        size = 0;
        for (int k = 0; k < net->n_params; k++) {
            if (net->params[k].w)
                memcpy(t->initial[i] + size, net->params[k].w,
                       net->params[k].count * sizeof(float));
            size += net->params[k].count;
        }
    }
}

// Which input is A: direction BtoA exchanges them.
static void find_inputs(struct training *t) {
    const struct json *inputs = json_get(t->c, "inputs");
    bool swap = strcmp(json_text(t->c, "direction", "AtoB"), "BtoA") == 0;

    for (int i = 0; i < json_count(inputs); i++) {
        bool is_a = strcmp(json_text(json_at(inputs, i), "name", ""), "A") == 0;
        t->input[is_a != swap ? MODEL_A : MODEL_B] = json_at(inputs, i);
    }
    for (int d = 0; d < 2; d++) {
        const struct json *shape = json_get(t->input[d], "shape");
        struct test_pool *pool = &t->pool[d];
        for (int k = 0; k < 3; k++)
            t->shape[d][k + 1] = (int)json_int_at(shape, k);
        pool->size = (int)json_int(t->c, "pool_size", 0);
        pool->draws = json_get(json_get(t->c, "pool_draws"), d == MODEL_A ? "A" : "B");
        pool->picture = (size_t)t->shape[d][1] * (size_t)t->shape[d][2] * (size_t)t->shape[d][3];
        pool->slots = xcalloc(pool->picture * (size_t)pool->size + 1, sizeof(float));
    }
}

static void exchange(struct test_pool *p, const float *in, float *out) {
    size_t bytes = p->picture * sizeof(float);
    const struct json *draw;

    memcpy(out, in, bytes);
    if (p->size == 0)
        return;
    if (p->count < p->size) {
        memcpy(p->slots + p->picture * (size_t)p->count++, in, bytes);
        return;
    }
    draw = json_at(p->draws, p->drawn++);
    if (json_number_at(draw, 0) > 0.5) {
        float *slot = p->slots + p->picture * (size_t)json_int_at(draw, 1);
        memcpy(out, slot, bytes);
        memcpy(slot, in, bytes);
    }
}

static void exchange_batch(struct training *t, enum model_domain d) {
    struct test_pool *p = &t->pool[d];
    const float *fake = model_fake(t->model, d);

    if (!fake)
        return;
    t->pooled[d] = xrealloc(t->pooled[d], p->picture * (size_t)t->n * sizeof(float));
    for (int i = 0; i < t->n; i++)
        exchange(p, fake + p->picture * (size_t)i, t->pooled[d] + p->picture * (size_t)i);
}

// The file's patches and flip; the caller frees the patches.
static void take_draws(struct training *t, struct model_draws *ret) {
    const struct json *calls = json_at(json_get(t->c, "patch_ids"), t->step - 1);

    *ret = (struct model_draws){.flip = json_int_at(json_get(t->c, "flips"), t->step - 1) == 1};
    for (int call = 0; call < json_count(calls); call++)
        for (int l = 0; l < json_count(json_at(calls, call)); l++) {
            const struct json *ids = json_at(json_at(calls, call), l);
            int *patches = xcalloc((size_t)json_count(ids), sizeof *patches);
            for (int i = 0; i < json_count(ids); i++)
                patches[i] = (int)json_int_at(ids, i);
            ret->patches[call][l] = patches;
        }
}

static int generate(struct training *t) {
    struct model_draws draws;

    take_draws(t, &draws);
    model_set_draws(t->model, &draws);
    int err = model_generate(t->model);
    for (int i = 0; i < 2 * MODEL_PATCH_LAYERS; i++)
        free((int *)draws.patches[i / MODEL_PATCH_LAYERS][i % MODEL_PATCH_LAYERS]);
    return err;
}

static int feed(struct training *t, enum model_domain d) {
    const int *s = t->shape[d];
    long long index =
        json_int(t->input[d], "index0", 0) + json_int(t->input[d], "stride", 0) * (t->step - 1);
    float *x = xcalloc((size_t)s[0] * (size_t)s[1] * (size_t)s[2] * (size_t)s[3], sizeof *x);

    golden_fill_pictures(x, s, (uint32_t)index);
    int err = model_feed_floats(t->model, d, x);
    free(x);
    return err;
}

static int run_step(struct training *t) {
    const int *a = t->shape[MODEL_A], *b = t->shape[MODEL_B];
    double lr = json_number_at(json_get(t->c, "lr"), t->step - 1);
    int err = model_shape(t->model, t->n, a[2], a[3], b[2], b[3]);

    if (err)
        return err;
    for (int d = 0; d < 2 && !err; d++)
        err = feed(t, d);
    if (!err)
        err = generate(t);
    if (err)
        return err;
    exchange_batch(t, MODEL_B);
    exchange_batch(t, MODEL_A);
    for (int part = 0; part < 2 && !err; part++)
        if (model_d_first(t->model) == (part == 0))
            err = model_update_d(t->model, lr, t->pooled[MODEL_A], t->pooled[MODEL_B]);
        else
            err = model_update_g(t->model, lr);
    if (!err)
        err = model_wait(t->model);
    return err ? err : model_pull(t->model);
}

static bool excluded(const struct json *c, const char *net, const char *key) {
    const struct json *keys = json_get(json_get(c, "excluded"), net);

    for (int i = 0; i < json_count(keys); i++)
        if (strcmp(json_text_at(keys, i), key) == 0)
            return true;
    return false;
}

// Appends `what` (delta, m, v) of a parameter to a[*n].
static void append(const char *what, const struct model_param *p, const float *initial, double *a,
                   size_t *n) {
    for (size_t i = 0; i < p->count; i++)
        a[(*n)++] = strcmp(what, "m") == 0   ? (double)p->m[i]
                    : strcmp(what, "v") == 0 ? (double)p->v[i]
                                             : (double)p->w[i] - (double)initial[i];
}

// `what` is delta, m or v; of one key, or of all parameters that are not excluded if key is NULL.
static void check_parameters(struct training *t, const struct json *check, const char *what,
                             const char *key) {
    const char *name = json_text(check, "net", "");
    size_t n = 0, at = 0, size = 0;
    char label[192];
    double *a;

    for (int i = 0; i < model_n_nets(t->model); i++) {
        struct model_net *net = model_net(t->model, i);
        if (strcmp(net->name, name) != 0)
            continue;
        for (int k = 0; k < net->n_params; k++)
            size += net->params[k].count;
        a = xcalloc(size, sizeof *a);
        for (int k = 0; k < net->n_params; k++) {
            const struct model_param *p = &net->params[k];
            if (key ? strcmp(key, p->key) == 0 : p->m && !excluded(t->c, name, p->key))
                append(what, p, t->initial[i] + at, a, &n);
            at += p->count;
        }
        (void)snprintf(label, sizeof label, "step %d %s %s %s", t->step, name, what,
                       key ? key : "all");
        (void)check_tensor(t->result, label, check, a, n); // it counts failures
        free(a);
        return;
    }
    golden_complain(t->result, "there is no net \"%s\"", name);
}

static void check_buffer(struct training *t, const struct json *check) {
    for (int i = 0; i < model_n_nets(t->model); i++) {
        const struct model_net *net = model_net(t->model, i);
        if (strcmp(net->name, json_text(check, "net", "")) == 0)
            golden_check_buffer(t->result, check, net->n_params, net->params);
    }
}

static void check_loss(struct training *t, const struct json *check) {
    const char *name = json_text(check, "name", "");
    char label[64];

    (void)snprintf(label, sizeof label, "step %d loss %s", t->step, name);
    for (int i = 0; i < model_n_losses(t->model); i++)
        if (strcmp(model_loss_name(t->model, i), name) == 0) {
            (void)check_scalar(t->result, label, check, model_loss(t->model, i));
            return;
        }
    golden_complain(t->result, "there is no loss \"%s\"", name);
}

// Pictures of a step: fake_B, rec_A, idt_B, pooled_A, ...
static void check_pictures(struct training *t, const struct json *check, const char *q) {
    enum model_domain d = q[strlen(q) - 1] == 'A' ? MODEL_A : MODEL_B;
    bool idt = strncmp(q, "idt_", 4) == 0;
    // idt_A is a picture of B's reals, made by G_A.
    const int *s = t->shape[idt ? 1 - (int)d : (int)d];
    int shape[4] = {t->n, s[1], s[2], s[3]};
    const float *x = strncmp(q, "fake_", 5) == 0     ? model_fake(t->model, d)
                     : strncmp(q, "rec_", 4) == 0    ? model_rec(t->model, d)
                     : strncmp(q, "pooled_", 7) == 0 ? t->pooled[d]
                     : idt                           ? model_idt(t->model, d)
                                                     : NULL;
    size_t count = (size_t)t->n * (size_t)s[1] * (size_t)s[2] * (size_t)s[3];
    char label[64];
    double *a;

    if (!x) {
        golden_complain(t->result, "unknown quantity \"%s\"", q);
        return;
    }
    (void)snprintf(label, sizeof label, "step %d %s", t->step, q);
    a = xcalloc(count, sizeof *a);
    golden_to_nchw(x, shape, a);
    (void)check_tensor(t->result, label, check, a, count); // it counts failures
    free(a);
}

static void check_step(struct training *t, const struct json *check) {
    const char *q = json_text(check, "q", "");

    if (strcmp(q, "loss") == 0)
        check_loss(t, check);
    else if (strcmp(q, "buffer") == 0)
        check_buffer(t, check);
    else if (strncmp(q, "net_", 4) == 0)
        check_parameters(t, check, q + 4, NULL);
    else if (strcmp(q, "delta") == 0 || strcmp(q, "m") == 0 || strcmp(q, "v") == 0)
        check_parameters(t, check, q, json_text(check, "key", ""));
    else
        check_pictures(t, check, q);
}

static void train(struct training *t) {
    const struct json *checks = json_get(t->c, "check");
    int steps = (int)json_int(t->c, "steps", 0);

    for (t->step = 1; t->step <= steps; t->step++) {
        t->n = (int)json_int_at(json_get(t->c, "batch"), t->step - 1);
        t->shape[0][0] = t->shape[1][0] = t->n;
        if (run_step(t)) {
            golden_complain(t->result, "%s", err_text());
            return;
        }
        for (int i = 0; i < json_count(checks); i++)
            if (json_int(json_at(checks, i), "step", 0) == t->step)
                check_step(t, json_at(checks, i));
    }
}

void case_training(struct golden_case *j, const struct json *c) {
    struct training t = {.result = j, .c = c};

    if (new_model(&t)) {
        golden_skip(j, "%s", err_text());
        return;
    }
    fill_nets(&t);
    find_inputs(&t);
    if (model_weights_changed(t.model))
        golden_complain(j, "%s", err_text());
    else
        train(&t);
    for (int i = 0; i < 4; i++)
        free(t.initial[i]);
    for (int d = 0; d < 2; d++) {
        free(t.pool[d].slots);
        free(t.pooled[d]);
    }
    model_free(t.model);
}
