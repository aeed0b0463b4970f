// Walks the rows of a net's table and appends their ops to a graph.
#include "base/err.h"
#include "base/util.h"
#include "nets/layers.h"

// The border that the next layer reads.
// The op that makes a map writes its border too, so each layer asks what the next one needs.
static int border_behind(const struct net *net, int i) {
    return i + 1 < net->n_layers ? net->layers[i + 1].border : 0;
}

// Only evaluation takes the running statistics. The other modes take the batch's.
static enum norm_kind norm_of(const struct net *net, const struct layer *l, enum net_mode mode) {
    if (!l->norm)
        return NORM_NONE;
    return net->norm == NORM_BATCH && mode == NET_EVAL ? NORM_RUNNING : net->norm;
}

// A lone call must not move the statistics that training has gathered.
static const struct graph_affine *affine_of(const struct layer *l, enum net_mode mode) {
    if (l->norm_param < 0)
        return NULL;
    return mode == NET_ALONE ? &l->still : &l->affine;
}

// The state of one call of a net.
struct call {
    const struct net *net;
    struct graph *graph;
    enum net_mode mode;
    struct net_samples *samples; // NULL: none wanted
    int skip, stack[NET_STACK], depth;
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

    // The caller draws ids from h and w, so they are reported together with the sample.
    s->h[i] = size.h + around;
    s->w[i] = size.w + around;
    args.count = MIN(s->patches, s->h[i] * s->w[i]);
    s->sample[i] = graph_sample(call->graph, y, &args);
}

static void take_samples(const struct call *call, const struct layer *l, enum net_sample where,
                         int y) {
    const struct net_samples *s = call->samples;

    // A norm and its activation count as two modules and are one map here: both may be sampled.
    while (s && s->found < s->count && net_sample_of(l, s->at[s->found]) == where)
        take_sample(call, y, false);
}

// Halves x; the result gets the border that its reader wants.
static int blur_map(const struct call *call, int x, int border, int *ret_y) {
    struct graph_norm_args pad = {.pad = border, .skip = -1};
    int y = graph_blur(call->graph, x);

    // The blur itself writes no border. A norm op without norm and activation adds one.
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
        // The blur reads a border of 1. What the next layer needs is added behind it.
        .pad = l->blur ? 1 : border_behind(net, i),
        .skip = l->skip == NET_SKIP_ADD ? call->skip : -1,
        .affine = affine_of(l, call->mode),
        .train = call->mode == NET_TRAIN,
        // NET_THROUGH computes what NET_TRAIN computes, dropout included.
        .dropout = l->dropout && (call->mode == NET_TRAIN || call->mode == NET_THROUGH)};
    int err, y;

    conv.train = call->mode == NET_TRAIN; // NET_THROUGH: only x gets a gradient
    err = graph_conv(call->graph, l->up ? graph_up(call->graph, x) : x, &l->weights, &conv, &y);
    if (err)
        return err;
    take_samples(call, l, NET_SAMPLE_BEFORE_NORM, y);
    *ret_y = y;
    if (has_all_samples(call)) // the caller reads samples only
        return ERR_OK;
    if (l->tanh)
        return graph_tanh(call->graph, y, ret_y);
    // A layer with none of these needs no op behind its convolution.
    if (norm.norm == NORM_NONE && !norm.dropout && norm.act == ACT_NONE && norm.pad == 0 &&
        norm.skip < 0)
        return ERR_OK;
    err = graph_norm(call->graph, y, &norm, ret_y);
    if (err)
        return err;
    take_samples(call, l, NET_SAMPLE_AFTER, *ret_y);
    return l->blur && !has_all_samples(call) ? blur_map(call, *ret_y, border_behind(net, i), ret_y)
                                             : ERR_OK;
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
        // A U-Net's levels nest: the last map pushed is the first one concatenated.
        if (what == NET_SKIP_PUSH)
            call->stack[call->depth++] = x;
        if (what == NET_SKIP_CONCAT)
            x = graph_concat(call->graph, call->stack[--call->depth], x, ACT_RELU);
    }
    *ret_y = x;
    return ERR_OK;
}

// An x that was joined of several inputs has its border already.
int net_forward_sampled(const struct net *net, struct graph *g, int x, enum net_mode mode,
                        struct net_samples *samples, int *ret_y) {
    struct graph_norm_args pad = {.pad = net_border(net), .skip = -1};
    struct call call = {.net = net, .graph = g, .mode = mode, .samples = samples, .skip = -1};

    if (graph_size(g, x).pad != pad.pad) { // an x without border gets it here
        int err = graph_norm(g, x, &pad, &x);
        if (err)
            return err;
    }
    if (samples)
        samples->found = 0;
    // Module 0 is the padding: its sample counts positions in the bordered input.
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

    return layers_forward(&call, 2 * i, 2 * i + 2, x, ret_y); // two layers for each map
}

// Halves a map and its tangent. The blur is linear, so the tangent passes like the map.
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
    // The backend's tangent has no borders and no running statistics. Discriminators need neither.
    if (net->norm > NORM_BATCH || net_border(net))
        BUG("the derivative of %s", net->arch);
    for (int i = 0; i < net->n_layers; i++) {
        const struct layer *l = &net->layers[i];
        struct graph_conv_args conv = l->conv;
        struct graph_norm_args norm = {.norm = l->norm ? net->norm : NORM_NONE,
                                       .act = l->act,
                                       .affine = affine_of(l, NET_TRAIN),
                                       .train = true};
        // A convolution is linear in x: the tangent passes through it without the bias.
        conv.train = true;
        int err = graph_conv(g, dx, &l->slope, &conv, &dx);
        if (err)
            return err;
        if (i == net->n_layers - 1) // the loss reads dy alone
            break;
        err = graph_conv(g, x, &l->weights, &conv, &x);
        if (err)
            return err;
        graph_tangent(g, x, dx, &norm, &x, &dx);
        err = l->blur ? blur_both(g, &x, &dx) : ERR_OK;
        if (err)
            return err;
    }
    *ret_dy = dx;
    return ERR_OK;
}
