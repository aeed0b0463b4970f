// Norms with what goes with them (activation, dropout, skip, border), tanh, and concatenation: the
// ops whose outputs several ops may read.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X, SKIP, STATS_IN = 1 }; // inputs; the backward reads the statistics in the skip's place
enum { Y, STATS };              // outputs
enum { DX, DSKIP };             // outputs of a backward op

// Floats [2,n,c], whatever the device stores its tensors in.
static int new_statistics(struct graph *g, int n, int c) {
    return graph_tensor_of(g, (struct graph_size){2, 1, n, c, 0},
                           2 * (size_t)n * (size_t)c * sizeof(float));
}

static const struct norm_affine *affine_of(const struct op *op) {
    return op->norm.affine ? &op->norm.affine->values : NULL;
}

// ---- norm, backward ----

static int norm_backward_run(const struct op_run *r, const struct op *op) {
    const struct norm_op *n = &op->norm;
    struct norm_dropout dropout = {(uint64_t)n->draw};
    struct norm_gradients t = {
        .x = op_data(r, op->in[X]),
        .stats = op_data(r, op->in[STATS_IN]),
        .dy = op_gradient(r, op),
        .ret_dx = op_data(r, op->out[DX]),
        .ret_dskip = op_data(r, op->out[DSKIP]),
        .affine = affine_of(op),
        // The same number draws the same mask again, so no mask is stored.
        .dropout = n->draw >= 0 ? &dropout : NULL,
        .ret_dweight = n->train ? n->affine->dweight : NULL,
        .ret_dbias = n->train ? n->affine->dbias : NULL,
        .accumulate = n->accumulate,
    };

    return r->backend->norm_backward(r->device, &n->shape, &t, op_workspace(r, op));
}

static const struct op_kind norm_backward_kind = {.name = "norm's gradient",
                                                  .run = norm_backward_run};

static void norm_backward(struct graph *g, const struct op forward) {
    int x = forward.in[X], skip = forward.in[SKIP], y = forward.out[Y], dskip = -1;

    if (graph_root(g, y)->n_parts == 0 || !graph_needs_gradient(g, y))
        return;
    if (!graph_needs_gradient(g, x))
        // x is computed from the skip's map, so it wants a gradient wherever the skip does.
        BUG("a gradient is wanted through the skip alone");
    int dx = graph_gradient_slot(g, x, 0);
    if (graph_needs_gradient(g, skip))
        dskip = graph_gradient_slot(g, skip, 0);
    struct op *op = graph_append(g, &norm_backward_kind);
    op->in[X] = x;
    // Mean and rstd are read again, so both passes have the same xhat.
    op->in[STATS_IN] = forward.out[STATS];
    op->out[DX] = dx;
    op->out[DSKIP] = dskip;
    op->norm = forward.norm;
    graph_take_parts(g, y, op);
    if (!op->norm.train)
        return;
    op->norm.accumulate = graph_was_trained(g, forward.norm.affine->dweight);
    graph_touch(op, forward.norm.affine->dweight, true);
    graph_touch(op, forward.norm.affine->dbias, true);
}

// ---- norm ----

static int norm_run(const struct op_run *r, const struct op *op) {
    struct norm_dropout dropout = {(uint64_t)op->norm.draw};
    struct norm_tensors t = {
        .x = op_data(r, op->in[X]),
        .skip = op_data(r, op->in[SKIP]),
        .ret_y = op_data(r, op->out[Y]),
        .ret_stats = op_data(r, op->out[STATS]),
        .affine = affine_of(op),
        .dropout = op->norm.draw >= 0 ? &dropout : NULL,
    };

    return r->backend->norm_forward(r->device, &op->norm.shape, &t, op_workspace(r, op));
}

static const struct op_kind norm_kind = {
    .name = "norm", .run = norm_run, .backward = norm_backward};

