#include "gpu_watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "util.h"

#define LAUNCHES 8 // of a recorded section, more than one
#define SAMPLES 3

struct watched_conv {
    const struct device_conv *conv;
    struct conv_shape shape;
};

struct gpu_watch {
    struct backend table;        // what the model calls
    const struct backend *under; // the device's own
    struct device *device;
    bool measure, in_section;
    int repeats;
    struct device_values values; // of the model's section
    int n_convs, n_ops;
    struct watched_conv *convs;
    struct gpu_op *ops;
    // Of the op under way:
    struct device_section *section; // NULL: it is issued once, and not measured
    int op, round, left;
};

// The entries for convolutions are not told their device.
static struct gpu_watch *now;

// ---- taking the time of an op ----

static int launch(struct gpu_watch *w, int times, double *ret_us) {
    int err = device_wait(w->device);
    int64_t start = now_us();

    for (int i = 0; i < times && !err; i++) {
        bool issue;
        err = w->under->section_begin(w->section, &w->values, &issue);
        if (!err)
            err = w->under->section_end(w->section);
    }
    if (!err)
        err = device_wait(w->device);
    *ret_us = (double)(now_us() - start);
    return err;
}

// The median of SAMPLES differences.
static int time_section(struct gpu_watch *w) {
    double us[SAMPLES] = {0}, once = 0, more = 0;
    int err = ERR_OK;

    for (int i = 0; i < SAMPLES && !err; i++) {
        err = launch(w, 1, &once);
        if (!err)
            err = launch(w, 1 + LAUNCHES, &more);
        us[i] = MAX(more - once, 0) / LAUNCHES / w->repeats;
    }
    if (!err)
        w->ops[w->op].us = MAX(MIN(us[0], us[1]), MIN(MAX(us[0], us[1]), us[2]));
    return err;
}

// Round 1 issues the section, round 2 records it; then its time is taken.
static bool next_round(struct gpu_watch *w, int *err) {
    bool issue;

    if (w->round)
        *err = w->under->section_end(w->section);
    if (!*err && w->round == 2) {
        *err = time_section(w);
        w->round = 0;
        return false;
    }
    if (!*err)
        *err = w->under->section_begin(w->section, &w->values, &issue);
    if (*err)
        return false;
    w->round++;
    w->left = w->repeats - 1;
    return true;
}

// Whether the op is to be issued (again).
static bool again(struct gpu_watch *w, int *err) {
    if (*err)
        return false;
    if (w->left-- > 0)
        return true;
    return w->section && next_round(w, err);
}

static int done(struct gpu_watch *w, int err) {
    if (w->section && w->round)
        (void)w->under->section_end(w->section); // the op has failed already
    w->under->section_free(w->section);
    w->section = NULL;
    return err;
}

static struct gpu_op *find(struct gpu_watch *w, const char *name, const char *shape) {
    for (int i = 0; i < w->n_ops; i++)
        if (strcmp(w->ops[i].name, name) == 0 && strcmp(w->ops[i].shape, shape) == 0)
            return &w->ops[i];
    w->ops = xrealloc(w->ops, (size_t)(w->n_ops + 1) * sizeof *w->ops);
    struct gpu_op *op = &w->ops[w->n_ops++];
    *op = (struct gpu_op){.us = -1};
    (void)text_copy(op->name, sizeof op->name, name);
    (void)text_copy(op->shape, sizeof op->shape, shape);
    return op;
}

// What an op has to compute and to move.
struct work {
    double flop, bytes;
};

static int begin(struct gpu_watch *w, const char *name, struct work work, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int begin(struct gpu_watch *w, const char *name, struct work work, const char *format, ...) {
    char shape[sizeof w->ops->shape];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(shape, sizeof shape, format,
                    args); // what is cut is told apart by its beginning
    va_end(args);
    struct gpu_op *op = find(w, name, shape);
    op->calls++;
    op->flop = work.flop;
    op->bytes = work.bytes;
    w->op = (int)(op - w->ops);
    w->round = 0;
    w->left = 1;
    if (!w->measure || op->us >= 0)
        return ERR_OK;
    w->left = 0;
    return w->under->section_new(w->device, &w->section);
}

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
    struct gpu_watch *w = now;
    int err = w->under->conv_new(weights, shape, backward, ret_conv);

    if (err)
        return err;
    w->convs = xrealloc(w->convs, (size_t)(w->n_convs + 1) * sizeof *w->convs);
    w->convs[w->n_convs++] = (struct watched_conv){*ret_conv, *shape};
    return ERR_OK;
}

