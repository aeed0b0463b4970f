// pix2pix: one generator, one discriminator that sees what was translated, pairs of images.
//
// G: A -> B; D reads [a; b], both on the channels. D is updated first.
//
//   loss_D = 1/2 (GAN(D([a; G(a)]), fake) + GAN(D([a; b]), real)), G(a) constant
//   loss_G = GAN(D([a; G(a)]), real) + lambda_L1 |G(a) - b|, with the updated D
//
// Source: Isola et al. 2017 (arXiv:1611.07004), section 3.1.
#include "base/err.h"
#include "models/recipe.h"
#include "nets/options.h"

enum { NET_G, NET_D };
enum { LOSS_G_GAN, LOSS_G_L1, LOSS_D_REAL, LOSS_D_FAKE };

static int make_nets(struct model *m, const struct config_trainer *c) {
    struct net_options g = net_options_of(c, NET_A_TO_B), d = net_options_of(c, NET_OF_B);
    int err = generator_new(&g, &m->nets[NET_G]);

    return err ? err : discriminator_new(&d, &m->nets[NET_D]);
}

static int check_sizes(const struct model *m, const struct tape_shape *s) {
    int err;

    // D reads both images on the channels of one map.
    if (s->h[0] != s->h[1] || s->w[0] != s->w[1])
        return err_set(ERR_SHAPE,
                       "a pair of %dx%d and %dx%d: pix2pix needs two pictures of one size", s->w[0],
                       s->h[0], s->w[1], s->h[1]);
    err = net_check_size(m->nets[NET_G], s->h[0], s->w[0]);
    return err ? err : net_check_size(m->nets[NET_D], s->h[0], s->w[0]);
}

static int build_generate(struct model *m, struct tape *t) {
    int *fake = &t->fake[MODEL_B], err;

    for (int d = 0; d < 2; d++)
        t->real[d] = graph_input(t->graph, t->shape.n, t->shape.h[d], t->shape.w[d],
                                 d == MODEL_A ? m->settings.input_nc : m->settings.output_nc);
    t->pooled[MODEL_B] =
        graph_input(t->graph, t->shape.n, t->shape.h[1], t->shape.w[1], m->settings.output_nc);
    err = net_forward(m->nets[NET_G], t->graph, t->real[MODEL_A], NET_TRAIN, fake);
    if (!err)
        graph_keep(t->graph, *fake);
    return err;
}

// D's map of [a; b].
static int discriminate(struct model *m, struct tape *t, int b, enum net_mode mode, int *ret_map) {
    int pair = graph_concat(t->graph, t->real[MODEL_A], b, ACT_NONE);

    return net_forward(m->nets[NET_D], t->graph, pair, mode, ret_map);
}

// The fake comes before the real image, as in the reference: D's running statistics see it.
static int discriminator_losses(struct model *m, struct tape *t) {
    int map, err = discriminate(m, t, t->pooled[MODEL_B], NET_TRAIN, &map);

    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, false, 0.5, &t->loss_fake[LOSS_D_FAKE]);
    graph_stream(t->graph, 1);
    err = discriminate(m, t, t->real[MODEL_B], NET_TRAIN, &map);
    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, true, 0.5, &t->loss[LOSS_D_REAL]);
    graph_stream(t->graph, 0);
    return ERR_OK;
}

// Behind D's update on the tape, so D has its new weights here.
static int generator_losses(struct model *m, struct tape *t) {
    int map, err = discriminate(m, t, t->fake[MODEL_B], NET_THROUGH, &map);

    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, true, 1, &t->loss[LOSS_G_GAN]);
    graph_l1(t->graph, t->fake[MODEL_B], t->real[MODEL_B], m->settings.lambda_L1,
             &t->loss[LOSS_G_L1]);
    return ERR_OK;
}

static int build(struct model *m, struct tape *t) {
    int err = check_sizes(m, &t->shape);

    if (!err)
        err = build_generate(m, t);
    t->generate.end = t->update_d.begin = graph_section(t->graph);
    if (!err)
        err = discriminator_losses(m, t);
    if (err)
        return err;
    // G's ops stay undifferentiated until G's own losses are on the tape.
    graph_backward_since(t->graph, t->update_d.begin);
    err = model_add_penalty(m, t, m->nets[NET_D], MODEL_B);
    if (err)
        return err;
    t->update_d.end = t->update_g.begin = graph_section(t->graph);
    err = generator_losses(m, t);
    if (err)
        return err;
    graph_backward(t->graph);
    t->update_g.end = graph_n_ops(t->graph);
    return ERR_OK;
}

const struct recipe recipe_pix2pix = {
    .name = "pix2pix",
    .n_nets = 2,
    .n_generators = 1,
    .n_with_g = 1,
    .nets = {"G", "D"},
    .d_first = true,
    .conditional = true,
    .n_losses = 4,
    .losses = {"G_GAN", "G_L1", "D_real", "D_fake"},
    .logged = {[LOSS_D_REAL] = 2, [LOSS_D_FAKE] = 2}, // without the half
    .make_nets = make_nets,
    .build = build,
};
