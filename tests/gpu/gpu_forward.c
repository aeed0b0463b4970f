// Whole nets, forward and backward, against the same net in double precision
// (trainer/oracle/net.c).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "device/device.h"
#include "gpu/gpu_judge.h"
#include "nets/nets.h"
#include "nets/optimizer.h"

static const struct whole {
    const char *title;
    struct net_options net;
    bool discriminator;
    int n, size;
} wholes[] = {
    {"resnet_9blocks", {"resnet_9blocks", 3, 3, 64, .norm = "instance"}, false, 1, 128},
    {"unet_128, batch norm", {"unet_128", 3, 3, 64, .norm = "batch"}, false, 2, 128},
    {"PatchGAN", {"basic", 3, 0, 64, .norm = "instance"}, true, 2, 128},
    {"PatchGAN, batch norm", {"basic", 6, 0, 64, .norm = "batch"}, true, 2, 128},
    {"pixel", {"pixel", 3, 0, 64, .norm = "instance"}, true, 1, 128},
    {"resnet_6blocks, antialiased",
     {"resnet_6blocks", 3, 3, 16, .norm = "instance", .antialias = true},
     false,
     1,
     64},
    {"resnet_6blocks, resize",
     {"resnet_6blocks", 3, 3, 16, .norm = "instance", .upsample = "resize"},
     false,
     1,
     64},
};

static int new_net(const struct whole *w, struct net **ret) {
    return w->discriminator ? discriminator_new(&w->net, ret) : generator_new(&w->net, ret);
}

// N(0, 0.02), as nets begin; a batch norm's weights about 1.
static float fresh_weight(const struct gpu_check *g, const struct model_param *p, int param,
                          size_t i) {
    double pair[2];

    rng_normal2(g->seed, RNG_TEST, i, (uint32_t)param + 1000, pair);
    if (p->kind == PARAM_RUNNING_VAR || p->kind == PARAM_RUNNING_MEAN)
        return p->kind == PARAM_RUNNING_VAR;
    return (float)(0.02 * pair[0] + (p->kind == PARAM_NORM_WEIGHT));
}

static void fill_weights(const struct gpu_check *g, int count, struct model_param *params) {
    for (int i = 0; i < count; i++)
        for (size_t k = 0; params[i].w && k < params[i].count; k++)
            params[i].w[k] = fresh_weight(g, &params[i], i, k);
}

// What the judge says: of a loss that is the sum of y r.
struct answer {
    struct net *net;
    struct ref_net *ref;
    struct ref_map x, r, y;
    double *dx;
    struct gpu_distance from_exact;
};

static void judge(const struct gpu_check *g, const struct whole *w, enum ref_rounding rounding,
                  struct answer *a) {
    struct model_param *params;
    struct ref_call *call;

    if (new_net(w, &a->net))
        BUG("%s", err_text());
    int count = net_n_params(a->net);
    params = xcalloc((size_t)count, sizeof *params);
    for (int i = 0; i < count; i++) {
        params[i] = net_params(a->net)[i];
        if (params[i].kind != PARAM_BATCHES)
            params[i].w = xcalloc(params[i].count, sizeof(float));
    }
    fill_weights(g, count, params);
    a->ref = ref_net_new(a->net, params, rounding);
    for (int i = 0; i < count; i++)
        free(params[i].w);
    free(params);
    a->x = gpu_picture(g, 1, w->n, w->size, w->net.in_nc);
    call = ref_call_new(a->ref, &a->x, 0, net_n_layers(a->net));
    const struct ref_map *y = ref_call_y(call);
    a->r = ref_map_new(y->n, y->h, y->w, y->c);
    gpu_fill(g, 2, &a->r);
    a->y = ref_map_new(y->n, y->h, y->w, y->c);
    memcpy(a->y.v, y->v, ref_map_count(y) * sizeof(double));
    a->dx = xcalloc(ref_map_count(&a->x), sizeof(double));
    ref_call_backward(call, a->r.v, true, a->dx);
    ref_call_free(call);
}