static int norm_check(struct graph_size s, const struct graph_norm_args *args) {
    // The variance of one value is 0, and the output would be 0 for every input.
    if (args->norm == NORM_INSTANCE && s.h * s.w == 1)
        return err_set(ERR_SHAPE, "instance norm meets a map of 1x1: nothing to normalize over");
    if (args->norm == NORM_BATCH && s.n * s.h * s.w == 1)
        return err_set(ERR_SHAPE, "batch norm meets a map of 1x1: nothing to normalize over");
    if (args->pad >= s.h || args->pad >= s.w)
        return err_set(ERR_SHAPE, "a reflection border of %d needs a map above %dx%d, not %dx%d",
                       args->pad, args->pad, args->pad, s.w, s.h);
    return ERR_OK;
}

static void norm_append(struct graph *g, int x, const struct graph_norm_args *args, int y) {
    struct graph_size s = graph_size(g, x);
    int stats = -1;

    if (args->norm != NORM_NONE)
        // Instance norm has a row for each image. Norms with an affine part have one for the batch.
        stats = new_statistics(g, args->affine ? 1 : s.n, s.c);
    struct op *op = graph_append(g, &norm_kind);
    op->in[X] = x;
    op->in[SKIP] = args->skip;
    op->out[Y] = y;
    op->out[STATS] = stats;
    op->norm = (struct norm_op){
        .shape = {.n = s.n,
                  .h = s.h,
                  .w = s.w,
                  .c = s.c,
                  .pad = args->pad,
                  .skip_pad = args->skip >= 0 ? graph_size(g, args->skip).pad : 0,
                  .norm = args->norm,
                  .act = args->act},
        .affine = args->affine,
        .train = args->train && args->affine,
        // Dropout is drawn by the op's number. Gradients that were appended early do not count, so
        // that the draws are those of a tape where all gradients come last.
        .draw = args->dropout ? g->n_ops - 1 - g->n_early : -1,
    };
    if (args->affine) {
        // Running statistics are outside the arena: calls of one net in two streams must not race.
        graph_touch(op, args->affine->values.running_mean, args->norm == NORM_BATCH);
        graph_touch(op, args->affine->values.running_var, args->norm == NORM_BATCH);
    }
    graph_need_workspace(g, g->device->backend->norm_workspace_bytes(g->device, &op->norm.shape));
}

int graph_norm(struct graph *g, int x, const struct graph_norm_args *args, int *ret_y) {
    struct graph_size to = graph_size(g, x);
    int err = norm_check(to, args);

    if (err)
        return err;
    to.pad = args->pad;
    int y = graph_tensor(g, to);
    norm_append(g, x, args, y);
    graph_made(g, y, graph_needs_gradient(g, x) || graph_needs_gradient(g, args->skip));
    *ret_y = y;
    return ERR_OK;
}

int graph_norm_into(struct graph *g, int x, const struct graph_norm_args *args, int y) {
    int err = norm_check(graph_size(g, x), args);

    if (err)
        return err;
    if (graph_needs_gradient(g, x))
        BUG("a gradient is wanted through a buffer");
    if (graph_size(g, y).pad != args->pad)
        BUG("border %d into %d", args->pad, graph_size(g, y).pad);
    norm_append(g, x, args, y);
    return ERR_OK;
}

void graph_count_batches(const struct graph *g, int from, int to) {
    for (int i = from; i < to; i++) {
        const struct op *op = &g->ops[i];
        // Only forward norms count, and only those whose statistics move.
        if (op->kind == &norm_kind && op->norm.shape.norm == NORM_BATCH && op->norm.affine &&
            op->norm.affine->batches)
            ++*op->norm.affine->batches;
    }
}

// ---- tanh ----

static int tanh_backward_run(const struct op_run *r, const struct op *op) {
    struct grad_sum dy = op_gradient(r, op);

    return r->backend->tanh_backward(r->device, &op->norm.shape, op_data(r, op->in[0]), &dy,
                                     op_data(r, op->out[DX]), op_workspace(r, op));
}

static const struct op_kind tanh_backward_kind = {.name = "tanh's gradient",
                                                  .run = tanh_backward_run};

