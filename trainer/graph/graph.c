// Tensors and forward ops. Gradients are in graph/backward.c, places in graph/place.c, the run in
// graph/run.c.
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
    for (int i = 0; i < g->n_ops; i++)
        if (g->ops[i].kind == OP_CONV)
            g->device->backend->conv_free(g->ops[i].conv);
    free(g->trained);
    free(g->ops);
    free(g->tensors);
    free(g->buffers);
    free(g);
}

struct op *graph_append(struct graph *g, enum op_kind kind) {
    g->ops = xrealloc(g->ops, (size_t)(g->n_ops + 1) * sizeof *g->ops);
    g->ops[g->n_ops] = (struct op){.kind = kind,
                                   .stream = g->device->streams > 1 ? g->stream : 0,
                                   .section = g->section,
                                   .event = -1,
                                   .x = -1,
                                   .skip = -1,
                                   .y = -1,
                                   .stats = -1,
                                   .dy = -1,
                                   .dx = -1,
                                   .dskip = -1,
                                   .y_tangent = -1,
                                   .draw = -1};
    return &g->ops[g->n_ops++];
}

static int new_tensor(struct graph *g, struct graph_size size, size_t bytes) {
    g->buffers = xrealloc(g->buffers, (size_t)(g->n_buffers + 1) * sizeof *g->buffers);
    g->buffers[g->n_buffers] = (struct buffer){.bytes = bytes};
    g->tensors = xrealloc(g->tensors, (size_t)(g->n_tensors + 1) * sizeof *g->tensors);
    g->tensors[g->n_tensors] = (struct tensor){
        .size = size, .buffer = g->n_buffers++, .root = g->n_tensors, .maker = -1, .gradient = -1};
    return g->n_tensors++;
}

int graph_tensor(struct graph *g, struct graph_size size) {
    struct tensor_shape s = {size.n, size.h, size.w, size.c};

    return new_tensor(g, size, device_tensor_bytes(g->device, &s, size.pad));
}

// Floats [2,n,c] whatever the device stores its tensors in.
static int new_statistics(struct graph *g, int n, int c) {
    return new_tensor(g, (struct graph_size){2, 1, n, c, 0},
                      2 * (size_t)n * (size_t)c * sizeof(float));
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
    struct tensor view = g->tensors[tensor];

    if (first < 0 || n < 1 || first + n > view.size.n)
        BUG("view [%d, +%d) of %d pictures", first, n, view.size.n);
    view.first += first;
    view.size.n = n;
    g->tensors = xrealloc(g->tensors, (size_t)(g->n_tensors + 1) * sizeof *g->tensors);
    g->tensors[g->n_tensors] = view;
    return g->n_tensors++;
}

