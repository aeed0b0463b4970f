// The gradients and losses of the first step of each recipe. A gradient is read from Adam's first
// moment, (1 - beta1) g after one step; the rate is 0, so the step's parts see the same weights.
//
// Judges: the step in double precision on nets of moderate width; for nets as they are used, fp32
// of the same device.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "gpu/gpu_judge.h"
#include "gpu/gpu_steps.h"

static const struct recipe_case {
    const char *model, *netG, *norm, *gan_mode;
    int nf, n, size;          // for the judge in double
    int small_nf, small_size; // on the emulation
} cases[] = {
    {"cycle_gan", "resnet_9blocks", "instance", "lsgan", 16, 2, 64, 4, 32},
    {"pix2pix", "unet_128", "batch", "vanilla", 16, 2, 128, 4, 128},
    {"cut", "resnet_6blocks", "instance", "lsgan", 16, 2, 64, 4, 32},
};

static struct config_trainer options_of(const struct gpu_check *g, const struct recipe_case *r,
                                        int nf, const char *dtype) {
    struct config_trainer o = gpu_options(g, r->netG, nf, dtype);

    o.model = (char *)r->model;
    o.norm = (char *)r->norm;
    o.gan_mode = (char *)r->gan_mode;
    o.lambda_L1 = 100;
    o.lambda_GAN = 1;
    o.lambda_NCE = 1;
    o.nce_T = 0.07;
    o.nce_layers = "0,4,8,12";
    o.netF_nc = MAX(nf, 16);
    o.num_patches = 32;
    o.nce_idt = true;
    o.no_antialias = true;
    o.no_antialias_up = true;
    return o;
}

static void draw_patches(const struct gpu_check *g, const struct recipe_case *r, int size,
                         struct gpu_draws *ret) {
    // Of the bordered input, of the first halving, of the second and of the blocks.
    int positions[] = {(size + 6) * (size + 6), size * size / 4, size * size / 16,
                       size * size / 16};

    *ret = (struct gpu_draws){.patches = 32};
    if (strcmp(r->model, "cut") != 0)
        return;
    for (int call = 0; call < 2; call++)
        for (unsigned l = 0; l < COUNT(positions); l++) {
            int *ids = xcalloc(32, sizeof *ids);
            for (int i = 0; i < 32; i++)
                ids[i] = (int)rng_permute(g->seed, RNG_TEST, (uint64_t)call << 8 | l,
                                          (uint64_t)positions[l], (uint64_t)i);
            ret->ids[call][l] = ids;
        }
}

static void draws_fini(struct gpu_draws *d) {
    for (int i = 0; i < 2 * MODEL_PATCH_LAYERS; i++)
        free(d->ids[i / MODEL_PATCH_LAYERS][i % MODEL_PATCH_LAYERS]);
}

static int feed(struct model *m, const struct ref_map real[2]) {
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++) {
        float *x = gpu_floats(&real[d]);
        err = model_feed_floats(m, (enum model_domain)d, x);
        free(x);
    }
    return err;
}

static int generate(struct model *m, const struct gpu_draws *draws) {
    struct model_draws given = {.flip = false};

    for (int call = 0; call < 2; call++)
        for (int l = 0; l < MODEL_PATCH_LAYERS; l++)
            given.patches[call][l] = draws->ids[call][l];
    if (draws->ids[0][0])
        model_set_draws(m, &given);
    return model_generate(m);
}

// One step at rate 0 with fresh weights.
static int run_step(struct gpu_check *g, struct model *m, const struct ref_map real[2],
                    const struct gpu_draws *draws) {
    int err = model_init(m, "normal", 0.02, g->seed);

    if (!err)
        err = model_shape(m, real[0].n, real[0].h, real[0].w, real[1].h, real[1].w);
    if (!err)
        err = feed(m, real);
    if (!err)
        err = generate(m, draws);
    for (int part = 0; part < 2 && !err; part++)
        if (model_d_first(m) == (part == 0))
            err = model_update_d(m, 0, NULL, NULL);
        else
            err = model_update_g(m, 0);
    if (!err)
        err = model_wait(m);
    return err ? err : model_pull(m);
}

