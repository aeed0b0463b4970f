// Convolutions, and the list of the kernels that compute them.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X, DY };     // inputs; X is absent in a backward op without the filter's gradient
enum { Y, DX = 0 }; // outputs

// ---- backward ----

static int conv_backward_run(const struct op_run *r, const struct op *op) {
    const struct conv_op *c = &op->conv;
    struct conv_gradients t = {
        .x = op_data(r, op->in[X]),
        .dy = op_data(r, op->in[DY]),
        .ret_dx = op_data(r, op->out[DX]),
        .ret_dw = c->train ? c->weights->dw : NULL,
        .ret_dbias = c->train ? c->weights->dbias : NULL,
        .accumulate = c->accumulate,
    };

    return r->backend->conv_backward(c->conv, &t, op_workspace(r, op));
}

static const struct op_kind conv_backward_kind = {.name = "convolution's gradient",
                                                  .run = conv_backward_run};

// The device's plan belongs to the forward op, which frees it. Backward ops borrow it.
static struct op *append_backward(struct graph *g, const struct op *forward, int dy) {
    struct op *op = graph_append(g, &conv_backward_kind);

    op->in[DY] = dy;
    op->conv = (struct conv_op){.conv = forward->conv.conv, .weights = forward->conv.weights};
    return op;
}

// The filter's gradient reads x. The gradient of x alone does not, and x may then end earlier.
static void train_filter(struct graph *g, const struct op *forward, struct op *op) {
    const struct graph_weights *weights = forward->conv.weights;

    op->in[X] = forward->in[X];
    op->conv.train = true;
    op->conv.accumulate = graph_was_trained(g, weights->dw);
    graph_touch(op, weights->dw, true);
    graph_touch(op, weights->dbias, true);
}

static void conv_backward(struct graph *g, const struct op forward) {
    int x = forward.in[X], dy = graph_root(g, forward.out[Y])->gradient, dx = -1;
    // The update alone waits for the filter's gradient, so with streams it is an op of its own.
    bool separate = g->device->streams > 1 && forward.conv.train;
    bool together = forward.conv.train && !separate;

    if (dy < 0)
        return;
    if (graph_needs_gradient(g, x))
        dx = graph_gradient_slot(g, x, graph_size(g, x).pad);
    // Neither x nor the filter may want a gradient; then no op is appended here.
    if (dx >= 0 || together) {
        struct op *op = append_backward(g, &forward, dy);
        op->out[DX] = dx;
        if (together)
            train_filter(g, &forward, op);
    }
    if (separate) {
        struct op *op = append_backward(g, &forward, dy);
        op->stream = GRAPH_SIDE_STREAM(g->stream);
        train_filter(g, &forward, op);
    }
}

// ---- forward ----

static int conv_run(const struct op_run *r, const struct op *op) {
    return r->backend->conv_forward(op->conv.conv, op_data(r, op->in[X]), op->conv.weights->bias,
                                    op_data(r, op->out[Y]), op_workspace(r, op));
}

static void conv_fini(const struct graph *g, struct op *op) {
    g->device->backend->conv_free(op->conv.conv);
}

static const struct op_kind conv_kind = {.name = "convolution",
                                         .run = conv_run,
                                         .backward = conv_backward,
                                         .fini = conv_fini,
                                         .one_reader = true};

int graph_conv(struct graph *g, int x, const struct graph_weights *weights,
               const struct graph_conv_args *args, int *ret_y) {
    struct graph_size from = graph_size(g, x);
    struct conv_shape shape = {
        .n = from.n,
        .c = from.c,
        // The border is part of the input: only zeros count as the convolution's padding.
        .h = from.h + 2 * from.pad,
        .w = from.w + 2 * from.pad,
        .k = args->k,
        .r = args->r,
        .stride = args->stride,
        .pad = args->pad,
        .out_pad = args->out_pad,
        .transposed = args->transposed,
        .bias = weights->bias != NULL,
    };
    struct graph_size to = {.n = from.n, .c = args->k};
    bool needs_gradient = graph_needs_gradient(g, x) || args->train;
    struct device_conv *conv;

    conv_output_size(&shape, &to.h, &to.w);
    if (to.h < 1 || to.w < 1)
        return err_set(ERR_SHAPE, "a %dx%d convolution meets a map of only %dx%d", args->r, args->r,
                       shape.w, shape.h);
    // The device prepares its backward passes only if some gradient can be asked for.
    int err = g->device->backend->conv_new(weights->derived, &shape, needs_gradient, &conv);
    if (err)
        return err;
    graph_need_workspace(g, g->device->backend->conv_workspace_bytes(conv));

    int y = graph_tensor(g, to);
    struct op *op = graph_append(g, &conv_kind);
    op->in[X] = x;
    op->out[Y] = y;
    op->conv = (struct conv_op){.conv = conv, .weights = weights, .train = args->train};
    graph_made(g, y, needs_gradient);
    *ret_y = y;
    return ERR_OK;
}

// ---- the list of kernels ----

void graph_describe(const struct graph *g, char **text) {
    for (int i = 0; i < g->n_ops; i++) {
        char line[256];
        if (g->ops[i].kind != &conv_kind)
            continue;
        g->device->backend->conv_describe(g->ops[i].conv.conv, line, sizeof line);
        // Equal texts mean equal shapes and kernels: two nets of one architecture share them.
        if (*text && strstr(*text, line))
            continue;
        char *longer = xasprintf("%s%s\n", *text ? *text : "", line);
        free(*text);
        *text = longer;
    }
}