void graph_require_gradient(struct graph *g, int input) {
    graph_root(g, input)->needs_gradient = true;
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

void graph_need_workspace(struct graph *g, size_t bytes) {
    g->workspace_bytes = MAX(g->workspace_bytes, bytes);
}

int graph_conv(struct graph *g, int x, const struct graph_weights *weights,
               const struct graph_conv_args *args, int *ret_y) {
    struct graph_size from = graph_size(g, x);
    struct conv_shape shape = {
        .n = from.n,
        .c = from.c,
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
    bool needs_gradient = graph_root(g, x)->needs_gradient || args->train;
    struct device_conv *conv;

    conv_output_size(&shape, &to.h, &to.w);
    if (to.h < 1 || to.w < 1)
        return err_set(ERR_SHAPE, "a %dx%d convolution meets a map of only %dx%d", args->r, args->r,
                       shape.w, shape.h);
    int err = g->device->backend->conv_new(weights->derived, &shape, needs_gradient, &conv);
    if (err)
        return err;
    graph_need_workspace(g, g->device->backend->conv_workspace_bytes(conv));

    int y = graph_tensor(g, to);
    struct op *op = graph_append(g, OP_CONV);
    op->x = x;
    op->y = y;
    op->conv = conv;
    op->weights = weights;
    op->train = args->train;
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = needs_gradient;
    *ret_y = y;
    return ERR_OK;
}

static int norm_check(struct graph_size s, const struct graph_norm_args *args) {
    if (args->norm == NORM_INSTANCE && s.h * s.w == 1)
        return err_set(ERR_SHAPE, "instance norm meets a map of 1x1: nothing to normalize over");
    if (args->norm == NORM_BATCH && s.n * s.h * s.w == 1)
        return err_set(ERR_SHAPE, "batch norm meets a map of 1x1: nothing to normalize over");
    if (args->pad >= s.h || args->pad >= s.w)
        return err_set(ERR_SHAPE, "a reflection border of %d needs a map above %dx%d, not %dx%d",
                       args->pad, args->pad, args->pad, s.w, s.h);
    return ERR_OK;
}

// Returns the op, complete but for y.
static struct op *norm_append(struct graph *g, int x, const struct graph_norm_args *args) {
    struct graph_size s = graph_size(g, x);
    int stats = -1;

    if (args->norm != NORM_NONE)
        stats = new_statistics(g, args->affine ? 1 : s.n, s.c);
    struct op *op = graph_append(g, OP_NORM);
    op->x = x;
    op->skip = args->skip;
    op->stats = stats;
    op->affine = args->affine;
    op->train = args->train && args->affine;
    op->draw = args->dropout ? g->n_ops - 1 - g->n_early : -1;
    op->norm = (struct norm_shape){
        .n = s.n,
        .h = s.h,
        .w = s.w,
        .c = s.c,
        .pad = args->pad,
        .skip_pad = args->skip >= 0 ? graph_size(g, args->skip).pad : 0,
        .norm = args->norm,
        .act = args->act,
    };
    graph_need_workspace(g, g->device->backend->norm_workspace_bytes(g->device, &op->norm));
    return op;
}

int graph_norm(struct graph *g, int x, const struct graph_norm_args *args, int *ret_y) {
    struct graph_size to = graph_size(g, x);
    int err = norm_check(to, args);

    if (err)
        return err;
    to.pad = args->pad;
    int y = graph_tensor(g, to);
    norm_append(g, x, args)->y = y;
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = graph_root(g, x)->needs_gradient ||
                                   (args->skip >= 0 && graph_root(g, args->skip)->needs_gradient);
    *ret_y = y;
    return ERR_OK;
}

int graph_norm_into(struct graph *g, int x, const struct graph_norm_args *args, int y) {
    int err = norm_check(graph_size(g, x), args);

    if (err)
        return err;
    if (graph_root(g, x)->needs_gradient)
        BUG("a gradient is wanted through a buffer");
    if (graph_size(g, y).pad != args->pad)
        BUG("border %d into %d", args->pad, graph_size(g, y).pad);
    norm_append(g, x, args)->y = y;
    return ERR_OK;
}

int graph_tanh(struct graph *g, int x, int *ret_y) {
    int y = graph_tensor(g, graph_size(g, x));
    struct graph_size s = graph_size(g, x);
    struct op *op = graph_append(g, OP_TANH);

    op->norm = (struct norm_shape){.n = s.n, .h = s.h, .w = s.w, .c = s.c};
    graph_need_workspace(g, g->device->backend->norm_workspace_bytes(g->device, &op->norm));
    op->x = x;
    op->y = y;
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = graph_root(g, x)->needs_gradient;
    *ret_y = y;
    return ERR_OK;
}

int graph_concat(struct graph *g, int a, int b, enum activation act) {
    struct graph_size size = graph_size(g, a);

    size.c += graph_size(g, b).c;
    int y = graph_tensor(g, size);
    struct op *op = graph_append(g, OP_CONCAT);
    op->x = a;
    op->skip = b;
    op->y = y;
    op->act = act;
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient =
        graph_root(g, a)->needs_gradient || graph_root(g, b)->needs_gradient;
    return y;
}

void graph_l1(struct graph *g, int x, int target, double scale, double *ret_loss) {
    int dx = graph_gradient_slot(g, x, 0);
    struct graph_size a = graph_size(g, x), b = graph_size(g, target);
    struct op *op = graph_append(g, OP_L1);

    if (a.n != b.n || a.h != b.h || a.w != b.w || a.c != b.c || a.pad || b.pad)
        BUG("l1 of [%d,%d,%d,%d] and [%d,%d,%d,%d]", a.n, a.h, a.w, a.c, b.n, b.h, b.w, b.c);
    op->x = x;
    op->y = target;
    op->dx = dx;
    op->scale = scale;
    op->loss = ret_loss;
}

void graph_gan(struct graph *g, int x, enum gan_mode mode, bool target_real, double scale,
               double *ret_loss) {
    int dx = graph_gradient_slot(g, x, 0);
    struct op *op = graph_append(g, OP_GAN);

    op->x = x;
    op->dx = dx;
    op->gan = (struct gan_args){
        .mode = mode, .target_real = target_real, .shape = graph_shape(g, x), .scale = scale};
    op->loss = ret_loss;
}

void graph_stream(struct graph *g, int stream) {
    if (stream < 0 || stream >= DEVICE_STREAMS)
        BUG("stream %d", stream);
    g->stream = stream;
}

int graph_section(struct graph *g) {
    g->section++;
    return g->n_ops;
}

int graph_n_ops(const struct graph *g) {
    return g->n_ops;
}