// The judge's gradient of parameter i of a net, freed by the caller; and its losses.
struct opinion {
    double *(*gradient)(void *context, int net, int param);
    double (*loss)(void *context, int i);
    void *context;
};

// One that is compared with another: gradients of m's parameters.
static struct gpu_distance distance(struct model *m, const struct opinion *is,
                                    const struct opinion *want) {
    struct gpu_distance d = {0};

    for (int i = 0; i < model_n_nets(m); i++)
        for (int k = 0; k < model_net(m, i)->n_params; k++) {
            const struct model_param *p = &model_net(m, i)->params[k];
            char key[120];
            if (!p->m || p->frozen)
                continue;
            double *got = is->gradient(is->context, i, k), *r = want->gradient(want->context, i, k);
            (void)snprintf(key, sizeof key, "%s %s", model_net(m, i)->name,
                           p->key); // keys are short
            gpu_add_gradient(&d, key, p->count, got, r);
            free(got);
            free(r);
        }
    for (int i = 0; i < model_n_losses(m); i++)
        gpu_add_loss(&d, is->loss(is->context, i), want->loss(want->context, i));
    return d;
}

static void tell(struct gpu_check *g, const struct gpu_distance *d,
                 const struct gpu_bounds *bounds) {
    char label[120];

    (void)snprintf(label, sizeof label, "%d gradients, worst %s", d->gradients, d->key); // fits
    gpu_value(g, "losses", d->loss, bounds->loss);
    gpu_value(g, label, d->gradients ? d->gradient : NAN, bounds->gradient);
    gpu_row_end(g);
}

// Of a model on a device.
struct trained {
    const struct config_trainer *o;
    struct model *m;
};

static double *model_gradient(void *context, int net, int param) {
    const struct trained *t = context;
    const struct model_param *p = &model_net(t->m, net)->params[param];
    double *g = xcalloc(p->count, sizeof *g);

    for (size_t i = 0; i < p->count; i++)
        g[i] = p->m[i] / (1 - t->o->beta1);
    return g;
}

static double loss_of_model(void *context, int i) {
    return model_loss(((struct trained *)context)->m, i);
}

static struct opinion of_model(struct trained *t) {
    return (struct opinion){model_gradient, loss_of_model, t};
}

// ---- in double precision ----

static double *double_gradient(void *context, int net, int param) {
    const struct ref_net *r = ((struct gpu_step_answer *)context)->ref[net];
    size_t bytes = net_params(r->net)[param].count * sizeof(double);
    double *g = xmalloc(bytes);

    memcpy(g, r->g[param], bytes);
    return g;
}

static double double_loss(void *context, int i) {
    return ((struct gpu_step_answer *)context)->loss[i];
}

static struct opinion of_judge(struct gpu_step_answer *a) {
    return (struct opinion){double_gradient, double_loss, a};
}

// What all dtypes of a case share.
struct common {
    struct gpu_check *g;
    const struct recipe_case *r;
    int nf;
    struct ref_map real[2];
    struct gpu_draws draws;
    struct gpu_distance rounding[GPU_DTYPES];
};

static void common_init(struct common *c, int nf, int n, int size) {
    c->nf = nf;
    for (int d = 0; d < 2; d++)
        c->real[d] = gpu_picture(c->g, 11 + d, n, size, 3);
    draw_patches(c->g, c->r, size, &c->draws);
}

static void common_fini(struct common *c) {
    draws_fini(&c->draws);
    free(c->real[0].v);
    free(c->real[1].v);
}

// A model behind its first step, or NULL, which has been told.
static struct model *step_of(struct common *c, const struct config_trainer *o) {
    struct model *m = NULL;

    gpu_row(c->g, o->dtype, "%s %s nf %d, %dx%dx%d", c->r->model, c->r->netG, c->nf, c->real[0].n,
            c->real[0].h, c->real[0].w);
    if (!model_new(o, &(struct model_host){0}, &m) && !run_step(c->g, m, c->real, &c->draws))
        return m;
    gpu_expect(c->g, false, "%s %s: %s", o->dtype, c->r->model, err_text());
    model_free(m);
    return NULL;
}

