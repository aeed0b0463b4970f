// The tape runs: each op becomes one call of the backend.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// Where the operands of an op are in this arena.
struct run {
    const struct graph *graph;
    const struct backend *backend;
    char *arena;
};

static void *at(const struct run *r, int tensor) {
    return tensor < 0 ? NULL : graph_data(r->graph, r->arena, tensor);
}

static struct grad_sum sum(const struct run *r, const struct op *op) {
    struct grad_sum s = {.count = op->n_parts};

    for (int i = 0; i < op->n_parts; i++)
        s.part[i] = (struct grad_part){.data = at(r, op->part[i].data),
                                       .pad = op->part[i].pad,
                                       .first = op->part[i].first,
                                       .n = op->part[i].n};
    return s;
}

static int run_conv(const struct run *r, const struct op *op) {
    void *workspace = graph_workspace(r->graph, r->arena, op);
    struct conv_gradients backward = {
        .x = at(r, op->x),
        .dy = at(r, op->dy),
        .ret_dx = at(r, op->dx),
        .ret_dw = op->train ? op->weights->dw : NULL,
        .ret_dbias = op->train ? op->weights->dbias : NULL,
        .accumulate = op->accumulate,
    };

    if (op->kind == OP_CONV)
        return r->backend->conv_forward(op->conv, at(r, op->x), op->weights->bias, at(r, op->y),
                                        workspace);
    return r->backend->conv_backward(op->conv, &backward, workspace);
}

static int run_norm(const struct run *r, const struct op *op) {
    struct device *d = r->graph->device;
    void *workspace = graph_workspace(r->graph, r->arena, op);
    const struct norm_affine *affine = op->affine ? &op->affine->values : NULL;
    struct norm_dropout draws = {(uint64_t)op->draw};
    const struct norm_dropout *dropout = op->draw >= 0 ? &draws : NULL;
    struct norm_tensors forward = {
        .x = at(r, op->x),
        .skip = at(r, op->skip),
        .ret_y = at(r, op->y),
        .ret_stats = at(r, op->stats),
        .affine = affine,
        .dropout = dropout,
    };
    struct norm_gradients backward = {
        .x = forward.x,
        .stats = forward.ret_stats,
        .dy = sum(r, op),
        .ret_dx = at(r, op->dx),
        .ret_dskip = at(r, op->dskip),
        .affine = affine,
        .dropout = dropout,
        .ret_dweight = op->train ? op->affine->dweight : NULL,
        .ret_dbias = op->train ? op->affine->dbias : NULL,
        .accumulate = op->accumulate,
    };

    switch (op->kind) {
    case OP_NORM:
        return r->backend->norm_forward(d, &op->norm, &forward, workspace);
    case OP_NORM_BACKWARD:
        return r->backend->norm_backward(d, &op->norm, &backward, workspace);
    case OP_TANH:
        return r->backend->tanh_forward(d, &op->norm, forward.x, forward.ret_y);
    default:
        return r->backend->tanh_backward(d, &op->norm, forward.ret_y, &backward.dy, backward.ret_dx,
                                         workspace);
    }
}

static int run_concat(const struct run *r, const struct op *op) {
    struct graph_size a = graph_size(r->graph, op->x), b = graph_size(r->graph, op->skip);
    struct concat_shape s = {(size_t)a.n * (size_t)a.h * (size_t)a.w, a.c, b.c, op->act};
    struct concat_gradients t = {at(r, op->y), at(r, op->dy), at(r, op->dx), at(r, op->dskip)};

    if (op->kind == OP_CONCAT_BACKWARD)
        return r->backend->concat_backward(r->graph->device, &s, &t);
    return r->backend->concat_forward(r->graph->device, &s, at(r, op->x), at(r, op->skip),
                                      at(r, op->y));
}

static int run_loss(const struct run *r, const struct op *op) {
    struct device *d = r->graph->device;
    struct l1_args l1 = {graph_shape(r->graph, op->x), op->scale};

    if (op->kind == OP_GAN)
        return r->backend->gan(d, &op->gan, at(r, op->x), at(r, op->dx), op->loss);
    return r->backend->l1(d, &l1, at(r, op->x), at(r, op->y), at(r, op->dx), op->loss);
}

