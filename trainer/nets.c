#include "nets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "init.h"
#include "util.h"

#define STACK 8 // levels of the deepest U-Net

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
    float *statistics_mirror; // the host's; the same where the device is not apart
    size_t n_filters;
    float *filters;   // fixed ones; only for the state dict
    int64_t *batches; // of each layer
};

// Appends a plain convolution with norm and activation; the caller changes what differs.
static struct layer *add(struct net *net, int c, int k, int r, const char *key, ...) {
    va_list args;

    net->layers = xrealloc(net->layers, (size_t)(net->n_layers + 1) * sizeof *net->layers);
    struct layer *l = &net->layers[net->n_layers++];
    *l = (struct layer){.c = c,
                        .conv = {.k = k, .r = r, .stride = 1},
                        .bias = net->norm == NORM_INSTANCE,
                        .norm = true};
    va_start(args, key);
    (void)vsnprintf(l->key, sizeof l->key, key, args); // keys are short
    va_end(args);
    l->module = -1;
    (void)sscanf(l->key, "model.%d", &l->module); // other keys have none that can be sampled
    return l;
}

static bool resizes(const struct net_options *o) {
    return o->upsample && strcmp(o->upsample, "resize") == 0;
}

// The convolution that doubles the map; returns the module behind its activation. CUT's filter for
// that is an entry of the state dict, interpolation (the same numbers) has none.
static int resnet_up(struct net *net, const struct net_options *o, int c, int at) {
    bool filtered = o->antialias && !o->no_antialias_up, fixed = filtered || resizes(o);
    struct layer *l = add(net, c, c / 2, 3, "model.%d", at + fixed);

    l->conv.pad = 1;
    l->act = ACT_RELU;
    l->up = fixed;
    l->filt = filtered ? at : 0;
    l->conv.transposed = !fixed;
    l->conv.stride = fixed ? 1 : 2;
    l->conv.out_pad = !fixed;
    return at + fixed + 3;
}

static void resnet(struct net *net, const struct net_options *o, int blocks) {
    int f = o->nf, at = 4; // `at`: the place in the reference's list of modules
    struct layer *l;

    net->divisor = 4;
    l = add(net, o->in_nc, f, 7, "model.1");
    l->border = 3;
    l->act = ACT_RELU;
    for (int i = 0; i < 2; i++) {
        l = add(net, f << i, f << (i + 1), 3, "model.%d", at);
        l->conv.stride = o->antialias ? 1 : 2;
        l->conv.pad = 1;
        l->act = ACT_RELU;
        l->blur = o->antialias;
        l->filt = o->antialias ? at + 3 : 0;
        at += 3 + o->antialias;
    }
    for (int i = 0; i < blocks; i++, at++) {
        l = add(net, 4 * f, 4 * f, 3, "model.%d.conv_block.1", at);
        l->border = 1;
        l->act = ACT_RELU;
        l->skip = NET_SKIP_REMEMBER;
        l->dropout = o->dropout;
        l->module = -1;
        l = add(net, 4 * f, 4 * f, 3, "model.%d.conv_block.%d", at, o->dropout ? 6 : 5);
        l->border = 1;
        l->skip = NET_SKIP_ADD;
        l->module = -1;
        l->block = at;
    }
    at = resnet_up(net, o, 4 * f, at);
    at = resnet_up(net, o, 2 * f, at);
    l = add(net, f, o->out_nc, 7, "model.%d", at + 1);
    l->border = 3;
    l->bias = true;
    l->norm = false;
    l->tanh = true;
}