static struct work conv_work(const struct gpu_watch *w, const struct conv_shape *s, int passes) {
    int ho, wo;
    double taps = 2.0 * s->k * s->c * s->r * s->r;

    conv_output_size(s, &ho, &wo);
    return (struct work){
        .flop = passes * s->n * taps * (s->transposed ? (double)s->h * s->w : (double)ho * wo),
        .bytes = passes * (tensor(w, s->n, s->h, s->w, s->c, 0) + tensor(w, s->n, ho, wo, s->k, 0) +
                           tensor(w, s->k, s->r, s->r, s->c, 0)),
    };
}

static int begin_conv(struct gpu_watch *w, const struct device_conv *c, const char *name,
                      int passes) {
    const struct conv_shape *s = shape_of(w, c);

    return begin(w, name, conv_work(w, s, passes), "%d x %dx%d, %d to %d, %dx%d%s%d", s->n, s->h,
                 s->w, s->c, s->k, s->r, s->r, s->transposed ? " up " : " / ", s->stride);
}

static int conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                        void *workspace) {
    struct gpu_watch *w = now;
    int err = begin_conv(w, c, "conv", 1);

    while (again(w, &err))
        err = w->under->conv_forward(c, x, bias, ret_y, workspace);
    return done(w, err);
}

static int conv_backward(struct device_conv *c, const struct conv_gradients *t, void *workspace) {
    struct gpu_watch *w = now;
    bool both = t->ret_dx && t->ret_dw;
    int err = begin_conv(w, c, both ? "conv dx, dw" : t->ret_dx ? "conv dx" : "conv dw", 1 + both);

    while (again(w, &err))
        err = w->under->conv_backward(c, t, workspace);
    return done(w, err);
}

// ---- norms ----

static const char *act_name(enum activation act) {
    return act == ACT_RELU ? " relu" : act == ACT_LEAKY ? " leaky" : "";
}

static int norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace) {
    struct gpu_watch *w = now;
    struct work work = {.bytes = tensor(w, s->n, s->h, s->w, s->c, 0) +
                                 tensor(w, s->n, s->h, s->w, s->c, s->pad)};

    if (t->skip)
        work.bytes += tensor(w, s->n, s->h, s->w, s->c, s->skip_pad);
    int err = begin(w, s->norm ? "norm" : "act", work, "%d x %dx%d, %d%s%s, border %d", s->n, s->h,
                    s->w, s->c, act_name(s->act), t->skip ? " skip" : "", s->pad);
    while (again(w, &err))
        err = w->under->norm_forward(d, s, t, workspace);
    return done(w, err);
}

static int norm_backward(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace) {
    struct gpu_watch *w = now;
    double one = tensor(w, s->n, s->h, s->w, s->c, 0);
    struct work work = {.bytes = parts(w, s, &t->dy) + (t->ret_dskip ? 3 : 2) * one};
    int err = begin(w, s->norm ? "norm dx" : "act dx", work, "%d x %dx%d, %d%s%s, %d part%s", s->n,
                    s->h, s->w, s->c, act_name(s->act), t->ret_dskip ? " skip" : "", t->dy.count,
                    t->dy.count == 1 ? "" : "s");

    while (again(w, &err))
        err = w->under->norm_backward(d, s, t, workspace);
    return done(w, err);
}

