// options - the options of a run's nets, from its settings.
#ifndef NET_OPTIONS_H
#define NET_OPTIONS_H

#include "nets/nets.h"

struct config_trainer;

// Domain A has input_nc channels, domain B output_nc.
// CycleGAN has all four nets. The other recipes have NET_A_TO_B and NET_OF_B.
enum net_side {
    NET_A_TO_B, // the generators
    NET_B_TO_A,
    NET_OF_B, // the discriminators, by the domain whose images they read
    NET_OF_A,
};

// The options of the net of that side, as the recipe of c->model has it. The texts are lent by the
// settings. Samples of inner maps are the caller's to add.
// One place for this, so that trainer and translation make the same nets.
struct net_options net_options_of(const struct config_trainer *c, enum net_side side);

#endif
