// CycleGAN: two generators, two discriminators, cycle consistency and identity.
//
// G_A: A -> B, G_B: B -> A; D_A discriminates images of B, D_B images of A.
//
//   loss_G = sum over both directions of
//              GAN(D_A(G_A(a)), real)
//            + lambda_A |G_B(G_A(a)) - a|
//            + lambda_B lambda_identity |G_A(b) - b|       (the other direction: lambda_A)
//   loss_D_A = 1/2 (GAN(D_A(b), real) + GAN(D_A(pooled fake), fake))
//
// Source: Zhu et al. 2017 (arXiv:1703.10593), sections 3 and 4, 5.2 for the identity loss.
#include "base/err.h"
#include "models/recipe.h"
#include "nets/options.h"

enum { NET_G_A, NET_G_B, NET_D_A, NET_D_B };
enum { LOSS_D_A, LOSS_G_A, LOSS_CYCLE_A, LOSS_IDT_A, LOSS_D_B, LOSS_G_B, LOSS_CYCLE_B, LOSS_IDT_B };
#define LOSS_STRIDE LOSS_D_B // from a loss of direction A to that of B

// Domain `d` is what generator d reads; the other is what it writes.
static int other(int d) {
    return 1 - d;
}

static int make_nets(struct model *m, const struct config_trainer *c) {
    static const enum net_side g_sides[] = {NET_A_TO_B, NET_B_TO_A};
    static const enum net_side d_sides[] = {NET_OF_B, NET_OF_A};

    // The identity image is G_A(b): G_A must read what it writes.
    if (c->lambda_identity > 0 && c->input_nc != c->output_nc)
        return err_set(ERR_CONFIG,
                       "lambda_identity %g with input_nc %d and output_nc %d: the identity loss "
                       "needs equal numbers; set lambda_identity = 0",
                       c->lambda_identity, (int)c->input_nc, (int)c->output_nc);
    for (int i = 0; i < 2; i++) {
        struct net_options g = net_options_of(c, g_sides[i]), d = net_options_of(c, d_sides[i]);
        int err = generator_new(&g, &m->nets[NET_G_A + i]);
        if (err)
            return err;
        err = discriminator_new(&d, &m->nets[NET_D_A + i]);
        if (err)
            return err;
    }
    return ERR_OK;
}

// A domain's pooled images follow its real ones in memory: its discriminator reads both at once.
static void add_inputs(struct model *m, struct tape *t, int ret_pairs[2]) {
    for (int d = 0; d < 2; d++) {
        int n = t->shape.n, c = d == MODEL_A ? m->settings.input_nc : m->settings.output_nc;
        ret_pairs[d] = graph_input(t->graph, 2 * n, t->shape.h[d], t->shape.w[d], c);
        t->real[d] = graph_view(t->graph, ret_pairs[d], 0, n);
        t->pooled[d] = graph_view(t->graph, ret_pairs[d], n, n);
    }
}

static bool same_size(const struct tape_shape *s) {
    return s->h[0] == s->h[1] && s->w[0] == s->w[1];
}

// [fake; idt] = G_d([real_d; real_other]): one call, where images do not depend on each other.
static int generate_both(struct model *m, struct tape *t, int d) {
    const struct net *net = m->nets[NET_G_A + d];
    struct graph_size s = graph_size(t->graph, t->real[d]);
    struct graph_norm_args pad = {.pad = net_border(net), .skip = -1};
    int x = graph_buffer(t->graph, 2 * s.n, s.h, s.w, s.c, pad.pad);
    int err, y;

    err = graph_norm_into(t->graph, t->real[d], &pad, graph_view(t->graph, x, 0, s.n));
    if (err)
        return err;
    err = graph_norm_into(t->graph, t->real[other(d)], &pad, graph_view(t->graph, x, s.n, s.n));
    if (err)
        return err;
    err = net_forward(net, t->graph, x, NET_TRAIN, &y);
    if (err)
        return err;
    graph_keep(t->graph, y);
    t->fake[other(d)] = graph_view(t->graph, y, 0, s.n);
    t->idt[d] = graph_view(t->graph, y, s.n, s.n);
    return ERR_OK;
}

