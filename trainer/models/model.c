// The part of a model that no recipe changes: nets, optimizers, tapes by shape, the arena.
#include "models/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "device/device.h"
#include "models/recipe.h"
#include "nets/init.h"

static const char *const gan_modes[] = {
    [GAN_LSGAN] = "lsgan",
    [GAN_VANILLA] = "vanilla",
    [GAN_WGANGP] = "wgangp_no_penalty",
    [GAN_NONSATURATING] = "nonsaturating",
};

// "wgangp" is wgangp_no_penalty with the penalty.
static int parse_gan_mode(struct model *m, const char *name) {
    const char *text = strcmp(name, "wgangp") == 0 ? gan_modes[GAN_WGANGP] : name;

    m->penalized = text != name;
    for (unsigned i = 0; i < COUNT(gan_modes); i++)
        if (strcmp(text, gan_modes[i]) == 0) {
            m->gan_mode = (enum gan_mode)i;
            return ERR_OK;
        }
    return err_set(ERR_CONFIG,
                   "gan_mode \"%s\": lsgan, vanilla, wgangp, wgangp_no_penalty or nonsaturating",
                   text);
}

static int find_recipe(const struct config_trainer *c, const struct recipe **ret_recipe) {
    static const struct recipe *const recipes[] = {&recipe_cyclegan, &recipe_pix2pix, &recipe_cut};
    const char *name = strcmp(c->model, "fastcut") == 0 ? "cut" : c->model; // other settings only

    for (unsigned i = 0; i < COUNT(recipes); i++)
        if (strcmp(name, recipes[i]->name) == 0) {
            *ret_recipe = recipes[i] == &recipe_cut && c->nce_idt ? &recipe_cut_idt : recipes[i];
            return ERR_OK;
        }
    return err_set(ERR_CONFIG, "model \"%s\": cycle_gan, pix2pix, cut or fastcut", c->model);
}

// Places the parameters of nets [first, end) in one optimizer.
static int optimizer_new(struct model *m, struct optimizer *o, int first, int end) {
    size_t size = 0;

    for (int i = first; i < end; i++)
        net_reserve(m->nets[i], &size);
    int err = optimizer_init(o, m->device, size, m->settings.beta1, m->settings.beta2);
    for (int i = first; i < end && !err; i++) {
        err = net_bind(m->nets[i], o);
        m->public_nets[i] = (struct model_net){.name = m->recipe->nets[i],
                                               .n_params = net_n_params(m->nets[i]),
                                               .params = net_params(m->nets[i]),
                                               .adam_steps = &o->t};
    }
    return err;
}

int model_new(const struct config_trainer *settings, const struct model_host *host,
              struct model **ret_model) {
    // Training changes the weights in every step, so packed copies are made at each use.
    struct device_options device = {.name = settings->device,
                                    .threads = (int)settings->threads,
                                    .winograd = settings->winograd,
                                    .weights_change = true,
                                    .dtype = settings->dtype,
                                    .gpu = (int)settings->gpu,
                                    .plans = host->plans};
    struct model *m = xcalloc(1, sizeof *m);
    // Before anything can fail, because 0 is a valid slot.
    m->prefetched[MODEL_A] = m->prefetched[MODEL_B] = -1;
    int err = find_recipe(settings, &m->recipe);

    if (err)
        goto fail;
    m->settings = *settings;
    // At least the selected tape must be kept.
    m->settings.shapes = MAX(settings->shapes, 1);
    m->seed = host->seed;
    m->hook = (struct graph_hook){host->between_ops, host->context};
    m->tapes = xcalloc((size_t)m->settings.shapes, sizeof(struct tape *));
    err = parse_gan_mode(m, settings->gan_mode);
    if (err)
        goto fail;
    // Before the device is opened: wrong settings are reported without it.
    err = m->recipe->make_nets(m, settings);
    if (err)
        goto fail;
    err = device_open(&device, &m->device);
    if (!err)
        err = optimizer_new(m, &m->optimizer_g, 0, m->recipe->n_with_g);
    if (!err)
        err = optimizer_new(m, &m->optimizer_d, m->recipe->n_with_g, m->recipe->n_nets);
    if (!err)
        err = model_average_new(m);
    if (!err)
        err = model_accumulate_new(m);
    err = model_no_weights(m, err);
    if (err)
        goto fail;
    *ret_model = m;
    return ERR_OK;

fail:
    model_free(m); // takes a half-made model
    return err;
}

static void tape_free(struct model *m, struct tape *t) {
    if (!t)
        return;
    model_step_fini(m, t);
    if (m->recipe->tape_fini)
        m->recipe->tape_fini(m, t);
    graph_free(t->graph);
    free(t);
}

void model_free(struct model *m) {
    if (!m)
        return;
    // First the users, then what they use: convolutions, weights, buffers, the device.
    for (int i = 0; i < m->n_tapes; i++)
        tape_free(m, m->tapes[i]);
    for (int i = 0; i < TRANSLATIONS; i++)
        model_translation_fini(m, &m->translations[i]);
    for (int i = 0; i < NETS_MAX; i++)
        net_free(m->nets[i]);
    model_average_fini(m);
    model_accumulate_fini(m);
    optimizer_fini(&m->optimizer_g);
    optimizer_fini(&m->optimizer_d);
    if (m->device) {
        m->device->backend->memory_free(m->device, m->arena);
        m->device->backend->memory_free(m->device, m->translation_arena);
    }
    device_close(m->device);
    free(m->failure);
    free(m->tapes);
    free(m);
}

