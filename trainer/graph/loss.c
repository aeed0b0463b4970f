// Losses. Each writes its gradient when it runs, so none has a backward op. The penalty's gradient
// and the mixed images are constants.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X, TARGET };         // inputs
enum { DX, U = 0, Y = 0 };  // outputs
enum { FRONT, REAL, FAKE }; // inputs of mix

// ---- L1 ----

static int l1_run(const struct op_run *r, const struct op *op) {
    struct l1_args args = {graph_shape(r->graph, op->in[X]), op->scaled.scale};

    return r->backend->l1(r->device, &args, op_data(r, op->in[X]), op_data(r, op->in[TARGET]),
                          op_data(r, op->out[DX]), op->scaled.loss);
}

// No `backward`: the op itself writes the gradient of x, which costs nothing extra.
static const struct op_kind l1_kind = {.name = "L1", .run = l1_run};

void graph_l1(struct graph *g, int x, int target, double scale, double *ret_loss) {
    int dx = graph_gradient_slot(g, x, 0);
    struct graph_size a = graph_size(g, x), b = graph_size(g, target);
    struct op *op = graph_append(g, &l1_kind);

    if (a.n != b.n || a.h != b.h || a.w != b.w || a.c != b.c || a.pad || b.pad)
        BUG("l1 of [%d,%d,%d,%d] and [%d,%d,%d,%d]", a.n, a.h, a.w, a.c, b.n, b.h, b.w, b.c);
    op->in[X] = x;
    op->in[TARGET] = target;
    op->out[DX] = dx;
    op->scaled = (struct scale_op){scale, ret_loss};
    graph_touch(op, ret_loss, true);
}

// ---- GAN ----

static int gan_run(const struct op_run *r, const struct op *op) {
    return r->backend->gan(r->device, &op->gan.args, op_data(r, op->in[X]), op_data(r, op->out[DX]),
                           op->gan.loss);
}

static const struct op_kind gan_kind = {.name = "GAN loss", .run = gan_run};

void graph_gan(struct graph *g, int x, enum gan_mode mode, bool target_real, double scale,
               double *ret_loss) {
    // The halves of a batch (real and fake) are views, and each loss writes its half.
    int dx = graph_gradient_slot(g, x, 0);
    struct op *op = graph_append(g, &gan_kind);

    op->in[X] = x;
    op->out[DX] = dx;
    op->gan = (struct gan_op){
        {.mode = mode, .target_real = target_real, .shape = graph_shape(g, x), .scale = scale},
        ret_loss};
    graph_touch(op, ret_loss, true);
}

// WGAN's loss of a fake is the mean, so the number of elements as its scale makes it the sum.
void graph_sum(struct graph *g, int x) {
    graph_gan(g, x, GAN_WGANGP, false, (double)graph_count(g, x), NULL);
}

// An op is not needed: the gradient is there before the tape runs.
void graph_dot(struct graph *g, int x, int r) {
    int root = g->tensors[x].root;
    struct tensor *t = &g->tensors[root];

    if (graph_has_one_reader(g, t))
        t->gradient = r;
    else
        t->part[t->n_parts++] = (struct part){r, 0, 0, t->size.n};
}

// ---- gradient penalty ----

static int penalty_run(const struct op_run *r, const struct op *op) {
    struct penalty_args args = {graph_shape(r->graph, op->in[X]), op->scaled.scale};

    return r->backend->penalty(r->device, &args, op_data(r, op->in[X]), op_data(r, op->out[U]),
                               op->scaled.loss);
}

static const struct op_kind penalty_kind = {.name = "gradient penalty", .run = penalty_run};

int graph_penalty(struct graph *g, int gradient, double scale, double *ret_loss) {
    // Not a gradient slot: u is the direction of D's derivative and not a part of a sum.
    int u = graph_tensor(g, graph_size(g, gradient));
    struct op *op = graph_append(g, &penalty_kind);

    op->in[X] = gradient;
    op->out[U] = u;
    op->scaled = (struct scale_op){scale, ret_loss};
    graph_touch(op, ret_loss, true);
    return u;
}

static int mix_run(const struct op_run *r, const struct op *op) {
    struct tensor_shape real = graph_shape(r->graph, op->in[REAL]);
    struct tensor_shape y = graph_shape(r->graph, op->out[Y]);
    // The front's channels are what y has more than the images.
    struct mix_shape s = {y.n, y.h, y.w, y.c - real.c, real.c};
    struct mix_tensors t = {.alpha = op->alpha,
                            .front = op_data(r, op->in[FRONT]),
                            .real = op_data(r, op->in[REAL]),
                            .fake = op_data(r, op->in[FAKE]),
                            .ret_y = op_data(r, op->out[Y])};

    return r->backend->mix(r->device, &s, &t);
}

static const struct op_kind mix_kind = {.name = "mix", .run = mix_run};

// Without graph_made y counts as an input. Gradients end there even if y's own is wanted.
void graph_mix(struct graph *g, int front, int real, int fake, const float *alpha, int y) {
    struct op *op = graph_append(g, &mix_kind);

    op->in[FRONT] = front;
    op->in[REAL] = real;
    op->in[FAKE] = fake;
    op->out[Y] = y;
    op->alpha = alpha;
}
