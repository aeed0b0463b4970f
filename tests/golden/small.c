// The hash, Adam, the learning rate, the GAN losses and PatchNCE.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/err.h"
#include "base/util.h"
#include "device/device.h"
#include "golden/golden.h"
#include "nets/optimizer.h"
#include "training/schedule.h"

void case_hash(struct golden_case *j, const struct json *h) {
    const struct json *v0 = json_get(h, "V_index0_scale01"),
                      *bn = json_get(h, "V_index0_bn_weight");
    double proj = 0;

    for (int i = 0; i < json_count(json_get(h, "H_index0")); i++)
        if (golden_hash(0, (uint32_t)i) != json_int_at(json_get(h, "H_index0"), i))
            golden_complain(j, "H(0,%d)", i);
    for (int i = 0; i < json_count(json_get(h, "H_index9001")); i++)
        if (golden_hash(9001, (uint32_t)i) != json_int_at(json_get(h, "H_index9001"), i))
            golden_complain(j, "H(9001,%d)", i);
    for (int i = 0; i < json_count(v0); i++)
        if (!(fabs(golden_value(0, (uint32_t)i, 0.1, 0) - json_number_at(v0, i)) <= 1e-8))
            golden_fail(j, "V(0)", golden_value(0, (uint32_t)i, 0.1, 0), json_number_at(v0, i),
                        1e-8);
    for (int i = 0; i < json_count(bn); i++)
        if (!(fabs(golden_value(0, (uint32_t)i, 0.2, 1) - json_number_at(bn, i)) <= 1e-7))
            golden_fail(j, "V(0,1)", golden_value(0, (uint32_t)i, 0.2, 1), json_number_at(bn, i),
                        1e-7);
    if (golden_hash(123457, 1000000) != json_int(h, "H_index123457_i1000000", -1))
        golden_complain(j, "H(123457,1000000)");
    for (int i = 0; i < 1000; i++)
        proj += golden_value(4242, (uint32_t)i, 1, 0);
    if (!(fabs(proj - json_number(h, "proj_of_ones_n1000", NAN)) <= 1e-6))
        golden_fail(j, "projection of ones", proj, json_number(h, "proj_of_ones_n1000", NAN), 1e-6);
}

// The device, or a skip.
static struct device *open_device(struct golden_case *j) {
    struct device_options options = {.name = j->device, .threads = 2, .dtype = j->dtype};
    struct device *device = NULL;

    if (device_open(&options, &device))
        golden_skip(j, "%s", err_text());
    return device;
}

static void check_adam(struct golden_case *j, const struct json *check, const struct optimizer *o,
                       const float *before) {
    const char *q = json_text(check, "q", "");
    double *a = xcalloc(o->count, sizeof *a);

    for (size_t i = 0; i < o->count; i++)
        a[i] = strcmp(q, "m") == 0   ? (double)o->host.m[i]
               : strcmp(q, "v") == 0 ? (double)o->host.v[i]
                                     : (double)o->host.w[i] - (double)before[i];
    if (strcmp(q, "m") != 0 && strcmp(q, "v") != 0 && strcmp(q, "delta") != 0)
        golden_complain(j, "unknown quantity \"%s\"", q);
    else
        (void)check_tensor(j, q, check, a, o->count); // it counts failures
    free(a);
}

// One update by gradients g.
static int step_adam(struct optimizer *o, const float *g, double lr) {
    const struct backend *b = o->device->backend;
    struct device_values values = {.lr = lr, .t = ++o->t};
    struct device_section *section;
    bool issue;
    int err = b->copy_in(o->device, o->g, g, o->count * sizeof *g);

    if (!err)
        err = b->section_new(o->device, &section);
    if (err)
        return err;
    err = b->section_begin(section, &values, &issue);
    if (!err)
        err = device_section_end(o->device, section, issue ? optimizer_update(o) : ERR_OK);
    b->section_free(section);
    return err ? err : optimizer_pull(o);
}

static void run_adam(struct golden_case *j, const struct json *c, struct optimizer *o,
                     const float *before) {
    const struct json *lr = json_get(c, "lr"), *scale = json_get(c, "g_scale"),
                      *checks = json_get(c, "check");
    float *g = xcalloc(o->count, sizeof *g);

    for (int t = 0; t < json_count(lr); t++) {
        golden_fill(g, o->count, (uint32_t)(json_int(c, "index_g0", 0) + t),
                    json_number_at(scale, t));
        if (step_adam(o, g, json_number_at(lr, t)))
            golden_complain(j, "%s", err_text());
        for (int i = 0; i < json_count(checks); i++)
            if (json_int(json_at(checks, i), "step", 0) == t + 1)
                check_adam(j, json_at(checks, i), o, before);
    }
    free(g);
}

