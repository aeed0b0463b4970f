// The tape's gradients: of the ops that have none yet, from the last to the first.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

bool graph_has_one_reader(const struct graph *g, const struct tensor *root) {
    if (root->maker < 0)
        return false;
    enum op_kind kind = g->ops[root->maker].kind;
    return kind == OP_CONV || kind == OP_RESAMPLE || kind == OP_SAMPLE || kind == OP_TANGENT;
}

int graph_gradient_slot(struct graph *g, int x, int pad) {
    int root = g->tensors[x].root, first = g->tensors[x].first;
    struct graph_size size = g->tensors[x].size;

    if (graph_has_one_reader(g, &g->tensors[root])) {
        if (g->tensors[root].gradient < 0) {
            int gradient = graph_tensor(g, g->tensors[root].size);
            g->tensors[root].gradient = gradient;
        }
        return graph_view(g, g->tensors[root].gradient, first, size.n);
    }

    size.pad = pad;
    int slot = graph_tensor(g, size);
    struct tensor *t = &g->tensors[root];
    if (t->n_parts == GRAD_PARTS)
        BUG("more than %d parts of a gradient", GRAD_PARTS);
    t->part[t->n_parts++] = (struct part){slot, pad, first, size.n};
    return slot;
}

void graph_dot(struct graph *g, int x, int r) {
    int root = g->tensors[x].root;
    struct tensor *t = &g->tensors[root];

    if (graph_has_one_reader(g, t))
        t->gradient = r;
    else
        t->part[t->n_parts++] = (struct part){r, 0, 0, t->size.n};
}

bool graph_was_trained(struct graph *g, const void *parameters) {
    for (int i = 0; i < g->n_trained; i++)
        if (g->trained[i] == parameters)
            return true;
    g->trained = xrealloc(g->trained, (size_t)(g->n_trained + 1) * sizeof(void *));
    g->trained[g->n_trained++] = parameters;
    return false;
}

static struct op *append_conv_backward(struct graph *g, const struct op *forward, int dy) {
    struct op *op = graph_append(g, OP_CONV_BACKWARD);

    op->dy = dy;
    op->conv = forward->conv;
    op->weights = forward->weights;
    return op;
}

static void append_filter_gradient(struct graph *g, const struct op *forward, int dy) {
    struct op *op = append_conv_backward(g, forward, dy);

    op->stream = GRAPH_SIDE_STREAM(g->stream);
    op->x = forward->x;
    op->train = true;
    op->accumulate = graph_was_trained(g, forward->weights->dw);
}

// With streams the two gradients are ops of their own.
static void conv_backward(struct graph *g, const struct op forward) {
    int dy = graph_root(g, forward.y)->gradient, dx = -1;
    bool apart = g->device->streams > 1 && forward.train;

    if (dy < 0)
        return;
    if (graph_root(g, forward.x)->needs_gradient)
        dx = graph_gradient_slot(g, forward.x, graph_size(g, forward.x).pad);
    if (dx >= 0 || (forward.train && !apart)) {
        struct op *op = append_conv_backward(g, &forward, dy);
        op->dx = dx;
        if (forward.train && !apart) {
            op->x = forward.x;
            op->train = true;
            op->accumulate = graph_was_trained(g, forward.weights->dw);
        }
    }
    if (apart)
        append_filter_gradient(g, &forward, dy);
}

static void take_parts(const struct graph *g, int y, struct op *op) {
    const struct tensor *root = graph_root(g, y);

    op->n_parts = root->n_parts;
    for (int i = 0; i < root->n_parts; i++)
        op->part[i] = root->part[i];
}

static void norm_backward(struct graph *g, const struct op forward) {
    int dskip = -1;

    if (graph_root(g, forward.y)->n_parts == 0 || !graph_root(g, forward.y)->needs_gradient)
        return;
    if (!graph_root(g, forward.x)->needs_gradient)
        BUG("a gradient is wanted through the skip alone");
    int dx = graph_gradient_slot(g, forward.x, 0);
    if (forward.skip >= 0 && graph_root(g, forward.skip)->needs_gradient)
        dskip = graph_gradient_slot(g, forward.skip, 0);
    struct op *op = graph_append(g, OP_NORM_BACKWARD);
    op->x = forward.x;
    op->stats = forward.stats;
    op->norm = forward.norm;
    op->affine = forward.affine;
    op->draw = forward.draw;
    op->train = forward.train;
    op->accumulate = op->train && graph_was_trained(g, forward.affine->dweight);
    op->dx = dx;
    op->dskip = dskip;
    take_parts(g, forward.y, op);
}

static void tanh_backward(struct graph *g, const struct op forward) {
    if (graph_root(g, forward.y)->n_parts == 0 || !graph_root(g, forward.y)->needs_gradient)
        return;
    int dx = graph_gradient_slot(g, forward.x, 0);
    struct op *op = graph_append(g, OP_TANH_BACKWARD);
    op->norm = forward.norm;
    op->y = forward.y;
    op->dx = dx;
    take_parts(g, forward.y, op);
}

static void concat_backward(struct graph *g, const struct op forward) {
    const struct tensor *y = graph_root(g, forward.y);
    int dx = -1, dskip = -1;

    if (y->n_parts == 0 || !y->needs_gradient)
        return;
    if (y->n_parts != 1)
        BUG("a join needs one reader");
    int dy = y->part[0].data;
    if (graph_root(g, forward.x)->needs_gradient)
        dx = graph_gradient_slot(g, forward.x, 0);
    if (graph_root(g, forward.skip)->needs_gradient)
        dskip = graph_gradient_slot(g, forward.skip, 0);
    struct op *op = graph_append(g, OP_CONCAT_BACKWARD);
    op->x = forward.x;       // for its shape
    op->skip = forward.skip; // likewise
    op->y = forward.y;
    op->dy = dy;
    op->dx = dx;
    op->dskip = dskip;
    op->act = forward.act;
}

// The op is passed on by value: appending moves it.
static void differentiate(struct graph *g, const struct op *op) {
    g->stream = op->stream;
    switch (op->kind) {
    case OP_CONV:
        conv_backward(g, *op);
        break;
    case OP_NORM:
        norm_backward(g, *op);
        break;
    case OP_TANH:
        tanh_backward(g, *op);
        break;
    case OP_CONCAT:
        concat_backward(g, *op);
        break;
    case OP_RESAMPLE:
    case OP_SAMPLE:
        graph_cut_backward(g, *op);
        break;
    case OP_TANGENT:
        graph_tangent_backward(g, *op);
        break;
    default: // a loss has written its gradient already
        break;
    }
}

static void backward(struct graph *g, int first, int end) {
    int old = g->n_ops, stream = g->stream;

    for (int i = end - 1; i >= first; i--)
        if (!g->ops[i].differentiated) {
            g->ops[i].differentiated = true;
            differentiate(g, &g->ops[i]);
        }
    for (int i = old; i < g->n_ops; i++)
        g->ops[i].differentiated = true;
    g->stream = stream;
}

void graph_backward_since(struct graph *g, int first) {
    backward(g, first, g->n_ops);
}

void graph_backward_early(struct graph *g, int first, int end) {
    int old = g->n_ops;

    backward(g, first, end);
    g->n_early += g->n_ops - old;
}

void graph_backward(struct graph *g) {
    graph_backward_since(g, 0);
}

int graph_gradient(const struct graph *g, int input) {
    const struct tensor *t = graph_root(g, input);

    if (t->n_parts > 1)
        BUG("the gradient of an input has %d parts", t->n_parts);
    return t->n_parts ? t->part[0].data : -1;
}