static int tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y) {
    struct gpu_watch *w = now;
    struct work work = {.bytes = 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = begin(w, "tanh", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (again(w, &err))
        err = w->under->tanh_forward(d, s, x, ret_y);
    return done(w, err);
}

static int tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace) {
    struct gpu_watch *w = now;
    struct work work = {.bytes = parts(w, s, dy) + 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err =
        begin(w, "tanh dx", work, "%d x %dx%d, %d, %d parts", s->n, s->h, s->w, s->c, dy->count);

    while (again(w, &err))
        err = w->under->tanh_backward(d, s, y, dy, ret_dx, workspace);
    return done(w, err);
}

// ---- losses, parameters, copies ----

static int l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss) {
    struct gpu_watch *w = now;
    const struct tensor_shape *s = &args->shape;
    struct work work = {.bytes = 3 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = begin(w, "L1 loss", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (again(w, &err))
        err = w->under->l1(d, args, a, b, ret_grad, ret_loss);
    return done(w, err);
}

static int gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss) {
    struct gpu_watch *w = now;
    const struct tensor_shape *s = &args->shape;
    struct work work = {.bytes = 2 * tensor(w, s->n, s->h, s->w, s->c, 0)};
    int err = begin(w, "GAN loss", work, "%d x %dx%d, %d", s->n, s->h, s->w, s->c);

    while (again(w, &err))
        err = w->under->gan(d, args, x, ret_grad, ret_loss);
    return done(w, err);
}

static int adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v) {
    struct gpu_watch *w = now;
    struct work work = {.bytes = 7.0 * sizeof(float) * (double)args->count};
    int err = begin(w, "Adam", work, "%zu parameters", args->count);

    while (again(w, &err))
        err = w->under->adam(d, args, g, p, m, v);
    return done(w, err);
}

static int all_finite(struct device *d, size_t count, const float *x, int *ret_bad) {
    struct gpu_watch *w = now;
    struct work work = {.bytes = sizeof(float) * (double)count};
    int err = begin(w, "finite", work, "%zu gradients", count);

    while (again(w, &err))
        err = w->under->finite(d, count, x, ret_bad);
    return done(w, err);
}

// Outside of a section it may allocate.
static int weights_refresh(struct device *d, struct device_weights *const *weights, int count) {
    struct gpu_watch *w = now;
    double derived = 0;

    if (!w->in_section)
        return w->under->weights_refresh(d, weights, count);
    for (int i = 0; i < count; i++)
        derived += (double)w->under->weights_bytes(weights[i]);
    struct work work = {.bytes = derived * (1 + sizeof(float) / (double)d->element_bytes)};
    int err = begin(w, "refresh", work, "%d layers", count);
    while (again(w, &err))
        err = w->under->weights_refresh(d, weights, count);
    return done(w, err);
}

static int copy(struct device *d, void *to, const void *from, size_t bytes) {
    struct gpu_watch *w = now;
    int err = begin(w, "copy", (struct work){.bytes = 2.0 * (double)bytes}, "%zu bytes", bytes);

    while (again(w, &err))
        err = w->under->copy(d, to, from, bytes);
    return done(w, err);
}

// ---- order ----

static int section_begin(struct device_section *section, const struct device_values *values,
                         bool *ret_issue) {
    now->values = *values;
    if (now->measure)
        now->values.lr = 0; // however often Adam is issued, the weights stay as they are
    now->in_section = true;
    *ret_issue = true;
    return now->measure ? ERR_OK : now->under->section_begin(section, values, ret_issue);
}

static int section_end(struct device_section *section) {
    now->in_section = false;
    return now->measure ? ERR_OK : now->under->section_end(section);
}

// While ops are measured, each waits for the one before it.
static void lane_choose(struct device *d, int lane) {
}

static int lane_mark(struct device *d, int mark) {
    return ERR_OK;
}

static int lane_wait(struct device *d, int mark) {
    return ERR_OK;
}

// ---- the watch ----

static void fill(struct backend *b, bool measure) {
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
    b->lane_choose = lane_choose;
    b->lane_mark = lane_mark;
    b->lane_wait = lane_wait;
}

struct gpu_watch *gpu_watch_open(struct device *device, bool measure, int repeats) {
    struct gpu_watch *w = xcalloc(1, sizeof *w);

    if (now)
        BUG("two watches at a time");
    *w = (struct gpu_watch){.table = *device->backend,
                            .under = device->backend,
                            .device = device,
                            .measure = measure,
                            .repeats = repeats};
    fill(&w->table, measure);
    device->backend = &w->table;
    now = w;
    return w;
}

void gpu_watch_close(struct gpu_watch *w) {
    if (!w)
        return;
    w->device->backend = w->under;
    now = NULL;
    free(w->convs);
    free(w->ops);
    free(w);
}

void gpu_watch_reset(struct gpu_watch *w) {
    for (int i = 0; i < w->n_ops; i++)
        w->ops[i].calls = 0;
}

int gpu_watch_ops(const struct gpu_watch *w, const struct gpu_op **ret_ops) {
    *ret_ops = w->ops;
    return w->n_ops;
}

double gpu_watch_flop(const struct gpu_watch *w) {
    double flop = 0;

    for (int i = 0; i < w->n_ops; i++)
        flop += w->ops[i].calls * w->ops[i].flop;
    return flop;
}
