// The architectures. Numbers in keys count the reference's modules: its files must stay readable.
#include "nets/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

// Appends a convolution of stride 1 with a norm, without padding and activation; the caller sets
// the other fields.
static struct layer *layer_add(struct net *net, int c, int k, int r, const char *key, ...) {
    va_list args;

    net->layers = xrealloc(net->layers, (size_t)(net->n_layers + 1) * sizeof *net->layers);
    struct layer *l = &net->layers[net->n_layers++];
    *l = (struct layer){.c = c,
                        .conv = {.k = k, .r = r, .stride = 1},
                        // As in the reference: a batch norm has a bias itself.
                        .bias = net->norm == NORM_INSTANCE,
                        .norm = true};
    va_start(args, key);
    (void)vsnprintf(l->key, sizeof l->key, key, args); // keys are short
    va_end(args);
    l->module = -1;
    (void)sscanf(l->key, "model.%d", &l->module); // other keys have none that can be sampled
    return l;
}

bool net_resizes(const struct net_options *o) {
    return o->upsample && strcmp(o->upsample, "resize") == 0;
}

// Adds the convolution that doubles the map; returns the number of the module behind its
// activation. CUT's doubling filter has an entry in the state dict. Interpolation has the same
// numbers, but none.
static int resnet_up(struct net *net, const struct net_options *o, int c, int at) {
    // The fixed doubling is a module of its own in front of the convolution.
    bool filtered = o->antialias && !o->no_antialias_up, fixed = filtered || net_resizes(o);
    struct layer *l = layer_add(net, c, c / 2, 3, "model.%d", at + fixed);

    l->conv.pad = 1;
    l->act = ACT_RELU;
    l->up = fixed;
    l->filt = filtered ? at : 0;
    l->conv.transposed = !fixed;
    l->conv.stride = fixed ? 1 : 2;
    // A transposed 3x3 convolution of stride 2 and pad 1 doubles exactly with one more row.
    l->conv.out_pad = !fixed;
    return at + fixed + 3;
}

void net_add_resnet(struct net *net, const struct net_options *o, int blocks) {
    int f = o->nf, at = 4; // `at`: the number in the reference's list of modules
    struct layer *l;

    // Two layers halve the map, and the last two double it again.
    net->divisor = 4;
    l = layer_add(net, o->in_nc, f, 7, "model.1");
    l->border = 3;
    l->act = ACT_RELU;
    for (int i = 0; i < 2; i++) {
        l = layer_add(net, f << i, f << (i + 1), 3, "model.%d", at);
        l->conv.stride = o->antialias ? 1 : 2;
        l->conv.pad = 1;
        l->act = ACT_RELU;
        l->blur = o->antialias;
        l->filt = o->antialias ? at + 3 : 0;
        at += 3 + o->antialias;
    }
    // A block is one module. Its inner convolutions have no number that a sample could name.
    for (int i = 0; i < blocks; i++, at++) {
        l = layer_add(net, 4 * f, 4 * f, 3, "model.%d.conv_block.1", at);
        l->border = 1;
        l->act = ACT_RELU;
        l->skip = NET_SKIP_REMEMBER;
        l->dropout = o->dropout;
        l->module = -1;
        l = layer_add(net, 4 * f, 4 * f, 3, "model.%d.conv_block.%d", at, o->dropout ? 6 : 5);
        l->border = 1;
        l->skip = NET_SKIP_ADD;
        l->module = -1;
        l->block = at;
    }
    at = resnet_up(net, o, 4 * f, at);
    at = resnet_up(net, o, 2 * f, at);
    // Module `at` is the padding in front of it.
    l = layer_add(net, f, o->out_nc, 7, "model.%d", at + 1);
    l->border = 3;
    l->bias = true;
    l->norm = false;
    l->tanh = true;
}

