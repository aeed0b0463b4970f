// recognise - which net a list of tensors is, by names and shapes alone.
//
// The first names tell the family, the shapes its widths, the numbering of a block its dropout, the
// parameters beside a convolution its norm (bias: instance; a second module with a weight: batch;
// neither: none). The net that this describes is then made, and every tensor compared with it
// (nets.h): what is recognised is one of ours to the last tensor.
#ifndef RECOGNISE_H
#define RECOGNISE_H

#include "config/config.h"
#include "nets/nets.h"
#include "weights/weights.h"

enum recognised_role { RECOGNISED_GENERATOR, RECOGNISED_DISCRIMINATOR };

struct recognised {
    enum recognised_role role;
    char arch[32];              // "resnet_9blocks", "unet_256", "basic", "n_layers", "pixel"
    struct net_options options; // .arch points to arch; fix it with recognised_options after a copy
};

// ERR_MISMATCH: none of ours. The text names the first tensor that differs from the nearest net, or
// lists the names there are.
int recognise(const struct weights *w, struct recognised *ret);

// The options with .arch pointing into r.
struct net_options recognised_options(const struct recognised *r);

// "generator resnet_9blocks, 3 to 3 channels, ngf 64, norm instance, no dropout". For a person.
void recognised_text(const struct recognised *r, char *ret, size_t n);

// Sets trainer.netG, ngf, norm, input_nc, output_nc, no_dropout (of a generator), netD, ndf,
// n_layers_D (of a discriminator), and model = "cut" with no_antialias* for CUT's filtered nets, as
// setup_model wants them. `reversed`: the generator is G_B, from output_nc to input_nc.
void recognised_configure(const struct recognised *r, bool reversed, struct config_trainer *c);

#endif
