// A training step of each recipe in double precision, written from the formulas in
// trainer/models/cyclegan.c, models/pix2pix.c and models/cut.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "gpu/gpu_judge.h"
#include "trainer/oracle/heads.h"
#include "trainer/oracle/ops.h"

struct step {
    const struct config_trainer *o;
    const struct ref_map *real;
    const struct gpu_draws *draws;
    struct gpu_step_answer *a;
};

static struct ref_call *pass(const struct step *s, int net, const struct ref_map *x) {
    return ref_call_new(s->a->ref[net], x, 0, net_n_layers(s->a->net[net]));
}

static double *zeros(const struct ref_map *m) {
    return xcalloc(ref_map_count(m), sizeof(double));
}

// The loss of a discriminator's call, which ends here; dx is added to.
static double judge_map(const struct step *s, struct ref_call *c, bool target_real, double scale,
                        bool train, double *dx) {
    const struct ref_map *y = ref_call_y(c);
    struct gan_args args = {strcmp(s->o->gan_mode, "vanilla") == 0 ? GAN_VANILLA : GAN_LSGAN,
                            target_real,
                            {y->n, y->h, y->w, y->c},
                            scale};
    double *g = zeros(y), loss = ref_gan(&args, y->v, g);

    ref_store(s->a->ref[0]->rounding, ref_map_count(y), g);
    ref_call_backward(c, g, train, dx);
    ref_call_free(c);
    free(g);
    return loss;
}

// The gradient is added to dy.
static double distance(const struct ref_map *y, const struct ref_map *target, double scale,
                       double *dy) {
    double *g = zeros(y), loss = ref_l1(ref_map_count(y), scale, y->v, target->v, g);

    for (size_t i = 0; i < ref_map_count(y); i++)
        dy[i] += g[i];
    free(g);
    return loss;
}

// L1 of a generator's call, which ends here; dx is added to.
static double judge_picture(struct ref_call *c, const struct ref_map *target, double scale,
                            double *dx) {
    double *g = zeros(ref_call_y(c)), loss = distance(ref_call_y(c), target, scale, g);

    ref_call_backward(c, g, true, dx);
    ref_call_free(c);
    free(g);
    return loss;
}

// ---- CycleGAN ----

static void cycle_gan(const struct step *s) {
    const double lambda[2] = {s->o->lambda_A, s->o->lambda_B};

    for (int d = 0; d < 2; d++) {
        struct ref_call *c = pass(s, d, &s->real[d]);
        const struct ref_map *fake = ref_call_y(c);
        double *dfake = zeros(fake), *loss = s->a->loss + 4 * d;
        loss[1] = judge_map(s, pass(s, 2 + d, fake), true, 1, false, dfake);
        loss[2] = judge_picture(pass(s, 1 - d, fake), &s->real[d], lambda[d], dfake);
        loss[3] = judge_picture(pass(s, d, &s->real[1 - d]), &s->real[1 - d],
                                lambda[1 - d] * s->o->lambda_identity, NULL);
        loss[0] = judge_map(s, pass(s, 2 + d, &s->real[1 - d]), true, 0.5, true, NULL) +
                  judge_map(s, pass(s, 2 + d, fake), false, 0.5, true, NULL);
        ref_call_backward(c, dfake, true, NULL);
        ref_call_free(c);
        free(dfake);
    }
}

// ---- pix2pix ----

static struct ref_map pair_of(const struct ref_map *a, const struct ref_map *b) {
    struct concat_shape concat = {(size_t)a->n * (size_t)a->h * (size_t)a->w, a->c, b->c, ACT_NONE};
    struct ref_map pair = ref_map_new(a->n, a->h, a->w, a->c + b->c);

    ref_concat(&concat, a->v, b->v, pair.v);
    return pair;
}

