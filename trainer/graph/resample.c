// Ops that move pixels: antialiased halving and doubling, and the flip.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X }; // input
enum { Y }; // output

static int resample_run(const struct op_run *r, const struct op *op) {
    return r->backend->resample(r->device, &op->resample, op_data(r, op->in[X]),
                                op_data(r, op->out[Y]));
}

// The gradient is the same op with the adjoint's kind, from dy to dx.
static const struct op_kind adjoint_kind = {.name = "resampling's gradient", .run = resample_run};

static void resample_backward(struct graph *g, const struct op forward) {
    const struct resample_shape *s = &forward.resample;
    int x = forward.in[X], dy = graph_root(g, forward.out[Y])->gradient;

    // No loss depends on y, or nothing in front of x learns.
    if (dy < 0 || !graph_needs_gradient(g, forward.out[Y]) || !graph_needs_gradient(g, x))
        return;
    int dx = graph_gradient_slot(g, x, graph_size(g, x).pad);
    struct op *op = graph_append(g, &adjoint_kind);
    op->in[X] = dy;
    op->out[Y] = dx;
    op->resample = (struct resample_shape){.kind = s->kind == RESAMPLE_BLUR ? RESAMPLE_BLUR_ADJOINT
                                                                            : RESAMPLE_UP_ADJOINT,
                                           .n = s->n,
                                           .h = s->to_h,
                                           .w = s->to_w,
                                           .to_h = s->h,
                                           .to_w = s->w,
                                           .c = s->c};
}

static const struct op_kind resample_kind = {
    .name = "resampling", .run = resample_run, .backward = resample_backward, .one_reader = true};

static int resample(struct graph *g, int x, enum resample_kind kind) {
    struct graph_size from = graph_size(g, x), to = from;
    bool blur = kind == RESAMPLE_BLUR;

    if (from.pad != (blur ? 1 : 0))
        BUG("resampling a map with a border of %d", from.pad);
    to.pad = 0;
    // The backend counts the border: its to_h = (h + 2 - 1) / 2 is the same number.
    to.h = blur ? (from.h + 1) / 2 : 2 * from.h;
    to.w = blur ? (from.w + 1) / 2 : 2 * from.w;
    int y = graph_tensor(g, to);
    struct op *op = graph_append(g, &resample_kind);
    op->in[X] = x;
    op->out[Y] = y;
    op->resample = (struct resample_shape){
        kind, from.n, from.h + 2 * from.pad, from.w + 2 * from.pad, to.h, to.w, from.c};
    graph_made(g, y, graph_needs_gradient(g, x));
    return y;
}

int graph_blur(struct graph *g, int x) {
    return resample(g, x, RESAMPLE_BLUR);
}

int graph_up(struct graph *g, int x) {
    return resample(g, x, RESAMPLE_UP);
}

static int flip_run(const struct op_run *r, const struct op *op) {
    struct tensor_shape s = graph_shape(r->graph, op->in[X]);

    return r->backend->flip(r->device, &s, op->flip, op_data(r, op->in[X]), op_data(r, op->out[Y]));
}

static const struct op_kind flip_kind = {.name = "flip", .run = flip_run};

void graph_flip(struct graph *g, int x, const int *flip, int y) {
    struct op *op = graph_append(g, &flip_kind);

    op->in[X] = x;
    op->out[Y] = y;
    op->flip = flip;
}