int model_init(struct model *m, const char *init_type, double init_gain, uint64_t seed) {
    struct init_args args = {.gain = init_gain, .seed = seed};
    int err = init_type_parse(init_type, &args.type);

    if (err)
        return err;
    for (int i = 0; i < m->recipe->n_nets; i++)
        for (int k = 0; k < m->public_nets[i].n_params; k++) {
            struct model_param *p = &m->public_nets[i].params[k];
            // Each tensor has numbers of its own, whatever the other nets look like.
            args.sub = (uint32_t)i << 16 | (uint32_t)k;
            init_param(&args, p);
        }
    model_average_start(m);
    return model_weights_changed(m);
}

int model_n_nets(const struct model *m) {
    return m->recipe->n_nets + model_n_averages(m);
}

struct model_net *model_net(struct model *m, int i) {
    return &m->public_nets[i];
}

int model_pull(struct model *m) {
    int err = optimizer_pull(&m->optimizer_g);

    if (!err)
        err = optimizer_pull(&m->optimizer_d);
    for (int i = 0; i < m->recipe->n_nets && !err; i++)
        err = net_pull(m->nets[i]);
    return err ? err : model_average_pull(m);
}

int model_weights_changed(struct model *m) {
    int err = optimizer_push(&m->optimizer_g);

    if (!err)
        err = optimizer_push(&m->optimizer_d);
    for (int i = 0; i < m->recipe->n_nets && !err; i++)
        err = net_push(m->nets[i]);
    return err ? err : model_average_push(m);
}

static struct tape *tape_find(const struct model *m, const struct tape_shape *s) {
    for (int i = 0; i < m->n_tapes; i++)
        // The struct is five ints without padding, so its bytes can be compared.
        if (memcmp(&m->tapes[i]->shape, s, sizeof *s) == 0)
            return m->tapes[i];
    return NULL;
}

// Makes room for one more by dropping the one that was not used for longest.
static void tape_evict(struct model *m) {
    int oldest = 0;

    if (m->n_tapes < m->settings.shapes)
        return;
    for (int i = 1; i < m->n_tapes; i++)
        if (m->tapes[i]->used < m->tapes[oldest]->used)
            oldest = i;
    if (m->tape == m->tapes[oldest])
        m->tape = NULL;
    tape_free(m, m->tapes[oldest]);
    // The order of tapes has no meaning: the last one fills the gap.
    m->tapes[oldest] = m->tapes[--m->n_tapes];
}

static int losses_new(struct model *m, struct tape *t) {
    void *memory;
    int err = m->device->backend->shared_new(m->device, (2 * LOSSES + 2) * sizeof(double), &memory);

    if (err)
        return err;
    t->loss = memory;
    t->loss_fake = t->loss + LOSSES;
    t->penalty = t->loss_fake + LOSSES;
    return ERR_OK;
}

static int tape_arena(struct model *m, const struct tape *t) {
    const struct tape_shape *s = &t->shape;
    // The message names one size, so the larger domain's is taken.
    struct model_batch batch = {"a step", s->n, MAX(s->h[0], s->h[1]), MAX(s->w[0], s->w[1])};

    return model_arena_grow(m, &batch, t->graph, &m->arena, &m->arena_bytes);
}

static int tape_new(struct model *m, const struct tape_shape *s, struct tape **ret_tape) {
    struct tape *t = xcalloc(1, sizeof *t);
    int err;

    t->shape = *s;
    t->graph = graph_new(m->device);
    for (int d = 0; d < 2; d++)
        t->pooled[d] = t->fake[d] = t->rec[d] = t->idt[d] = t->seen[d] = t->mixed[d] = -1;
    t->elements.type = PIXELS_NATIVE;
    err = losses_new(m, t);
    if (!err)
        err = m->recipe->build(m, t);
    if (err)
        goto fail;
    graph_place(t->graph, false);
    err = tape_arena(m, t);
    if (!err) // its convolutions may have brought new packings
        err = optimizer_refresh(&m->optimizer_g);
    if (!err)
        err = optimizer_refresh(&m->optimizer_d);
    if (err)
        goto fail;
    *ret_tape = t;
    return ERR_OK;

fail:
    tape_free(m, t);
    return err;
}

int model_shape(struct model *m, int n, int h_a, int w_a, int h_b, int w_b) {
    struct tape_shape s = {.n = n, .h = {h_a, h_b}, .w = {w_a, w_b}};
    struct tape *t = tape_find(m, &s);
    int err;

    if (n < 1)
        return err_set(ERR_SHAPE, "a batch of %d pictures: 1 or more", n);
    err = t ? tape_arena(m, t) : tape_new(m, &s, &t); // a larger shape may have lost the arena
    if (err)
        return err;
    // The new tape is complete: only now an old one may go.
    if (tape_find(m, &s) != t) {
        tape_evict(m);
        m->tapes[m->n_tapes++] = t;
    }
    t->used = ++m->clock;
    m->tape = t;
    return ERR_OK;
}

bool model_d_first(const struct model *m) {
    return m->recipe->d_first;
}

int model_n_generators(const struct model *m) {
    return m->recipe->n_generators;
}

bool model_is_asynchronous(const struct model *m) {
    return m->device->asynchronous;
}

const char *model_dtype(const struct model *m) {
    return m->device->dtype;
}

void model_describe_device(const struct model *m, char *ret_text, size_t size) {
    m->device->backend->describe(m->device, ret_text, size);
}

size_t model_device_memory_peak(const struct model *m) {
    return m->device->backend->memory_peak(m->device);
}

bool model_has_plans(const struct model *m) {
    return m->device->has_plans;
}

int model_plans_save(const struct model *m, const char *path) {
    return m->device->backend->plans_save(m->device, path);
}

char *model_kernels(const struct model *m) {
    char *text = NULL;

    for (int i = 0; i < m->n_tapes; i++)
        graph_describe(m->tapes[i]->graph, &text);
    return text ? text : xstrdup("");
}
