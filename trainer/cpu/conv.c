// The convolution entries of the CPU backend: each pass goes to oneDNN or to a kernel of our own.
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/cpu.h"

struct device_conv {
    struct own_conv own;
    struct dnnl_conv *dnnl; // NULL: all passes are our own
};

int cpu_conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                 struct device_conv **ret_conv) {
    struct device_conv *c = xcalloc(1, sizeof *c);
    const struct kernels *k = &c->own.kernels;

    // First our own part: it decides the passes that are left for oneDNN.
    cpu_own_conv_init(&c->own, w, shape, backward);
    if (k->forward == KERNEL_DNNL || k->backward_data == KERNEL_DNNL) {
        int err = cpu_dnnl_conv_new(w, shape, k, &c->dnnl);
        if (err) {
            free(c);
            return err;
        }
    }
    *ret_conv = c;
    return ERR_OK;
}

void cpu_conv_free(struct device_conv *c) {
    if (!c)
        return;
    cpu_dnnl_conv_free(c->dnnl);
    free(c);
}

size_t cpu_conv_workspace_bytes(const struct device_conv *c) {
    // Passes run one after the other, so they share one workspace.
    size_t own = cpu_own_conv_bytes(&c->own), dnnl = c->dnnl ? cpu_dnnl_conv_bytes(c->dnnl) : 0;

    return MAX(own, dnnl);
}

static const char *kernel_name(const struct device_conv *c, enum kernel kernel, const char *dnnl) {
    switch (kernel) {
    case KERNEL_WINO:
        return c->own.wino.m == 2 ? "winograd F2" : "winograd F4";
    case KERNEL_NARROW:
        return "narrow";
    case KERNEL_DIRECT:
        return "direct";
    case KERNEL_DNNL:
        return dnnl;
    case KERNEL_NONE:
        return "-";
    }
    BUG("kernel %d", kernel);
}

void cpu_conv_describe(const struct device_conv *c, char *ret_text, size_t size) {
    const struct conv_shape *s = &c->own.shape;
    const struct kernels *k = &c->own.kernels;
    const char *dnnl[2] = {"", ""};

    if (c->dnnl)
        cpu_dnnl_conv_names(c->dnnl, dnnl);
    // The instruction set is part of the text, because the bits depend on it.
    (void)snprintf(ret_text, size, "%s %dx%d/%d %d->%d on [%d,%d,%d]: %s, %s, %s (%s)",
                   s->transposed ? "convT" : "conv", s->r, s->r, s->stride, s->c, s->k, s->n, s->h,
                   s->w, kernel_name(c, k->forward, dnnl[0]),
                   kernel_name(c, k->backward_data, dnnl[1]),
                   kernel_name(c, k->backward_weights, ""), cpu_wino_instructions());
}

int cpu_conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                     void *workspace) {
    if (c->own.kernels.forward == KERNEL_DNNL)
        return cpu_dnnl_conv_forward(c->dnnl, x, bias, ret_y, workspace);
    return cpu_own_conv_forward(&c->own, x, bias, ret_y, workspace);
}

int cpu_conv_backward(struct device_conv *c, const struct conv_gradients *t, void *workspace) {
    const struct kernels *k = &c->own.kernels;
    // Computes what is ours and leaves the rest.
    int err = cpu_own_conv_backward(&c->own, t, workspace);

    if (!err && t->ret_dx && k->backward_data == KERNEL_DNNL)
        err = cpu_dnnl_conv_data(c->dnnl, t, workspace);
    return err;
}