// Levels from the outside: all downs, then all ups, which is also the order of the state dict. A
// level's leaky ReLU and ReLU come before its convolutions; here they end the layer before. The
// leaky map is also what the join reads, since relu(leaky(x)) = relu(x).
static void unet(struct net *net, const struct net_options *o, int levels) {
    char prefix[STACK][96] = {"model.model."};
    int width[STACK];
    struct layer *l;

    net->divisor = 1 << levels;
    for (int i = 0; i < levels; i++) {
        width[i] = o->nf * MIN(1 << i, 8);
        if (i > 0)
            (void)snprintf(prefix[i], sizeof prefix[i], "%s%s", prefix[i - 1],
                           i == 1 ? "1.model." : "3.model."); // 68 bytes at most
        l = add(net, i ? width[i - 1] : o->in_nc, width[i], 4, "%s%d", prefix[i], i > 0);
        l->conv.stride = 2;
        l->conv.pad = 1;
        l->norm = i > 0 && i < levels - 1;
        l->act = i < levels - 1 ? ACT_LEAKY : ACT_RELU;
        l->skip = i < levels - 1 ? NET_SKIP_PUSH : NET_SKIP_NONE;
    }
    for (int i = levels - 1; i >= 0; i--) {
        bool innermost = i == levels - 1;
        l = add(net, innermost ? width[i] : 2 * width[i], i ? width[i - 1] : o->out_nc, 4, "%s%d",
                prefix[i], i == 0 || innermost ? 3 : 5);
        l->conv.stride = 2;
        l->conv.pad = 1;
        l->conv.transposed = true;
        l->act = ACT_RELU; // the join's, early: it needs a map that a norm op made
        l->skip = NET_SKIP_JOIN;
        l->dropout = o->dropout && !innermost && i > 3; // where it is as wide within as without
    }
    l = &net->layers[net->n_layers - 1]; // the outermost
    l->bias = true;
    l->norm = false;
    l->act = ACT_NONE;
    l->skip = NET_SKIP_NONE;
    l->tanh = true;
}

static void patch(struct net *net, const struct net_options *o, int n) {
    struct layer *l;
    int at = 0;

    for (int i = 0; i <= n + 1; i++) {
        int in = i == 0 ? o->in_nc : o->nf * MIN(1 << (i - 1), 8);
        int out = i > n ? 1 : o->nf * MIN(1 << i, 8);
        l = add(net, in, out, 4, "model.%d", at);
        l->conv.stride = i < n && !o->antialias ? 2 : 1;
        l->blur = i < n && o->antialias;
        l->filt = l->blur ? at + (i > 0) + 2 : 0;
        at += 2 + (i > 0) + l->blur;
        l->conv.pad = 1;
        l->bias = l->bias || i == 0 || i > n;
        l->norm = i > 0 && i <= n;
        l->act = i <= n ? ACT_LEAKY : ACT_NONE;
    }
}

static void pixel(struct net *net, const struct net_options *o) {
    struct layer *l;

    l = add(net, o->in_nc, o->nf, 1, "net.0");
    l->bias = true;
    l->norm = false;
    l->act = ACT_LEAKY;
    l = add(net, o->nf, 2 * o->nf, 1, "net.2");
    l->act = ACT_LEAKY;
    l = add(net, 2 * o->nf, 1, 1, "net.5");
    l->norm = false;
}

static void param_add(struct net *net, enum model_param_kind kind, char *key, int rank,
                      const int64_t dims[4]) {
    struct model_param p = {.key = key, .kind = kind, .rank = rank, .count = 1};

    memcpy(p.dims, dims, sizeof p.dims);
    for (int i = 0; i < rank; i++)
        p.count *= (size_t)dims[i];
    net->params = xrealloc(net->params, (size_t)(net->n_params + 1) * sizeof *net->params);
    net->params[net->n_params++] = p;
}