static void pix2pix(const struct step *s) {
    enum { G, D };
    struct ref_call *c = pass(s, G, &s->real[MODEL_A]);
    const struct ref_map *fake = ref_call_y(c), *real = &s->real[MODEL_B];
    struct ref_map fakes = pair_of(&s->real[MODEL_A], fake);
    struct ref_map reals = pair_of(&s->real[MODEL_A], real);
    double *dfake = zeros(fake), *dpair = zeros(&fakes), *dreal = zeros(real);
    struct concat_shape concat = {ref_map_count(real) / (size_t)real->c, 3, real->c, ACT_NONE};

    // Logged without the half.
    s->a->loss[3] = 2 * judge_map(s, pass(s, D, &fakes), false, 0.5, true, NULL);
    s->a->loss[2] = 2 * judge_map(s, pass(s, D, &reals), true, 0.5, true, NULL);
    s->a->loss[0] = judge_map(s, pass(s, D, &fakes), true, 1, false, dpair);
    ref_concat_backward(&concat, fakes.v, dpair, dreal, dfake); // dreal: nothing wants it
    s->a->loss[1] = distance(fake, real, s->o->lambda_L1, dfake);
    ref_call_backward(c, dfake, true, NULL);
    ref_call_free(c);
    free(dfake);
    free(dpair);
    free(dreal);
    free(fakes.v);
    free(reals.v);
}

// ---- CUT ----

// Where nce_layers "0,4,8,12" lie in a resnet: the bordered input, the first halving before its
// norm, the second after it, the third block's sum.
static const struct {
    int layer;
    enum ref_place place;
} taps[] = {{0, REF_INPUT}, {1, REF_BEFORE_NORM}, {2, REF_AFTER}, {8, REF_AFTER}};

static struct sample_shape sampling(const struct ref_map *m, int patches) {
    return (struct sample_shape){m->n, m->h, m->w, m->c, 0, patches, false, NULL};
}

// The places for both calls' pictures.
static int *places_of(const struct step *s, int tap) {
    int n = s->real[0].n, count = s->draws->patches;
    int *ids = xcalloc((size_t)(2 * n * count), sizeof *ids);

    for (int i = 0; i < 2 * n * count; i++)
        ids[i] = s->draws->ids[i / (n * count)][tap][i % count];
    return ids;
}

static struct ref_call *vectors(const struct step *s, int tap, const struct ref_map *m,
                                const int *ids) {
    struct sample_shape shape = sampling(m, s->draws->patches);
    struct ref_map x = ref_map_new(m->n, s->draws->patches, 1, m->c);

    ref_sample(&shape, ids, m->v, x.v);
    struct ref_call *c = ref_call_new(s->a->ref[1], &x, 2 * tap, 2 * tap + 2);
    free(x.v);
    return c;
}

// Of one map: of what G saw, and of what it made of that.
static void compare_patches(const struct step *s, int tap, const struct ref_call *seen,
                            struct ref_call *made) {
    const struct ref_map *x = ref_call_map(seen, taps[tap].layer, taps[tap].place);
    const struct ref_map *y = ref_call_map(made, taps[tap].layer, taps[tap].place);
    struct sample_shape shape = sampling(y, s->draws->patches);
    int *ids = places_of(s, tap);
    struct ref_call *k = vectors(s, tap, x, ids), *q = vectors(s, tap, y, ids);
    size_t half = ref_map_count(ref_call_y(q)) / 2;
    double *dq = zeros(ref_call_y(q));
    double *dx = xcalloc((size_t)(y->n * s->draws->patches * y->c), sizeof *dx);
    struct nce_args args = {.n = y->n / 2,
                            .patches = s->draws->patches,
                            .dim = s->o->netF_nc,
                            .temperature = s->o->nce_T,
                            .scale = s->o->lambda_NCE / COUNT(taps) / 2};

    for (size_t call = 0; call < 2; call++) // logged without the half
        s->a->loss[4 + call] += 2 * ref_nce(&args, ref_call_y(q)->v + call * half,
                                            ref_call_y(k)->v + call * half, dq + call * half, NULL);
    ref_store(s->a->ref[0]->rounding, 2 * half, dq);
    ref_call_backward(q, dq, true, dx);
    ref_sample_backward(&shape, ids, dx, ref_call_gradient(made, taps[tap].layer, taps[tap].place));
    ref_call_free(k);
    ref_call_free(q);
    free(dq);
    free(dx);
    free(ids);
}

