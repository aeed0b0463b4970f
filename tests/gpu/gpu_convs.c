// Convolutions: every kind of layer of the nets, forward and backward, in one call and in parts,
// added to what was there, and after a change of the weights.
#include <math.h>
#include <stdio.h>

#include "base/util.h"
#include "gpu/gpu_bench.h"
#include "trainer/oracle/ops.h"

struct conv_case {
    const struct conv_shape *s;
    struct operand x, dy, y, dx;
    struct floats w, bias, dw, dbias;
    struct device_weights *weights;
    struct device_conv *conv;
    void *workspace;
};

static void open_case(struct bench *b, struct conv_case *c, const struct conv_shape *s) {
    const struct backend *k = b->d->backend;
    int64_t dims[4] = {s->transposed ? s->c : s->k, s->transposed ? s->k : s->c, s->r, s->r};
    size_t weights = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    int ho, wo;

    conv_output_size(s, &ho, &wo);
    *c = (struct conv_case){.s = s};
    c->x = operand_in(b, (struct tensor_shape){s->n, s->h, s->w, s->c}, 0);
    c->dy = operand_in(b, (struct tensor_shape){s->n, ho, wo, s->k}, 0);
    c->y = operand_out(b, c->dy.shape, 0);
    c->dx = operand_out(b, c->x.shape, 0);
    c->w = floats_out(b, weights);
    for (size_t i = 0; i < weights; i++)
        c->w.host[i] = bench_draw(b);
    floats_send(b, &c->w);
    c->dw = floats_out(b, weights);
    if (s->bias) {
        c->bias = floats_in(b, (size_t)s->k);
        c->dbias = floats_out(b, (size_t)s->k);
        c->dbias.least = sqrt((double)c->dy.pixels / 3);
    }
    c->weights = k->weights_new(b->d, c->w.memory, dims);
    bench_must(k->conv_new(c->weights, s, true, &c->conv));
    bench_must(k->weights_refresh(b->d, &c->weights, 1));
    c->workspace = bench_workspace(b, k->conv_workspace_bytes(c->conv));
}

static void close_case(struct bench *b, struct conv_case *c) {
    const struct backend *k = b->d->backend;

    k->conv_free(c->conv);
    k->weights_free(c->weights);
    k->memory_free(b->d, c->workspace);
    operand_drop(b, &c->x);
    operand_drop(b, &c->dy);
    operand_drop(b, &c->y);
    operand_drop(b, &c->dx);
    floats_drop(b, &c->w);
    floats_drop(b, &c->bias);
    floats_drop(b, &c->dw);
    floats_drop(b, &c->dbias);
}

static void forward(struct bench *b, struct conv_case *c) {
    bench_must(b->d->backend->conv_forward(c->conv, c->x.memory, c->bias.memory, c->y.memory,
                                           c->workspace));
}

// The gradients that are wanted; `add` to those of the parameters.
static void backward(struct bench *b, struct conv_case *c, bool data, bool filter, bool add) {
    struct conv_gradients t = {.x = filter ? c->x.memory : NULL,
                               .dy = c->dy.memory,
                               .ret_dx = data ? c->dx.memory : NULL,
                               .ret_dw = filter ? c->dw.memory : NULL,
                               .ret_dbias = filter ? c->dbias.memory : NULL,
                               .accumulate = add};

    bench_must(b->d->backend->conv_backward(c->conv, &t, c->workspace));
}

static void filter_values(struct bench *b, struct conv_case *c, const char *dw, const char *dbias) {
    gpu_value(b->g, dw, floats_error(b, &c->dw), b->mode->conv_filter);
    if (c->s->bias)
        gpu_value(b->g, dbias, floats_error(b, &c->dbias), GPU_FLOATS);
}

static void twice(struct floats *f) {
    for (size_t i = 0; i < f->count; i++)
        f->host[i] *= 2;
}

