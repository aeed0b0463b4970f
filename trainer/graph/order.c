// Streams: which op has to wait for which.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// ---- what an op touches ----

struct spans {
    const struct graph *graph;
    struct graph_span *items;
    int count;
};

static void add(struct spans *s, struct graph_span span) {
    if (s->count == GRAPH_SPANS)
        BUG("an op touches more than %d places", GRAPH_SPANS);
    s->items[s->count++] = span;
}

static void add_tensor(struct spans *s, int tensor, bool write) {
    const struct graph *g = s->graph;

    if (tensor < 0)
        return;
    uintptr_t begin = (uintptr_t)graph_data(g, NULL, tensor); // in an arena that begins at 0
    size_t bytes = graph_bytes(g, tensor);
    add(s, (struct graph_span){true, write, begin, begin + bytes});
}

// A parameter's gradient and the like are touched as a whole: their first byte stands for them.
static void add_address(struct spans *s, const void *address, bool write) {
    if (address)
        add(s, (struct graph_span){false, write, (uintptr_t)address, (uintptr_t)address + 1});
}

static bool writes_y(enum op_kind kind) {
    switch (kind) {
    case OP_CONV:
    case OP_NORM:
    case OP_TANH:
    case OP_CONCAT:
    case OP_RESAMPLE:
    case OP_SAMPLE:
    case OP_FLIP:
    case OP_TANGENT:
    case OP_MIX:
    case OP_PENALTY:
        return true;
    default:
        return false;
    }
}

static void add_tensors(struct spans *s, const struct op *op) {
    add_tensor(s, op->x, false);
    add_tensor(s, op->skip, false);
    add_tensor(s, op->y, writes_y(op->kind));
    add_tensor(s, op->stats, op->kind == OP_NORM);
    add_tensor(s, op->y_tangent, op->kind == OP_TANGENT);
    add_tensor(s, op->dy, false);
    add_tensor(s, op->dx, true);
    add_tensor(s, op->dskip, true);
    for (int i = 0; i < op->n_parts; i++)
        add_tensor(s, op->part[i].data, false);
}

static void add_parameters(struct spans *s, const struct op *op) {
    if (op->kind == OP_CONV_BACKWARD && op->train) {
        add_address(s, op->weights->dw, true);
        add_address(s, op->weights->dbias, true);
    }
    if (!op->affine)
        return;
    if (op->kind == OP_NORM) {
        add_address(s, op->affine->values.running_mean, op->norm.norm == NORM_BATCH);
        add_address(s, op->affine->values.running_var, op->norm.norm == NORM_BATCH);
    } else if (op->train) {
        add_address(s, op->affine->dweight, true);
        add_address(s, op->affine->dbias, true);
    }
}

int graph_spans(const struct graph *g, const struct op *op, struct graph_span ret[GRAPH_SPANS]) {
    struct spans s = {.graph = g, .items = ret};

    add_tensors(&s, op);
    add_parameters(&s, op);
    add_address(&s, op->loss, true);
    return s.count;
}

bool graph_spans_conflict(const struct graph_span *a, const struct graph_span *b) {
    return (a->write || b->write) && a->in_arena == b->in_arena && a->begin < b->end &&
           b->begin < a->end;
}

// ---- who waits ----

struct touched {
    int count;
    struct graph_span spans[GRAPH_SPANS];
};

// For each stream the last op that has ended; -1: none of this section.
struct clock {
    int ended[DEVICE_STREAMS];
};

struct order {
    struct graph *graph;
    struct touched *touched; // by op
    struct clock *after;     // when an op has ended
};

static bool conflict(const struct touched *a, const struct touched *b) {
    for (int i = 0; i < a->count; i++)
        for (int k = 0; k < b->count; k++)
            if (graph_spans_conflict(&a->spans[i], &b->spans[k]))
                return true;
    return false;
}

static void merge(struct clock *c, const struct clock *other) {
    for (int l = 0; l < DEVICE_STREAMS; l++)
        c->ended[l] = MAX(c->ended[l], other->ended[l]);
}

// The clock of a stream when its next op, i, may begin: its op before i in this section has ended.
static struct clock clock_before(const struct order *o, int i) {
    const struct op *ops = o->graph->ops;

    for (int k = i - 1; k >= 0 && ops[k].section == ops[i].section; k--)
        if (ops[k].stream == ops[i].stream)
            return o->after[k];
    struct clock none;
    for (int l = 0; l < DEVICE_STREAMS; l++)
        none.ended[l] = -1;
    return none;
}

// The last op of `stream` before i that i conflicts with and that may not have ended; -1: none.
static int last_conflict(const struct order *o, int i, int stream, int ended) {
    const struct op *ops = o->graph->ops;

    for (int k = i - 1; k > ended && ops[k].section == ops[i].section; k--)
        if (ops[k].stream == stream && conflict(&o->touched[k], &o->touched[i]))
            return k;
    return -1;
}

static void add_waits(struct order *o, int i) {
    struct op *op = &o->graph->ops[i];
    struct clock clock = clock_before(o, i);
    int last[DEVICE_STREAMS];

    for (int l = 0; l < DEVICE_STREAMS; l++)
        last[l] = l == op->stream ? -1 : last_conflict(o, i, l, clock.ended[l]);
    op->n_waits = 0;
    for (int l = 0; l < DEVICE_STREAMS; l++) {
        bool redundant = last[l] < 0;
        for (int k = 0; k < DEVICE_STREAMS && !redundant; k++)
            redundant = k != l && last[k] >= 0 && o->after[last[k]].ended[l] >= last[l];
        if (redundant)
            continue;
        op->waits[op->n_waits++] = last[l];
        merge(&clock, &o->after[last[l]]);
    }
    clock.ended[op->stream] = i;
    o->after[i] = clock;
}

static bool is_last_of_stream(const struct graph *g, int i) {
    for (int k = i + 1; k < g->n_ops && g->ops[k].section == g->ops[i].section; k++)
        if (g->ops[k].stream == g->ops[i].stream)
            return false;
    return true;
}

static void add_events(struct graph *g) {
    int next = 0;

    for (int i = 0; i < g->n_ops; i++) {
        g->ops[i].event = g->ops[i].stream && is_last_of_stream(g, i) ? 0 : -1;
        for (int k = 0; k < g->ops[i].n_waits; k++)
            g->ops[g->ops[i].waits[k]].event = 0;
    }
    for (int i = 0; i < g->n_ops; i++) {
        if (i && g->ops[i].section != g->ops[i - 1].section)
            next = 0;
        if (g->ops[i].event == 0)
            g->ops[i].event = next++;
        if (next > DEVICE_EVENTS)
            BUG("a section of more than %d events", DEVICE_EVENTS);
    }
}

void graph_order(struct graph *g) {
    struct order o = {.graph = g};

    if (g->device->streams == 1)
        return;
    o.touched = xcalloc((size_t)g->n_ops + 1, sizeof *o.touched);
    o.after = xcalloc((size_t)g->n_ops + 1, sizeof *o.after);
    for (int i = 0; i < g->n_ops; i++)
        o.touched[i].count = graph_spans(g, &g->ops[i], o.touched[i].spans);
    for (int i = 0; i < g->n_ops; i++)
        add_waits(&o, i);
    add_events(g);
    free(o.touched);
    free(o.after);
}