// By the step in double precision, exact and rounded as the dtype is.
static void check_dtype(struct common *c, int dtype, struct gpu_step_answer *exact) {
    struct config_trainer o = options_of(c->g, c->r, c->nf, gpu_dtypes[dtype]);
    struct model *m = step_of(c, &o);
    struct trained t = {&o, m};
    struct gpu_step_answer rounded;
    struct opinion is = of_model(&t), want = of_judge(exact), alone = of_judge(&rounded);

    if (!m)
        return;
    if (!exact->n_nets)
        gpu_judge_step(&o, m, c->real, &c->draws, REF_EXACT, exact);
    gpu_judge_step(&o, m, c->real, &c->draws, gpu_roundings[dtype], &rounded);
    c->rounding[dtype] = distance(m, &alone, &want);
    gpu_step_answer_fini(&rounded);
    gpu_tell_rounding(dtype, &c->rounding[dtype]);
    struct gpu_distance d = distance(m, &is, &want);
    struct gpu_bounds bounds = gpu_bounds_beside(c->g, dtype, &c->rounding[dtype]);
    tell(c->g, &d, &bounds);
    model_free(m);
}

static void check_in_double(struct common *c) {
    const struct recipe_case *r = c->r;
    struct gpu_step_answer exact = {0};
    bool small = c->g->small;

    common_init(c, small ? r->small_nf : r->nf, r->n, small ? r->small_size : r->size);
    for (int d = 0; d < GPU_DTYPES; d++)
        if (gpu_wants(c->g, d))
            check_dtype(c, d, &exact);
    gpu_step_answer_fini(&exact);
    common_fini(c);
}

// ---- beside fp32 of the same device, as the nets are used ----

static void check_beside_fp32(struct common *c) {
    int nf = c->g->small ? c->r->small_nf : 64, size = c->g->small ? c->r->small_size : 128;
    struct config_trainer first, o;
    struct trained judge = {&first, NULL};

    common_init(c, nf, c->r->n, size);
    for (int d = 0; d < GPU_DTYPES; d++) {
        if (d > 0 && !gpu_wants(c->g, d))
            continue;
        o = options_of(c->g, c->r, nf, gpu_dtypes[d]);
        struct trained t = {&o, step_of(c, &o)};
        if (!t.m)
            break;
        if (d == 0) {
            first = o;
            judge.m = t.m;
            continue;
        }
        // Rounding was measured on nets of another width.
        struct gpu_bounds bounds = gpu_bounds_beside(c->g, d, &c->rounding[d]);
        struct opinion is = of_model(&t), want = of_model(&judge);
        struct gpu_distance distances = distance(t.m, &is, &want);
        tell(c->g, &distances, &bounds);
        model_free(t.m);
    }
    model_free(judge.m);
    common_fini(c);
}

void gpu_nets(struct gpu_check *g) {
    struct common c[COUNT(cases)] = {0};

    printf("bounds: y 1e-04, 3e-03, 2e-02; 1 - cosine of a gradient 1e-05, 1e-03, 2e-02; losses "
           "1e-05, 1e-03, 1e-02; or, if that is more, %.0f times (bf16: %.0f) what rounding alone "
           "does to the judge\n",
           gpu_rounding_factors[0], gpu_rounding_factors[2]);
    printf("whole nets forward and backward; judge: double precision\n");
    gpu_forward(g);
    gpu_untuned(true);
    printf("first step of each recipe; judge: double precision\n");
    for (unsigned i = 0; i < COUNT(cases); i++) {
        c[i].g = g;
        c[i].r = &cases[i];
        check_in_double(&c[i]);
    }
    printf("first step of nets as they are used; judge: fp32 of the same device\n");
    for (unsigned i = 0; i < COUNT(cases); i++) {
        gpu_untuned(g->small || i > 0); // choosing engines takes longer than the step
        check_beside_fp32(&c[i]);
    }
    gpu_untuned(false);
}
