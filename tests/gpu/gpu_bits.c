// The same bits again: with another run's plan file, issued instead of recorded, in two halves
// across a checkpoint, and with gradients accumulated over two batches.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "gpu/gpu_steps.h"

static const struct same_case {
    const char *model, *netG, *small_netG, *norm, *gan_mode;
    bool dropout;
} cases[] = {
    {"cycle_gan", "resnet_9blocks", "resnet_1blocks", "instance", "lsgan", false},
    {"pix2pix", "unet_128", "resnet_1blocks", "batch", "vanilla", true},
    {"cut", "resnet_9blocks", "resnet_1blocks", "instance", "lsgan", false},
};

struct same {
    struct gpu_check *g;
    struct config_trainer o;
    struct model_host host;
    int size, steps;
    double lr;
    char plans[40];
    struct model *fresh; // drawn once, for all others
};

static struct same same_of(struct gpu_check *g, const struct same_case *c, const char *dtype) {
    struct same s = {.g = g, .size = g->small ? 32 : 128, .steps = g->small ? 4 : 20, .lr = 2e-4};

    s.o = gpu_options(g, g->small ? c->small_netG : c->netG, g->small ? 4 : 64, dtype);
    s.o.model = (char *)c->model;
    s.o.norm = (char *)c->norm;
    s.o.gan_mode = (char *)c->gan_mode;
    s.o.no_dropout = !c->dropout;
    s.host.seed = g->seed;
    s.o.lambda_L1 = 100;
    s.o.lambda_GAN = 1;
    s.o.lambda_NCE = 1;
    s.o.nce_T = 0.07;
    s.o.nce_layers = g->small ? "0,4,8" : "0,4,8,12,16";
    s.o.netF_nc = g->small ? 8 : 256;
    s.o.num_patches = g->small ? 16 : 256;
    s.o.nce_idt = true;
    s.o.flip_equivariance = true;
    (void)snprintf(s.plans, sizeof s.plans, "gpu_check.%ld.plans", (long)getpid());
    return s;
}

static int one_step(struct model *m, const struct gpu_pictures *p, int number, double lr) {
    int err = gpu_feed(m, p, number);

    if (!err)
        err = model_generate(m);
    for (int part = 0; part < 2 && !err; part++)
        if (model_d_first(m) == (part == 0))
            err = model_update_d(m, lr, NULL, NULL);
        else
            err = model_update_g(m, lr);
    return err ? err : model_wait(m);
}

// Steps [first, end), every two batches an update if gradients are gathered.
static int train(const struct same *s, struct model *m, int first, int end) {
    struct gpu_pictures p = gpu_pictures_new(2, s->size);
    int err = ERR_OK, gathered = MAX(s->o.accumulate, 1);

    for (int i = first; i < end && !err; i++) {
        model_set_micro_batch(m, i % gathered, gathered);
        err = one_step(m, &p, i, s->lr);
    }
    free(p.x);
    return err ? err : model_pull(m);
}

// What a checkpoint keeps of the nets.
static void copy_state(struct model *from, struct model *to) {
    for (int i = 0; i < model_n_nets(from); i++) {
        struct model_net *p = model_net(from, i), *q = model_net(to, i);
        *q->adam_steps = *p->adam_steps;
        for (int k = 0; k < p->n_params; k++) {
            size_t bytes = p->params[k].count * sizeof(float);
            if (p->params[k].batches)
                *q->params[k].batches = *p->params[k].batches;
            if (p->params[k].w)
                memcpy(q->params[k].w, p->params[k].w, bytes);
            if (p->params[k].m) {
                memcpy(q->params[k].m, p->params[k].m, bytes);
                memcpy(q->params[k].v, p->params[k].v, bytes);
            }
        }
    }
}

// Drawing the weights takes the host longer than the steps take the device.
static int open_model(const struct same *s, struct model **ret) {
    int err = model_new(&s->o, &s->host, ret);

    if (!err) {
        copy_state(s->fresh, *ret);
        err = model_weights_changed(*ret);
    }
    return err ? err : model_shape(*ret, 2, s->size, s->size, s->size, s->size);
}

// NULL if it failed.
static struct model *trained(const struct same *s, int steps) {
    struct model *m = NULL;

    if (open_model(s, &m) == ERR_OK && train(s, m, 0, steps) == ERR_OK)
        return m;
    model_free(m);
    return NULL;
}

static bool differ(const float *a, const float *b, size_t count) {
    return a && memcmp(a, b, count * sizeof *a) != 0;
}

// How many tensors and losses have other bits; NAN if there is no other.
static double differences(struct model *a, struct model *b) {
    double count = 0;

    if (!a || !b)
        return NAN;
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            count += differ(p->w, q->w, p->count) || differ(p->m, q->m, p->count) ||
                     differ(p->v, q->v, p->count) || (p->batches && *p->batches != *q->batches);
        }
    for (int i = 0; i < model_n_losses(a); i++) {
        double x = model_loss(a, i), y = model_loss(b, i);
        count += memcmp(&x, &y, sizeof x) != 0;
    }
    return count;
}

