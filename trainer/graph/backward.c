// The gradients of ops that have none yet, appended from the last op to the first.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// ---- where a gradient goes ----

// Inputs are constants unless a caller asks: the penalty needs the gradient of D's input.
void graph_require_gradient(struct graph *g, int input) {
    graph_root(g, input)->needs_gradient = true;
}

void graph_forget_gradient(struct graph *g, int input) {
    graph_root(g, input)->needs_gradient = false;
}

bool graph_needs_gradient(const struct graph *g, int tensor) {
    return tensor >= 0 && graph_root(g, tensor)->needs_gradient;
}

// Inputs and buffers have no maker. They collect parts like the output of a norm.
bool graph_has_one_reader(const struct graph *g, const struct tensor *root) {
    return root->maker >= 0 && g->ops[root->maker].kind->one_reader;
}

int graph_gradient_slot(struct graph *g, int x, int pad) {
    int root = g->tensors[x].root, first = g->tensors[x].first;
    struct graph_size size = g->tensors[x].size;

    // One tensor of the whole size. Readers of disjoint views write disjoint images of it.
    if (graph_has_one_reader(g, &g->tensors[root])) {
        if (g->tensors[root].gradient < 0) {
            int gradient = graph_tensor(g, g->tensors[root].size); // may move g->tensors
            g->tensors[root].gradient = gradient;
        }
        return graph_view(g, g->tensors[root].gradient, first, size.n);
    }

    // The tensor has several readers. Each writes a part, and the maker's backward sums the parts.
    size.pad = pad;
    int slot = graph_tensor(g, size);
    struct tensor *t = &g->tensors[root];
    if (t->n_parts == GRAD_PARTS)
        BUG("more than %d parts of a gradient", GRAD_PARTS);
    t->part[t->n_parts++] = (struct part){slot, pad, first, size.n};
    return slot;
}

void graph_take_parts(const struct graph *g, int y, struct op *op) {
    const struct tensor *root = graph_root(g, y);

    // A copy: the op sums the parts that exist now, in the order in which readers made them.
    op->n_parts = root->n_parts;
    for (int i = 0; i < root->n_parts; i++)
        op->part[i] = root->part[i];
}

bool graph_was_trained(struct graph *g, const void *parameters) {
    // A linear search is enough. The tape is built once for each shape, not in each step.
    for (int i = 0; i < g->n_trained; i++)
        if (g->trained[i] == parameters)
            return true;
    g->trained = xrealloc(g->trained, (size_t)(g->n_trained + 1) * sizeof(void *));
    g->trained[g->n_trained++] = parameters;
    return false;
}

int graph_gradient(const struct graph *g, int input) {
    const struct tensor *t = graph_root(g, input);

    // No op made the input, so no backward sums its parts.
    if (t->n_parts > 1)
        BUG("the gradient of an input has %d parts", t->n_parts);
    return t->n_parts ? t->part[0].data : -1;
}

// ---- the way back ----

static void differentiate(struct graph *g, int first, int end) {
    int old = g->n_ops, stream = g->stream;

    // From last to first: all readers of a tensor add their parts before its maker sums them.
    for (int i = end - 1; i >= first; i--) {
        // A copy, because appending an op may move the array.
        const struct op forward = g->ops[i];
        if (forward.differentiated)
            continue;
        g->ops[i].differentiated = true;
        g->stream = forward.stream; // a gradient runs where its op ran
        if (forward.kind->backward)
            forward.kind->backward(g, forward);
    }
    // Gradients are not differentiated again.
    for (int i = old; i < g->n_ops; i++)
        g->ops[i].differentiated = true;
    g->stream = stream;
}

void graph_backward(struct graph *g) {
    differentiate(g, 0, g->n_ops);
}

void graph_backward_since(struct graph *g, int first) {
    differentiate(g, first, g->n_ops);
}

void graph_backward_early(struct graph *g, int first, int end) {
    int old = g->n_ops;

    differentiate(g, first, end);
    g->n_early += g->n_ops - old; // so that later forward ops draw the same dropout, see graph_norm
}
