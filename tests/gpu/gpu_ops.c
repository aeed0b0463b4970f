// Ops against the double-precision reference: relative error ||a - r|| / ||r||, inputs rounded to
// the element's type first, outputs poisoned with NaN, which passes no comparison.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "gpu_check.h"
#include "reference_ops.h"
#include "rng.h"
#include "util.h"

static const struct mode {
    const char *dtype;
    double bound, bound_dw; // of an op; of a filter's gradient and a norm's backward
} modes[] = {{"fp32", 1e-5, 1e-5}, {"tf32", 1e-3, 1e-3}, {"bf16", 5e-3, 1e-2}};

struct bench {
    struct gpu_check *g;
    const struct mode *mode;
    struct device *d;
    uint64_t seed, drawn;
};

// A tensor of pictures, on the host as doubles and on the device.
struct operand {
    struct tensor_shape shape;
    size_t count;
    double *host;
    void *memory;
};

static void must(int err) {
    if (err)
        BUG("%s", err_text());
}

// As the element's type holds it.
static float rounded(const struct bench *b, float x) {
    uint32_t bits;

    if (b->d->element_bytes == sizeof x)
        return x;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float draw(struct bench *b) {
    return rounded(b, (float)(2 * rng_uniform(b->seed, RNG_TEST, b->drawn++, 0) - 1));
}

static struct operand make(struct bench *b, struct tensor_shape s) {
    struct operand o = {.shape = s};
    size_t bytes = device_tensor_bytes(b->d, &s, 0);
    char *poison = xmalloc(bytes);

    o.count = (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.c;
    o.host = xcalloc(o.count, sizeof *o.host);
    must(b->d->backend->memory_new(b->d, bytes, &o.memory));
    memset(poison, 0xff, bytes);
    must(b->d->backend->copy_in(b->d, o.memory, poison, bytes));
    free(poison);
    return o;
}

static struct operand input(struct bench *b, struct tensor_shape s) {
    struct operand o = make(b, s);
    float *x = xmalloc(o.count * sizeof *x);

    for (size_t i = 0; i < o.count; i++)
        o.host[i] = x[i] = draw(b);
    must(b->d->backend->picture_in(b->d, &s, PICTURE_FLOATS, x, o.memory));
    free(x);
    return o;
}

static void drop(struct bench *b, struct operand *o) {
    free(o->host);
    b->d->backend->memory_free(b->d, o->memory);
}

static double error_of(const float *x, const double *r, size_t count) {
    double wrong = 0, size = 0;

    for (size_t i = 0; i < count; i++) {
        wrong += (x[i] - r[i]) * (x[i] - r[i]);
        size += r[i] * r[i];
    }
    return sqrt(wrong / (size + 1e-300));
}

static void judge(struct bench *b, const char *what, double error, double bound) {
    gpu_expect(b->g, error <= bound, "%-4s %-44s %.2e of %.0e", b->mode->dtype, what, error, bound);
}

// What the device has in `o` against o's host side.
static void judge_tensor(struct bench *b, const char *what, const struct operand *o, double bound) {
    void *shared;

    must(b->d->backend->shared_new(b->d, o->count * sizeof(float), &shared));
    must(b->d->backend->picture_out(b->d, &o->shape, o->memory, shared));
    must(device_wait(b->d));
    judge(b, what, error_of(shared, o->host, o->count), bound);
    b->d->backend->shared_free(b->d, shared);
}

// Parameters: floats in the device's memory.
struct floats {
    size_t count;
    double *host;
    void *memory;
};

static struct floats parameters(struct bench *b, size_t count, bool poisoned) {
    struct floats f = {.count = count, .host = xcalloc(count, sizeof(double))};
    float *x = xmalloc(count * sizeof *x);

    for (size_t i = 0; i < count; i++)
        f.host[i] = x[i] = poisoned ? NAN : draw(b);
    must(b->d->backend->memory_new(b->d, count * sizeof *x, &f.memory));
    must(b->d->backend->copy_in(b->d, f.memory, x, count * sizeof *x));
    free(x);
    return f;
}

static void judge_floats(struct bench *b, const char *what, const struct floats *f, double bound) {
    float *x = xmalloc(f->count * sizeof *x);

    must(b->d->backend->copy_out(b->d, x, f->memory, f->count * sizeof *x));
    judge(b, what, error_of(x, f->host, f->count), bound);
    free(x);
}

static void drop_floats(struct bench *b, struct floats *f) {
    free(f->host);
    b->d->backend->memory_free(b->d, f->memory);
}

static void check_conv(struct bench *b, const struct conv_shape *s) {
    const struct backend *k = b->d->backend;
    int64_t dims[4] = {s->transposed ? s->c : s->k, s->transposed ? s->k : s->c, s->r, s->r};
    size_t n_weights = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    int ho, wo;
    char what[4][100];
    static const char *const parts[] = {"y", "dx", "dw", "dbias"};

    conv_output_size(s, &ho, &wo);
    for (int i = 0; i < 4; i++)
        (void)snprintf(what[i], sizeof what[i], "%s %dx%d/%d %d->%d on %dx%dx%d: %s",
                       s->transposed ? "convT" : "conv", s->r, s->r, s->stride, s->c, s->k, s->n,
                       s->h, s->w, parts[i]);
    struct operand x = input(b, (struct tensor_shape){s->n, s->h, s->w, s->c});
    struct operand dy = input(b, (struct tensor_shape){s->n, ho, wo, s->k});
    struct operand y = make(b, dy.shape), dx = make(b, x.shape);
    struct floats w = parameters(b, n_weights, false), bias = parameters(b, (size_t)s->k, false);
    struct floats dw = parameters(b, n_weights, true), dbias = parameters(b, (size_t)s->k, true);
    struct device_weights *weights = k->weights_new(b->d, w.memory, dims);
    struct device_conv *conv;
    void *workspace;

    must(k->conv_new(weights, s, true, &conv));
    must(k->weights_refresh(b->d, &weights, 1));
    must(k->memory_new(b->d, k->conv_workspace_bytes(conv), &workspace));
    must(k->conv_forward(conv, x.memory, bias.memory, y.memory, workspace));
    struct conv_gradients t = {.x = x.memory,
                               .dy = dy.memory,
                               .ret_dx = dx.memory,
                               .ret_dw = dw.memory,
                               .ret_dbias = dbias.memory};
    must(k->conv_backward(conv, &t, workspace));
    ref_conv(s, x.host, w.host, bias.host, y.host);
    ref_conv_backward(s, x.host, w.host, dy.host, dx.host, dw.host, dbias.host);
    judge_tensor(b, what[0], &y, b->mode->bound);
    judge_tensor(b, what[1], &dx, b->mode->bound);
    judge_floats(b, what[2], &dw, b->mode->bound_dw);
    judge_floats(b, what[3], &dbias, b->mode->bound_dw);
    k->conv_free(conv);
    k->weights_free(weights);
    k->memory_free(b->d, workspace);
    drop(b, &x);
    drop(b, &dy);
    drop(b, &y);
    drop(b, &dx);
    drop_floats(b, &w);
    drop_floats(b, &bias);
    drop_floats(b, &dw);
    drop_floats(b, &dbias);
}

static void check_convs(struct bench *b) {
    static const struct conv_shape small[] = {
        {.n = 2, .c = 3, .h = 23, .w = 19, .k = 16, .r = 7, .stride = 1, .bias = true},
        {.n = 1, .c = 16, .h = 17, .w = 22, .k = 24, .r = 3, .stride = 2, .pad = 1, .bias = true},
        {.n = 2,
         .c = 24,
         .h = 9,
         .w = 7,
         .k = 12,
         .r = 3,
         .stride = 2,
         .pad = 1,
         .out_pad = 1,
         .transposed = true,
         .bias = true},
        {.n = 3, .c = 6, .h = 16, .w = 16, .k = 8, .r = 4, .stride = 2, .pad = 1, .bias = true},
        {.n = 1, .c = 13, .h = 11, .w = 5, .k = 1, .r = 1, .stride = 1, .bias = true},
    };
    static const struct conv_shape large[] = {
        {.n = 1, .c = 256, .h = 34, .w = 34, .k = 256, .r = 3, .stride = 1, .bias = true},
        {.n = 2, .c = 64, .h = 70, .w = 70, .k = 3, .r = 7, .stride = 1, .bias = true},
        {.n = 2, .c = 256, .h = 16, .w = 16, .k = 512, .r = 4, .stride = 1, .pad = 1, .bias = true},
    };

    for (size_t i = 0; i < COUNT(small); i++)
        check_conv(b, &small[i]);
    for (size_t i = 0; i < COUNT(large) && !b->g->small; i++)
        check_conv(b, &large[i]);
}

static void check_norm(struct bench *b, const struct norm_shape *s) {
    const struct backend *k = b->d->backend;
    struct tensor_shape inside = {s->n, s->h, s->w, s->c};
    struct tensor_shape whole = {s->n, s->h + 2 * s->pad, s->w + 2 * s->pad, s->c};
    struct operand x = input(b, inside), skip = input(b, inside), part = input(b, whole);
    struct operand y = make(b, whole), dx = make(b, inside);
    struct floats weight = parameters(b, (size_t)s->c, false);
    struct floats bias = parameters(b, (size_t)s->c, false);
    struct ref_layer layer = {.weight = weight.host, .bias = bias.host};
    struct norm_affine affine = {.weight = weight.memory, .bias = bias.memory};
    bool batch = s->norm == NORM_BATCH;
    void *workspace, *stats;
    double *g = xcalloc(x.count, sizeof *g);
    char what[2][100];

    for (int i = 0; i < 2; i++)
        (void)snprintf(what[i], sizeof what[i], "%s norm %dx%dx%dx%d border %d: %s",
                       batch ? "batch" : "instance", s->n, s->h, s->w, s->c, s->pad,
                       i ? "dx" : "y");
    must(k->memory_new(b->d, k->norm_workspace_bytes(b->d, s) + 1, &workspace));
    must(k->memory_new(b->d, sizeof(float) * 2 * (size_t)s->n * (size_t)s->c, &stats));
    struct norm_tensors f = {.x = x.memory,
                             .skip = skip.memory,
                             .ret_y = y.memory,
                             .ret_stats = stats,
                             .affine = batch ? &affine : NULL};
    struct norm_gradients r = {.x = x.memory,
                               .stats = stats,
                               .dy = {1, {{part.memory, s->pad, 0, s->n}}},
                               .ret_dx = dx.memory,
                               .affine = batch ? &affine : NULL};
    must(k->norm_forward(b->d, s, &f, workspace));
    must(k->norm_backward(b->d, s, &r, workspace));
    ref_norm(s, batch ? &layer : NULL, x.host, skip.host, y.host);
    ref_fold(s, part.host, s->pad, 0, s->n, g);
    ref_norm_backward(s, batch ? &layer : NULL, x.host, g,
                      &(struct ref_norm_gradients){.dx = dx.host});
    judge_tensor(b, what[0], &y, b->mode->bound);
    judge_tensor(b, what[1], &dx, b->mode->bound_dw);
    free(g);
    k->memory_free(b->d, workspace);
    k->memory_free(b->d, stats);
    drop(b, &x);
    drop(b, &skip);
    drop(b, &part);
    drop(b, &y);
    drop(b, &dx);
    drop_floats(b, &weight);
    drop_floats(b, &bias);
}

static void check_norms(struct bench *b) {
    static const struct norm_shape small[] = {
        {2, 9, 11, 20, 1, 0, NORM_INSTANCE, ACT_RELU},
        {1, 16, 16, 8, 3, 0, NORM_INSTANCE, ACT_LEAKY},
        {3, 7, 5, 12, 0, 0, NORM_BATCH, ACT_RELU},
    };
    static const struct norm_shape large[] = {
        {2, 64, 64, 256, 1, 0, NORM_INSTANCE, ACT_RELU},
        {1, 256, 256, 64, 3, 0, NORM_INSTANCE, ACT_RELU},
        {16, 31, 31, 512, 0, 0, NORM_BATCH, ACT_LEAKY},
    };

    for (size_t i = 0; i < COUNT(small); i++)
        check_norm(b, &small[i]);
    for (size_t i = 0; i < COUNT(large) && !b->g->small; i++)
        check_norm(b, &large[i]);
}

static void check_losses(struct bench *b) {
    const struct backend *k = b->d->backend;
    struct tensor_shape s = {2, 30, 29, 3};
    struct operand a = input(b, s), c = input(b, s), grad = make(b, s);
    struct l1_args l1 = {s, 10};
    struct gan_args gan = {GAN_LSGAN, true, s, 2};
    void *shared;
    double *loss, want = ref_l1(a.count, l1.scale, a.host, c.host, grad.host);

    must(k->shared_new(b->d, sizeof *loss, &shared));
    loss = shared;
    must(k->l1(b->d, &l1, a.memory, c.memory, grad.memory, loss));
    judge_tensor(b, "L1: gradient", &grad, b->mode->bound);
    judge(b, "L1: loss", fabs(*loss - want) / want, 1e-5);
    want = ref_gan(&gan, a.host, grad.host);
    must(k->gan(b->d, &gan, a.memory, grad.memory, loss));
    judge_tensor(b, "LSGAN: gradient", &grad, b->mode->bound);
    judge(b, "LSGAN: loss", fabs(*loss - want) / want, 1e-5);
    k->shared_free(b->d, shared);
    drop(b, &a);
    drop(b, &c);
    drop(b, &grad);
}

static void check_adam(struct bench *b) {
    const struct backend *k = b->d->backend;
    size_t count = 100003;
    struct floats g = parameters(b, count, false), p = parameters(b, count, false);
    struct floats m = parameters(b, count, false), v = parameters(b, count, false);
    struct adam_args args = {count, 0.5, 0.999};
    struct device_values values = {.lr = 2e-4, .t = 7};
    struct device_section *section;
    float *squares = xmalloc(count * sizeof *squares);
    bool issue;

    for (size_t i = 0; i < count; i++)
        v.host[i] = squares[i] = (float)fabs(v.host[i]);
    must(k->copy_in(b->d, v.memory, squares, count * sizeof *squares));
    free(squares);
    must(k->section_new(b->d, &section));
    must(k->section_begin(section, &values, &issue));
    must(k->adam(b->d, &args, g.memory, p.memory, m.memory, v.memory));
    must(k->section_end(section));
    ref_adam(&args, &values, g.host, p.host, m.host, v.host);
    judge_floats(b, "Adam: p", &p, 1e-6);
    judge_floats(b, "Adam: m", &m, 1e-6);
    judge_floats(b, "Adam: v", &v, 1e-6);
    k->section_free(section);
    drop_floats(b, &g);
    drop_floats(b, &p);
    drop_floats(b, &m);
    drop_floats(b, &v);
}

void gpu_ops(struct gpu_check *g) {
    uint64_t seed = (uint64_t)time(NULL);

    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct bench b = {.g = g, .mode = &modes[i], .seed = seed};
        struct device_options o = {.name = g->device, .threads = 1, .dtype = modes[i].dtype};
        if (device_open(&o, &b.d)) {
            gpu_expect(g, false, "%s: %s", modes[i].dtype, err_text());
            continue;
        }
        check_convs(&b);
        check_norms(&b);
        check_losses(&b);
        check_adam(&b);
        device_close(b.d);
    }
}
