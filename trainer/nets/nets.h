// nets - generators and discriminators: their parameters, and their calls on a graph.
//
//   generators      resnet_6blocks, resnet_9blocks   Johnson et al. 2016 (arXiv:1603.08155)
//                   unet_128, unet_256               Ronneberger et al. 2015 (arXiv:1505.04597),
//                                                    as Isola et al. 2017 use it
//   discriminators  basic (3 layers), n_layers       PatchGAN, Isola et al. 2017 (arXiv:1611.07004)
//                   pixel                            the same with 1x1 filters
//
// Norms are instance norms, batch norms or none; in the state dict the norm behind the convolution
// MODULE.N is MODULE.N+1. With instance norm every convolution has a bias. The first and last of a
// PatchGAN, the last of a generator and the first of a pixel net always have one. A bias in front
// of an instance norm has no effect: it is a parameter, but `frozen`, and no sum includes it.
#ifndef NETS_H
#define NETS_H

#include <stdbool.h>
#include <stddef.h>

#include "graph/graph.h"
#include "nets/optimizer.h"
#include "nets/param.h"

// Texts are lent for the call that makes a net.
struct net_options {
    const char *arch;
    int in_nc, out_nc, nf; // out_nc: generators only. nf: channels after the first layer
    int n_layers;          // "n_layers" only
    const char *norm;      // "instance", "batch" or "none"
    bool dropout;          // of a generator: in resnet blocks, in a U-Net's inner levels
    bool antialias;        // resnet and PatchGAN: fixed filters halve and double maps
    bool no_antialias_up;  // fixed filters only halve
    const char *upsample;  // resnet: "transposed" (or NULL) or "resize", which doubles maps by
                           // interpolation before a plain convolution; fixed filters go before
    const int *samples;    // of a generator: the modules of net_forward_sampled; ascending
    int n_samples;
};

// One network: the table of its layers and its parameters. Calls of it are ops of a graph.
struct net;

// Fail with ERR_CONFIG (the text names the option and values that work).
int generator_new(const struct net_options *options, struct net **ret_net);
int discriminator_new(const struct net_options *options, struct net **ret_net);
// CUT's F, "mlp_sample": for each of `count` maps a net of two layers, channels[i] -> nc -> nc.
// Fails with ERR_CONFIG if nc is below 1.
int mlp_new(const int *channels, int count, int nc, struct net **ret_net);
// A net of the same layers, with parameters of its own that are not bound yet.
// For averaged weights: net_bind it to an optimizer of its own.
struct net *net_twin(const struct net *net);
// Accepts NULL. Graphs that call the net are freed first, its optimizer later.
void net_free(struct net *net);

// Places the parameters behind *size floats of a flat buffer and moves *size past them.
// First for all nets of an optimizer: their sum is the optimizer's count.
void net_reserve(struct net *net, size_t *size);
// Gives the parameters their places in the optimizer's buffers, which must outlive the net. Fails
// with ERR_LIMIT.
int net_bind(struct net *net, struct optimizer *optimizer);

// Copies the running statistics of a net to its twin, in the host's memory.
// Net and twin have the same layers, so both buffers have one layout.
void net_copy_statistics(struct net *twin, const struct net *net);

int net_n_params(const struct net *net);
// In state-dict order. net_bind sets the pointers inside, to the host's copy.
struct model_param *net_params(struct net *net);
// The gradient of parameter i, in memory of the device and in the layout of the parameter.
const float *net_gradient(const struct net *net, int i);

// Copy the running statistics from the device to the host, and back. The optimizer moves
// parameters, and refreshes them, which has to follow net_forward on a new graph. ERR_DEVICE_LOST.
int net_pull(struct net *net);
int net_push(struct net *net);
// Bytes of packed weights.
// Also counts running statistics, on the device.
size_t net_bytes(const struct net *net);

// ERR_OK if the net takes maps of this size, else ERR_SHAPE (the text names sizes that it takes).
// h and w are those of the input, without its border.
int net_check_size(const struct net *net, int h, int w);