// How far `a` is from `exact`.
static void measure(const struct answer *exact, struct answer *a) {
    struct gpu_distance *d = &a->from_exact;

    d->forward = gpu_relative(ref_map_count(&a->y), a->y.v, exact->y.v);
    d->dx = gpu_one_minus_cosine(ref_map_count(&a->x), a->dx, exact->dx);
    for (int i = 0; i < net_n_params(a->net); i++) {
        const struct model_param *p = &net_params(a->net)[i];
        if (a->ref->g[i] && !p->frozen)
            gpu_add_gradient(d, p->key, p->count, a->ref->g[i], exact->ref->g[i]);
    }
}

static void answer_fini(struct answer *a) {
    ref_net_free(a->ref);
    net_free(a->net);
    free(a->x.v);
    free(a->r.v);
    free(a->y.v);
    free(a->dx);
}

// The net on the device.
struct rig {
    struct device *device;
    struct net *net;
    struct optimizer optimizer;
    struct graph *graph;
    void *arena;
    int x, y, r;
};

static int open_rig(struct rig *r, const struct gpu_check *g, const struct whole *w,
                    const char *dtype) {
    struct device_options o = {.name = g->device, .threads = 1, .dtype = dtype};
    size_t size = 0;
    int err = new_net(w, &r->net);

    if (!err)
        err = device_open(&o, &r->device);
    if (err)
        return err;
    net_reserve(r->net, &size);
    err = optimizer_init(&r->optimizer, r->device, size, 0.5, 0.999);
    if (!err)
        err = net_bind(r->net, &r->optimizer);
    if (!err)
        fill_weights(g, net_n_params(r->net), net_params(r->net));
    return err;
}

static void close_rig(struct rig *r) {
    if (r->device && r->arena)
        r->device->backend->memory_free(r->device, r->arena);
    graph_free(r->graph);
    net_free(r->net);
    optimizer_fini(&r->optimizer);
    device_close(r->device);
}

static int build(struct rig *r, const struct answer *a) {
    int err;

    r->graph = graph_new(r->device);
    r->x = graph_input(r->graph, a->x.n, a->x.h, a->x.w, a->x.c);
    graph_require_gradient(r->graph, r->x);
    err = net_forward(r->net, r->graph, r->x, NET_TRAIN, &r->y);
    if (err)
        return err;
    graph_keep(r->graph, r->y);
    r->r = graph_input(r->graph, a->r.n, a->r.h, a->r.w, a->r.c);
    graph_dot(r->graph, r->y, r->r);
    graph_backward(r->graph);
    graph_keep(r->graph, graph_gradient(r->graph, r->x));
    graph_place(r->graph, false);
    err = r->device->backend->memory_new(r->device, graph_arena_bytes(r->graph), &r->arena);
    if (!err)
        err = optimizer_push(&r->optimizer);
    return err ? err : net_push(r->net);
}

static int send(struct rig *r, int tensor, const struct ref_map *m) {
    float *x = gpu_floats(m);
    int err = graph_write(r->graph, r->arena, tensor, PIXELS_FLOAT, x);

    free(x);
    return err;
}

static int go(struct rig *r) {
    const struct backend *b = r->device->backend;
    struct device_section *section = NULL;
    bool issue = false;
    int err = b->section_new(r->device, &section);

    if (!err)
        err = b->section_begin(section, &(struct device_values){0}, &issue);
    if (err)
        return err;
    err = issue ? graph_run(r->graph, r->arena, 0, graph_n_ops(r->graph), NULL) : ERR_OK;
    int end = b->section_end(section);
    b->section_free(section);
    return err ? err : end ? end : device_wait(r->device);
}

// A tensor's numbers, as doubles.
static int fetch(struct rig *r, int tensor, struct ref_map *ret) {
    void *shared = NULL;
    size_t count = ref_map_count(ret);
    int err = r->device->backend->shared_new(r->device, count * sizeof(float), &shared);

    if (!err)
        err = graph_read(r->graph, r->arena, tensor, PIXELS_FLOAT, shared);
    if (!err)
        err = device_wait(r->device);
    for (size_t i = 0; i < count && !err; i++)
        ret->v[i] = ((const float *)shared)[i];
    r->device->backend->shared_free(r->device, shared);
    return err;
}

