// net - a net of nets.h in double precision: forward and backward, layer by layer, on the
// reference ops. Slow; the oracle of whole nets and steps on any device.
//
// Which layers a net has comes from nets.h (net_layer); everything that is computed does not.
// Batch norms take the batch's statistics and leave the running ones; there is no dropout.
#ifndef REFERENCE_NET_H
#define REFERENCE_NET_H

#include "nets/nets.h"

struct ref_map {
    int n, h, w, c;
    double *v; // [n,h,w,c]
};

struct ref_map ref_map_new(int n, int h, int w, int c); // zero; v is freed by the caller
size_t ref_map_count(const struct ref_map *m);

// What a device's types alone do to a net: the same formulas, with
//   REF_FP32  what convolutions multiply rounded to 20 bits: about as far as sums of some thousand
//             floats are off
//   REF_TF32  what convolutions multiply rounded to 11 bits
//   REF_BF16  weights and maps, and their gradients, rounded to 8 bits where a device stores them
// Rounding flips signs in front of ReLUs, so it turns gradients further than it moves numbers: what
// is to be asked of a device's gradients in these types is told by these.
enum ref_rounding { REF_EXACT, REF_FP32, REF_TF32, REF_BF16 };

// `count` numbers as a device of that type stores them: only REF_BF16 changes them.
void ref_store(enum ref_rounding r, size_t count, double *x);

// The parameters of a net: values and the gradients that calls add to, in state-dict order; NULL
// where a parameter has no values.
struct ref_net {
    struct net *net; // lent
    enum ref_rounding rounding;
    int n_params;
    double **w, **g; // [n_params][count]
};

// `params` holds the values, in the order of the net's own; gradients begin at zero.
struct ref_net *ref_net_new(struct net *net, const struct model_param *params,
                            enum ref_rounding rounding);
void ref_net_free(struct ref_net *r);

// A map inside of a call, to be read and to be given a gradient.
enum ref_place { REF_INPUT, REF_BEFORE_NORM, REF_AFTER }; // REF_INPUT: layer's x with its border

// One call, layers [first, end).
struct ref_call;
struct ref_call *ref_call_new(struct ref_net *r, const struct ref_map *x, int first, int end);
void ref_call_free(struct ref_call *c);

const struct ref_map *ref_call_y(const struct ref_call *c);
const struct ref_map *ref_call_map(const struct ref_call *c, int layer, enum ref_place place);
// The gradient of that map, zero at first, which ref_call_backward adds to what comes from behind.
double *ref_call_gradient(struct ref_call *c, int layer, enum ref_place place);

// From dy (NULL: zero) and what ref_call_gradient holds: the parameters' gradients, if `train`, and
// dx, which is added to (NULL: not wanted). Once a call.
void ref_call_backward(struct ref_call *c, const double *dy, bool train, double *dx);

#endif