// Levels from the outside: all downs, then all ups, which is also the order of the state dict. In
// the reference a level's leaky ReLU and ReLU come before its convolutions; here they end the layer
// before. The concatenation reads the leaky map too, since relu(leaky(x)) = relu(x).
void net_add_unet(struct net *net, const struct net_options *o, int levels) {
    // A level's key begins with 12 + 8 level characters of this.
    static const char path[] =
        "model.model.1.model.3.model.3.model.3.model.3.model.3.model.3.model.";
    int width[NET_STACK];
    struct layer *l;

    // Each level halves the map, down to 1x1 for the smallest size.
    net->divisor = 1 << levels;
    for (int i = 0; i < levels; i++) {
        // The reference stops widening at 8 nf.
        width[i] = o->nf * MIN(1 << i, 8);
        l = layer_add(net, i ? width[i - 1] : o->in_nc, width[i], 4, "%.*s%d", 12 + 8 * i, path,
                      i > 0);
        l->conv.stride = 2;
        l->conv.pad = 1;
        // The outermost layer reads the image. The innermost map may be 1x1, which has no variance.
        l->norm = i > 0 && i < levels - 1;
        l->act = i < levels - 1 ? ACT_LEAKY : ACT_RELU;
        l->skip = i < levels - 1 ? NET_SKIP_PUSH : NET_SKIP_NONE;
    }
    for (int i = levels - 1; i >= 0; i--) {
        // All but the innermost read the concatenation of the level's own map and the one below.
        bool innermost = i == levels - 1;
        l = layer_add(net, innermost ? width[i] : 2 * width[i], i ? width[i - 1] : o->out_nc, 4,
                      "%.*s%d", 12 + 8 * i, path, i == 0 || innermost ? 3 : 5);
        l->conv.stride = 2;
        l->conv.pad = 1;
        l->conv.transposed = true;
        l->act = ACT_RELU; // the concatenation's, early: it needs a map that a norm op made
        l->skip = NET_SKIP_CONCAT;
        l->dropout = o->dropout && !innermost && i > 3; // where inner and outer width are equal
    }
    l = &net->layers[net->n_layers - 1]; // the outermost
    l->bias = true;
    l->norm = false;
    l->act = ACT_NONE;
    l->skip = NET_SKIP_NONE;
    l->tanh = true;
}

void net_add_patch(struct net *net, const struct net_options *o, int n) {
    struct layer *l;
    int at = 0;

    for (int i = 0; i <= n + 1; i++) {
        // n layers with a stride, one without, and the one that makes the map of scores.
        int in = i == 0 ? o->in_nc : o->nf * MIN(1 << (i - 1), 8);
        int out = i > n ? 1 : o->nf * MIN(1 << i, 8);
        l = layer_add(net, in, out, 4, "model.%d", at);
        l->conv.stride = i < n && !o->antialias ? 2 : 1;
        l->blur = i < n && o->antialias;
        l->filt = l->blur ? at + (i > 0) + 2 : 0;
        // A convolution and its activation, a norm behind all but the first, and the filter.
        at += 2 + (i > 0) + l->blur;
        l->conv.pad = 1;
        l->bias = l->bias || i == 0 || i > n; // the first and the last have no norm
        l->norm = i > 0 && i <= n;
        l->act = i <= n ? ACT_LEAKY : ACT_NONE;
    }
}

void net_add_pixel(struct net *net, const struct net_options *o) {
    struct layer *l;

    l = layer_add(net, o->in_nc, o->nf, 1, "net.0");
    l->bias = true;
    l->norm = false;
    l->act = ACT_LEAKY;
    l = layer_add(net, o->nf, 2 * o->nf, 1, "net.2");
    l->act = ACT_LEAKY;
    l = layer_add(net, 2 * o->nf, 1, 1, "net.5");
    l->norm = false;
}

void net_add_mlp(struct net *net, const int *channels, int count, int nc) {
    // Rows 2 i and 2 i + 1 are the net of map i; mlp_forward relies on that.
    for (int i = 0; i < 2 * count; i++) {
        struct layer *l =
            layer_add(net, i % 2 ? nc : channels[i / 2], nc, 1, "mlp_%d.%d", i / 2, 2 * (i % 2));
        l->bias = l->linear = true;
        l->norm = false;
        l->act = i % 2 ? ACT_NONE : ACT_RELU;
    }
}
