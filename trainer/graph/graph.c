// The tape's data: ops, tensors and buffers. They grow while it is built and then stay.
#include "graph/graph.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

struct graph *graph_new(struct device *device) {
    struct graph *g = xcalloc(1, sizeof *g);

    g->device = device;
    return g;
}

void graph_free(struct graph *g) {
    if (!g)
        return;
    // Only forward convolutions own anything. The arena is the caller's.
    for (int i = 0; i < g->n_ops; i++)
        if (g->ops[i].kind->fini)
            g->ops[i].kind->fini(g, &g->ops[i]);
    free(g->trained);
    free(g->ops);
    free(g->tensors);
    free(g->buffers);
    free(g);
}

// ---- ops ----

struct op *graph_append(struct graph *g, const struct op_kind *kind) {
    g->ops = xrealloc(g->ops, (size_t)(g->n_ops + 1) * sizeof *g->ops);
    struct op *op = &g->ops[g->n_ops++];

    // A device without streams runs everything in stream 0, whatever the recipe has chosen.
    *op = (struct op){.kind = kind,
                      .stream = g->device->streams > 1 ? g->stream : 0,
                      .section = g->section,
                      .event = -1};
    for (int i = 0; i < OP_INPUTS; i++)
        op->in[i] = -1;
    for (int i = 0; i < OP_OUTPUTS; i++)
        op->out[i] = -1;
    return op;
}

void graph_touch(struct op *op, const void *address, bool write) {
    if (!address)
        return;
    if (op->n_addresses == OP_ADDRESSES)
        BUG("%s touches more than %d addresses", op->kind->name, OP_ADDRESSES);
    op->addresses[op->n_addresses++] = (struct op_address){address, write};
}

// The maker is the op appended last, so callers append the op first.
void graph_made(struct graph *g, int y, bool needs_gradient) {
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = needs_gradient;
}

// Ops of one stream never run at the same time, so the largest need serves all of them.
void graph_need_workspace(struct graph *g, size_t bytes) {
    g->workspace_bytes = MAX(g->workspace_bytes, bytes);
}

void graph_stream(struct graph *g, int stream) {
    if (stream < 0 || stream >= DEVICE_STREAMS)
        BUG("stream %d", stream);
    g->stream = stream;
}

// The result is where the new section begins, for the caller's [from, to).
int graph_section(struct graph *g) {
    g->section++;
    return g->n_ops;
}

int graph_n_ops(const struct graph *g) {
    return g->n_ops;
}

// ---- tensors ----

int graph_tensor_of(struct graph *g, struct graph_size size, size_t bytes) {
    g->buffers = xrealloc(g->buffers, (size_t)(g->n_buffers + 1) * sizeof *g->buffers);
    g->buffers[g->n_buffers] = (struct buffer){.bytes = bytes};
    g->tensors = xrealloc(g->tensors, (size_t)(g->n_tensors + 1) * sizeof *g->tensors);
    g->tensors[g->n_tensors] = (struct tensor){
        .size = size, .buffer = g->n_buffers++, .root = g->n_tensors, .maker = -1, .gradient = -1};
    return g->n_tensors++;
}

int graph_tensor(struct graph *g, struct graph_size size) {
    struct tensor_shape s = {size.n, size.h, size.w, size.c};

    return graph_tensor_of(g, size, device_tensor_bytes(g->device, &s, size.pad));
}

struct tensor *graph_root(const struct graph *g, int tensor) {
    return &g->tensors[g->tensors[tensor].root];
}

int graph_keep(struct graph *g, int tensor) {
    g->buffers[g->tensors[tensor].buffer].keep = true;
    return tensor;
}

int graph_input(struct graph *g, int n, int h, int w, int c) {
    return graph_keep(g, graph_tensor(g, (struct graph_size){n, h, w, c, 0}));
}

int graph_buffer(struct graph *g, int n, int h, int w, int c, int pad) {
    return graph_tensor(g, (struct graph_size){n, h, w, c, pad});
}

int graph_view(struct graph *g, int tensor, int first, int n) {
    // The copy keeps the root, also that of a view. Its gradient fields are never read: readers ask
    // the root for them.
    struct tensor view = g->tensors[tensor];

    if (first < 0 || n < 1 || first + n > view.size.n)
        BUG("view [%d, +%d) of %d images", first, n, view.size.n);
    view.first += first;
    view.size.n = n;
    g->tensors = xrealloc(g->tensors, (size_t)(g->n_tensors + 1) * sizeof *g->tensors);
    g->tensors[g->n_tensors] = view;
    return g->n_tensors++;
}

struct graph_size graph_size(const struct graph *g, int tensor) {
    return g->tensors[tensor].size;
}

struct tensor_shape graph_shape(const struct graph *g, int tensor) {
    struct graph_size s = graph_size(g, tensor);

    return (struct tensor_shape){s.n, s.h, s.w, s.c};
}

size_t graph_count(const struct graph *g, int tensor) {
    struct graph_size s = graph_size(g, tensor);

    return (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

size_t graph_bytes(const struct graph *g, int tensor) {
    const struct tensor *t = &g->tensors[tensor];
    struct tensor_shape s = graph_shape(g, tensor);

    // A whole tensor may have bytes of its own, as statistics do. A view's follow from its size.
    return t->root == tensor ? g->buffers[t->buffer].bytes
                             : device_tensor_bytes(g->device, &s, t->size.pad);
}
