// Order: which ops have to wait for which ops of other streams.
//
// Two ops of a section conflict if they touch the same memory and one of them writes. A conflicting
// pair runs in the order of the tape. Ops of one stream do so anyway; across streams the later op
// waits for an event behind the earlier one. A vector clock per op tells which waits follow from
// others; those are left out.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// ---- what an op touches ----

static int add_tensor(const struct graph *g, int tensor, bool write, struct graph_span *ret) {
    if (tensor < 0)
        return 0;
    uintptr_t begin = (uintptr_t)graph_data(g, NULL, tensor); // in an arena that begins at 0
    *ret = (struct graph_span){true, write, begin, begin + graph_bytes(g, tensor)};
    return 1;
}

int graph_spans(const struct graph *g, const struct op *op, struct graph_span ret[GRAPH_SPANS]) {
    int n = 0;

    for (int i = 0; i < OP_INPUTS; i++)
        n += add_tensor(g, op->in[i], false, &ret[n]);
    for (int i = 0; i < OP_OUTPUTS; i++)
        n += add_tensor(g, op->out[i], true, &ret[n]);
    for (int i = 0; i < op->n_parts; i++)
        n += add_tensor(g, op->part[i].data, false, &ret[n]);
    // Parameters and statistics are touched as a whole, so their first byte represents them.
    for (int i = 0; i < op->n_addresses; i++) {
        uintptr_t at = (uintptr_t)op->addresses[i].address;
        ret[n++] = (struct graph_span){false, op->addresses[i].write, at, at + 1};
    }
    return n;
}

bool graph_spans_conflict(const struct graph_span *a, const struct graph_span *b) {
    return (a->write || b->write) && a->in_arena == b->in_arena && a->begin < b->end &&
           b->begin < a->end;
}

// ---- which op waits ----

struct touched {
    int count;
    struct graph_span spans[GRAPH_SPANS];
};

// For each stream its last op that has ended; -1: none of this section.
struct clock {
    int ended[DEVICE_STREAMS];
};

struct order {
    struct graph *graph;
    struct touched *touched; // by op
    struct clock *after;     // by op: the clock when it has ended
};

static bool ops_conflict(const struct touched *a, const struct touched *b) {
    for (int i = 0; i < a->count; i++)
        for (int k = 0; k < b->count; k++)
            if (graph_spans_conflict(&a->spans[i], &b->spans[k]))
                return true;
    return false;
}

static void merge_clocks(struct clock *c, const struct clock *other) {
    for (int s = 0; s < DEVICE_STREAMS; s++)
        c->ended[s] = MAX(c->ended[s], other->ended[s]);
}

// The clock when op i may begin as far as its own stream goes: that stream's op before it has
// ended.
static struct clock clock_before(const struct order *o, int i) {
    const struct op *ops = o->graph->ops;

    // A section begins after all earlier ones, so the search ends at its first op.
    for (int k = i - 1; k >= 0 && ops[k].section == ops[i].section; k--)
        if (ops[k].stream == ops[i].stream)
            return o->after[k];
    struct clock none;
    for (int s = 0; s < DEVICE_STREAMS; s++)
        none.ended[s] = -1;
    return none;
}

// The last op of `stream` before i that conflicts with i and comes behind `ended`; -1: none.
static int last_conflict(const struct order *o, int i, int stream, int ended) {
    const struct op *ops = o->graph->ops;

    // Waiting for the last conflict of a stream covers the earlier ones: a stream runs in order.
    for (int k = i - 1; k > ended && ops[k].section == ops[i].section; k--)
        if (ops[k].stream == stream && ops_conflict(&o->touched[k], &o->touched[i]))
            return k;
    return -1;
}

static void add_waits(struct order *o, int i) {
    struct op *op = &o->graph->ops[i];
    struct clock clock = clock_before(o, i);
    int last[DEVICE_STREAMS];

    for (int s = 0; s < DEVICE_STREAMS; s++)
        last[s] = s == op->stream ? -1 : last_conflict(o, i, s, clock.ended[s]);
    op->n_waits = 0;
    for (int s = 0; s < DEVICE_STREAMS; s++) {
        // One of the other ops that i waits for may itself have waited for this one.
        bool redundant = last[s] < 0;
        for (int k = 0; k < DEVICE_STREAMS && !redundant; k++)
            redundant = k != s && last[k] >= 0 && o->after[last[k]].ended[s] >= last[s];
        // The wait for last[k] already includes the wait for last[s].
        if (redundant)
            continue;
        op->waits[op->n_waits++] = last[s];
        merge_clocks(&clock, &o->after[last[s]]);
    }
    clock.ended[op->stream] = i;
    o->after[i] = clock;
}

// ---- events ----

static bool is_last_of_stream(const struct graph *g, int i) {
    for (int k = i + 1; k < g->n_ops && g->ops[k].section == g->ops[i].section; k++)
        if (g->ops[k].stream == g->ops[i].stream)
            return false;
    return true;
}

// Numbers the ops that others wait for, from 0 in each section. The last op of each other stream
// has an event too: stream 0 waits for it at the section's end.
static void add_events(struct graph *g) {
    int next = 0;

    for (int i = 0; i < g->n_ops; i++) {
        // 0 marks the op. The second loop gives the numbers in the order of the tape.
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
    // The spans of each op are found once, because every pair of ops is compared.
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
