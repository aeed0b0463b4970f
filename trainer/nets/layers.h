// layers - the table of a net's layers, for the files of nets/ alone.
//
// layers.c writes a row for each convolution of an architecture. params.c gives the rows parameters
// and binds these to memory. forward.c walks the rows and appends ops to a graph.
#ifndef NET_LAYERS_H
#define NET_LAYERS_H

#include "nets/nets.h"

#define NET_STACK 8 // levels of the deepest U-Net

// A convolution with all that surrounds it, in the order up, border, conv, norm, act, skip, blur.
struct layer {
    char key[112];
    int c;
    struct graph_conv_args conv;
    int border; // reflection that x carries
    bool bias, norm, tanh, dropout;
    bool linear;  // rank 2 in the state dict
    bool up;      // x is doubled before the convolution
    bool blur;    // y is halved after the activation
    int filt;     // module of the fixed filter of `up` or `blur`; 0: none
    int module;   // number of the convolution's module; -1: it is within a block
    int block;    // number of the block whose output is y; 0: none
    bool sampled; // the map before the norm is sampled, so the bias has an effect
    enum activation act;
    enum net_skip skip;
    int weight_param, bias_param, norm_param; // -1: none; of a batch norm the first
    // Set by net_bind; they point into the optimizer's buffers.
    struct graph_weights weights;
    struct graph_weights slope; // the same without bias: the layer's derivative
    struct graph_affine affine;
    struct graph_affine still; // the same with running statistics that do not move
};

// A batch norm's entries in the state dict.
// In this order behind norm_param, as in the reference's state dict.
enum { NORM_WEIGHT, NORM_BIAS, NORM_MEAN, NORM_VAR, NORM_BATCHES };

// One allocation each for layers, params and places. Buffers of the device come with net_bind.
struct net {
    const char *arch;
    enum norm_kind norm;
    int divisor; // of height and width
    int n_layers, n_params;
    struct layer *layers;
    struct model_param *params;
    size_t *places; // of params, in the optimizer's buffers
    struct optimizer *optimizer;
    // Floats of all batch norms: a mean and a variance for each channel.
    size_t n_statistics;
    float *statistics;      // running ones, of the device
    float *statistics_host; // the host's copy; the same where the device is not asynchronous
    size_t n_filters;
    float *filters;   // the fixed ones, for the state dict alone
    int64_t *batches; // of each layer
};

// Append the layers of an architecture and set net->divisor. `levels` is at most NET_STACK, `n`
// counts the layers of a PatchGAN with a stride; channels [count] as in mlp_new.
// Johnson et al. 2016: 7x7 layer, two halvings, residual blocks, two doublings, 7x7 layer.
void net_add_resnet(struct net *net, const struct net_options *options, int blocks);
// Isola et al. 2017, appendix 6.1.1: each level is concatenated with what comes back from below.
void net_add_unet(struct net *net, const struct net_options *options, int levels);
// Isola et al. 2017, appendix 6.1.2: each element of the output rates one patch of the image.
void net_add_patch(struct net *net, const struct net_options *options, int n);
// The same with 1x1 filters, so an element rates a single pixel.
void net_add_pixel(struct net *net, const struct net_options *options);
// Park et al. 2020, section 3: F, of two linear layers with a ReLU in between.
void net_add_mlp(struct net *net, const int *channels, int count, int nc);
// Whether maps are doubled by interpolation before a plain convolution.
// True for upsample "resize". CUT's fixed filters are asked for by `antialias`.
bool net_resizes(const struct net_options *options);

// Makes the list of parameters, the state dict, from the complete table of layers.
// Called once, when all rows are there; param indices in the rows are valid from then on.
void net_list_params(struct net *net);

// The place of module `at`, by the reference's count, around layer l. The number of a norm means
// the map behind the activation, since the reference activates in place.
enum net_sample { NET_SAMPLE_NONE, NET_SAMPLE_BEFORE_NORM, NET_SAMPLE_AFTER };
enum net_sample net_sample_of(const struct layer *l, int at);

#endif
