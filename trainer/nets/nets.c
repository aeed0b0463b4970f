// Makes nets by the names of their architectures, checks sizes, and describes layers as data.
#include "nets/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "nets/layers.h"

static int net_new(const struct net_options *o, struct net **ret_net) {
    struct net *net = xcalloc(1, sizeof *net);

    // Lent for now: the callers set a static text, since the options' text may be gone later.
    net->arch = o->arch;
    net->divisor = 1;
    net->norm = NORM_INSTANCE;
    if (strcmp(o->norm, "none") == 0) {
        net->norm = NORM_NONE;
    } else if (strcmp(o->norm, "batch") == 0) {
        net->norm = NORM_BATCH;
    } else if (strcmp(o->norm, "instance") != 0) {
        free(net);
        return err_set(ERR_CONFIG, "norm \"%s\": instance, batch or none", o->norm);
    }
    if (o->in_nc < 1 || o->nf < 1) {
        free(net);
        return err_set(ERR_CONFIG, "%s: %d input channels, %d features: both must be 1 or more",
                       o->arch, o->in_nc, o->nf);
    }
    *ret_net = net;
    return ERR_OK;
}

enum net_sample net_sample_of(const struct layer *l, int at) {
    if (l->block == at && at > 0)
        return NET_SAMPLE_AFTER;
    // Convolution, norm and activation are three modules. tanh's map is the image itself.
    if (l->module < 1 || l->tanh || at < l->module || at > l->module + 2)
        return NET_SAMPLE_NONE;
    return at == l->module ? NET_SAMPLE_BEFORE_NORM : NET_SAMPLE_AFTER;
}

int net_sample_channels(const struct net *net, int at) {
    // Module 0 is the padding of the input, where the net has one.
    if (at == 0 && net->layers[0].border)
        return net->layers[0].c;
    for (int i = 0; i < net->n_layers; i++)
        if (net_sample_of(&net->layers[i], at) != NET_SAMPLE_NONE)
            return net->layers[i].conv.k;
    return 0;
}

// Runs before the list of parameters is made: a sampled map makes its layer's bias count.
static int mark_samples(struct net *net, const struct net_options *o) {
    for (int s = 0; s < o->n_samples; s++) {
        if (!net_sample_channels(net, o->samples[s]) || (s && o->samples[s] <= o->samples[s - 1]))
            return err_set(ERR_CONFIG,
                           "nce_layers: %d is no map of %s that can be sampled, or they do not "
                           "ascend; \"0,4,8,12,16\" works with resnet_9blocks",
                           o->samples[s], net->arch);
        for (int i = 0; i < net->n_layers; i++)
            if (net_sample_of(&net->layers[i], o->samples[s]) == NET_SAMPLE_BEFORE_NORM)
                net->layers[i].sampled = true;
    }
    return ERR_OK;
}

static const struct generator {
    const char *arch;
    int depth;
    void (*build)(struct net *net, const struct net_options *o, int depth);
} generators[] = {
    {"resnet_6blocks", 6, net_add_resnet},
    {"resnet_9blocks", 9, net_add_resnet},
    {"unet_128", 7, net_add_unet},
    {"unet_256", 8, net_add_unet},
};

#define BLOCKS_MAX 64

// "resnet_4blocks" and so on, in *ret_other.
static const struct generator *find_generator(const char *arch, struct generator *ret_other) {
    int blocks, end = 0;

    for (unsigned i = 0; i < COUNT(generators); i++)
        if (strcmp(arch, generators[i].arch) == 0)
            return &generators[i];
    // %n is set only if the whole pattern matches, and arch[end] shows what follows it.
    if (sscanf(arch, "resnet_%2dblocks%n", &blocks, &end) != 1 || !end || arch[end] || blocks < 1 ||
        blocks > BLOCKS_MAX)
        return NULL;
    *ret_other = (struct generator){"resnet", blocks, net_add_resnet};
    return ret_other;
}

int generator_new(const struct net_options *o, struct net **ret_net) {
    struct generator other;
    const struct generator *g = find_generator(o->arch, &other);
    int err;

    if (!g)
        return err_set(ERR_CONFIG,
                       "netG \"%s\": resnet_6blocks, resnet_9blocks, resnet_Nblocks with N up to "
                       "%d, unet_128 or unet_256",
                       o->arch, BLOCKS_MAX);
    if (net_resizes(o) && g->build != net_add_resnet)
        return err_set(ERR_CONFIG, "upsample \"resize\" with netG \"%s\": resnets only", o->arch);
    if (o->out_nc < 1)
        return err_set(ERR_CONFIG, "output_nc %d: 1 or more", o->out_nc);
    err = net_new(o, ret_net);
    if (err)
        return err;
    g->build(*ret_net, o, g->depth);
    (*ret_net)->arch = g->arch;
    err = mark_samples(*ret_net, o);
    if (err) {
        net_free(*ret_net);
        *ret_net = NULL;
        return err;
    }
    net_list_params(*ret_net);
    return ERR_OK;
}

