// The tape runs: each op becomes one call of the backend.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// ---- where operands are ----

void *op_data(const struct op_run *r, int tensor) {
    return tensor < 0 ? NULL : graph_data(r->graph, r->arena, tensor);
}

void *op_workspace(const struct op_run *r, const struct op *op) {
    return graph_workspace(r->graph, r->arena, op);
}

struct grad_sum op_gradient(const struct op_run *r, const struct op *op) {
    struct grad_sum sum = {.count = op->n_parts};

    for (int i = 0; i < op->n_parts; i++)
        sum.part[i] = (struct grad_part){.data = op_data(r, op->part[i].data),
                                         .pad = op->part[i].pad,
                                         .first = op->part[i].first,
                                         .n = op->part[i].n};
    return sum;
}

// ---- issuing ----

int graph_run_op(const struct graph *g, void *arena, const struct op *op) {
    struct op_run r = {
        .graph = g, .device = g->device, .backend = g->device->backend, .arena = arena};

    return op->kind->run(&r, op);
}

// Adds to an error's text which op it was.
static int name_op(const struct graph *g, int i, int err) {
    const struct op *op = &g->ops[i];
    int tensor = 0;

    for (int k = OP_INPUTS - 1; k >= 0; k--) // the first that there is
        if (op->in[k] >= 0)
            tensor = op->in[k];
    struct graph_size s = graph_size(g, tensor);
    return err_prefix(err, "op %d of %d, %s on [%d,%d,%d,%d]", i + 1, g->n_ops, op->kind->name, s.n,
                      s.h, s.w, s.c);
}

// An op of a tape with streams, behind the events that it waits for.
static int issue_ordered(const struct graph *g, void *arena, const struct op *op) {
    const struct backend *b = g->device->backend;
    int err = ERR_OK;

    // The choice is the device's state, so each op sets it anew.
    b->stream_choose(g->device, op->stream);
    for (int i = 0; i < op->n_waits && !err; i++)
        err = b->event_wait(g->device, g->ops[op->waits[i]].event);
    if (!err)
        err = graph_run_op(g, arena, op);
    if (!err && op->event >= 0)
        err = b->event_record(g->device, op->event);
    return err;
}

// Stream 0 goes on when all have ended: graph_order gives the last op of each other stream an
// event.
static int join_streams(const struct graph *g, int from, int to) {
    const struct backend *b = g->device->backend;
    // Stream 0 does not wait for itself. Going backwards, the first op of a stream is its last.
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

    // Events are numbered within a section, so ops of two cannot wait for each other.
    if (streams && from < to && g->ops[from].section != g->ops[to - 1].section)
        BUG("ops %d to %d are of several sections", from, to);
    for (int i = from; i < to; i++) {
        int err =
            streams ? issue_ordered(g, arena, &g->ops[i]) : graph_run_op(g, arena, &g->ops[i]);
        if (err)
            return name_op(g, i, err);
        // The host can serve messages here while a long step runs.
        if (hook && hook->between_ops)
            hook->between_ops(hook->context);
    }
    return streams ? join_streams(g, from, to) : ERR_OK;
}
