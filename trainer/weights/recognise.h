// recognise - finds the architecture of a net by the names and shapes of its tensors.
//
// The first names give the family, the shapes the widths. The module numbers in a block give the
// dropout. The parameters of a convolution give the norm: a bias means instance norm, a module with
// weights behind it means batch norm, neither means no norm. Then the net is built, and every
// tensor is compared with it (nets.h).
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

// ERR_MISMATCH: no known net. The text names the first tensor that differs from the nearest net, or
// lists the names in the file.
int recognise(const struct weights *w, struct recognised *ret);

// The options with .arch pointing into r.
struct net_options recognised_options(const struct recognised *r);

// "generator resnet_9blocks, 3 to 3 channels, ngf 64, norm instance, no dropout". To print.
void recognised_text(const struct recognised *r, char *ret, size_t n);

// Sets trainer.netG, ngf, norm, input_nc, output_nc, no_dropout (of a generator), netD, ndf,
// n_layers_D (of a discriminator), and model = "cut" with no_antialias* for CUT's filtered nets, as
// a run's settings need them. `reversed`: the generator is G_B, from output_nc to input_nc.
void recognised_configure(const struct recognised *r, bool reversed, struct config_trainer *c);

#endif