// The norm is the module behind the convolution's.
static void list_norm(struct net *net, const struct layer *l) {
    static const char *const names[] = {
        [NORM_WEIGHT] = "weight",
        [NORM_BIAS] = "bias",
        [NORM_MEAN] = "running_mean",
        [NORM_VAR] = "running_var",
        [NORM_BATCHES] = "num_batches_tracked",
    };
    int last = (int)(strrchr(l->key, '.') - l->key) + 1;
    int module = (int)strtol(l->key + last, NULL, 10) + 1;

    for (int i = NORM_WEIGHT; i <= NORM_BATCHES; i++)
        param_add(net, (enum model_param_kind)(PARAM_NORM_WEIGHT + i),
                  xasprintf("%.*s%d.%s", last, l->key, module, names[i]), i != NORM_BATCHES,
                  (int64_t[4]){l->conv.k});
    net->n_statistics += 2 * (size_t)l->conv.k;
}

// A fixed filter has its place in the state dict, though nothing reads it.
static void list_filter(struct net *net, const struct layer *l) {
    int64_t c = l->up ? l->c : l->conv.k, r = l->up ? 4 : 3;

    param_add(net, PARAM_FIXED, xasprintf("model.%d.filt", l->filt), 4, (int64_t[4]){c, 1, r, r});
    net->n_filters += net->params[net->n_params - 1].count;
}

// The state dict of the layers.
static void list_params(struct net *net) {
    for (int i = 0; i < net->n_layers; i++) {
        struct layer *l = &net->layers[i];
        int64_t k = l->conv.k, c = l->c, r = l->conv.r;
        bool t = l->conv.transposed;
        if (l->up && l->filt)
            list_filter(net, l);
        l->weight_param = net->n_params;
        param_add(net, PARAM_FILTER, xasprintf("%s.weight", l->key), l->linear ? 2 : 4,
                  (int64_t[4]){t ? c : k, t ? k : c, r, r});
        l->bias_param = l->bias ? net->n_params : -1;
        if (l->bias) {
            param_add(net, PARAM_BIAS, xasprintf("%s.bias", l->key), 1, (int64_t[4]){k});
            net->params[net->n_params - 1].frozen =
                l->norm && net->norm == NORM_INSTANCE && !l->sampled;
        }
        l->norm_param = l->norm && net->norm == NORM_BATCH ? net->n_params : -1;
        if (l->norm_param >= 0)
            list_norm(net, l);
        if (l->blur)
            list_filter(net, l);
    }
    net->places = xcalloc((size_t)net->n_params, sizeof *net->places);
}