int discriminator_new(const struct net_options *o, struct net **ret_net) {
    bool basic = strcmp(o->arch, "basic") == 0, n_layers = strcmp(o->arch, "n_layers") == 0;
    bool is_pixel = strcmp(o->arch, "pixel") == 0;
    int err;

    if (!basic && !n_layers && !is_pixel)
        return err_set(ERR_CONFIG, "netD \"%s\": basic, n_layers or pixel", o->arch);
    if (n_layers && (o->n_layers < 1 || o->n_layers > 8))
        return err_set(ERR_CONFIG, "n_layers_D %d: 1 to 8", o->n_layers);
    err = net_new(o, ret_net);
    if (err)
        return err;
    if (is_pixel)
        net_add_pixel(*ret_net, o);
    else
        net_add_patch(*ret_net, o, basic ? 3 : o->n_layers);
    (*ret_net)->arch = basic ? "basic" : n_layers ? "n_layers" : "pixel";
    net_list_params(*ret_net);
    return ERR_OK;
}

int mlp_new(const int *channels, int count, int nc, struct net **ret_net) {
    // in_nc only passes the check: each net reads the channels of its own map.
    struct net_options o = {.arch = "mlp_sample", .in_nc = 1, .nf = nc, .norm = "none"};
    int err = net_new(&o, ret_net);

    if (err)
        return err;
    net_add_mlp(*ret_net, channels, count, nc);
    net_list_params(*ret_net);
    return ERR_OK;
}

struct net *net_twin(const struct net *net) {
    struct net *twin = xcalloc(1, sizeof *twin);
    size_t bytes = (size_t)net->n_layers * sizeof *twin->layers;

    twin->arch = net->arch;
    twin->norm = net->norm;
    twin->divisor = net->divisor;
    twin->n_layers = net->n_layers;
    twin->layers = memcpy(xmalloc(bytes), net->layers, bytes);
    for (int i = 0; i < twin->n_layers; i++) {
        struct layer *l = &twin->layers[i];
        // These point into the original's buffers. net_bind gives the twin its own.
        l->weights = l->slope = (struct graph_weights){0};
        l->affine = l->still = (struct graph_affine){0};
    }
    net_list_params(twin);
    return twin;
}

// Graphs with convolutions of this net are freed before (weights_free in backend.h).
void net_free(struct net *net) {
    if (!net)
        return;
    for (int i = 0; i < net->n_layers && net->optimizer; i++)
        net->optimizer->device->backend->weights_free(net->layers[i].weights.derived);
    for (int i = 0; i < net->n_params; i++)
        free((char *)net->params[i].key);
    if (net->optimizer) {
        if (net->statistics_host != net->statistics)
            free(net->statistics_host);
        net->optimizer->device->backend->memory_free(net->optimizer->device, net->statistics);
    }
    free(net->batches);
    free(net->filters);
    free(net->layers);
    free(net->params);
    free(net->places);
    free(net);
}

// Follows a map's size through all layers: no formula covers borders, strides and blurs.
static bool fits(const struct net *net, int h, int w) {
    if (h % net->divisor || w % net->divisor)
        return false;
    for (int i = 0; i < net->n_layers; i++) {
        const struct layer *l = &net->layers[i];
        struct conv_shape conv = {
            .h = h + 2 * l->border,
            .w = w + 2 * l->border,
            .r = l->conv.r,
            .stride = l->conv.stride,
            .pad = l->conv.pad,
            .out_pad = l->conv.out_pad,
            .transposed = l->conv.transposed,
        };
        if (h <= l->border || w <= l->border)
            return false;
        if (l->up) {
            conv.h *= 2;
            conv.w *= 2;
        }
        conv_output_size(&conv, &h, &w);
        // A norm of a single value would always give 0.
        if (h < 1 || w < 1 || (l->norm && net->norm != NORM_NONE && h * w == 1))
            return false;
        // The blur's border reflects the second row, so there must be one.
        if (l->blur && (h < 2 || w < 2))
            return false;
        if (l->blur) {
            h = (h + 1) / 2;
            w = (w + 1) / 2;
        }
    }
    return true;
}

int net_check_size(const struct net *net, int h, int w) {
    int least = net->divisor;

    if (fits(net, h, w))
        return ERR_OK;
    // Ends: every net takes maps that are large enough and divisible.
    while (!fits(net, least, least))
        least += net->divisor;
    if (net->divisor == 1)
        return err_set(ERR_SHAPE,
                       "%s cannot take pictures of %dx%d: width and height must be at "
                       "least %d",
                       net->arch, w, h, least);
    return err_set(ERR_SHAPE,
                   "%s cannot take pictures of %dx%d: width and height must be at "
                   "least %d and divisible by %d",
                   net->arch, w, h, least, net->divisor);
}

int net_border(const struct net *net) {
    return net->layers[0].border;
}

bool net_couples_images(const struct net *net) {
    return net->norm == NORM_BATCH;
}

int net_n_layers(const struct net *net) {
    return net->n_layers;
}

struct net_layer net_layer(const struct net *net, int i) {
    const struct layer *l = &net->layers[i];
    const struct model_param *bias = l->bias ? &net->params[l->bias_param] : NULL;
    const struct model_param *norm = l->norm_param >= 0 ? &net->params[l->norm_param] : NULL;

    return (struct net_layer){
        .c = l->c,
        .conv = l->conv,
        .border = l->border,
        .up = l->up,
        .blur = l->blur,
        .norm = l->norm ? net->norm : NORM_NONE,
        .act = l->act,
        .tanh = l->tanh,
        .skip = l->skip,
        .weight = &net->params[l->weight_param],
        // The norm would subtract it again, so readers of this table can leave it out.
        .bias = bias && !bias->frozen ? bias : NULL,
        .norm_weight = norm ? norm + NORM_WEIGHT : NULL,
        .norm_bias = norm ? norm + NORM_BIAS : NULL,
    };
}

int net_divisor(const struct net *net) {
    return net->divisor;
}
