// CUT: one generator, whose image keeps the content of its input because each patch of it is
// more like the patch of the same place than like others. FastCUT is CUT with other settings.
//
// G: A -> B; D reads images of B and is updated first; F makes vectors of patches of G's inner
// maps, one small net for each map, and is updated with G.
//
//   loss_D = 1/2 (GAN(D(G(a)), fake) + GAN(D(b), real)), G(a) constant
//   loss_G = lambda_GAN GAN(D(G(a)), real) + NCE(a, G(a))
//            with nce_idt 1/2 (NCE(a, G(a)) + NCE(b, G(b)))
//   NCE(x, y) = lambda_NCE times the mean over maps l of PatchNCE(F_l(G_l(y)), F_l(G_l(x)))
//
// The patches' places are the start of a permutation by (seed, RNG_PATCH, step), the same for all
// images of a call and for x and y. With flip_equivariance G sees mirrored images in every
// second step, by chance; the patches of y are then taken at the mirrored places.
//
// Source: Park et al. 2020 (arXiv:2007.15651), sections 3 and 4.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "models/recipe.h"
#include "nets/options.h"

enum { NET_G, NET_F, NET_D };
enum { LOSS_G_GAN, LOSS_D_REAL, LOSS_D_FAKE, LOSS_G, LOSS_NCE, LOSS_NCE_Y };
enum { CALL_FAKE, CALL_IDT, CALLS };
#define FLIP_LAYER 0xff // of RNG_PATCH's index: no map, but whether to flip

// The places of a tape's patches, [calls n, patches of the map] for each map, in memory of the
// device.
struct patches {
    struct net_samples x, y; // of the input and of what G makes of it
    int *ids_x[NET_SAMPLES_MAX], *ids_y[NET_SAMPLES_MAX];
    int *flip;
    int *drawn; // the host's, for one map
};

static int n_calls(const struct model *m) {
    return m->settings.nce_idt ? CALLS : 1;
}

static int parse_layers(const char *text, int ret_layers[NET_SAMPLES_MAX], int *ret_count) {
    const char *at = text;
    int count = 0, used;

    while (count < NET_SAMPLES_MAX && sscanf(at, "%d%n", &ret_layers[count], &used) == 1) {
        count++;
        at += used;
        if (*at == 0) {
            *ret_count = count;
            return ERR_OK;
        }
        // The loop reads at most NET_SAMPLES_MAX numbers. More of them end in the error below.
        if (*at++ != ',')
            break;
    }
    return err_set(ERR_CONFIG, "nce_layers \"%s\": 1 to %d numbers with commas in between", text,
                   NET_SAMPLES_MAX);
}

static int check_settings(const struct config_trainer *c) {
    // G's inner maps are compared for its input and its output: G must take both.
    if (c->input_nc != c->output_nc)
        return err_set(ERR_CONFIG,
                       "input_nc %d, output_nc %d: G has to read what it makes, so cut needs equal "
                       "numbers",
                       (int)c->input_nc, (int)c->output_nc);
    if (c->num_patches < 1 || c->netF_nc < 1 || c->nce_T <= 0)
        return err_set(ERR_CONFIG, "num_patches %d, netF_nc %d, nce_T %g: all must be above 0",
                       (int)c->num_patches, (int)c->netF_nc, c->nce_T);
    return ERR_OK;
}

static int make_nets(struct model *m, const struct config_trainer *c) {
    int layers[NET_SAMPLES_MAX], channels[NET_SAMPLES_MAX], count = 0;
    struct net_options g = net_options_of(c, NET_A_TO_B), d = net_options_of(c, NET_OF_B);
    int err = check_settings(c);

    if (!err)
        err = parse_layers(c->nce_layers, layers, &count);
    if (err)
        return err;
    // The generator checks the numbers, so channels below are all above 0.
    g.samples = layers;
    g.n_samples = count;
    err = generator_new(&g, &m->nets[NET_G]);
    if (err)
        return err;
    for (int i = 0; i < count; i++)
        channels[i] = net_sample_channels(m->nets[NET_G], layers[i]);
    err = mlp_new(channels, count, (int)c->netF_nc, &m->nets[NET_F]);
    if (err)
        return err;
    m->n_patch_layers = count;
    memcpy(m->patch_layers, layers, sizeof layers);
    return discriminator_new(&d, &m->nets[NET_D]);
}

