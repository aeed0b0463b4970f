// The entries of a watched device's table: each counts its op and hands it on.
#include "gpu/gpu_watch_table.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

// ---- bytes ----

static double tensor(const struct gpu_watch *w, int n, int h, int width, int c, int pad) {
    struct tensor_shape s = {n, h, width, c};

    return (double)device_tensor_bytes(w->device, &s, pad);
}

static double parts(const struct gpu_watch *w, const struct norm_shape *s,
                    const struct grad_sum *dy) {
    double bytes = 0;

    for (int i = 0; i < dy->count; i++)
        bytes += tensor(w, dy->part[i].n, s->h, s->w, s->c, dy->part[i].pad);
    return bytes;
}

// ---- convolutions ----

static const struct conv_shape *shape_of(const struct gpu_watch *w, const struct device_conv *c) {
    for (int i = w->n_convs - 1; i >= 0; i--)
        if (w->convs[i].conv == c)
            return &w->convs[i].shape;
    BUG("a convolution from before the watch");
}

static int conv_new(struct device_weights *weights, const struct conv_shape *shape, bool backward,
                    struct device_conv **ret_conv) {
    struct gpu_watch *w = gpu_watch_now;
    int err = w->under->conv_new(weights, shape, backward, ret_conv);

    if (err)
        return err;
    w->convs = xrealloc(w->convs, (size_t)(w->n_convs + 1) * sizeof *w->convs);
    w->convs[w->n_convs++] = (struct watched_conv){*ret_conv, *shape};
    return ERR_OK;
}

static struct gpu_work conv_work(const struct gpu_watch *w, const struct conv_shape *s,
                                 int passes) {
    int ho, wo;
    double taps = 2.0 * s->k * s->c * s->r * s->r;

    conv_output_size(s, &ho, &wo);
    return (struct gpu_work){
        .flop = passes * s->n * taps * (s->transposed ? (double)s->h * s->w : (double)ho * wo),
        .bytes = passes * (tensor(w, s->n, s->h, s->w, s->c, 0) + tensor(w, s->n, ho, wo, s->k, 0) +
                           tensor(w, s->k, s->r, s->r, s->c, 0)),
    };
}

static int begin_conv(struct gpu_watch *w, const struct device_conv *c, const char *name,
                      int passes) {
    const struct conv_shape *s = shape_of(w, c);

    return gpu_watch_begin(w, name, conv_work(w, s, passes), "%d x %dx%d, %d to %d, %dx%d%s%d",
                           s->n, s->h, s->w, s->c, s->k, s->r, s->r, s->transposed ? " up " : " / ",
                           s->stride);
}

static int conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                        void *workspace) {
    struct gpu_watch *w = gpu_watch_now;
    int err = begin_conv(w, c, "conv", 1);

    while (gpu_watch_again(w, &err))
        err = w->under->conv_forward(c, x, bias, ret_y, workspace);
    return gpu_watch_done(w, err);
}

static int conv_backward(struct device_conv *c, const struct conv_gradients *t, void *workspace) {
    struct gpu_watch *w = gpu_watch_now;
    bool both = t->ret_dx && t->ret_dw;
    int err = begin_conv(w, c, both ? "conv dx, dw" : t->ret_dx ? "conv dx" : "conv dw", 1 + both);

    while (gpu_watch_again(w, &err))
        err = w->under->conv_backward(c, t, workspace);
    return gpu_watch_done(w, err);
}

// ---- norms ----

static const char *act_name(enum activation act) {
    return act == ACT_RELU ? " relu" : act == ACT_LEAKY ? " leaky" : "";
}

static int norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace) {
    struct gpu_watch *w = gpu_watch_now;
    struct gpu_work work = {.bytes = tensor(w, s->n, s->h, s->w, s->c, 0) +
                                     tensor(w, s->n, s->h, s->w, s->c, s->pad)};

    if (t->skip)
        work.bytes += tensor(w, s->n, s->h, s->w, s->c, s->skip_pad);
    int err =
        gpu_watch_begin(w, s->norm ? "norm" : "act", work, "%d x %dx%d, %d%s%s, border %d", s->n,
                        s->h, s->w, s->c, act_name(s->act), t->skip ? " skip" : "", s->pad);
    while (gpu_watch_again(w, &err))
        err = w->under->norm_forward(d, s, t, workspace);
    return gpu_watch_done(w, err);
}

static int norm_backward(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace) {
    struct gpu_watch *w = gpu_watch_now;
    double one = tensor(w, s->n, s->h, s->w, s->c, 0);
    struct gpu_work work = {.bytes = parts(w, s, &t->dy) + (t->ret_dskip ? 3 : 2) * one};
    int err =
        gpu_watch_begin(w, s->norm ? "norm dx" : "act dx", work, "%d x %dx%d, %d%s%s, %d part%s",
                        s->n, s->h, s->w, s->c, act_name(s->act), t->ret_dskip ? " skip" : "",
                        t->dy.count, t->dy.count == 1 ? "" : "s");

    while (gpu_watch_again(w, &err))
        err = w->under->norm_backward(d, s, t, workspace);
    return gpu_watch_done(w, err);
}