static int net_new(const struct net_options *o, struct net **ret_net) {
    struct net *net = xcalloc(1, sizeof *net);

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

enum sample { SAMPLE_NONE, SAMPLE_BEFORE_NORM, SAMPLE_AFTER };

// Whether module `at` of the net, as the reference counts, is a map around layer l. An index of the
// norm means the map after the activation: that is done in place.
static enum sample sample_of(const struct layer *l, int at) {
    if (l->block == at && at > 0)
        return SAMPLE_AFTER;
    if (l->module < 1 || l->tanh || at < l->module || at > l->module + 2)
        return SAMPLE_NONE;
    return at == l->module ? SAMPLE_BEFORE_NORM : SAMPLE_AFTER;
}

int net_sample_channels(const struct net *net, int at) {
    if (at == 0 && net->layers[0].border)
        return net->layers[0].c;
    for (int i = 0; i < net->n_layers; i++)
        if (sample_of(&net->layers[i], at) != SAMPLE_NONE)
            return net->layers[i].conv.k;
    return 0;
}

static int mark_samples(struct net *net, const struct net_options *o) {
    for (int s = 0; s < o->n_samples; s++) {
        if (!net_sample_channels(net, o->samples[s]) || (s && o->samples[s] <= o->samples[s - 1]))
            return err_set(ERR_CONFIG,
                           "nce_layers: %d is no map of %s that can be sampled, or they do not "
                           "ascend; \"0,4,8,12,16\" works with resnet_9blocks",
                           o->samples[s], net->arch);
        for (int i = 0; i < net->n_layers; i++)
            if (sample_of(&net->layers[i], o->samples[s]) == SAMPLE_BEFORE_NORM)
                net->layers[i].sampled = true;
    }
    return ERR_OK;
}

static const struct generator {
    const char *arch;
    int depth;
    void (*build)(struct net *net, const struct net_options *o, int depth);
} generators[] = {
    {"resnet_6blocks", 6, resnet},
    {"resnet_9blocks", 9, resnet},
    {"unet_128", 7, unet},
    {"unet_256", 8, unet},
};

#define BLOCKS_MAX 64

// "resnet_4blocks" and so on, in *ret_other.
static const struct generator *find_generator(const char *arch, struct generator *ret_other) {
    int blocks, end = 0;

    for (unsigned i = 0; i < COUNT(generators); i++)
        if (strcmp(arch, generators[i].arch) == 0)
            return &generators[i];
    if (sscanf(arch, "resnet_%2dblocks%n", &blocks, &end) != 1 || !end || arch[end] || blocks < 1 ||
        blocks > BLOCKS_MAX)
        return NULL;
    *ret_other = (struct generator){"resnet", blocks, resnet};
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
    if (resizes(o) && g->build != resnet)
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
    list_params(*ret_net);
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
        pixel(*ret_net, o);
    else
        patch(*ret_net, o, basic ? 3 : o->n_layers);
    (*ret_net)->arch = basic ? "basic" : n_layers ? "n_layers" : "pixel";
    list_params(*ret_net);
    return ERR_OK;
}

int mlp_new(const int *channels, int count, int nc, struct net **ret_net) {
    struct net_options o = {.arch = "mlp_sample", .in_nc = 1, .nf = nc, .norm = "none"};
    int err = net_new(&o, ret_net);

    if (err)
        return err;
    for (int i = 0; i < 2 * count; i++) {
        struct layer *l =
            add(*ret_net, i % 2 ? nc : channels[i / 2], nc, 1, "mlp_%d.%d", i / 2, 2 * (i % 2));
        l->bias = l->linear = true;
        l->norm = false;
        l->act = i % 2 ? ACT_NONE : ACT_RELU;
    }
    list_params(*ret_net);
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
        l->weights = l->slope = (struct graph_weights){0};
        l->affine = l->still = (struct graph_affine){0};
    }
    list_params(twin);
    return twin;
}

void net_free(struct net *net) {
    if (!net)
        return;
    for (int i = 0; i < net->n_layers && net->optimizer; i++)
        net->optimizer->device->backend->weights_free(net->layers[i].weights.derived);
    for (int i = 0; i < net->n_params; i++)
        free((char *)net->params[i].key);
    if (net->optimizer) {
        if (net->statistics_mirror != net->statistics)
            free(net->statistics_mirror);
        net->optimizer->device->backend->memory_free(net->optimizer->device, net->statistics);
    }
    free(net->batches);
    free(net->filters);
    free(net->layers);
    free(net->params);
    free(net->places);
    free(net);
}

static bool is_trained(const struct model_param *p) {
    return p->kind <= PARAM_NORM_BIAS;
}

void net_reserve(struct net *net, size_t *size) {
    for (int i = 0; i < net->n_params; i++)
        if (is_trained(&net->params[i]))
            net->places[i] = optimizer_reserve(size, net->params[i].count);
}

static void bind_layer(struct net *net, struct layer *l) {
    struct optimizer *o = net->optimizer;
    const struct model_param *weight = &net->params[l->weight_param];
    const struct model_param *bias = l->bias ? &net->params[l->bias_param] : NULL;

    l->weights =
        (struct graph_weights){.derived = o->device->backend->weights_new(
                                   o->device, o->w + net->places[l->weight_param], weight->dims),
                               .dw = o->g + net->places[l->weight_param]};
    optimizer_add_derived(o, l->weights.derived);
    l->slope = l->weights;
    if (bias && !bias->frozen) {
        l->weights.bias = o->w + net->places[l->bias_param];
        l->weights.dbias = o->g + net->places[l->bias_param];
    }
}