static int check_sizes(const struct model *m, const struct tape_shape *s) {
    int err = ERR_OK;

    if (m->settings.nce_idt && (s->h[0] != s->h[1] || s->w[0] != s->w[1]))
        return err_set(ERR_SHAPE,
                       "pictures of %dx%d and %dx%d: with nce_idt cut needs them of one size",
                       s->w[0], s->h[0], s->w[1], s->h[1]);
    for (int d = 0; d < n_calls(m) && !err; d++)
        err = net_check_size(m->nets[NET_G], s->h[d], s->w[d]);
    for (int d = 0; d < 2 && !err; d++)
        err = net_check_size(m->nets[NET_D], s->h[d], s->w[d]);
    return err;
}

static void add_inputs(struct model *m, struct tape *t) {
    for (int d = 0; d < 2; d++) {
        int c = d == MODEL_A ? m->settings.input_nc : m->settings.output_nc;
        t->real[d] = graph_input(t->graph, t->shape.n, t->shape.h[d], t->shape.w[d], c);
    }
    // D reads a copy of the fakes, which has no gradient: G is constant in D's update.
    t->pooled[MODEL_B] =
        graph_input(t->graph, t->shape.n, t->shape.h[0], t->shape.w[0], m->settings.output_nc);
}

static int new_ints(struct model *m, size_t count, int **ret_ints) {
    void *memory;
    int err = m->device->backend->memory_new(m->device, count * sizeof(int), &memory);

    if (!err)
        *ret_ints = memory;
    return err;
}

static int add_patches(struct model *m, struct tape *t) {
    // As many as the largest map can need. Smaller maps use the beginning.
    size_t ids = (size_t)(n_calls(m) * t->shape.n) * (size_t)m->settings.num_patches;
    struct patches *p = xcalloc(1, sizeof *p);
    int err = new_ints(m, 1, &p->flip);

    // Set at once, so that tape_fini frees what a failure leaves.
    t->patches = p;
    p->drawn = xcalloc(ids, sizeof *p->drawn);
    p->x = (struct net_samples){.count = m->n_patch_layers, .patches = m->settings.num_patches};
    memcpy(p->x.at, m->patch_layers, sizeof p->x.at);
    p->y = p->x;
    for (int i = 0; i < m->n_patch_layers && !err; i++) {
        err = new_ints(m, ids, &p->ids_x[i]);
        if (!err)
            err = new_ints(m, ids, &p->ids_y[i]);
        p->x.ids[i] = p->ids_x[i];
        p->y.ids[i] = p->ids_y[i];
    }
    // The input's patches are the keys, which get no gradient. Of G(y) only samples are read.
    p->x.constant = p->y.until_last = true;
    return err;
}

static void tape_fini(struct model *m, struct tape *t) {
    if (!t->patches)
        return;
    for (int i = 0; i < NET_SAMPLES_MAX; i++) {
        m->device->backend->memory_free(m->device, t->patches->ids_x[i]);
        m->device->backend->memory_free(m->device, t->patches->ids_y[i]);
    }
    m->device->backend->memory_free(m->device, t->patches->flip);
    free(t->patches->drawn);
    free(t->patches);
}

// What G sees of the images, mirrored or not.
static void flip_inputs(struct model *m, struct tape *t) {
    for (int d = 0; d < n_calls(m); d++) {
        struct graph_size s = graph_size(t->graph, t->real[d]);
        t->seen[d] = graph_input(t->graph, s.n, s.h, s.w, s.c);
        graph_flip(t->graph, t->real[d], t->patches->flip, t->seen[d]);
    }
}