static void cut(const struct step *s) {
    enum { G, F, D };
    const struct ref_map *a = &s->real[MODEL_A], *b = &s->real[MODEL_B];
    struct ref_map both = ref_map_new(2 * a->n, a->h, a->w, a->c), fake;
    double *loss = s->a->loss, *dy;

    memcpy(both.v, a->v, ref_map_count(a) * sizeof *both.v);
    memcpy(both.v + ref_map_count(a), b->v, ref_map_count(b) * sizeof *both.v);
    struct ref_call *seen = pass(s, G, &both);
    const struct ref_map *y = ref_call_y(seen);
    fake = *y;
    fake.n = a->n;
    loss[2] = 2 * judge_map(s, pass(s, D, &fake), false, 0.5, true, NULL);
    loss[1] = 2 * judge_map(s, pass(s, D, b), true, 0.5, true, NULL);
    dy = zeros(y);
    loss[0] = judge_map(s, pass(s, D, &fake), true, s->o->lambda_GAN, false, dy);
    struct ref_call *made = ref_call_new(s->a->ref[G], y, 0, taps[COUNT(taps) - 1].layer + 1);
    for (int i = 0; i < (int)COUNT(taps); i++)
        compare_patches(s, i, seen, made);
    ref_call_backward(made, NULL, true, dy);
    ref_call_backward(seen, dy, true, NULL);
    loss[3] = loss[0] + 0.5 * (loss[4] + loss[5]);
    ref_call_free(made);
    ref_call_free(seen);
    free(both.v);
    free(dy);
}

// ---- all ----

static int new_generator(const struct config_trainer *o, struct net **ret) {
    static const int layers[] = {0, 4, 8, 12};
    bool samples = strcmp(o->model, "cut") == 0;
    struct net_options g = {.arch = o->netG,
                            .in_nc = o->input_nc,
                            .out_nc = o->output_nc,
                            .nf = o->ngf,
                            .norm = o->norm,
                            .samples = layers,
                            .n_samples = samples ? (int)COUNT(layers) : 0};

    return generator_new(&g, ret);
}

static int new_discriminator(const struct config_trainer *o, struct net **ret) {
    int in = strcmp(o->model, "pix2pix") == 0 ? o->input_nc + o->output_nc : o->output_nc;
    struct net_options d = {
        .arch = o->netD, .in_nc = in, .nf = o->ndf, .norm = o->norm, .n_layers = o->n_layers_D};

    return discriminator_new(&d, ret);
}

static int new_net(const struct config_trainer *o, const char *name, struct net **ret) {
    int channels[] = {o->input_nc, 2 * o->ngf, 4 * o->ngf, 4 * o->ngf};

    if (name[0] == 'F')
        return mlp_new(channels, COUNT(channels), o->netF_nc, ret);
    return name[0] == 'G' ? new_generator(o, ret) : new_discriminator(o, ret);
}

void gpu_judge_step(const struct config_trainer *o, struct model *m, const struct ref_map real[2],
                    const struct gpu_draws *draws, enum ref_rounding rounding,
                    struct gpu_step_answer *ret) {
    struct step s = {o, real, draws, ret};

    *ret = (struct gpu_step_answer){.n_nets = model_n_nets(m), .n_losses = model_n_losses(m)};
    for (int i = 0; i < ret->n_nets; i++) {
        const struct model_net *net = model_net(m, i);
        if (new_net(o, net->name, &ret->net[i]))
            BUG("%s", err_text());
        if (net_n_params(ret->net[i]) != net->n_params)
            BUG("%s is another net", net->name);
        ret->ref[i] = ref_net_new(ret->net[i], net->params, rounding);
    }
    if (strcmp(o->model, "cycle_gan") == 0)
        cycle_gan(&s);
    else if (strcmp(o->model, "pix2pix") == 0)
        pix2pix(&s);
    else
        cut(&s);
}

void gpu_step_answer_fini(struct gpu_step_answer *a) {
    for (int i = 0; i < a->n_nets; i++) {
        ref_net_free(a->ref[i]);
        net_free(a->net[i]);
    }
}