static void value(struct gpu_check *g, const char *label, struct model *a, struct model *b) {
    if (!b)
        printf("%s: %s\n", label, err_text());
    gpu_value(g, label, differences(a, b), 0);
}

// Half of the steps, and the others by another model.
static struct model *in_halves(const struct same *s) {
    struct model *half = trained(s, s->steps / 2), *rest = NULL;
    int err = half ? model_new(&s->o, &s->host, &rest) : ERR_DEVICE;

    if (!err) {
        copy_state(half, rest);
        err = model_weights_changed(rest);
    }
    if (!err)
        err = model_shape(rest, 2, s->size, s->size, s->size, s->size);
    if (!err)
        err = train(s, rest, s->steps / 2, s->steps);
    model_free(half);
    if (!err)
        return rest;
    model_free(rest);
    return NULL;
}

static struct model *issued(const struct same *s) {
    (void)setenv("CUDA_EAGER", "1", 1); // memory is there
    struct model *m = trained(s, s->steps);
    (void)unsetenv("CUDA_EAGER"); // likewise
    return m;
}

// A fresh model behind steps [first, end), whose weights stay as they are.
static struct model *unmoved(struct same s, int first, int end) {
    struct model *m = NULL;

    s.lr = 0;
    if (open_model(&s, &m) == ERR_OK && train(&s, m, first, end) == ERR_OK)
        return m;
    model_free(m);
    return NULL;
}

// How far Adam's first moment `both` is from the mean of the others; relative.
static double off_the_mean(struct model *both, struct model *first, struct model *second) {
    double wrong = 0, size = 0;

    if (!both || !first || !second)
        return NAN;
    for (int i = 0; i < model_n_nets(both); i++)
        for (int k = 0; k < model_net(both, i)->n_params; k++) {
            const struct model_param *p = &model_net(both, i)->params[k];
            const float *a = model_net(first, i)->params[k].m;
            const float *b = model_net(second, i)->params[k].m;
            for (size_t e = 0; p->m && e < p->count; e++) {
                double mean = 0.5 * ((double)a[e] + (double)b[e]);
                wrong += (p->m[e] - mean) * (p->m[e] - mean);
                size += mean * mean;
            }
        }
    return sqrt(wrong / size);
}

static void check_gathered(struct same *s) {
    struct same one = *s;
    struct model *first = unmoved(one, 0, 1), *second = unmoved(one, 1, 2), *both, *recorded,
                 *other;

    s->o.accumulate = 2;
    both = unmoved(*s, 0, 2);
    gpu_value(s->g, "gathered, off the mean", off_the_mean(both, first, second), 1e-6);
    recorded = trained(s, s->steps);
    other = issued(s);
    value(s->g, "gathered, issued", recorded, other);
    model_free(first);
    model_free(second);
    model_free(both);
    model_free(recorded);
    model_free(other);
}

static void check_fresh(struct gpu_check *g, struct same s, const struct same_case *c,
                        const char *dtype) {
    struct model *first = trained(&s, s.steps), *other;

    gpu_row(g, dtype, "%s %s%s, %d steps", c->model, s.o.netG, c->dropout ? ", dropout" : "",
            s.steps);
    if (!first || model_plans_save(first, s.plans)) {
        gpu_expect(g, false, "%s %s: %s", dtype, c->model, err_text());
        model_free(first);
        return;
    }
    s.host.plans = s.plans;
    other = trained(&s, s.steps);
    value(g, "with its plan file", first, other);
    model_free(other);
    other = issued(&s);
    value(g, "issued", first, other);
    model_free(other);
    other = in_halves(&s);
    value(g, "in halves", first, other);
    model_free(other);
    check_gathered(&s);
    gpu_row_end(g);
    model_free(first);
    (void)remove(s.plans); // made here
}

static void check_same(struct gpu_check *g, const struct same_case *c, const char *dtype) {
    struct same s = same_of(g, c, dtype);
    int err = model_new(&s.o, &s.host, &s.fresh);

    if (!err)
        err = model_init(s.fresh, "normal", 0.02, g->seed);
    if (err)
        gpu_expect(g, false, "%s %s: %s", dtype, c->model, err_text());
    else
        check_fresh(g, s, c, dtype);
    model_free(s.fresh);
}

// Engines are measured for the first recipe only: that takes longer than the steps.
void gpu_bits(struct gpu_check *g) {
    printf("values: tensors and losses with other bits\n");
    for (int d = 0; d < GPU_DTYPES; d++)
        for (unsigned i = 0; i < COUNT(cases) && gpu_wants(g, d); i++) {
            gpu_untuned(g->small || i > 0);
            check_same(g, &cases[i], gpu_dtypes[d]);
        }
    gpu_untuned(false);
}