static int make_fake(struct model *m, struct tape *t, int d) {
    int *y = &t->fake[other(d)];
    int err = net_forward(m->nets[NET_G_A + d], t->graph, t->real[d], NET_TRAIN, y);

    if (!err)
        graph_keep(t->graph, *y);
    return err;
}

static int make_reconstruction(struct model *m, struct tape *t, int d) {
    int err = net_forward(m->nets[NET_G_A + other(d)], t->graph, t->fake[other(d)], NET_TRAIN,
                          &t->rec[d]);

    if (!err)
        graph_keep(t->graph, t->rec[d]);
    return err;
}

// Batch norm would mix the statistics of both domains in one call.
static bool identity_is_with_fake(const struct model *m, const struct tape *t) {
    return m->settings.lambda_identity > 0 && same_size(&t->shape) &&
           !net_couples_images(m->nets[NET_G_A]);
}

// What is sent to the pool. The two directions have a stream each. A net with running statistics
// has to see its batches in the order of the reference: of each direction the fake, then its
// reconstruction, and identities last.
static int build_generate(struct model *m, struct tape *t, int ret_begin[3]) {
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++) {
        ret_begin[d] = graph_n_ops(t->graph);
        graph_stream(t->graph, d);
        err = identity_is_with_fake(m, t) ? generate_both(m, t, d) : make_fake(m, t, d);
        // Other nets make it in the update's part, since the pool does not wait for it.
        if (!err && net_couples_images(m->nets[NET_G_A]))
            err = make_reconstruction(m, t, d);
    }
    ret_begin[2] = graph_n_ops(t->graph);
    return err;
}

// The identity image of generator d, where generate did not make it.
static int make_identity(struct model *m, struct tape *t, int d) {
    int err;

    if (m->settings.lambda_identity <= 0 || t->idt[d] >= 0)
        return ERR_OK;
    err = net_forward(m->nets[NET_G_A + d], t->graph, t->real[other(d)], NET_TRAIN, &t->idt[d]);
    if (!err)
        graph_keep(t->graph, t->idt[d]);
    return err;
}

// Generator d's losses, and what they need: back to the start, and before the discriminator, whose
// own parameters get no gradient here.
static int generator_losses(struct model *m, struct tape *t, int d) {
    double lambda = d == MODEL_A ? m->settings.lambda_A : m->settings.lambda_B;
    double lambda_other = d == MODEL_A ? m->settings.lambda_B : m->settings.lambda_A;
    double *loss = t->loss + d * LOSS_STRIDE;
    int map, err = t->rec[d] >= 0 ? ERR_OK : make_reconstruction(m, t, d);

    if (err)
        return err;
    err = make_identity(m, t, d);
    if (err)
        return err;
    graph_stream(t->graph, GRAPH_SIDE_STREAM(d)); // while the reconstruction is made
    err = net_forward(m->nets[NET_D_A + d], t->graph, t->fake[other(d)], NET_THROUGH, &map);
    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, true, 1, &loss[LOSS_G_A]);
    if (t->idt[d] >= 0)
        graph_l1(t->graph, t->idt[d], t->real[other(d)], lambda_other * m->settings.lambda_identity,
                 &loss[LOSS_IDT_A]);
    graph_stream(t->graph, d);
    graph_l1(t->graph, t->rec[d], t->real[d], lambda, &loss[LOSS_CYCLE_A]);
    return ERR_OK;
}

// Whether one direction may be differentiated before the other is computed, which frees its
// activations: where no streams work side by side, and where a filter's gradient has two parts, one
// of each direction, whose sum does not depend on the order.
static bool directions_in_turns(const struct model *m, const struct tape *t) {
    bool two_parts = m->settings.lambda_identity <= 0 || identity_is_with_fake(m, t);

    return m->device->streams == 1 && two_parts;
}