// [a; b], or a, with G's border.
static int join_inputs(struct model *m, struct tape *t, const int input[2], int *ret_x) {
    struct graph_norm_args pad = {.pad = net_border(m->nets[NET_G]), .skip = -1};
    struct graph_size s = graph_size(t->graph, input[MODEL_A]);
    int err = ERR_OK;

    *ret_x = graph_buffer(t->graph, n_calls(m) * s.n, s.h, s.w, s.c, pad.pad);
    for (int i = 0; i < n_calls(m) && !err; i++)
        err = graph_norm_into(t->graph, input[i], &pad, graph_view(t->graph, *ret_x, i * s.n, s.n));
    return err;
}

// [fake; idt], and the patches of what they were made of. Those are of the images as they are:
// if G may see them mirrored, they have to be passed a second time.
static int build_generate(struct model *m, struct tape *t, int *ret_y) {
    bool flips = m->settings.flip_equivariance;
    int x, ignored, err;

    if (flips)
        flip_inputs(m, t);
    err = join_inputs(m, t, flips ? t->seen : t->real, &x);
    if (err)
        return err;
    err = net_forward_sampled(m->nets[NET_G], t->graph, x, NET_TRAIN, flips ? NULL : &t->patches->x,
                              ret_y);
    if (err)
        return err;
    graph_keep(t->graph, *ret_y);
    t->fake[MODEL_B] = graph_view(t->graph, *ret_y, 0, t->shape.n);
    if (n_calls(m) == CALLS)
        t->idt[MODEL_B] = graph_view(t->graph, *ret_y, t->shape.n, t->shape.n);
    if (!flips)
        return ERR_OK;
    t->patches->x.until_last = true;
    err = join_inputs(m, t, t->real, &x);
    return err ? err
               : net_forward_sampled(m->nets[NET_G], t->graph, x, NET_THROUGH, &t->patches->x,
                                     &ignored);
}

static int discriminator_losses(struct model *m, struct tape *t) {
    int map, err = net_forward(m->nets[NET_D], t->graph, t->pooled[MODEL_B], NET_TRAIN, &map);

    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, false, 0.5, &t->loss_fake[LOSS_D_FAKE]);
    // Both passes of D are independent until their gradients are summed.
    graph_stream(t->graph, 1);
    err = net_forward(m->nets[NET_D], t->graph, t->real[MODEL_B], NET_TRAIN, &map);
    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, true, 0.5, &t->loss[LOSS_D_REAL]);
    graph_stream(t->graph, 0);
    return ERR_OK;
}

// The loss of one map's patches.
static int nce_loss(struct model *m, struct tape *t, int layer) {
    const struct config_trainer *c = &m->settings;
    const struct net_samples *x = &t->patches->x, *y = &t->patches->y;
    struct graph_nce_args args = {.temperature = c->nce_T,
                                  .scale = c->lambda_NCE / m->n_patch_layers / n_calls(m),
                                  .all = c->nce_includes_all_negatives_from_minibatch,
                                  // The first map's loss overwrites that of the step before.
                                  .add = layer > 0};
    int n = t->shape.n, q, k;
    // F learns by the queries alone. Its pass over the keys is constant.
    int err = mlp_forward(m->nets[NET_F], t->graph, layer, x->sample[layer], NET_THROUGH, &k);

    if (err)
        return err;
    err = mlp_forward(m->nets[NET_F], t->graph, layer, y->sample[layer], NET_TRAIN, &q);
    if (err)
        return err;
    for (int call = 0; call < n_calls(m); call++)
        graph_nce(t->graph, graph_view(t->graph, q, call * n, n),
                  graph_view(t->graph, k, call * n, n), &args, &t->loss[LOSS_NCE + call]);
    return ERR_OK;
}

static int generator_losses(struct model *m, struct tape *t, int y) {
    int map, ignored, err;

    graph_stream(t->graph, GRAPH_SIDE_STREAM(0)); // while patches are encoded
    err = net_forward(m->nets[NET_D], t->graph, t->fake[MODEL_B], NET_THROUGH, &map);
    if (err)
        return err;
    graph_gan(t->graph, map, m->gan_mode, true, m->settings.lambda_GAN, &t->loss[LOSS_G_GAN]);
    graph_stream(t->graph, 0);
    err = net_forward_sampled(m->nets[NET_G], t->graph, y, NET_TRAIN, &t->patches->y, &ignored);
    for (int i = 0; i < m->n_patch_layers && !err; i++)
        err = nce_loss(m, t, i);
    return err;
}