static int run_op(const struct run *r, const struct op *op) {
    if (op->kind <= OP_CONV_BACKWARD)
        return run_conv(r, op);
    if (op->kind <= OP_TANH_BACKWARD)
        return run_norm(r, op);
    if (op->kind <= OP_CONCAT_BACKWARD)
        return run_concat(r, op);
    if (op->kind <= OP_NCE)
        return graph_cut_run(r->graph, r->arena, op);
    return op->kind <= OP_PENALTY ? graph_penalty_run(r->graph, r->arena, op) : run_loss(r, op);
}

int graph_run_op(const struct graph *g, void *arena, const struct op *op) {
    struct run r = {.graph = g, .backend = g->device->backend, .arena = arena};

    return run_op(&r, op);
}

// Which op it was, for a person.
static int told(const struct graph *g, int i, int err) {
    static const char *const names[] = {
        [OP_CONV] = "convolution",
        [OP_CONV_BACKWARD] = "convolution's gradient",
        [OP_NORM] = "norm",
        [OP_NORM_BACKWARD] = "norm's gradient",
        [OP_TANH] = "tanh",
        [OP_TANH_BACKWARD] = "tanh's gradient",
        [OP_CONCAT] = "join",
        [OP_CONCAT_BACKWARD] = "join's gradient",
        [OP_RESAMPLE] = "resampling",
        [OP_SAMPLE] = "sampling of patches",
        [OP_SAMPLE_BACKWARD] = "gradient of sampled patches",
        [OP_FLIP] = "mirror",
        [OP_NCE] = "NCE",
        [OP_TANGENT] = "directional derivative",
        [OP_TANGENT_BACKWARD] = "directional derivative's gradient",
        [OP_MIX] = "mix",
        [OP_PENALTY] = "gradient penalty",
        [OP_L1] = "L1",
        [OP_GAN] = "GAN's loss",
    };
    const struct op *op = &g->ops[i];
    struct graph_size s = graph_size(g, op->x >= 0 ? op->x : op->dy >= 0 ? op->dy : 0);

    return err_prefix(err, "op %d of %d, %s on [%d,%d,%d,%d]", i + 1, g->n_ops, names[op->kind],
                      s.n, s.h, s.w, s.c);
}

// An op of a tape with streams, behind what it waits for.
static int issue(const struct graph *g, void *arena, const struct op *op) {
    const struct backend *b = g->device->backend;
    int err = ERR_OK;

    b->stream_choose(g->device, op->stream);
    for (int i = 0; i < op->n_waits && !err; i++)
        err = b->event_wait(g->device, g->ops[op->waits[i]].event);
    if (!err)
        err = graph_run_op(g, arena, op);
    if (!err && op->event >= 0)
        err = b->event_record(g->device, op->event);
    return err;
}

// Stream 0 goes on when all have ended: the last op of each other stream has a event.
static int join_streams(const struct graph *g, int from, int to) {
    const struct backend *b = g->device->backend;
    bool joined[DEVICE_STREAMS] = {true};
    int err = ERR_OK;

    b->stream_choose(g->device, 0);
    for (int i = to - 1; i >= from && !err; i--)
        if (!joined[g->ops[i].stream]) {
            joined[g->ops[i].stream] = true;
            err = b->event_wait(g->device, g->ops[i].event);
        }
    return err;
}

int graph_run(struct graph *g, void *arena, int from, int to, const struct graph_hook *hook) {
    bool streams = g->device->streams > 1;

    if (streams && from < to && g->ops[from].section != g->ops[to - 1].section)
        BUG("ops %d to %d are of several sections", from, to);
    for (int i = from; i < to; i++) {
        int err = streams ? issue(g, arena, &g->ops[i]) : graph_run_op(g, arena, &g->ops[i]);
        if (err)
            return told(g, i, err);
        if (hook && hook->between_ops)
            hook->between_ops(hook->context);
    }
    return streams ? join_streams(g, from, to) : ERR_OK;
}

void graph_count_batches(const struct graph *g, int from, int to) {
    for (int i = from; i < to; i++) {
        const struct op *op = &g->ops[i];
        if (op->kind == OP_NORM && op->norm.norm == NORM_BATCH && op->affine && op->affine->batches)
            ++*op->affine->batches;
    }
}

void graph_describe(const struct graph *g, char **text) {
    for (int i = 0; i < g->n_ops; i++) {
        char line[256];
        if (g->ops[i].kind != OP_CONV)
            continue;
        g->device->backend->conv_describe(g->ops[i].conv, line, sizeof line);
        if (*text && strstr(*text, line))
            continue;
        char *longer = xasprintf("%s%s\n", *text ? *text : "", line);
        free(*text);
        *text = longer;
    }
}