static int fetch_gradient(struct rig *r, int param, double *ret) {
    size_t count = net_params(r->net)[param].count;
    float *x = xcalloc(count, sizeof *x);
    int err =
        r->device->backend->copy_out(r->device, x, net_gradient(r->net, param), count * sizeof *x);

    for (size_t i = 0; i < count; i++)
        ret[i] = x[i];
    free(x);
    return err;
}

static int compare(struct rig *r, const struct answer *a, struct gpu_distance *ret) {
    struct ref_map y = ref_map_new(a->y.n, a->y.h, a->y.w, a->y.c);
    struct ref_map dx = ref_map_new(a->x.n, a->x.h, a->x.w, a->x.c);
    int err = fetch(r, r->y, &y);

    if (!err)
        err = fetch(r, graph_gradient(r->graph, r->x), &dx);
    ret->forward = gpu_relative(ref_map_count(&y), y.v, a->y.v);
    ret->dx = gpu_one_minus_cosine(ref_map_count(&dx), dx.v, a->dx);
    for (int i = 0; i < net_n_params(r->net) && !err; i++) {
        const struct model_param *p = &net_params(r->net)[i];
        if (!p->m || p->frozen)
            continue;
        double *got = xcalloc(p->count, sizeof *got);
        err = fetch_gradient(r, i, got);
        gpu_add_gradient(ret, p->key, p->count, got, a->ref->g[i]);
        free(got);
    }
    free(y.v);
    free(dx.v);
    return err;
}

static int run(struct rig *r, const struct answer *a) {
    int err = build(r, a);

    if (!err)
        err = send(r, r->x, &a->x);
    if (!err)
        err = send(r, r->r, &a->r);
    return err ? err : go(r);
}

static void check_one(struct gpu_check *g, const struct whole *w, const struct answer *a, int dtype,
                      const struct gpu_bounds *bounds) {
    struct rig r = {0};
    struct gpu_distance d = {0};
    char label[120];
    int err = open_rig(&r, g, w, gpu_dtypes[dtype]);

    if (!err)
        err = run(&r, a);
    if (!err)
        err = compare(&r, a, &d);
    gpu_row(g, gpu_dtypes[dtype], "%s nf %d, %dx%dx%dx%d", w->title, w->net.nf, w->n, w->size,
            w->size, w->net.in_nc);
    if (err) {
        gpu_expect(g, false, "%s %s: %s", gpu_dtypes[dtype], w->title, err_text());
    } else {
        (void)snprintf(label, sizeof label, "%d gradients, worst %s", d.gradients, d.key); // fits
        gpu_value(g, "y", d.forward, bounds->forward);
        gpu_value(g, "1-cos dx", d.dx, bounds->dx);
        gpu_value(g, label, d.gradient, bounds->gradient);
        gpu_row_end(g);
    }
    close_rig(&r);
}

static void check_whole(struct gpu_check *g, const struct whole *w) {
    struct answer exact = {0};

    judge(g, w, REF_EXACT, &exact);
    for (int d = 0; d < GPU_DTYPES; d++) {
        struct answer rounded = {0};
        struct gpu_bounds bounds;
        if (!gpu_wants(g, d))
            continue;
        judge(g, w, gpu_roundings[d], &rounded);
        measure(&exact, &rounded);
        gpu_tell_rounding(d, &rounded.from_exact);
        bounds = gpu_bounds_beside(g, d, &rounded.from_exact);
        check_one(g, w, &exact, d, &bounds);
        answer_fini(&rounded);
    }
    answer_fini(&exact);
}

void gpu_forward(struct gpu_check *g) {
    gpu_untuned(true);
    for (unsigned i = 0; i < COUNT(wholes); i++) {
        struct whole w = wholes[i];
        if (g->small && w.size > 32 && strncmp(w.net.arch, "unet", 4) != 0)
            w.size = 32;
        if (g->small) {
            w.net.nf = 4;
            w.n = 1;
        }
        check_whole(g, &w);
    }
    gpu_untuned(false);
}