// `running`: the layer's running statistics.
static void bind_norm(struct net *net, struct layer *l, float *running) {
    const struct model_param *p = &net->params[l->norm_param];
    const struct optimizer *o = net->optimizer;
    size_t weight = net->places[l->norm_param + NORM_WEIGHT];
    size_t bias = net->places[l->norm_param + NORM_BIAS];

    l->affine = (struct graph_affine){
        .values = {o->w + weight, o->w + bias, running, running + p[NORM_MEAN].count},
        .dweight = o->g + weight,
        .dbias = o->g + bias,
        .batches = p[NORM_BATCHES].batches};
    l->still = (struct graph_affine){.values = {.weight = o->w + weight, .bias = o->w + bias}};
}

// Gives the running statistics their places.
static int place_statistics(struct net *net) {
    struct device *d = net->optimizer->device;
    size_t at = 0, bytes = net->n_statistics * sizeof(float);
    void *memory;

    int err = d->backend->memory_new(d, bytes, &memory);
    if (err)
        return err;
    net->statistics = memory;
    net->statistics_mirror = d->apart ? xaligned(bytes) : memory;
    net->batches = xcalloc((size_t)net->n_layers, sizeof *net->batches);
    for (int i = 0; i < net->n_layers; i++) {
        struct layer *l = &net->layers[i];
        struct model_param *p = &net->params[l->norm_param];
        if (l->norm_param < 0)
            continue;
        p[NORM_MEAN].w = net->statistics_mirror + at;
        p[NORM_VAR].w = p[NORM_MEAN].w + p[NORM_MEAN].count;
        p[NORM_BATCHES].batches = &net->batches[i];
        bind_norm(net, l, net->statistics + at);
        at += 2 * p[NORM_MEAN].count;
    }
    return ERR_OK;
}

// Gives the fixed filters their places and values.
static void place_filters(struct net *net) {
    size_t at = 0;

    net->filters = xcalloc(net->n_filters + 1, sizeof *net->filters);
    for (int i = 0; i < net->n_params; i++)
        if (net->params[i].kind == PARAM_FIXED) {
            net->params[i].w = net->filters + at;
            init_fixed(&net->params[i]);
            at += net->params[i].count;
        }
}

int net_bind(struct net *net, struct optimizer *optimizer) {
    net->optimizer = optimizer;
    int err = place_statistics(net);
    if (err)
        return err;
    place_filters(net);
    for (int i = 0; i < net->n_params; i++) {
        struct model_param *p = &net->params[i];
        if (!is_trained(p))
            continue;
        p->w = optimizer->host.w + net->places[i];
        p->m = optimizer->host.m + net->places[i];
        p->v = optimizer->host.v + net->places[i];
    }
    for (int i = 0; i < net->n_layers; i++)
        bind_layer(net, &net->layers[i]);
    return ERR_OK;
}

void net_copy_statistics(struct net *twin, const struct net *net) {
    memcpy(twin->statistics_mirror, net->statistics_mirror, net->n_statistics * sizeof(float));
    memcpy(twin->batches, net->batches, (size_t)net->n_layers * sizeof *net->batches);
}

int net_n_params(const struct net *net) {
    return net->n_params;
}

struct model_param *net_params(struct net *net) {
    return net->params;
}

const float *net_gradient(const struct net *net, int i) {
    return net->optimizer->g + net->places[i];
}

int net_pull(struct net *net) {
    struct device *d = net->optimizer->device;

    return d->apart ? d->backend->copy_out(d, net->statistics_mirror, net->statistics,
                                           net->n_statistics * sizeof(float))
                    : ERR_OK;
}

int net_push(struct net *net) {
    struct device *d = net->optimizer->device;

    return d->apart ? d->backend->copy_in(d, net->statistics, net->statistics_mirror,
                                          net->n_statistics * sizeof(float))
                    : ERR_OK;
}

