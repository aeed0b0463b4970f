// Translates the layers of a generator to ONNX nodes, one layer at a time.
#include "weights/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "nets/init.h"
#include "weights/onnx_file.h"

// A U-Net pushes once per level; recognise accepts at most 9 levels.
#define STACK 16

// The state of writing a net.
struct writing {
    struct weights *weights;
    struct onnx_file *file;
    bool running;
    int remembered, stack[STACK], depth;
    int layer;
};

// ---- constants ----

static int read_tensor(struct writing *o, const struct model_param *p, int *ret) {
    const struct weights_tensor *t = weights_find(o->weights, p->key);
    if (!t)
        BUG("%s was there", p->key);
    // The file borrows the values until it is written, so all weights are in memory.
    float *values = onnx_file_memory(o->file, t->count * sizeof *values);
    int err = weights_read(o->weights, t, values);
    if (!err)
        *ret = onnx_file_floats(o->file, p->key, t->rank, t->dims, values);
    return err;
}

static const char *layer_name(const struct writing *o, const char *what, char ret[64]) {
    (void)snprintf(ret, 64, "layer_%d.%s", o->layer, what); // fits
    return ret;
}

// ONNX's InstanceNormalization requires a scale and a shift; ours has none.
static int fill(struct writing *o, const char *what, int64_t count, float value) {
    float *values = onnx_file_memory(o->file, (size_t)count * sizeof *values);
    char name[64];
    for (int64_t i = 0; i < count; i++)
        values[i] = value;
    return onnx_file_floats(o->file, layer_name(o, what, name), 1, &count, values);
}

// The fixed filter of a map of c channels.
static int filter(struct writing *o, const char *what, int c, int side) {
    struct model_param p = {.kind = PARAM_FIXED, .rank = 4, .dims = {c, 1, side, side}};
    char name[64];
    p.count = (size_t)c * (size_t)(side * side);
    // The filters are fixed, so they are computed and not read from the file.
    p.w = onnx_file_memory(o->file, p.count * sizeof *p.w);
    init_fixed(&p);
    return onnx_file_floats(o->file, layer_name(o, what, name), 4, p.dims, p.w);
}

// ---- nodes ----

static int one(struct writing *o, const char *op, int x) {
    return onnx_file_node(o->file, op, 1, &x);
}

static int two(struct writing *o, const char *op, int x, int y) {
    return onnx_file_node(o->file, op, 2, (int[2]){x, y});
}

static int pad(struct writing *o, int x, const char *what, const char *mode, int n) {
    // Begins of N,C,H,W, then their ends.
    const int64_t pads[8] = {0, 0, n, n, 0, 0, n, n};
    char name[64];
    int sizes = onnx_file_integers(o->file, layer_name(o, what, name), 8, pads);
    int y = two(o, "Pad", x, sizes);
    onnx_file_set_text(o->file, "mode", mode);
    return y;
}

static void set_window(struct writing *o, int side, int stride, int around) {
    onnx_file_set_ints(o->file, "kernel_shape", 2, (int64_t[2]){side, side});
    onnx_file_set_ints(o->file, "strides", 2, (int64_t[2]){stride, stride});
    onnx_file_set_ints(o->file, "pads", 4, (int64_t[4]){around, around, around, around});
}

// The PyTorch module crops the doubled map by a pixel on each side. A larger pad does the same
// here.
static int up(struct writing *o, int x, int c) {
    // As many groups as channels: each map is filtered by itself.
    int filt = filter(o, "up", c, 4);
    int y = two(o, "ConvTranspose", pad(o, x, "up_pad", "edge", 1), filt);
    set_window(o, 4, 2, 3);
    onnx_file_set_int(o->file, "group", c);
    return y;
}

static int blur(struct writing *o, int x, int c) {
    int filt = filter(o, "blur", c, 3);
    int y = two(o, "Conv", pad(o, x, "blur_pad", "reflect", 1), filt);
    set_window(o, 3, 2, 0);
    onnx_file_set_int(o->file, "group", c);
    return y;
}