static int build(struct model *m, struct tape *t) {
    int y, err = check_sizes(m, &t->shape);

    if (err)
        return err;
    add_inputs(m, t);
    err = add_patches(m, t);
    if (!err)
        err = build_generate(m, t, &y);
    t->generate.end = t->update_d.begin = graph_section(t->graph);
    if (!err)
        err = discriminator_losses(m, t);
    if (err)
        return err;
    // Only D's ops: G's forward ops get their gradients in the generators' part below.
    graph_backward_since(t->graph, t->update_d.begin);
    err = model_add_penalty(m, t, m->nets[NET_D], MODEL_B);
    if (err)
        return err;
    t->update_d.end = t->update_g.begin = graph_section(t->graph);
    err = generator_losses(m, t, y);
    if (err)
        return err;
    graph_backward(t->graph);
    t->update_g.end = graph_n_ops(t->graph);
    return ERR_OK;
}

static bool draw_flip(const struct model *m) {
    if (!m->settings.flip_equivariance)
        return false;
    return m->draws ? m->draws->flip
                    : rng_uniform(m->seed, RNG_PATCH, m->step << 9 | FLIP_LAYER, 0) < 0.5;
}

// Patch i of a map with `positions` of them.
static int draw_patch(const struct model *m, int call, int layer, int positions, int i) {
    // 1 bit for the call and 8 for the map. FLIP_LAYER is no map's number.
    uint64_t index = m->step << 9 | (uint64_t)call << 8 | (uint64_t)layer;

    if (m->draws)
        return m->draws->patches[call][layer][i];
    return (int)rng_permute(m->seed, RNG_PATCH, index, (uint64_t)positions, (uint64_t)i);
}

// The places in the input or, mirrored by `flip`, in what G makes of it.
static int send_patches(struct model *m, const struct tape *t, int layer, bool flip, int *ids) {
    const struct patches *p = t->patches;
    int w = p->x.w[layer], positions = p->x.h[layer] * w;
    int count = MIN(p->x.patches, positions), n = t->shape.n;

    for (int call = 0; call < n_calls(m); call++)
        for (int i = 0; i < count; i++) {
            int id = draw_patch(m, call, layer, positions, i);
            for (int k = call * n; k < (call + 1) * n; k++)
                // w - 1 - column, in the same row.
                p->drawn[k * count + i] = flip ? id + w - 1 - 2 * (id % w) : id;
        }
    return m->device->backend->copy_in(m->device, ids, p->drawn,
                                       (size_t)(n_calls(m) * n * count) * sizeof *ids);
}

static int prepare(struct model *m, struct tape *t) {
    bool flip = draw_flip(m);
    int err = m->device->backend->copy_in(m->device, t->patches->flip, &(int){flip}, sizeof(int));

    for (int i = 0; i < m->n_patch_layers && !err; i++) {
        err = send_patches(m, t, i, false, t->patches->ids_x[i]);
        if (!err)
            err = send_patches(m, t, i, flip, t->patches->ids_y[i]);
    }
    return err;
}

#define CUT                                                                                        \
    .name = "cut", .n_nets = 3, .n_generators = 1, .n_with_g = 2, .nets = {"G", "F", "D"},         \
    .d_first = true, .losses = {"G_GAN", "D_real", "D_fake", "G", "NCE", "NCE_Y"},                 \
    .total = 1 << LOSS_G_GAN | 1 << LOSS_NCE | 1 << LOSS_NCE_Y, .total_loss = LOSS_G,              \
    .make_nets = make_nets, .build = build, .prepare = prepare, .tape_fini = tape_fini

const struct recipe recipe_cut = {
    CUT, .n_losses = 5, .logged = {[LOSS_D_REAL] = 2, [LOSS_D_FAKE] = 2}, // without the half
};
const struct recipe recipe_cut_idt = {
    CUT,
    .n_losses = 6,
    .logged = {[LOSS_D_REAL] = 2, [LOSS_D_FAKE] = 2, [LOSS_NCE] = 2, [LOSS_NCE_Y] = 2},
};