// The reflection border that the first layer reads.
// 0 for nets whose first layer pads with zeros.
int net_border(const struct net *net);

enum net_mode {
    NET_THROUGH, // as NET_TRAIN, but only x gets a gradient
    NET_TRAIN,   // batch norm by the batch, which moves its running statistics; dropout
    NET_EVAL,    // batch norm by its running statistics; no dropout, no gradients
    NET_ALONE, // batch norm by the batch, running statistics do not move; no dropout, no gradients
};

// y = net(x). x has the border net_border, or none, and is padded then. Fails with ERR_SHAPE,
// ERR_DEVICE.
int net_forward(const struct net *net, struct graph *g, int x, enum net_mode mode, int *ret_y);

// Samples of a call's inner maps.
#define NET_SAMPLES_MAX 8
// The caller fills the upper fields, net_forward_sampled those marked as out.
struct net_samples {
    int count, at[NET_SAMPLES_MAX];  // modules, ascending; 0: the bordered input, border included
    int patches;                     // of each image, or all there are if that is less
    const int *ids[NET_SAMPLES_MAX]; // [n,min(patches, h w)], see graph_sample
    bool constant;                   // samples have no gradient
    bool until_last;                 // the call ends behind the last sample
    int found, h[NET_SAMPLES_MAX], w[NET_SAMPLES_MAX], sample[NET_SAMPLES_MAX]; // out
};
// net_forward with samples. With until_last *ret_y has no meaning.
int net_forward_sampled(const struct net *net, struct graph *g, int x, enum net_mode mode,
                        struct net_samples *samples, int *ret_y);
// Channels of module `at`; 0 if it cannot be sampled.
int net_sample_channels(const struct net *net, int at);

// The i-th net of mlp_new on x [n,patches,1,channels[i]].
// y is [n,patches,1,nc] and has no activation. PatchNCE scales it to unit length.
int mlp_forward(const struct net *net, struct graph *g, int i, int x, enum net_mode mode,
                int *ret_y);

// dy = the derivative of the discriminator net(x) along dx. Its backward adds to the gradients of
// the parameters; x and dx are constant.
int net_forward_along(const struct net *net, struct graph *g, int x, int dx, int *ret_dy);

// Whether the result for an image depends on the others of the batch. Then two batches must not be
// passed as one.
// True with batch norm alone.
bool net_couples_images(const struct net *net);

// The skip connection at a layer: x is the layer's input, y its output, m the remembered map, which
// is a stack in a U-Net.
enum net_skip {
    NET_SKIP_NONE,
    NET_SKIP_REMEMBER, // m = x, without its border
    NET_SKIP_ADD,      // y += m
    NET_SKIP_PUSH,     // push y
    NET_SKIP_CONCAT    // y = relu([pop; y])
};

// A layer as data, for the export and for translation in bands:
// y = blur(skip(act(norm(conv(border(up(x))))))); the last one is y = tanh(conv(border(x)) + bias).
struct net_layer {
    int c; // channels of x
    struct graph_conv_args conv;
    int border;          // reflection around x
    bool up, blur;       // RESAMPLE_UP, RESAMPLE_BLUR (border 1 by reflection)
    enum norm_kind norm; // the net's; NORM_NONE: the layer has none
    enum activation act;
    bool tanh;
    enum net_skip skip;
    const struct model_param *weight;                  // of the convolution
    const struct model_param *bias;                    // NULL: none, or without effect
    const struct model_param *norm_weight, *norm_bias; // NORM_BATCH; else NULL
};
// The number of rows of net_layer: convolutions in the order in which they run.
int net_n_layers(const struct net *net);
// Pointers inside are good until net_free.
struct net_layer net_layer(const struct net *net, int i);
// The divisor of height and width.
// 4 for a resnet, 2^levels for a U-Net, 1 for discriminators.
int net_divisor(const struct net *net);

#endif