void case_adam(struct golden_case *j, const struct json *c) {
    struct device *device = open_device(j);
    size_t n = (size_t)json_int(c, "n", 0);
    struct optimizer o;
    float *before;

    if (!device)
        return;
    if (optimizer_init(&o, device, n, json_number(c, "beta1", 0.5), json_number(c, "beta2", 0.999)))
        golden_complain(j, "%s", err_text());
    before = xcalloc(n, sizeof *before);
    golden_fill(before, n, (uint32_t)json_int(c, "index_p", 0), json_number(c, "p_scale", 1));
    memcpy(o.host.w, before, n * sizeof *before);
    if (optimizer_push(&o))
        golden_complain(j, "%s", err_text());
    run_adam(j, c, &o, before);
    free(before);
    optimizer_fini(&o);
    device_close(device);
}

void case_lr(struct golden_case *j, const struct json *c) {
    struct schedule s = {
        .n_epochs = (int)json_int(c, "n_epochs", 0),
        .n_epochs_decay = (int)json_int(c, "n_epochs_decay", 0),
        .epoch_count = (int)json_int(c, "epoch_count", 1),
        .lr_decay_iters = (int)json_int(c, "lr_decay_iters", 50),
        .lr = json_number(c, "lr", NAN),
    };
    const struct json *check = json_at(json_get(c, "check"), 0),
                      *values = json_get(check, "values");
    int first = (int)json_int(check, "first_epoch", 1);
    double tolerance = json_number(check, "tol", NAN);

    if (schedule_policy_parse(json_text(c, "policy", ""), &s.policy) ||
        schedule_variant_parse(json_text(c, "variant", ""), &s.variant)) {
        golden_complain(j, "%s", err_text());
        return;
    }
    for (int i = 0; i < json_count(values); i++) {
        double lr = schedule_lr(&s, first + i, 0), want = json_number_at(values, i);
        if (!(fabs(lr - want) <= tolerance))
            golden_fail(j, "lr", lr, want, tolerance);
    }
}

static int gan_mode(const char *text) {
    static const char *const modes[] = {"lsgan", "vanilla", "wgangp", "nonsaturating"};

    for (unsigned i = 0; i < COUNT(modes); i++)
        if (strcmp(text, modes[i]) == 0)
            return (int)i;
    return -1;
}

// Memory of the device; ends the program if there is none.
static void *new_memory(struct device *d, size_t bytes) {
    void *memory;

    if (d->backend->memory_new(d, bytes, &memory))
        BUG("%s", err_text());
    return memory;
}

static void *new_shared(struct device *d, size_t bytes) {
    void *memory;

    if (d->backend->shared_new(d, bytes, &memory))
        BUG("%s", err_text());
    return memory;
}