static int convolve(struct writing *o, const struct net_layer *l, int x, int *ret) {
    int inputs[3] = {x};
    int err = read_tensor(o, l->weight, &inputs[1]);
    if (!err && l->bias)
        err = read_tensor(o, l->bias, &inputs[2]);
    if (err)
        return err;
    *ret = onnx_file_node(o->file, l->conv.transposed ? "ConvTranspose" : "Conv", l->bias ? 3 : 2,
                          inputs);
    set_window(o, l->conv.r, l->conv.stride, l->conv.pad);
    // Attributes belong to the last node, so they follow onnx_file_node at once.
    if (l->conv.out_pad)
        onnx_file_set_ints(o->file, "output_padding", 2,
                           (int64_t[2]){l->conv.out_pad, l->conv.out_pad});
    return ERR_OK;
}

static int normalize(struct writing *o, const struct net_layer *l, int x, int *ret) {
    bool running = o->running && l->norm == NORM_BATCH;
    int inputs[5] = {x}, err = ERR_OK;
    if (l->norm == NORM_INSTANCE) {
        inputs[1] = fill(o, "scale", l->conv.k, 1);
        inputs[2] = fill(o, "shift", l->conv.k, 0);
        // Without `running`, each image's own statistics are used, so only weight and bias are
        // read.
    } else { // weight, bias, mean and variance are adjacent in the state dict
        for (int i = 0; i < (running ? 4 : 2) && !err; i++)
            err = read_tensor(o, l->norm_weight + i, &inputs[i + 1]);
    }
    if (err)
        return err;
    *ret = onnx_file_node(o->file, running ? "BatchNormalization" : "InstanceNormalization",
                          running ? 5 : 3, inputs);
    onnx_file_set_float(o->file, "epsilon", NORM_EPS);
    return ERR_OK;
}

static int activate(struct writing *o, const struct net_layer *l, int x) {
    if (l->act == ACT_RELU)
        return one(o, "Relu", x);
    // Only the last layer of a generator ends in tanh; some layers have no activation.
    if (l->act != ACT_LEAKY)
        return l->tanh ? one(o, "Tanh", x) : x;
    int y = one(o, "LeakyRelu", x);
    onnx_file_set_float(o->file, "alpha", LEAKY_SLOPE);
    return y;
}

static int join(struct writing *o, int x) {
    int y = two(o, "Concat", o->stack[--o->depth], x);
    onnx_file_set_int(o->file, "axis", 1);
    return one(o, "Relu", y);
}

static int write_layer(struct writing *o, const struct net_layer *l, int x, int *ret) {
    int err, y = x;
    // The skip starts before this layer, at the input of a residual block.
    if (l->skip == NET_SKIP_REMEMBER)
        o->remembered = x;
    if (l->up)
        y = up(o, y, l->c);
    if (l->border)
        y = pad(o, y, "border", "reflect", l->border);
    err = convolve(o, l, y, &y);
    if (!err && l->norm != NORM_NONE)
        err = normalize(o, l, y, &y);
    if (err)
        return err;
    y = activate(o, l, y);
    if (l->skip == NET_SKIP_ADD)
        y = two(o, "Add", o->remembered, y);
    // Encoder outputs are a stack: the innermost is joined first.
    if (l->skip == NET_SKIP_PUSH)
        o->stack[o->depth++] = y;
    if (l->skip == NET_SKIP_CONCAT)
        y = join(o, y);
    // CUT downsamples after the activation.
    *ret = l->blur ? blur(o, y, l->conv.k) : y;
    return ERR_OK;
}

static int write_net(struct writing *o, const struct net *net, const struct net_options *options,
                     const char *path) {
    int err = ERR_OK, x = onnx_file_input(o->file, options->in_nc);
    for (o->layer = 0; o->layer < net_n_layers(net) && !err; o->layer++) {
        struct net_layer l = net_layer(net, o->layer);
        err = write_layer(o, &l, x, &x);
    }
    return err ? err : onnx_file_write(o->file, x, options->out_nc, path);
}

int onnx_write(struct weights *w, const struct recognised *r, bool running, const char *path) {
    struct net_options options = recognised_options(r);
    struct writing o = {.weights = w, .running = running};
    struct net *net;
    char text[200], about[400];
    int err = generator_new(&options, &net);
    if (err)
        return err;
    recognised_text(r, text, sizeof text);
    (void)snprintf(about, sizeof about,
                   "%s. Pictures in [-1,1], sides divisible by %d. Norms by %s", text,
                   net_divisor(net), running ? "running statistics" : "each picture"); // fits
    o.file = onnx_file_new(about);
    err = write_net(&o, net, &options, path);
    onnx_file_free(o.file);
    net_free(net);
    return err;
}
