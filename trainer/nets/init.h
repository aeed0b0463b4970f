// init - fresh weights. Every number is a function of (seed, sub, element) alone.
#ifndef INIT_H
#define INIT_H

#include <stdint.h>

#include "nets/param.h"

// The init_type of the reference's options, in its order.
enum init_type { INIT_NORMAL, INIT_XAVIER, INIT_KAIMING, INIT_ORTHOGONAL };

// "normal", "xavier", "kaiming", "orthogonal". Fails with ERR_CONFIG.
// ret_type is written on success only.
int init_type_parse(const char *text, enum init_type *ret_type);

// The gain is the standard deviation of "normal" and a factor for the others but "kaiming".
struct init_args {
    enum init_type type;
    double gain;
    uint64_t seed;
    uint32_t sub; // of RNG_INIT: net << 16 | position in the state dict
};

// Fills a filter [dims] in the state dict's layout.
//
//   normal      N(0, gain^2)
//   xavier      N(0, gain^2 2 / (fan_in + fan_out))      Glorot and Bengio 2010
//   kaiming     N(0, 2 / fan_in), whatever the gain      He et al. 2015 (arXiv:1502.01852)
//   orthogonal  rows or columns (the fewer) of the matrix [dims0, rest] orthogonal and of length
//               gain                                      Saxe et al. 2014 (arXiv:1312.6120)
// fan_in = dims1 dims2 dims3 and fan_out = dims0 dims2 dims3 of the stored layout. For a transposed
// convolution the two are exchanged, as in the reference.
// Only dims and args decide: the order of calls does not matter.
void init_filter(const struct init_args *args, const int64_t dims[4], float *ret_w);

// Fills any tensor of a state dict: filters as above, the weight of a batch norm with N(1, gain^2),
// running variances with 1, all else with 0.
// Writes the host's copy. The caller then copies it to the device.
void init_param(const struct init_args *args, struct model_param *p);

// CUT's filters: [1 2 1] x [1 2 1] / 16 halves a map, [1 3 3 1] x [1 3 3 1] / 16 doubles it.
void init_fixed(struct model_param *p);

#endif