// The gradient is a function of y: dx = (1 - y^2) dy.
static void tanh_backward(struct graph *g, const struct op forward) {
    int y = forward.out[Y];

    if (graph_root(g, y)->n_parts == 0 || !graph_needs_gradient(g, y))
        return;
    int dx = graph_gradient_slot(g, forward.in[X], 0);
    struct op *op = graph_append(g, &tanh_backward_kind);
    op->in[0] = y;
    op->out[DX] = dx;
    op->norm = forward.norm;
    graph_take_parts(g, y, op);
}

static int tanh_run(const struct op_run *r, const struct op *op) {
    return r->backend->tanh_forward(r->device, &op->norm.shape, op_data(r, op->in[X]),
                                    op_data(r, op->out[Y]));
}

static const struct op_kind tanh_kind = {
    .name = "tanh", .run = tanh_run, .backward = tanh_backward};

int graph_tanh(struct graph *g, int x, int *ret_y) {
    struct graph_size s = graph_size(g, x);
    int y = graph_tensor(g, s);
    struct op *op = graph_append(g, &tanh_kind);

    op->in[X] = x;
    op->out[Y] = y;
    op->norm.shape = (struct norm_shape){.n = s.n, .h = s.h, .w = s.w, .c = s.c};
    graph_need_workspace(g, g->device->backend->norm_workspace_bytes(g->device, &op->norm.shape));
    graph_made(g, y, graph_needs_gradient(g, x));
    *ret_y = y;
    return ERR_OK;
}

// ---- concatenation ----

enum { A, B };        // inputs
enum { OF_Y, OF_DY }; // inputs of the backward op
enum { TO_A, TO_B };  // its outputs

static int concat_backward_run(const struct op_run *r, const struct op *op) {
    struct concat_gradients t = {op_data(r, op->in[OF_Y]), op_data(r, op->in[OF_DY]),
                                 op_data(r, op->out[TO_A]), op_data(r, op->out[TO_B])};

    return r->backend->concat_backward(r->device, &op->concat, &t);
}

static const struct op_kind concat_backward_kind = {.name = "concatenation's gradient",
                                                    .run = concat_backward_run};

static void concat_backward(struct graph *g, const struct op forward) {
    int a = forward.in[A], b = forward.in[B], da = -1, db = -1;
    const struct tensor *y = graph_root(g, forward.out[Y]);

    if (y->n_parts == 0 || !y->needs_gradient)
        return;
    // The backend's entry takes one gradient without a border, so parts are not summed here.
    if (y->n_parts != 1)
        BUG("a concatenation needs one reader");
    int dy = y->part[0].data; // before the slots: they may move g->tensors
    if (graph_needs_gradient(g, a))
        da = graph_gradient_slot(g, a, 0);
    if (graph_needs_gradient(g, b))
        db = graph_gradient_slot(g, b, 0);
    struct op *op = graph_append(g, &concat_backward_kind);
    op->in[OF_Y] = forward.out[Y];
    op->in[OF_DY] = dy;
    op->out[TO_A] = da;
    op->out[TO_B] = db;
    op->concat = forward.concat;
}

static int concat_run(const struct op_run *r, const struct op *op) {
    return r->backend->concat_forward(r->device, &op->concat, op_data(r, op->in[A]),
                                      op_data(r, op->in[B]), op_data(r, op->out[Y]));
}

static const struct op_kind concat_kind = {
    .name = "concatenation", .run = concat_run, .backward = concat_backward};

int graph_concat(struct graph *g, int a, int b, enum activation act) {
    struct graph_size size = graph_size(g, a);
    struct concat_shape shape = {(size_t)size.n * (size_t)size.h * (size_t)size.w, size.c,
                                 graph_size(g, b).c, act};

    size.c += shape.c_b;
    int y = graph_tensor(g, size);
    struct op *op = graph_append(g, &concat_kind);
    op->in[A] = a;
    op->in[B] = b;
    op->out[Y] = y;
    op->concat = shape;
    graph_made(g, y, graph_needs_gradient(g, a) || graph_needs_gradient(g, b));
    return y;
}
