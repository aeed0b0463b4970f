// layers - the table of a net's layers, which nets.c, nets/layers.c, nets/params.c and
// nets/forward.c share and nobody else sees.
//
// nets/layers.c writes a row for each convolution of an architecture; nets/params.c gives the rows
// parameters and binds these to memory; nets/forward.c walks the rows on a graph.
#ifndef NET_LAYERS_H
#define NET_LAYERS_H

#include "nets/nets.h"

#define NET_STACK 8 // levels of the deepest U-Net

struct layer {
    char key[112];
    int c;
    struct graph_conv_args conv;
    int border; // reflection that x carries
    bool bias, norm, tanh, dropout;
    bool linear;  // in the state dict: of rank 2
    bool up;      // x is doubled before the convolution
    bool blur;    // y is halved after the activation
    int filt;     // module of the fixed filter that does either; 0: none
    int module;   // of the convolution, where its neighbours are modules of the net; -1: a block's
    int block;    // module whose output y is; 0: none
    bool sampled; // the map before the norm is, so its bias has an effect
    enum activation act;
    enum net_skip skip;
    int weight_param, bias_param, norm_param; // -1: none; of a batch norm the first
    struct graph_weights weights;
    struct graph_weights slope; // the same without bias: the layer's derivative
    struct graph_affine affine;
    struct graph_affine still; // the same without running statistics to move
};

// A batch norm's entries in the state dict.
enum { NORM_WEIGHT, NORM_BIAS, NORM_MEAN, NORM_VAR, NORM_BATCHES };

struct net {
    const char *arch;
    enum norm_kind norm;
    int divisor; // of height and width
    int n_layers, n_params;
    struct layer *layers;
    struct model_param *params;
    size_t *places; // of params, in the optimizer's buffers
    struct optimizer *optimizer;
    size_t n_statistics;
    float *statistics;        // running ones, of the device
    float *statistics_mirror; // the host's; the same where the device is not asynchronous
    size_t n_filters;
    float *filters;   // fixed ones; only for the state dict
    int64_t *batches; // of each layer
};

// Append an architecture's layers, net->divisor with them. blocks: of a resnet; levels: of a U-Net,
// NET_STACK at most; n: layers of a PatchGAN with a stride; channels [count], see mlp_new.
void net_add_resnet(struct net *net, const struct net_options *options, int blocks);
void net_add_unet(struct net *net, const struct net_options *options, int levels);
void net_add_patch(struct net *net, const struct net_options *options, int n);
void net_add_pixel(struct net *net, const struct net_options *options);
void net_add_mlp(struct net *net, const int *channels, int count, int nc);
// Whether the options ask for interpolation before a plain convolution.
bool net_resizes(const struct net_options *options);

// Makes the list of parameters, the state dict, of the table of layers, once that is complete.
void net_list_params(struct net *net);

// Whether module `at` of the net, as the reference counts, is a map around layer l. An index of the
// norm means the map after the activation: that is done in place.
enum net_sample { NET_SAMPLE_NONE, NET_SAMPLE_BEFORE_NORM, NET_SAMPLE_AFTER };
enum net_sample net_sample_of(const struct layer *l, int at);

#endif
