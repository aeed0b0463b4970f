// Patches of maps, and PatchNCE, the loss that compares them.
#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

enum { X };              // input of a sample
enum { Y };              // output
enum { Q, K };           // inputs of PatchNCE
enum { DY = 0, DX = 0 }; // input and output of a sample's gradient; DX is PatchNCE's output too

// ---- sample ----

static int sample_backward_run(const struct op_run *r, const struct op *op) {
    return r->backend->sample_backward(r->device, &op->sample.shape, op_data(r, op->in[DY]),
                                       op->sample.accumulate, op_data(r, op->out[DX]));
}

static const struct op_kind sample_backward_kind = {.name = "gradient of sampled patches",
                                                    .run = sample_backward_run};

// The samples come first on the tape, so their gradient is appended behind that of the reader.
static void sample_backward(struct graph *g, const struct op forward) {
    int x = forward.in[X], dy = graph_root(g, forward.out[Y])->gradient;
    const struct tensor *root = graph_root(g, x);

    if (dy < 0 || !graph_needs_gradient(g, forward.out[Y]) || !graph_needs_gradient(g, x))
        return;
    // Where the reader of the whole map has written its gradient, this one is added to it. In other
    // cases the sample's gradient is a map of its own.
    bool accumulate = graph_has_one_reader(g, root) && root->gradient >= 0;
    int dx = graph_gradient_slot(g, x, graph_size(g, x).pad);
    struct op *op = graph_append(g, &sample_backward_kind);
    op->in[DY] = dy;
    op->out[DX] = dx;
    op->sample = (struct sample_op){forward.sample.shape, accumulate};
}

static int sample_run(const struct op_run *r, const struct op *op) {
    return r->backend->sample_forward(r->device, &op->sample.shape, op_data(r, op->in[X]),
                                      op_data(r, op->out[Y]));
}

static const struct op_kind sample_kind = {.name = "sampling of patches",
                                           .run = sample_run,
                                           .backward = sample_backward,
                                           .one_reader = true};

int graph_sample(struct graph *g, int x, const struct graph_sample_args *args) {
    struct graph_size s = graph_size(g, x);
    int y = graph_tensor(g, (struct graph_size){s.n, args->count, 1, s.c, 0});
    struct op *op = graph_append(g, &sample_kind);

    op->in[X] = x;
    op->out[Y] = y;
    op->sample.shape =
        (struct sample_shape){s.n, s.h, s.w, s.c, s.pad, args->count, args->border, args->ids};
    graph_made(g, y, graph_needs_gradient(g, x) && !args->constant);
    return y;
}

// ---- PatchNCE ----

static int nce_run(const struct op_run *r, const struct op *op) {
    return r->backend->nce(r->device, &op->nce.args, op_data(r, op->in[Q]), op_data(r, op->in[K]),
                           op_data(r, op->out[DX]), NULL, op->nce.loss, op_workspace(r, op));
}

static const struct op_kind nce_kind = {.name = "PatchNCE", .run = nce_run};

void graph_nce(struct graph *g, int q, int k, const struct graph_nce_args *args, double *ret_loss) {
    int dq = graph_gradient_slot(g, q, 0);
    struct graph_size s = graph_size(g, q);
    struct op *op = graph_append(g, &nce_kind);

    op->in[Q] = q;
    op->in[K] = k;
    op->out[DX] = dq;
    // A sample's patches are its height, so h of q is the number of patches.
    op->nce = (struct nce_op){{s.n, s.h, s.c, args->temperature, args->scale, args->all, args->add},
                              ret_loss};
    graph_touch(op, ret_loss, true);
    graph_need_workspace(g, g->device->backend->nce_workspace_bytes(g->device, &op->nce.args));
}
