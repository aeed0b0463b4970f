// param - the parameters of a net as its state dict names them: what initialisation fills, what
// checkpoints and files of weights hold.
#ifndef PARAM_H
#define PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The order matters: kinds up to PARAM_NORM_BIAS are trained.
enum model_param_kind {
    PARAM_FILTER, // rank 4, of a linear layer rank 2; all others but PARAM_FIXED are vectors
    PARAM_BIAS,
    PARAM_NORM_WEIGHT, // this and the next four belong to a batch norm
    PARAM_NORM_BIAS,
    PARAM_RUNNING_MEAN,
    PARAM_RUNNING_VAR,
    PARAM_BATCHES, // one integer: the number of batches that moved the running statistics
    PARAM_FIXED,   // a filter that is never changed
};

// One tensor of a net's state dict, in the reference's layout: conv [K,C,R,S], transposed conv
// [C,K,R,S]. The net owns everything that the pointers point to, and moves none of it.
struct model_param {
    const char *key; // "model.10.conv_block.1.weight"
    enum model_param_kind kind;
    int rank;
    int64_t dims[4];
    size_t count;     // of numbers
    float *w, *m, *v; // the host's value and Adam's moments, see model_pull. w is NULL for
                      // PARAM_BATCHES; m and v are NULL without an optimizer
    int64_t *batches; // PARAM_BATCHES only
    bool frozen;      // a conv bias in front of an instance norm: the state dict has it, but it has
                      // no effect (docs/decisions.md)
};

// Behind the name of a generator: the net of its averaged weights.
#define MODEL_AVERAGE "_ema"

// A net as checkpoints and files of weights see it. It owns nothing.
struct model_net {
    const char *name; // "G_A", "G_B", "D_A", "D_B"; "G_A_ema"
    int n_params;
    struct model_param *params; // in state-dict order
    int64_t *adam_steps;        // Adam's t, shared by the nets of one optimizer; NULL: no optimizer
};

#endif