// In one call; then the gradient of x alone, and the parameters' alone, added to themselves.
static void check_conv(struct bench *b, const struct conv_shape *s) {
    struct conv_case c;

    open_case(b, &c, s);
    gpu_row(b->g, b->mode->dtype, "%s %dx%d/%d %d->%d on %dx%dx%d%s",
            s->transposed ? "convT" : "conv", s->r, s->r, s->stride, s->c, s->k, s->n, s->h, s->w,
            s->bias ? ", bias" : "");
    forward(b, &c);
    backward(b, &c, true, true, false);
    ref_conv(s, c.x.host, c.w.host, c.bias.host, c.y.host);
    ref_conv_backward(s, c.x.host, c.w.host, c.dy.host, c.dx.host, c.dw.host, c.dbias.host);
    gpu_value(b->g, "y", operand_error(b, &c.y), b->mode->conv);
    gpu_value(b->g, "dx", operand_error(b, &c.dx), b->mode->conv);
    filter_values(b, &c, "dw", "db");
    operand_poison(b, &c.dx);
    backward(b, &c, true, false, false);
    gpu_value(b->g, "dx alone", operand_error(b, &c.dx), b->mode->conv);
    backward(b, &c, false, true, true);
    twice(&c.dw);
    twice(&c.dbias);
    filter_values(b, &c, "+dw", "+db");
    gpu_row_end(b->g);
    close_case(b, &c);
}

// What follows a step of Adam; and a convolution that has no backward, as translation's.
static void check_changed_weights(struct bench *b, const struct conv_shape *s) {
    const struct backend *k = b->d->backend;
    struct device_conv *alone;
    struct conv_case c;

    open_case(b, &c, s);
    gpu_row(b->g, b->mode->dtype, "%s %dx%d/%d, weights change", s->transposed ? "convT" : "conv",
            s->r, s->r, s->stride);
    forward(b, &c);
    for (size_t i = 0; i < c.w.count; i++)
        c.w.host[i] = bench_draw(b);
    floats_send(b, &c.w);
    bench_must(k->weights_refresh(b->d, &c.weights, 1));
    operand_poison(b, &c.y);
    forward(b, &c);
    backward(b, &c, true, false, false);
    ref_conv(s, c.x.host, c.w.host, c.bias.host, c.y.host);
    ref_conv_backward(s, c.x.host, c.w.host, c.dy.host, c.dx.host, NULL, NULL);
    gpu_value(b->g, "y", operand_error(b, &c.y), b->mode->conv);
    gpu_value(b->g, "dx", operand_error(b, &c.dx), b->mode->conv);
    bench_must(k->conv_new(c.weights, s, false, &alone));
    bench_must(k->weights_refresh(b->d, &c.weights, 1));
    k->memory_free(b->d, c.workspace);
    c.workspace = bench_workspace(b, k->conv_workspace_bytes(alone));
    operand_poison(b, &c.y);
    bench_must(k->conv_forward(alone, c.x.memory, c.bias.memory, c.y.memory, c.workspace));
    gpu_value(b->g, "y without a backward", operand_error(b, &c.y), b->mode->conv);
    gpu_row_end(b->g);
    k->conv_free(alone);
    close_case(b, &c);
}

#define CONV(n_, c_, h_, w_, k_, r_, stride_, pad_, ...)                                           \
    {                                                                                              \
        .n = (n_), .c = (c_), .h = (h_), .w = (w_), .k = (k_), .r = (r_), .stride = (stride_),     \
        .pad = (pad_), __VA_ARGS__                                                                 \
    }
#define UP .transposed = true, .out_pad = 1