size_t net_bytes(const struct net *net) {
    size_t bytes = net->n_statistics * sizeof(float);

    for (int i = 0; i < net->n_layers; i++)
        bytes += net->optimizer->device->backend->weights_bytes(net->layers[i].weights.derived);
    return bytes;
}

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
        if (h < 1 || w < 1 || (l->norm && net->norm != NORM_NONE && h * w == 1))
            return false;
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

// The border that the reader of layer i's output wants.
static int border_behind(const struct net *net, int i) {
    return i + 1 < net->n_layers ? net->layers[i + 1].border : 0;
}

static enum norm_kind norm_of(const struct net *net, const struct layer *l, enum net_mode mode) {
    if (!l->norm)
        return NORM_NONE;
    return net->norm == NORM_BATCH && mode == NET_EVAL ? NORM_RUNNING : net->norm;
}

static const struct graph_affine *affine_of(const struct layer *l, enum net_mode mode) {
    if (l->norm_param < 0)
        return NULL;
    return mode == NET_ALONE ? &l->still : &l->affine;
}

// A call of a net, under way.
struct call {
    const struct net *net;
    struct graph *graph;
    enum net_mode mode;
    struct net_samples *samples; // NULL: none wanted
    int skip, stack[STACK], depth;
};

static bool has_all_samples(const struct call *call) {
    return call->samples && call->samples->until_last &&
           call->samples->found == call->samples->count;
}

// Takes a sample of y if it is module `at`.
static void take_sample(const struct call *call, int y, bool border) {
    struct net_samples *s = call->samples;
    struct graph_size size = graph_size(call->graph, y);
    int i = s->found++, around = border ? 2 * size.pad : 0;
    struct graph_sample_args args = {.ids = s->ids[i], .border = border, .constant = s->constant};

    s->h[i] = size.h + around;
    s->w[i] = size.w + around;
    args.count = MIN(s->patches, s->h[i] * s->w[i]);
    s->sample[i] = graph_sample(call->graph, y, &args);
}

static void take_samples(const struct call *call, const struct layer *l, enum sample where, int y) {
    const struct net_samples *s = call->samples;

    while (s && s->found < s->count && sample_of(l, s->at[s->found]) == where)
        take_sample(call, y, false);
}

static int blur(const struct call *call, int x, int border, int *ret_y) {
    struct graph_norm_args pad = {.pad = border, .skip = -1};
    int y = graph_blur(call->graph, x);

    if (border)
        return graph_norm(call->graph, y, &pad, ret_y);
    *ret_y = y;
    return ERR_OK;
}

static int layer_forward(const struct call *call, int i, int x, int *ret_y) {
    const struct net *net = call->net;
    const struct layer *l = &net->layers[i];
    struct graph_conv_args conv = l->conv;
    struct graph_norm_args norm = {
        .norm = norm_of(net, l, call->mode),
        .act = l->act,
        .pad = l->blur ? 1 : border_behind(net, i),
        .skip = l->skip == NET_SKIP_ADD ? call->skip : -1,
        .affine = affine_of(l, call->mode),
        .train = call->mode == NET_TRAIN,
        .dropout = l->dropout && (call->mode == NET_TRAIN || call->mode == NET_THROUGH)};
    int err, y;

    conv.train = call->mode == NET_TRAIN;
    err = graph_conv(call->graph, l->up ? graph_up(call->graph, x) : x, &l->weights, &conv, &y);
    if (err)
        return err;
    take_samples(call, l, SAMPLE_BEFORE_NORM, y);
    *ret_y = y;
    if (has_all_samples(call))
        return ERR_OK;
    if (l->tanh)
        return graph_tanh(call->graph, y, ret_y);
    if (norm.norm == NORM_NONE && !norm.dropout && norm.act == ACT_NONE && norm.pad == 0 &&
        norm.skip < 0)
        return ERR_OK;
    err = graph_norm(call->graph, y, &norm, ret_y);
    if (err)
        return err;
    take_samples(call, l, SAMPLE_AFTER, *ret_y);
    return l->blur && !has_all_samples(call) ? blur(call, *ret_y, border_behind(net, i), ret_y)
                                             : ERR_OK;
}