// A tensor of numbers by the fill rule; `index` negative: zeros.
static void *new_tensor(struct golden_case *j, struct device *d, const struct tensor_shape *s,
                        long long index, double scale) {
    void *tensor = new_memory(d, device_tensor_bytes(d, s, 0));
    size_t count = (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
    float *x = xcalloc(count, sizeof *x);

    if (index >= 0)
        golden_fill(x, count, (uint32_t)index, scale);
    if (d->backend->image_in(d, s, PIXELS_FLOAT, x, tensor))
        golden_complain(j, "%s", err_text());
    free(x);
    return tensor;
}

static void check_tensor_of(struct golden_case *j, const char *q, const struct json *check,
                            struct device *d, const struct tensor_shape *s, const void *tensor) {
    size_t count = (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
    float *x = new_shared(d, count * sizeof *x);

    if (d->backend->image_out(d, s, PIXELS_FLOAT, tensor, x) || device_wait(d))
        golden_complain(j, "%s", err_text());
    (void)check_floats(j, q, check, x, count); // it counts failures
    d->backend->shared_free(d, x);
}

// The case's map, its shape [n,c,h,w] taken as [n h,w] of one channel, as the fill rule counts.
static struct tensor_shape map_of(const struct json *shape) {
    struct tensor_shape s = {1, 1, 1, 1};

    for (int i = 0; i < json_count(shape); i++)
        s.w *= (int)json_int_at(shape, i);
    return s;
}

void case_gan_loss(struct golden_case *j, const struct json *c) {
    struct device *device = open_device(j);
    const struct json *checks = json_get(c, "check");
    struct gan_args args = {.shape = map_of(json_get(c, "shape")),
                            .scale = 1,
                            .target_real = json_bool(c, "target_real")};
    int mode = gan_mode(json_text(c, "gan_mode", ""));

    if (!device)
        return;
    if (mode < 0)
        golden_complain(j, "unknown gan_mode");
    args.mode = (enum gan_mode)MAX(mode, 0);
    void *x =
        new_tensor(j, device, &args.shape, json_int(c, "index", 0), json_number(c, "scale", 1));
    void *grad = new_tensor(j, device, &args.shape, -1, 0);
    double *loss = new_shared(device, sizeof *loss);
    if (device->backend->gan(device, &args, x, grad, loss) || device_wait(device))
        golden_complain(j, "%s", err_text());
    for (int i = 0; i < json_count(checks); i++) {
        const struct json *check = json_at(checks, i);
        const char *q = json_text(check, "q", "");
        if (strcmp(q, "value") == 0)
            (void)check_scalar(j, q, check, *loss);
        else if (strcmp(q, "dx") == 0)
            check_tensor_of(j, q, check, device, &args.shape, grad);
        else
            golden_complain(j, "unknown quantity \"%s\"", q);
    }
    device->backend->memory_free(device, x);
    device->backend->memory_free(device, grad);
    device->backend->shared_free(device, loss);
    device_close(device);
}

// The case's tensors.
struct nce_case {
    struct nce_args args;
    struct tensor_shape shape; // of q
    void *q, *k, *dq, *each, *workspace;
    double *loss;
};

static void nce_case_open(struct golden_case *j, struct nce_case *n, struct device *d,
                          const struct json *c) {
    n->args = (struct nce_args){.n = (int)json_int(c, "batch", 1),
                                .patches = (int)json_int(c, "patches", 1),
                                .dim = (int)json_int(c, "dim", 1),
                                .temperature = json_number(c, "nce_T", 0.07),
                                .scale = 1,
                                .all = json_bool(c, "all_negatives")};
    n->shape = (struct tensor_shape){n->args.n, n->args.patches, 1, n->args.dim};
    n->q = new_tensor(j, d, &n->shape, json_int(c, "index_q", 0), 1);
    n->k = new_tensor(j, d, &n->shape, json_int(c, "index_k", 0), 1);
    n->dq = new_tensor(j, d, &n->shape, -1, 0);
    n->each = new_memory(d, (size_t)(n->args.n * n->args.patches) * sizeof(float));
    n->loss = new_shared(d, sizeof *n->loss);
    n->workspace = new_memory(d, d->backend->nce_workspace_bytes(d, &n->args));
}

static void nce_case_close(struct nce_case *n, struct device *d) {
    void *all[] = {n->q, n->k, n->dq, n->each, n->workspace};

    for (unsigned i = 0; i < COUNT(all); i++)
        d->backend->memory_free(d, all[i]);
    d->backend->shared_free(d, n->loss);
}

static void check_each(struct golden_case *j, const struct json *check, const struct nce_case *n,
                       struct device *d) {
    size_t count = (size_t)(n->args.n * n->args.patches);
    float *each = xcalloc(count, sizeof *each);

    if (d->backend->copy_out(d, each, n->each, count * sizeof *each))
        golden_complain(j, "%s", err_text());
    (void)check_floats(j, "per_patch", check, each, count); // it counts failures
    free(each);
}

static void check_nce(struct golden_case *j, const struct json *check, const struct nce_case *n,
                      struct device *d) {
    const char *q = json_text(check, "q", "");

    if (strcmp(q, "value") == 0)
        (void)check_scalar(j, q, check, *n->loss); // it counts failures
    else if (strcmp(q, "per_patch") == 0)
        check_each(j, check, n, d);
    else if (strcmp(q, "dx") == 0)
        check_tensor_of(j, q, check, d, &n->shape, n->dq);
    else
        golden_complain(j, "unknown quantity \"%s\"", q);
}

void case_patchnce(struct golden_case *j, const struct json *c) {
    struct device *device = open_device(j);
    const struct json *checks = json_get(c, "check");
    struct nce_case n;

    if (!device)
        return;
    nce_case_open(j, &n, device, c);
    if (device->backend->nce(device, &n.args, n.q, n.k, n.dq, n.each, n.loss, n.workspace) ||
        device_wait(device))
        golden_complain(j, "%s", err_text());
    for (int i = 0; i < json_count(checks); i++)
        check_nce(j, json_at(checks, i), &n, device);
    nce_case_close(&n, device);
    device_close(device);
}
