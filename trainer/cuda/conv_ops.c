// The CUDA backend's convolutions: what a layer wants, as problems of cuda/conv.h and own kernels.
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/cuda.h"
#include "cuda/layer.h"

// cuDNN's workspace follows dw in the same buffer. 256 is cudaMalloc's alignment.
#define ALIGNMENT ((size_t)256)

struct device_conv {
    struct device_weights *weights;
    struct conv_shape shape;     // as the layer counts channels
    struct cuda_conv *passes[3]; // by enum cuda_pass; NULL: not wanted
    size_t dw_bytes;             // of the gradient as cuDNN writes it
};

int cuda_entry_conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                        struct device_conv **ret_conv) {
    struct cuda_device *d = w->device;
    struct conv_shape stored = *shape;
    struct device_conv *c;

    if (w->r > CUDA_R_MAX)
        return err_set(ERR_DEVICE, "filters of %dx%d: the CUDA backend has none above %dx%d", w->r,
                       w->r, CUDA_R_MAX, CUDA_R_MAX);
    c = xcalloc(1, sizeof *c);
    // cuDNN computes with all stored channels. Surplus ones are zero on both sides and stay zero.
    stored.c = cuda_channels(shape->c);
    stored.k = cuda_channels(shape->k);
    *c = (struct device_conv){.weights = w, .shape = *shape};
    c->dw_bytes = backward ? (w->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
    // Without backward a convolution runs seldom, so it is not tuned.
    for (int pass = PASS_FORWARD; pass <= (backward ? PASS_FILTER : PASS_FORWARD); pass++) {
        struct cuda_problem problem = cuda_problem_of(&stored, (enum cuda_pass)pass, d->math);
        int err = cuda_conv_new(d->convs, &problem, backward, &c->passes[pass]);
        // Tuning allocates beside the device's blocks, but the peak has to include it.
        d->peak_bytes = MAX(d->peak_bytes, d->bytes + cuda_convs_tried_bytes(d->convs));
        if (err) {
            cuda_entry_conv_free(c);
            return err;
        }
    }
    *ret_conv = c;
    return ERR_OK;
}

void cuda_entry_conv_free(struct device_conv *c) {
    if (!c)
        return;
    for (int i = 0; i < 3; i++)
        cuda_conv_free(c->passes[i]);
    free(c);
}

// Only the filter's gradient comes with a bias gradient.
static size_t bias_bytes(const struct device_conv *c) {
    int ho, wo;

    if (!c->shape.bias || !c->passes[PASS_FILTER])
        return 0;
    conv_output_size(&c->shape, &ho, &wo);
    return cuda_bias_gradient_bytes(cuda_launch_of(c->weights->device),
                                    (size_t)c->shape.n * (size_t)ho * (size_t)wo, c->shape.k);
}

// The passes share one workspace. For the filter's gradient it begins with dw.
size_t cuda_entry_conv_workspace_bytes(const struct device_conv *c) {
    size_t bytes = bias_bytes(c);

    for (int i = 0; i < 3; i++)
        if (c->passes[i])
            bytes = MAX(bytes, cuda_conv_workspace_bytes(c->passes[i]) +
                                   (i == PASS_FILTER ? c->dw_bytes : 0));
    return bytes;
}

int cuda_entry_plans_save(struct device *device, const char *path) {
    return cuda_convs_save(cuda_of(device)->convs, path);
}

void cuda_entry_conv_describe(const struct device_conv *c, char *ret_text, size_t size) {
    const struct conv_shape *s = &c->shape;
    char passes[3][100];

    for (int i = 0; i < 3; i++) {
        (void)text_copy(passes[i], sizeof passes[i], "-");
        if (c->passes[i])
            cuda_conv_describe(c->passes[i], passes[i], sizeof passes[i]);
    }
    (void)snprintf(ret_text, size, "%s %dx%d/%d %d->%d on [%d,%d,%d]: %s, %s, %s (cuDNN, %s)",
                   s->transposed ? "convT" : "conv", s->r, s->r, s->stride, s->c, s->k, s->n, s->h,
                   s->w, passes[0], passes[1], passes[2], c->weights->device->base.dtype);
}

// `in` is the layer's input or its gradient, `out` the output or its gradient. cuDNN sees a
// transposed layer as the convolution from its output to its input, so x and y change places.
static int run(const struct device_conv *c, enum cuda_pass pass, void *in, void *filter, void *out,
               void *workspace) {
    bool transposed = c->shape.transposed;
    struct cuda_operands o = {transposed ? out : in, filter, transposed ? in : out};

    return cuda_conv_run(c->passes[pass], c->weights->device->stream, &o, workspace);
}

static size_t output_pixels(const struct device_conv *c) {
    int ho, wo;

    conv_output_size(&c->shape, &ho, &wo);
    return (size_t)c->shape.n * (size_t)ho * (size_t)wo;
}

// cuDNN takes no const pointers. It only reads the operands that are cast here.
int cuda_entry_conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                            void *workspace) {
    const struct cuda_launch *l = cuda_launch_of(c->weights->device);
    int err = run(c, PASS_FORWARD, (void *)x, c->weights->derived, ret_y, workspace);

    if (!err && bias)
        CUDA(ERR_DEVICE_LOST,
             cuda_bias(l, output_pixels(c), c->shape.k, ACT_NONE, bias, ret_y, ret_y));
    return err;
}

static int filter_gradient(struct device_conv *c, const struct conv_gradients *t, void *workspace) {
    const struct cuda_launch *l = cuda_launch_of(c->weights->device);
    const struct device_weights *w = c->weights;
    int err = run(c, PASS_FILTER, (void *)t->x, workspace, (void *)t->dy,
                  // dw [A,r,r,B] in elements comes first, cuDNN's workspace behind it.
                  (char *)workspace + c->dw_bytes);

    if (err)
        return err;
    // cuDNN overwrites dw; add_dw turns it to the master's layout and accumulates.
    CUDA(ERR_DEVICE_LOST, cuda_add_dw(l, w->a, w->b, w->r, t->accumulate, workspace, t->ret_dw));
    // It may reuse the workspace: in this stream add_dw has read dw before.
    if (t->ret_dbias)
        CUDA(ERR_DEVICE_LOST, cuda_bias_gradient(l, output_pixels(c), c->shape.k, t->accumulate,
                                                 t->dy, t->ret_dbias, workspace));
    return ERR_OK;
}

int cuda_entry_conv_backward(struct device_conv *c, const struct conv_gradients *t,
                             void *workspace) {
    int err = ERR_OK;

    if (t->ret_dw)
        err = filter_gradient(c, t, workspace);
    if (!err && t->ret_dx)
        err = run(c, PASS_DATA, t->ret_dx, c->weights->derived, (void *)t->dy, workspace);
    return err;
}
