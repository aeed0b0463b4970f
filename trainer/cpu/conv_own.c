// Which passes of a convolution our own kernels compute, and how. They are chosen by shape alone,
// where they beat oneDNN (bench_kernels).
#include "base/err.h"
#include "base/util.h"
#include "cpu/cpu.h"

// Residual blocks: all three passes by Winograd's algorithm.
static bool choose_wino(struct own_conv *c) {
    const struct cpu_device *d = c->weights->device;
    const struct conv_shape *s = &c->shape;
    // Of y: the input carries a border of 1, and the filter is 3x3.
    int h = s->h - 2, w = s->w - 2;
    // A bias in front of an instance norm is frozen, so these layers have none.
    bool possible = s->r == 3 && s->stride == 1 && s->pad == 0 && !s->transposed && !s->bias;
    bool pays = s->c >= 32 && s->k >= 32 && s->c % 16 == 0 && s->k % 16 == 0;

    // A tile that the user names is used even where it does not pay.
    if (!d->winograd || !possible || (d->tile == 0 && !pays))
        return false;
    // F(4x4) needs fewer products per pixel, but only where whole tiles cover the map.
    c->wino = (struct cpu_wino){.n = s->n,
                                .c = s->c,
                                .k = s->k,
                                .h = h,
                                .w = w,
                                .m = d->tile          ? d->tile
                                     : h % 4 || w % 4 ? 2
                                                      : 4};
    c->kernels = (struct kernels){KERNEL_WINO, KERNEL_WINO, KERNEL_WINO};
    return true;
}

// The generator's first and last layer. Returns whether the passes with few channels are ours.
static bool choose_narrow(struct own_conv *c) {
    const struct conv_shape *s = &c->shape;
    // 32 columns: one panel with AVX-512, two with AVX2 (COLUMNS_MAX of conv_narrow.c).
    bool output = s->k < s->c;
    int many = MAX(s->k, s->c), few = MIN(s->k, s->c);

    if (s->r < 3 || s->stride != 1 || s->pad != 0 || s->transposed || many % 16 || few * s->r > 32)
        return false;
    c->narrow = (struct cpu_narrow){
        .n = s->n, .many = many, .few = few, .h = s->h - s->r + 1, .w = s->w - s->r + 1, .r = s->r};
    c->kernels.backward_weights = KERNEL_NARROW;
    if (output)
        c->kernels.forward = KERNEL_NARROW;
    else
        c->kernels.backward_data = KERNEL_NARROW;
    return true;
}

// D's first layer: its input gradient.
static void choose_narrow_data(struct own_conv *c) {
    const struct conv_shape *s = &c->shape;
    int h, w;

    if (s->transposed || s->k % 16 || s->c * s->r > 32 || s->k <= s->c)
        return;
    conv_output_size(s, &h, &w);
    c->narrow = (struct cpu_narrow){.n = s->n,
                                    .many = s->k,
                                    .few = s->c,
                                    .h = h,
                                    .w = w,
                                    .r = s->r,
                                    .stride = s->stride,
                                    .pad = s->pad,
                                    .h_x = s->h,
                                    .w_x = s->w};
    c->kernels.backward_data = KERNEL_NARROW;
}

// All other layers: the gradient of the filter. oneDNN's sums depend on the number of threads.
static void choose_direct(struct own_conv *c) {
    const struct conv_shape *s = &c->shape;
    int h, w;

    conv_output_size(s, &h, &w);
    c->filter = (struct cpu_filter){
        .n = s->n,
        .cs = s->transposed ? s->c : s->k,
        .hs = s->transposed ? s->h : h,
        .ws = s->transposed ? s->w : w,
        .cl = s->transposed ? s->k : s->c,
        .hl = s->transposed ? h : s->h,
        .wl = s->transposed ? w : s->w,
        .r = s->r,
        .stride = s->stride,
        .pad = s->pad,
    };
    c->kernels.backward_weights = KERNEL_DIRECT;
}

void cpu_own_conv_init(struct own_conv *c, struct device_weights *w, const struct conv_shape *s,
                       bool backward) {
    *c = (struct own_conv){
        .weights = w, .shape = *s, .kernels = {KERNEL_DNNL, KERNEL_DNNL, KERNEL_DNNL}};
    if (!choose_wino(c) && !choose_narrow(c)) {
        choose_direct(c);
        choose_narrow_data(c);
    }
    // Translation needs no gradients: no packing and no scratch for them.
    if (!backward)
        c->kernels.backward_data = c->kernels.backward_weights = KERNEL_NONE;

    // Without kept copies Winograd transforms the filters while it runs, so it needs no packing.
    c->packed_forward = c->packed_data = -1;
    if (c->kernels.forward == KERNEL_WINO && w->device->keeps_packed)
        c->packed_forward = cpu_packed_wino(w, &c->wino, PACKED_WINO_FORWARD);
    if (c->kernels.forward == KERNEL_NARROW)
        c->packed_forward = cpu_packed_narrow(w, &c->narrow, PACKED_NARROW_OUTPUT);
    if (c->kernels.backward_data == KERNEL_WINO && w->device->keeps_packed)
        c->packed_data = cpu_packed_wino(w, &c->wino, PACKED_WINO_BACKWARD);
    if (c->kernels.backward_data == KERNEL_NARROW)
        c->packed_data = cpu_packed_narrow(w, &c->narrow, PACKED_NARROW_INPUT);
}

