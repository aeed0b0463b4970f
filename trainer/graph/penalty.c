// What a gradient penalty adds to the tape: derivatives along a direction, and the penalty itself.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

void graph_tangent(struct graph *g, int x, int dx, const struct graph_norm_args *args, int *ret_y,
                   int *ret_dy) {
    struct graph_size s = graph_size(g, x);
    bool needs_gradient = graph_root(g, x)->needs_gradient || graph_root(g, dx)->needs_gradient;
    int y = graph_tensor(g, s), dy = graph_tensor(g, s);
    struct op *op = graph_append(g, OP_TANGENT);

    if (args->norm > NORM_BATCH || s.pad)
        BUG("a derivative through norm %d with border %d", args->norm, s.pad);
    op->x = x;
    op->skip = dx;
    op->y = y;
    op->y_tangent = dy;
    op->affine = args->affine;
    op->train = args->affine && args->train;
    op->norm = (struct norm_shape){
        .n = s.n, .h = s.h, .w = s.w, .c = s.c, .norm = args->norm, .act = args->act};
    g->tensors[y].maker = g->tensors[dy].maker = g->n_ops - 1;
    g->tensors[y].needs_gradient = g->tensors[dy].needs_gradient = needs_gradient;
    *ret_y = y;
    *ret_dy = dy;
}

void graph_tangent_backward(struct graph *g, struct op forward) {
    int dy = graph_root(g, forward.y)->gradient, dx = -1;
    int y_tangent = graph_root(g, forward.y_tangent)->gradient;

    if (y_tangent < 0 || !graph_root(g, forward.y)->needs_gradient)
        return;
    // Without a norm what is made of dx does not depend on x but for the activation's sign.
    if (dy >= 0 || forward.norm.norm != NORM_NONE)
        dx = graph_gradient_slot(g, forward.x, 0);
    int dskip = graph_gradient_slot(g, forward.skip, 0);
    struct op *op = graph_append(g, OP_TANGENT_BACKWARD);
    op->x = forward.x;
    op->skip = forward.skip;
    op->norm = forward.norm;
    op->dy = dy;
    op->y_tangent = y_tangent;
    op->dx = dx;
    op->dskip = dskip;
    op->affine = forward.affine;
    op->train = forward.train;
    op->accumulate = op->train && graph_was_trained(g, forward.affine->dweight);
}

int graph_penalty(struct graph *g, int gradient, double scale, double *ret_loss) {
    int u = graph_tensor(g, graph_size(g, gradient));
    struct op *op = graph_append(g, OP_PENALTY);

    op->x = gradient;
    op->y = u;
    op->scale = scale;
    op->loss = ret_loss;
    return u;
}

void graph_mix(struct graph *g, int front, int real, int fake, const float *alpha, int y) {
    struct op *op = graph_append(g, OP_MIX);

    op->skip = front;
    op->x = real;
    op->dy = fake;
    op->y = y;
    op->alpha = alpha;
}

void graph_sum(struct graph *g, int x) {
    graph_gan(g, x, GAN_WGANGP, false, (double)graph_count(g, x), NULL);
}

void graph_forget_gradient(struct graph *g, int input) {
    graph_root(g, input)->needs_gradient = false;
}

static void *at(const struct graph *g, void *arena, int tensor) {
    return tensor < 0 ? NULL : graph_data(g, arena, tensor);
}

static int run_penalty(const struct graph *g, void *arena, const struct op *op) {
    struct penalty_args args = {graph_shape(g, op->x), op->scale};

    return g->device->backend->penalty(g->device, &args, at(g, arena, op->x), at(g, arena, op->y),
                                       op->loss);
}

static int run_mix(const struct graph *g, void *arena, const struct op *op) {
    struct tensor_shape real = graph_shape(g, op->x), y = graph_shape(g, op->y);
    struct mix_shape s = {y.n, y.h, y.w, y.c - real.c, real.c};
    struct mix_tensors t = {.alpha = op->alpha,
                            .front = at(g, arena, op->skip),
                            .real = at(g, arena, op->x),
                            .fake = at(g, arena, op->dy),
                            .ret_y = at(g, arena, op->y)};

    return g->device->backend->mix(g->device, &s, &t);
}

int graph_penalty_run(const struct graph *g, void *arena, const struct op *op) {
    const struct backend *b = g->device->backend;
    const struct norm_affine *affine = op->affine ? &op->affine->values : NULL;
    struct tangent_tensors forward = {.x = at(g, arena, op->x),
                                      .dx = at(g, arena, op->skip),
                                      .ret_y = at(g, arena, op->y),
                                      .ret_dy = at(g, arena, op->y_tangent),
                                      .affine = affine};
    struct tangent_gradients backward = {.x = forward.x,
                                         .dx = forward.dx,
                                         .g_y = at(g, arena, op->dy),
                                         .g_dy = forward.ret_dy,
                                         .ret_gx = at(g, arena, op->dx),
                                         .ret_gdx = at(g, arena, op->dskip),
                                         .affine = affine,
                                         .ret_dweight = op->train ? op->affine->dweight : NULL,
                                         .ret_dbias = op->train ? op->affine->dbias : NULL,
                                         .accumulate = op->accumulate};

    switch (op->kind) {
    case OP_TANGENT:
        return b->tangent_forward(g->device, &op->norm, &forward);
    case OP_TANGENT_BACKWARD:
        return b->tangent_backward(g->device, &op->norm, &backward);
    case OP_MIX:
        return run_mix(g, arena, op);
    default:
        return run_penalty(g, arena, op);
    }
}