static int tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y) {
    struct gpu_watch *w = gpu_watch_now;
    struct gpu_work work = {.bytes = 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = gpu_watch_begin(w, "tanh", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (gpu_watch_again(w, &err))
        err = w->under->tanh_forward(d, s, x, ret_y);
    return gpu_watch_done(w, err);
}

static int tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace) {
    struct gpu_watch *w = gpu_watch_now;
    struct gpu_work work = {.bytes = parts(w, s, dy) + 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = gpu_watch_begin(w, "tanh dx", work, "%d x %dx%d, %d, %d parts", s->n, s->h, s->w,
                              s->c, dy->count);

    while (gpu_watch_again(w, &err))
        err = w->under->tanh_backward(d, s, y, dy, ret_dx, workspace);
    return gpu_watch_done(w, err);
}

// ---- losses, parameters, copies ----

static int l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss) {
    struct gpu_watch *w = gpu_watch_now;
    const struct tensor_shape *s = &args->shape;
    struct gpu_work work = {.bytes = 3 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = gpu_watch_begin(w, "L1 loss", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (gpu_watch_again(w, &err))
        err = w->under->l1(d, args, a, b, ret_grad, ret_loss);
    return gpu_watch_done(w, err);
}

static int gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss) {
    struct gpu_watch *w = gpu_watch_now;
    const struct tensor_shape *s = &args->shape;
    struct gpu_work work = {.bytes = 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = gpu_watch_begin(w, "GAN loss", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (gpu_watch_again(w, &err))
        err = w->under->gan(d, args, x, ret_grad, ret_loss);
    return gpu_watch_done(w, err);
}

static int adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v) {
    struct gpu_watch *w = gpu_watch_now;
    struct gpu_work work = {.bytes = 7.0 * sizeof(float) * (double)args->count};
    int err = gpu_watch_begin(w, "Adam", work, "%zu parameters", args->count);

    while (gpu_watch_again(w, &err))
        err = w->under->adam(d, args, g, p, m, v);
    return gpu_watch_done(w, err);
}

static int all_finite(struct device *d, size_t count, const float *x, int *ret_bad) {
    struct gpu_watch *w = gpu_watch_now;
    struct gpu_work work = {.bytes = sizeof(float) * (double)count};
    int err = gpu_watch_begin(w, "finite", work, "%zu gradients", count);

    while (gpu_watch_again(w, &err))
        err = w->under->finite(d, count, x, ret_bad);
    return gpu_watch_done(w, err);
}

// Outside of a section it may allocate.
static int weights_refresh(struct device *d, struct device_weights *const *weights, int count) {
    struct gpu_watch *w = gpu_watch_now;
    double derived = 0;

    if (!w->in_section)
        return w->under->weights_refresh(d, weights, count);
    for (int i = 0; i < count; i++)
        derived += (double)w->under->weights_bytes(weights[i]);
    struct gpu_work work = {.bytes = derived * (1 + sizeof(float) / (double)d->element_bytes)};
    int err = gpu_watch_begin(w, "refresh", work, "%d layers", count);
    while (gpu_watch_again(w, &err))
        err = w->under->weights_refresh(d, weights, count);
    return gpu_watch_done(w, err);
}

static int copy(struct device *d, void *to, const void *from, size_t bytes) {
    struct gpu_watch *w = gpu_watch_now;
    int err = gpu_watch_begin(w, "copy", (struct gpu_work){.bytes = 2.0 * (double)bytes},
                              "%zu bytes", bytes);

    while (gpu_watch_again(w, &err))
        err = w->under->copy(d, to, from, bytes);
    return gpu_watch_done(w, err);
}

// ---- order ----

static int section_begin(struct device_section *section, const struct device_values *values,
                         bool *ret_issue) {
    gpu_watch_now->values = *values;
    if (gpu_watch_now->measure)
        gpu_watch_now->values.lr = 0; // however often Adam is issued, the weights stay as they are
    gpu_watch_now->in_section = true;
    *ret_issue = true;
    return gpu_watch_now->measure ? ERR_OK
                                  : gpu_watch_now->under->section_begin(section, values, ret_issue);
}

static int section_end(struct device_section *section) {
    gpu_watch_now->in_section = false;
    return gpu_watch_now->measure ? ERR_OK : gpu_watch_now->under->section_end(section);
}

// While ops are measured, each waits for the one before it.
static void stream_choose(struct device *d, int stream) {
}

static int event_record(struct device *d, int event) {
    return ERR_OK;
}

static int event_wait(struct device *d, int event) {
    return ERR_OK;
}

// ---- the table ----

void gpu_watch_fill(struct backend *b, bool measure) {
    b->conv_new = conv_new;
    b->conv_forward = conv_forward;
    b->conv_backward = conv_backward;
    b->norm_forward = norm_forward;
    b->norm_backward = norm_backward;
    b->tanh_forward = tanh_forward;
    b->tanh_backward = tanh_backward;
    b->l1 = l1;
    b->gan = gan;
    b->adam = adam;
    b->finite = all_finite;
    b->weights_refresh = weights_refresh;
    b->copy = copy;
    b->section_begin = section_begin;
    b->section_end = section_end;
    if (!measure)
        return;
    b->stream_choose = stream_choose;
    b->event_record = event_record;
    b->event_wait = event_wait;
}