// Every kind, odd sizes and channels that are not stored as they are.
static const struct conv_shape small[] = {
    CONV(2, 3, 23, 19, 16, 7, 1, 0, .bias = false),
    CONV(1, 16, 14, 13, 3, 7, 1, 0, .bias = true),
    CONV(1, 16, 17, 22, 24, 3, 2, 1, .bias = false),
    CONV(2, 20, 9, 10, 20, 3, 1, 0, .bias = false),
    CONV(1, 8, 9, 11, 12, 3, 1, 1, .bias = true),
    CONV(2, 24, 9, 7, 12, 3, 2, 1, UP),
    CONV(1, 12, 5, 6, 5, 3, 2, 1, UP, .bias = true),
    CONV(3, 6, 16, 16, 8, 4, 2, 1, .bias = true),
    CONV(2, 8, 14, 18, 16, 4, 2, 1, .bias = false),
    CONV(1, 16, 9, 8, 20, 4, 1, 1, .bias = false),
    CONV(1, 40, 8, 8, 1, 4, 1, 1, .bias = true),
    CONV(2, 16, 2, 2, 16, 4, 2, 1, .bias = false),
    CONV(2, 16, 1, 1, 16, 4, 2, 1, .transposed = true),
    CONV(2, 32, 4, 6, 8, 4, 2, 1, .transposed = true),
    CONV(1, 16, 8, 8, 3, 4, 2, 1, .transposed = true, .bias = true),
    CONV(2, 3, 13, 12, 16, 1, 1, 0, .bias = true),
    CONV(2, 32, 13, 12, 1, 1, 1, 0, .bias = true),
    CONV(2, 24, 16, 1, 16, 1, 1, 0, .bias = true),
};

// Layers of the nets on pictures of 128x128: resnet_9blocks, PatchGAN, unet_128, pixel, CUT's F;
// and a block's at batch 16, and at 256x256, batch 6.
static const struct conv_shape large[] = {
    CONV(2, 3, 134, 134, 64, 7, 1, 0, .bias = false),
    CONV(1, 64, 134, 134, 3, 7, 1, 0, .bias = true),
    CONV(1, 64, 128, 128, 128, 3, 2, 1, .bias = false),
    CONV(1, 128, 64, 64, 256, 3, 2, 1, .bias = false),
    CONV(2, 256, 34, 34, 256, 3, 1, 0, .bias = false),
    CONV(1, 256, 32, 32, 128, 3, 2, 1, UP),
    CONV(1, 128, 64, 64, 64, 3, 2, 1, UP),
    CONV(1, 256, 32, 32, 128, 3, 1, 1, .bias = false),
    CONV(2, 3, 128, 128, 64, 4, 2, 1, .bias = true),
    CONV(2, 6, 128, 128, 64, 4, 2, 1, .bias = true),
    CONV(2, 64, 64, 64, 128, 4, 2, 1, .bias = false),
    CONV(1, 128, 32, 32, 256, 4, 2, 1, .bias = false),
    CONV(2, 256, 16, 16, 512, 4, 1, 1, .bias = false),
    CONV(2, 512, 15, 15, 1, 4, 1, 1, .bias = true),
    CONV(2, 512, 4, 4, 512, 4, 2, 1, .bias = false),
    CONV(2, 512, 1, 1, 512, 4, 2, 1, .transposed = true),
    CONV(1, 1024, 4, 4, 512, 4, 2, 1, .transposed = true),
    CONV(1, 256, 32, 32, 64, 4, 2, 1, .transposed = true),
    CONV(1, 128, 64, 64, 3, 4, 2, 1, .transposed = true, .bias = true),
    CONV(1, 3, 128, 128, 64, 1, 1, 0, .bias = true),
    CONV(1, 128, 128, 128, 1, 1, 1, 0, .bias = true),
    CONV(2, 256, 256, 1, 256, 1, 1, 0, .bias = true),
    CONV(16, 256, 34, 34, 256, 3, 1, 0, .bias = false),
    CONV(6, 256, 66, 66, 256, 3, 1, 0, .bias = false),
};

static bool has_tf32(const struct bench *b) {
    return b->d->element_bytes == sizeof(float) && b->mode->conv > GPU_FLOATS;
}

void gpu_convs(struct bench *b) {
    static const unsigned changed[] = {2, 5, 7, 13};

    b->rounds_to_tf32 = has_tf32(b);
    for (unsigned i = 0; i < COUNT(small); i++)
        check_conv(b, &small[i]);
    for (unsigned i = 0; i < COUNT(changed); i++)
        check_changed_weights(b, &small[changed[i]]);
    b->rounds_to_tf32 = false;
}

void gpu_large_convs(struct bench *b) {
    b->rounds_to_tf32 = has_tf32(b);
    for (unsigned i = 0; i < COUNT(large); i++)
        check_conv(b, &large[i]);
    b->rounds_to_tf32 = false;
}