bool net_couples_pictures(const struct net *net) {
    return net->norm == NORM_BATCH;
}

// Layers [first, end).
static int layers_forward(struct call *call, int first, int end, int x, int *ret_y) {
    for (int i = first; i < end && !has_all_samples(call); i++) {
        enum net_skip what = call->net->layers[i].skip;
        if (what == NET_SKIP_REMEMBER)
            call->skip = x;
        int err = layer_forward(call, i, x, &x);
        if (err)
            return err;
        if (what == NET_SKIP_PUSH)
            call->stack[call->depth++] = x;
        if (what == NET_SKIP_JOIN)
            x = graph_join(call->graph, call->stack[--call->depth], x, ACT_RELU);
    }
    *ret_y = x;
    return ERR_OK;
}

int net_forward_sampled(const struct net *net, struct graph *g, int x, enum net_mode mode,
                        struct net_samples *samples, int *ret_y) {
    struct graph_norm_args pad = {.pad = net_border(net), .skip = -1};
    struct call call = {.net = net, .graph = g, .mode = mode, .samples = samples, .skip = -1};

    if (graph_size(g, x).pad != pad.pad) {
        int err = graph_norm(g, x, &pad, &x);
        if (err)
            return err;
    }
    if (samples)
        samples->found = 0;
    if (samples && samples->count && samples->at[0] == 0)
        take_sample(&call, x, true);
    return layers_forward(&call, 0, net->n_layers, x, ret_y);
}

int net_forward(const struct net *net, struct graph *g, int x, enum net_mode mode, int *ret_y) {
    return net_forward_sampled(net, g, x, mode, NULL, ret_y);
}

int mlp_forward(const struct net *net, struct graph *g, int i, int x, enum net_mode mode,
                int *ret_y) {
    struct call call = {.net = net, .graph = g, .mode = mode, .skip = -1};

    return layers_forward(&call, 2 * i, 2 * i + 2, x, ret_y);
}

static int blur_both(struct graph *g, int *x, int *dx) {
    struct graph_norm_args pad = {.pad = 1, .skip = -1};
    int err = graph_norm(g, *x, &pad, x);

    if (!err)
        err = graph_norm(g, *dx, &pad, dx);
    if (err)
        return err;
    *x = graph_blur(g, *x);
    *dx = graph_blur(g, *dx);
    return ERR_OK;
}

int net_forward_along(const struct net *net, struct graph *g, int x, int dx, int *ret_dy) {
    if (net->norm > NORM_BATCH || net_border(net))
        BUG("the derivative of %s", net->arch);
    for (int i = 0; i < net->n_layers; i++) {
        const struct layer *l = &net->layers[i];
        struct graph_conv_args conv = l->conv;
        struct graph_norm_args norm = {.norm = l->norm ? net->norm : NORM_NONE,
                                       .act = l->act,
                                       .affine = affine_of(l, NET_TRAIN),
                                       .train = true};
        conv.train = true;
        int err = graph_conv(g, dx, &l->slope, &conv, &dx);
        if (err)
            return err;
        if (i == net->n_layers - 1)
            break;
        err = graph_conv(g, x, &l->weights, &conv, &x);
        if (err)
            return err;
        graph_dual(g, x, dx, &norm, &x, &dx);
        err = l->blur ? blur_both(g, &x, &dx) : ERR_OK;
        if (err)
            return err;
    }
    *ret_dy = dx;
    return ERR_OK;
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
        .bias = bias && !bias->frozen ? bias : NULL,
        .norm_weight = norm ? norm + NORM_WEIGHT : NULL,
        .norm_bias = norm ? norm + NORM_BIAS : NULL,
    };
}

int net_divisor(const struct net *net) {
    return net->divisor;
}