// generate_begin: the first op of each direction in the section before, and the section's end.
static int update_generators(struct model *m, struct tape *t, const int generate_begin[3]) {
    bool in_turns = directions_in_turns(m, t);

    for (int d = 0; d < 2; d++) {
        int begin = graph_n_ops(t->graph);
        graph_stream(t->graph, d);
        int err = generator_losses(m, t, d);
        if (err)
            return err;
        if (in_turns) {
            // First this part, then the part before: gradients reach the fakes from behind.
            graph_backward_early(t->graph, begin, graph_n_ops(t->graph));
            graph_backward_early(t->graph, generate_begin[d], generate_begin[d + 1]);
        }
    }
    graph_backward(t->graph); // of what is left
    return ERR_OK;
}

// D_d on n images of the domain that G_d writes.
static int discriminate(struct model *m, struct tape *t, int d, int images, int *ret_map) {
    return net_forward(m->nets[NET_D_A + d], t->graph, images, NET_TRAIN, ret_map);
}

// Reads the real and the pooled images in one call, or, if they would depend on each other, in
// two.
static int discriminator_losses(struct model *m, struct tape *t, int d, int pairs) {
    int n = t->shape.n, both, map[2], err;

    if (net_couples_images(m->nets[NET_D_A + d])) {
        err = discriminate(m, t, d, t->real[other(d)], &map[0]);
        if (!err)
            err = discriminate(m, t, d, t->pooled[other(d)], &map[1]);
    } else {
        err = discriminate(m, t, d, pairs, &both);
        if (!err)
            for (int half = 0; half < 2; half++)
                map[half] = graph_view(t->graph, both, half * n, n);
    }
    if (err)
        return err;
    graph_gan(t->graph, map[0], m->gan_mode, true, 0.5, &t->loss[LOSS_D_A + d * LOSS_STRIDE]);
    graph_gan(t->graph, map[1], m->gan_mode, false, 0.5, &t->loss_fake[LOSS_D_A + d * LOSS_STRIDE]);
    return ERR_OK;
}

static int check_sizes(const struct model *m, const struct tape_shape *s) {
    for (int d = 0; d < 2; d++) {
        int err = net_check_size(m->nets[NET_G_A + d], s->h[d], s->w[d]);
        if (err)
            return err;
        // D_B reads domain A, and D_A domain B.
        err = net_check_size(m->nets[NET_D_A + other(d)], s->h[d], s->w[d]);
        if (err)
            return err;
    }
    return ERR_OK;
}

static int build(struct model *m, struct tape *t) {
    int err = check_sizes(m, &t->shape), pairs[2], generate_begin[3];

    add_inputs(m, t, pairs);
    if (!err)
        err = build_generate(m, t, generate_begin);
    t->generate.end = t->update_g.begin = graph_section(t->graph);
    if (!err)
        err = update_generators(m, t, generate_begin);
    if (err)
        return err;
    // The fakes of this step go to the pool while the part before this line runs.
    t->update_g.end = t->update_d.begin = graph_section(t->graph);
    for (int d = 0; d < 2 && !err; d++) {
        graph_stream(t->graph, d);
        err = discriminator_losses(m, t, d, pairs[other(d)]);
    }
    if (err)
        return err;
    graph_backward(t->graph);
    for (int d = 0; d < 2 && !err; d++) {
        graph_stream(t->graph, d);
        err = model_add_penalty(m, t, m->nets[NET_D_A + d], (enum model_domain)other(d));
    }
    if (err)
        return err;
    t->update_d.end = graph_n_ops(t->graph);
    return ERR_OK;
}

const struct recipe recipe_cyclegan = {
    .name = "cycle_gan",
    .n_nets = 4,
    .n_generators = 2,
    .n_with_g = 2,
    .nets = {"G_A", "G_B", "D_A", "D_B"},
    .n_losses = 8,
    .losses = {"D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"},
    .make_nets = make_nets,
    .build = build,
};