static size_t work_bytes(const struct own_conv *c) {
    int threads = c->weights->device->threads;
    size_t floats = 0;

    // n is 0 where the kernel was not chosen.
    if (c->wino.n)
        floats = cpu_wino_work_floats(&c->wino, threads, c->weights->device->keeps_packed,
                                      c->kernels.backward_weights == KERNEL_WINO);
    if (c->narrow.n)
        floats = cpu_narrow_work_floats(&c->narrow, threads);
    if (c->kernels.backward_weights == KERNEL_DIRECT)
        floats = MAX(floats, cpu_filter_work_floats(&c->filter));
    return (floats * sizeof(float) + 63) / 64 * 64;
}

// The workspace: that of the kernel, then the weights as it wants them.
size_t cpu_own_conv_bytes(const struct own_conv *c) {
    return work_bytes(c) + MAX(cpu_packed_scratch(c->weights, c->packed_forward),
                               cpu_packed_scratch(c->weights, c->packed_data));
}

// NULL for the index -1.
static int use_packed(const struct own_conv *c, int packed, void *workspace,
                      const float **ret_packed) {
    *ret_packed = NULL;
    return packed < 0
               ? ERR_OK
               : cpu_packed_use(c->weights, packed, (char *)workspace + work_bytes(c), ret_packed);
}

int cpu_own_conv_forward(const struct own_conv *c, const void *x, const float *bias, void *ret_y,
                         void *workspace) {
    struct cpu_wino_filters filters = {.w = c->weights->master};
    int err = use_packed(c, c->packed_forward, workspace, &filters.u);

    if (err)
        return err;
    if (c->kernels.forward == KERNEL_WINO)
        cpu_wino_forward(&c->wino, x, filters, workspace, ret_y);
    else
        cpu_narrow_forward(&c->narrow, x, filters.u, bias, workspace, ret_y);
    return ERR_OK;
}

// Both gradients share work.
static int wino_backward(const struct own_conv *c, const struct conv_gradients *t,
                         void *workspace) {
    struct cpu_wino_backward b = {.x = t->x,
                                  .dy = t->dy,
                                  .filters = {.w = c->weights->master},
                                  .dx = t->ret_dx,
                                  .dw = t->ret_dw,
                                  .add_dw = t->accumulate};
    int err = use_packed(c, c->packed_data, workspace, &b.filters.u);

    if (!err)
        cpu_wino_backward(&c->wino, &b, workspace);
    return err;
}

static int narrow_data(const struct own_conv *c, const struct conv_gradients *t, void *workspace) {
    const float *packed;
    int err = use_packed(c, c->packed_data, workspace, &packed);

    if (!err)
        cpu_narrow_backward_data(&c->narrow, t->dy, packed, workspace, t->ret_dx);
    return err;
}

static void filter_gradient(const struct own_conv *c, const struct conv_gradients *t,
                            void *workspace) {
    const struct conv_shape *s = &c->shape;
    int h, w;

    if (c->kernels.backward_weights == KERNEL_NARROW)
        (s->k < s->c ? cpu_narrow_output_weights : cpu_narrow_input_weights)(
            &c->narrow, t->x, t->dy, workspace, t->accumulate, t->ret_dw);
    else
        // `small` is dy, or the input of a transposed convolution.
        cpu_filter_gradient(&c->filter, s->transposed ? t->x : t->dy, s->transposed ? t->dy : t->x,
                            workspace, t->accumulate, t->ret_dw);
    conv_output_size(s, &h, &w);
    if (t->ret_dbias)
        cpu_channel_sums((size_t)s->n * (size_t)h * (size_t)w, s->k, t->dy, t->accumulate,
                         t->ret_dbias);
}

int cpu_own_conv_backward(const struct own_conv *c, const struct conv_gradients *t,
                          void *workspace) {
    // Winograd computes both gradients or one, by the pointers that are NULL.
    if (c->kernels.backward_data == KERNEL_WINO)
        return wino_backward(c, t, workspace);
    // The filter's gradient has finished with the workspace when dx begins.
    if (t->ret_dw)
        filter_gradient(c, t, workspace);
    if (t->ret_dx && c->kernels.backward_data == KERNEL_NARROW)
        return narrow_data(c, t, workspace);
    return ERR_OK;
}
