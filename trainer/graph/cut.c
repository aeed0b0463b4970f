// What CUT adds to the tape: antialiased resampling, patches of maps, PatchNCE.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

static int resample(struct graph *g, int x, enum resample_kind kind) {
    struct graph_size from = graph_size(g, x), to = from;
    bool blur = kind == RESAMPLE_BLUR;

    if (from.pad != (blur ? 1 : 0))
        BUG("resampling a map with a border of %d", from.pad);
    to.pad = 0;
    to.h = blur ? (from.h + 1) / 2 : 2 * from.h;
    to.w = blur ? (from.w + 1) / 2 : 2 * from.w;
    int y = graph_tensor(g, to);
    struct op *op = graph_append(g, OP_RESAMPLE);
    op->x = x;
    op->y = y;
    op->resample = (struct resample_shape){
        kind, from.n, from.h + 2 * from.pad, from.w + 2 * from.pad, to.h, to.w, from.c};
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = graph_root(g, x)->needs_gradient;
    return y;
}

int graph_blur(struct graph *g, int x) {
    return resample(g, x, RESAMPLE_BLUR);
}

int graph_up(struct graph *g, int x) {
    return resample(g, x, RESAMPLE_UP);
}

int graph_sample(struct graph *g, int x, const struct graph_sample_args *args) {
    struct graph_size s = graph_size(g, x);
    int y = graph_tensor(g, (struct graph_size){s.n, args->count, 1, s.c, 0});
    struct op *op = graph_append(g, OP_SAMPLE);

    op->x = x;
    op->y = y;
    op->sample =
        (struct sample_shape){s.n, s.h, s.w, s.c, s.pad, args->count, args->border, args->ids};
    g->tensors[y].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = graph_root(g, x)->needs_gradient && !args->constant;
    return y;
}

void graph_flip(struct graph *g, int x, const int *flip, int y) {
    struct op *op = graph_append(g, OP_FLIP);

    op->x = x;
    op->y = y;
    op->flip = flip;
}

void graph_nce(struct graph *g, int q, int k, const struct graph_nce_args *args, double *ret_loss) {
    int dx = graph_gradient_slot(g, q, 0);
    struct graph_size s = graph_size(g, q);
    struct op *op = graph_append(g, OP_NCE);

    op->x = q;
    op->y = k;
    op->dx = dx;
    op->nce =
        (struct nce_args){s.n, s.h, s.c, args->temperature, args->scale, args->all, args->add};
    op->loss = ret_loss;
    graph_need_workspace(g, g->device->backend->nce_workspace_bytes(g->device, &op->nce));
}

static void resample_backward(struct graph *g, const struct op *forward) {
    const struct resample_shape *s = &forward->resample;
    int dx = graph_gradient_slot(g, forward->x, graph_size(g, forward->x).pad);
    struct op *op = graph_append(g, OP_RESAMPLE);

    op->x = graph_root(g, forward->y)->gradient;
    op->y = dx;
    op->resample = (struct resample_shape){s->kind == RESAMPLE_BLUR ? RESAMPLE_BLUR_ADJOINT
                                                                    : RESAMPLE_UP_ADJOINT,
                                           s->n,
                                           s->to_h,
                                           s->to_w,
                                           s->h,
                                           s->w,
                                           s->c};
}

// Adds to what the reader of the whole map has written; where there is none, or the map's gradient
// is a sum of parts, the sample's gradient is a map of its own.
static void sample_backward(struct graph *g, const struct op *forward) {
    const struct tensor *x = graph_root(g, forward->x);
    bool add = graph_has_one_reader(g, x) && x->gradient >= 0;
    int dy = graph_root(g, forward->y)->gradient;
    int dx = graph_gradient_slot(g, forward->x, graph_size(g, forward->x).pad);
    struct op *op = graph_append(g, OP_SAMPLE_BACKWARD);

    op->dy = dy;
    op->dx = dx;
    op->sample = forward->sample;
    op->accumulate = add;
}

void graph_cut_backward(struct graph *g, struct op forward) {
    const struct tensor *y = graph_root(g, forward.y);

    if (y->gradient < 0 || !y->needs_gradient || !graph_root(g, forward.x)->needs_gradient)
        return;
    if (forward.kind == OP_RESAMPLE)
        resample_backward(g, &forward);
    else
        sample_backward(g, &forward);
}

static int run_nce(const struct graph *g, void *arena, const struct op *op) {
    return g->device->backend->nce(g->device, &op->nce, graph_data(g, arena, op->x),
                                   graph_data(g, arena, op->y), graph_data(g, arena, op->dx), NULL,
                                   op->loss, graph_workspace(g, arena, op));
}

static int run_flip(const struct graph *g, void *arena, const struct op *op) {
    struct tensor_shape s = graph_shape(g, op->x);

    return g->device->backend->flip(g->device, &s, op->flip, graph_data(g, arena, op->x),
                                    graph_data(g, arena, op->y));
}

int graph_cut_run(const struct graph *g, void *arena, const struct op *op) {
    const struct backend *b = g->device->backend;

    switch (op->kind) {
    case OP_RESAMPLE:
        return b->resample(g->device, &op->resample, graph_data(g, arena, op->x),
                           graph_data(g, arena, op->y));
    case OP_SAMPLE:
        return b->sample_forward(g->device, &op->sample, graph_data(g, arena, op->x),
                                 graph_data(g, arena, op->y));
    case OP_SAMPLE_BACKWARD:
        return b->sample_backward(g->device, &op->sample, graph_data(g, arena, op->dy),
                                  op->accumulate, graph_data(g, arena, op->dx));
    case OP_FLIP:
        return run_flip(g, arena, op);
    default:
        return run_nce(g, arena, op);
    }
}
