// A norm and its activation with their derivative along a direction (a tangent), and the gradient
// of both: what a penalty on D's gradient differentiates.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X, DX, G_Y, G_DY }; // inputs; the last two are the gradients by y and dy, backward only
enum { Y, DY };            // outputs
enum { GX, GDX };          // outputs of the backward op: the gradients by x and dx

static const struct norm_affine *affine_of(const struct op *op) {
    return op->norm.affine ? &op->norm.affine->values : NULL;
}

static int tangent_backward_run(const struct op_run *r, const struct op *op) {
    const struct norm_op *n = &op->norm;
    struct tangent_gradients t = {.x = op_data(r, op->in[X]),
                                  .dx = op_data(r, op->in[DX]),
                                  .g_y = op_data(r, op->in[G_Y]),
                                  .g_dy = op_data(r, op->in[G_DY]),
                                  .ret_gx = op_data(r, op->out[GX]),
                                  .ret_gdx = op_data(r, op->out[GDX]),
                                  .affine = affine_of(op),
                                  .ret_dweight = n->train ? n->affine->dweight : NULL,
                                  .ret_dbias = n->train ? n->affine->dbias : NULL,
                                  .accumulate = n->accumulate};

    return r->backend->tangent_backward(r->device, &n->shape, &t);
}

static const struct op_kind tangent_backward_kind = {.name = "tangent's gradient",
                                                     .run = tangent_backward_run};

static void tangent_backward(struct graph *g, const struct op forward) {
    int x = forward.in[X], dx = forward.in[DX], gx = -1;
    int g_y = graph_root(g, forward.out[Y])->gradient;
    int g_dy = graph_root(g, forward.out[DY])->gradient;

    // The y of D's last norm has no reader, so g_y may be absent (-1). Without g_dy no loss
    // depends on this op.
    if (g_dy < 0 || !graph_needs_gradient(g, forward.out[Y]))
        return;
    // Without a norm, dy depends on x only by the sign of the activation: its gradient by x is 0.
    if (g_y >= 0 || forward.norm.shape.norm != NORM_NONE)
        gx = graph_gradient_slot(g, x, 0);
    int gdx = graph_gradient_slot(g, dx, 0);
    struct op *op = graph_append(g, &tangent_backward_kind);
    op->in[X] = x;
    op->in[DX] = dx;
    op->in[G_Y] = g_y;
    op->in[G_DY] = g_dy;
    op->out[GX] = gx;
    op->out[GDX] = gdx;
    op->norm = forward.norm;
    if (!op->norm.train)
        return;
    op->norm.accumulate = graph_was_trained(g, forward.norm.affine->dweight);
    graph_touch(op, forward.norm.affine->dweight, true);
    graph_touch(op, forward.norm.affine->dbias, true);
}

static int tangent_run(const struct op_run *r, const struct op *op) {
    struct tangent_tensors t = {.x = op_data(r, op->in[X]),
                                .dx = op_data(r, op->in[DX]),
                                .ret_y = op_data(r, op->out[Y]),
                                .ret_dy = op_data(r, op->out[DY]),
                                .affine = affine_of(op)};

    return r->backend->tangent_forward(r->device, &op->norm.shape, &t);
}

static const struct op_kind tangent_kind = {.name = "norm with its tangent",
                                            .run = tangent_run,
                                            .backward = tangent_backward,
                                            .one_reader = true};

void graph_tangent(struct graph *g, int x, int dx, const struct graph_norm_args *args, int *ret_y,
                   int *ret_dy) {
    struct graph_size s = graph_size(g, x);
    bool needs_gradient = graph_needs_gradient(g, x) || graph_needs_gradient(g, dx);
    int y = graph_tensor(g, s), dy = graph_tensor(g, s);
    struct op *op = graph_append(g, &tangent_kind);

    // D has no reflection borders, and a running norm has no gradient.
    if (args->norm > NORM_BATCH || s.pad)
        BUG("a derivative through norm %d with border %d", args->norm, s.pad);
    op->in[X] = x;
    op->in[DX] = dx;
    op->out[Y] = y;
    op->out[DY] = dy;
    op->norm = (struct norm_op){
        .shape = {.n = s.n, .h = s.h, .w = s.w, .c = s.c, .norm = args->norm, .act = args->act},
        .affine = args->affine,
        .train = args->affine && args->train,
        .draw = -1};
    graph_made(g, y, needs_gradient);
    graph_made(g, dy, needs_gradient);
    *ret_y = y;
    *ret_dy = dy;
}
