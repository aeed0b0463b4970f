// Turns settings into options of nets, for training and for programs that load trained weights.
#include "nets/options.h"

#include <string.h>

#include "config/config.h"

static bool is_cut(const struct config_trainer *c) {
    return strcmp(c->model, "cut") == 0 || strcmp(c->model, "fastcut") == 0;
}

static struct net_options generator_options(const struct config_trainer *c, int in_nc, int out_nc) {
    return (struct net_options){
        .arch = c->netG,
        .nf = (int)c->ngf,
        .norm = c->norm,
        .in_nc = in_nc,
        .out_nc = out_nc,
        .dropout = !c->no_dropout,
        .upsample = c->upsample,
        .antialias = is_cut(c) && !c->no_antialias, // the other recipes' nets have no blurs
        .no_antialias_up = c->no_antialias_up,
    };
}

static struct net_options discriminator_options(const struct config_trainer *c, int in_nc) {
    return (struct net_options){
        .arch = c->netD,
        .nf = (int)c->ndf,
        .norm = c->norm,
        // Read for netD "n_layers" only; "basic" has 3.
        .n_layers = (int)c->n_layers_D,
        .in_nc = in_nc,
        .antialias = is_cut(c) && !c->no_antialias,
    };
}

struct net_options net_options_of(const struct config_trainer *c, enum net_side side) {
    int a = (int)c->input_nc, b = (int)c->output_nc;

    switch (side) {
    case NET_A_TO_B:
        return generator_options(c, a, b);
    case NET_B_TO_A:
        return generator_options(c, b, a);
    case NET_OF_A:
        return discriminator_options(c, a);
    case NET_OF_B: // pix2pix's reads the pair [a; b]
        return discriminator_options(c, strcmp(c->model, "pix2pix") == 0 ? a + b : b);
    }
    return (struct net_options){0};
}
