// Parameters: the state dict of a table of layers, and its places in memory.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "nets/init.h"
#include "nets/layers.h"

static void param_add(struct net *net, enum model_param_kind kind, char *key, int rank,
                      const int64_t dims[4]) {
    struct model_param p = {.key = key, .kind = kind, .rank = rank, .count = 1};

    memcpy(p.dims, dims, sizeof p.dims);
    for (int i = 0; i < rank; i++)
        // Rank 0 is a single number: the counter of batches.
        p.count *= (size_t)dims[i];
    net->params = xrealloc(net->params, (size_t)(net->n_params + 1) * sizeof *net->params);
    net->params[net->n_params++] = p;
}

// The norm's module number is that of the convolution plus 1.
static void list_norm(struct net *net, const struct layer *l) {
    static const char *const names[] = {
        [NORM_WEIGHT] = "weight",
        [NORM_BIAS] = "bias",
        [NORM_MEAN] = "running_mean",
        [NORM_VAR] = "running_var",
        [NORM_BATCHES] = "num_batches_tracked",
    };
    // The key up to its last dot is the norm's too. Only the number behind it differs.
    int last = (int)(strrchr(l->key, '.') - l->key) + 1;
    int module = (int)strtol(l->key + last, NULL, 10) + 1;

    for (int i = NORM_WEIGHT; i <= NORM_BATCHES; i++)
        param_add(net, (enum model_param_kind)(PARAM_NORM_WEIGHT + i),
                  xasprintf("%.*s%d.%s", last, l->key, module, names[i]), i != NORM_BATCHES,
                  (int64_t[4]){l->conv.k});
    // Mean and variance. The counter is an integer and is stored elsewhere.
    net->n_statistics += 2 * (size_t)l->conv.k;
}

// The state dict has the fixed filters, though no op of ours reads them: they are constants.
static void list_filter(struct net *net, const struct layer *l) {
    int64_t c = l->up ? l->c : l->conv.k, r = l->up ? 4 : 3;

    param_add(net, PARAM_FIXED, xasprintf("model.%d.filt", l->filt), 4, (int64_t[4]){c, 1, r, r});
    net->n_filters += net->params[net->n_params - 1].count;
}

// The order is that of the reference's modules: a doubling filter before its convolution, a halving
// one behind the activation.
void net_list_params(struct net *net) {
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
            // The instance norm subtracts the bias again. A sampled map shows it.
            net->params[net->n_params - 1].frozen =
                l->norm && net->norm == NORM_INSTANCE && !l->sampled;
        }
        l->norm_param = l->norm && net->norm == NORM_BATCH ? net->n_params : -1;
        if (l->norm_param >= 0)
            list_norm(net, l);
        if (l->blur)
            list_filter(net, l);
    }
    // Places are offsets until net_bind, because the buffers' total size must be known first.
    net->places = xcalloc((size_t)net->n_params, sizeof *net->places);
}

// Filters, biases and the two vectors of a norm: the first four kinds (nets/param.h).
static bool is_trained(const struct model_param *p) {
    return p->kind <= PARAM_NORM_BIAS;
}

void net_reserve(struct net *net, size_t *size) {
    for (int i = 0; i < net->n_params; i++)
        // A frozen bias has a place too: the state dict and its moments must be complete.
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
    l->slope = l->weights; // before the bias is set
    // A frozen bias stays out of the graph. Its gradient stays 0, and so Adam never moves it.
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
    // The same weights. NULL statistics do not move, and NULL batches are not counted.
    l->still = (struct graph_affine){.values = {.weight = o->w + weight, .bias = o->w + bias}};
}

// The running statistics are not trained, so they have a buffer of their own, with a host's copy.
static int place_statistics(struct net *net) {
    struct device *d = net->optimizer->device;
    size_t at = 0, bytes = net->n_statistics * sizeof(float);
    void *memory;

    int err = d->backend->memory_new(d, bytes, &memory);
    if (err)
        return err;
    net->statistics = memory;
    // Where the host can address the device's memory, both pointers are one buffer.
    net->statistics_host = d->asynchronous ? xaligned(bytes) : memory;
    net->batches = xcalloc((size_t)net->n_layers, sizeof *net->batches);
    for (int i = 0; i < net->n_layers; i++) {
        struct layer *l = &net->layers[i];
        struct model_param *p = &net->params[MAX(l->norm_param, 0)];
        if (l->norm_param < 0) // no batch norm
            continue;
        // The state dict points to the host's copy, the graph to the device's buffer.
        p[NORM_MEAN].w = net->statistics_host + at;
        p[NORM_VAR].w = p[NORM_MEAN].w + p[NORM_MEAN].count;
        p[NORM_BATCHES].batches = &net->batches[i];
        bind_norm(net, l, net->statistics + at);
        at += 2 * p[NORM_MEAN].count;
    }
    return ERR_OK;
}

// Allocates the fixed filters and sets their values.
static void place_filters(struct net *net) {
    size_t at = 0;

    // Host memory suffices: ops have the fixed filters built in.
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
    memcpy(twin->statistics_host, net->statistics_host, net->n_statistics * sizeof(float));
    memcpy(twin->batches, net->batches, (size_t)net->n_layers * sizeof *net->batches);
}

int net_n_params(const struct net *net) {
    return net->n_params;
}

struct model_param *net_params(struct net *net) {
    return net->params;
}

// Gradients have the same places as the weights, in a buffer of their own.
const float *net_gradient(const struct net *net, int i) {
    return net->optimizer->g + net->places[i];
}

int net_pull(struct net *net) {
    struct device *d = net->optimizer->device;

    return d->asynchronous ? d->backend->copy_out(d, net->statistics_host, net->statistics,
                                                  net->n_statistics * sizeof(float))
                           : ERR_OK;
}

int net_push(struct net *net) {
    struct device *d = net->optimizer->device;

    return d->asynchronous ? d->backend->copy_in(d, net->statistics, net->statistics_host,
                                                 net->n_statistics * sizeof(float))
                           : ERR_OK;
}

size_t net_bytes(const struct net *net) {
    size_t bytes = net->n_statistics * sizeof(float);

    for (int i = 0; i < net->n_layers; i++)
        bytes += net->optimizer->device->backend->weights_bytes(net->layers[i].weights.derived);
    return bytes;
}
