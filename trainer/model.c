// The part of a model that no recipe changes: nets, optimizers, tapes by shape, the arena.
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "init.h"
#include "model_recipe.h"
#include "penalty.h"
#include "rng.h"
#include "util.h"

static const char *const gan_modes[] = {
    [GAN_LSGAN] = "lsgan",
    [GAN_VANILLA] = "vanilla",
    [GAN_WGANGP] = "wgangp_no_penalty",
    [GAN_NONSATURATING] = "nonsaturating",
};

// "wgangp" is wgangp_no_penalty with the penalty.
static int parse_gan_mode(struct model *m, const struct model_options *o) {
    const char *text = strcmp(o->gan_mode, "wgangp") == 0 ? gan_modes[GAN_WGANGP] : o->gan_mode;

    m->penalized = text != o->gan_mode;
    for (unsigned i = 0; i < COUNT(gan_modes); i++)
        if (strcmp(text, gan_modes[i]) == 0) {
            m->gan_mode = (enum gan_mode)i;
            return ERR_OK;
        }
    return err_set(ERR_CONFIG,
                   "gan_mode \"%s\": lsgan, vanilla, wgangp, wgangp_no_penalty or nonsaturating",
                   text);
}

static int find_recipe(const struct model_options *o, const struct recipe **ret_recipe) {
    static const struct recipe *const recipes[] = {&recipe_cyclegan, &recipe_pix2pix, &recipe_cut};

    if (o->world > 1)
        return err_set(ERR_CONFIG, "%d ranks: this build trains with one", o->world);
    const char *name = strcmp(o->model, "fastcut") == 0 ? "cut" : o->model; // other settings only
    for (unsigned i = 0; i < COUNT(recipes); i++)
        if (strcmp(name, recipes[i]->name) == 0) {
            *ret_recipe =
                recipes[i] == &recipe_cut && o->cut.nce_idt ? &recipe_cut_idt : recipes[i];
            return ERR_OK;
        }
    return err_set(ERR_CONFIG, "model \"%s\": cycle_gan, pix2pix, cut or fastcut", o->model);
}

// Places the parameters of nets [first, end) in one optimizer.
static void optimizer_new(struct model *m, struct optimizer *o, int first, int end) {
    size_t size = 0;

    for (int i = first; i < end; i++)
        net_reserve(m->nets[i], &size);
    optimizer_init(o, m->device, size, m->options.beta1, m->options.beta2);
    for (int i = first; i < end; i++) {
        net_bind(m->nets[i], o);
        m->public_nets[i] = (struct model_net){.name = m->recipe->nets[i],
                                               .n_params = net_n_params(m->nets[i]),
                                               .params = net_params(m->nets[i]),
                                               .adam_steps = &o->t};
    }
}

int model_new(const struct model_options *options, struct model **ret_model) {
    struct device_options device = {
        .name = options->device, .threads = options->threads, .winograd = options->winograd};
    struct model *m = xcalloc(1, sizeof *m);
    int err = find_recipe(options, &m->recipe);

    if (err)
        goto fail;
    m->options = *options;
    m->options.shapes = MAX(options->shapes, 1);
    m->hook = (struct graph_hook){options->between_ops, options->context};
    m->tapes = xcalloc((size_t)m->options.shapes, sizeof(struct tape *));
    err = parse_gan_mode(m, options);
    if (err)
        goto fail;
    err = m->recipe->make_nets(m, options);
    if (err)
        goto fail;
    err = device_open(&device, &m->device);
    if (err)
        goto fail;
    optimizer_new(m, &m->optimizer_g, 0, m->recipe->n_with_g);
    optimizer_new(m, &m->optimizer_d, m->recipe->n_with_g, m->recipe->n_nets);
    *ret_model = m;
    return ERR_OK;

fail:
    model_free(m); // takes a half-made model
    return err;
}

static void tape_free(struct model *m, struct tape *t) {
    if (!t)
        return;
    if (m->recipe->tape_fini)
        m->recipe->tape_fini(m, t);
    graph_free(t->graph);
    free(t);
}

void model_free(struct model *m) {
    if (!m)
        return;
    for (int i = 0; i < m->n_tapes; i++)
        tape_free(m, m->tapes[i]);
    for (int i = 0; i < TRANSLATIONS; i++)
        graph_free(m->translations[i].graph);
    for (int i = 0; i < NETS_MAX; i++)
        net_free(m->nets[i]);
    optimizer_fini(&m->optimizer_g);
    optimizer_fini(&m->optimizer_d);
    if (m->device) {
        m->device->backend->memory_free(m->device, m->arena);
        m->device->backend->memory_free(m->device, m->translation_arena);
    }
    device_close(m->device);
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
            args.sub = (uint32_t)i << 16 | (uint32_t)k;
            init_param(&args, p);
        }
    return model_weights_changed(m);
}

int model_n_nets(const struct model *m) {
    return m->recipe->n_nets;
}

struct model_net *model_net(struct model *m, int i) {
    return &m->public_nets[i];
}

// Refreshes nets [first, end).
static int refresh(struct model *m, int first, int end) {
    for (int i = first; i < end; i++) {
        int err = net_refresh(m->nets[i]);
        if (err)
            return err;
    }
    return ERR_OK;
}

int model_weights_changed(struct model *m) {
    return refresh(m, 0, m->recipe->n_nets);
}

int model_arena_grow(struct model *m, const struct graph *g, void **arena, size_t *bytes) {
    size_t need = graph_arena_bytes(g), total;

    if (need <= *bytes)
        return ERR_OK;
    total = model_memory_bytes(m) - *bytes + need;
    if (m->options.memory_bytes && total > m->options.memory_bytes)
        return err_set(ERR_LIMIT, "this batch needs %.0f MiB, the limit is %.0f MiB",
                       (double)total / 1048576, (double)m->options.memory_bytes / 1048576);
    m->device->backend->memory_free(m->device, *arena);
    *arena = m->device->backend->memory_new(m->device, need);
    *bytes = need;
    return ERR_OK;
}

static struct tape *tape_find(const struct model *m, const struct tape_shape *s) {
    for (int i = 0; i < m->n_tapes; i++)
        if (memcmp(&m->tapes[i]->shape, s, sizeof *s) == 0)
            return m->tapes[i];
    return NULL;
}

// Makes room for one more by dropping the one that was not used for longest.
static void tape_evict(struct model *m) {
    int oldest = 0;

    if (m->n_tapes < m->options.shapes)
        return;
    for (int i = 1; i < m->n_tapes; i++)
        if (m->tapes[i]->used < m->tapes[oldest]->used)
            oldest = i;
    if (m->tape == m->tapes[oldest])
        m->tape = NULL;
    tape_free(m, m->tapes[oldest]);
    m->tapes[oldest] = m->tapes[--m->n_tapes];
}

static int tape_new(struct model *m, const struct tape_shape *s, struct tape **ret_tape) {
    struct tape *t = xcalloc(1, sizeof *t);
    int err;

    t->shape = *s;
    t->graph = graph_new(m->device);
    for (int d = 0; d < 2; d++)
        t->pooled[d] = t->fake[d] = t->rec[d] = t->idt[d] = t->seen[d] = t->mixed[d] = -1;
    err = m->recipe->build(m, t);
    if (err)
        goto fail;
    graph_place(t->graph, false);
    err = model_arena_grow(m, t->graph, &m->arena, &m->arena_bytes);
    if (err)
        goto fail;
    err = model_weights_changed(m); // its convolutions may have brought new packings
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
    if (!t) {
        err = tape_new(m, &s, &t);
        if (err)
            return err;
        tape_evict(m);
        m->tapes[m->n_tapes++] = t;
    }
    t->used = ++m->clock;
    m->tape = t;
    return ERR_OK;
}

float *model_data(const struct model *m, int tensor) {
    if (!m->tape)
        BUG("no shape has been selected");
    return tensor < 0 ? NULL : graph_data(m->tape->graph, m->arena, tensor);
}

float *model_input(struct model *m, enum model_domain domain) {
    return m->tape ? model_data(m, m->tape->real[domain]) : NULL;
}

const float *model_fake(struct model *m, enum model_domain domain) {
    return m->tape ? model_data(m, m->tape->fake[domain]) : NULL;
}

const float *model_rec(struct model *m, enum model_domain domain) {
    return m->tape ? model_data(m, m->tape->rec[domain]) : NULL;
}

const float *model_idt(struct model *m, enum model_domain domain) {
    return m->tape ? model_data(m, m->tape->idt[domain]) : NULL;
}

void model_set_step(struct model *m, uint64_t step) {
    m->step = step;
}

void model_set_draws(struct model *m, const struct model_draws *draws) {
    m->draws = draws;
}

static int run(struct model *m, const struct ops *ops) {
    graph_set_draws(m->tape->graph, m->options.seed, m->step);
    return graph_run(m->tape->graph, m->arena, ops->begin, ops->end, &m->hook);
}

int model_generate(struct model *m) {
    if (!m->tape)
        BUG("model_generate before model_shape");
    if (m->recipe->prepare)
        m->recipe->prepare(m, m->tape);
    m->draws = NULL;
    return run(m, &m->tape->generate);
}

int model_update_g(struct model *m, double lr) {
    int err = run(m, &m->tape->update_g);

    if (err)
        return err;
    err = optimizer_step(&m->optimizer_g, lr);
    if (err)
        return err;
    return refresh(m, 0, m->recipe->n_with_g);
}

int model_add_penalty(struct model *m, struct tape *t, const struct net *discriminator,
                      enum model_domain domain) {
    int c = m->options.input_nc + m->options.output_nc, ignored;
    struct graph_size real, fake;

    if (!m->penalized)
        return ERR_OK;
    real = graph_size(t->graph, t->real[domain]);
    fake = graph_size(t->graph, t->pooled[domain]);
    if (real.h != fake.h || real.w != fake.w)
        return err_set(ERR_SHAPE,
                       "fakes of %dx%d, real pictures of %dx%d: gan_mode wgangp mixes the two, so "
                       "they need one size",
                       fake.w, fake.h, real.w, real.h);
    if (m->recipe != &recipe_pix2pix)
        c = real.c;
    t->mixed[domain] = graph_input(t->graph, t->shape.n, t->shape.h[domain], t->shape.w[domain], c);
    return penalty_append(t->graph, discriminator, t->mixed[domain], m->options.lambda_gp,
                          &t->penalty[domain], &ignored);
}

// Pictures on the way from fake to real: a real + (1 - a) fake, a by chance for each. Channels that
// the discriminator sees in front of the picture are those of A.
static void mix(const struct model *m, enum model_domain domain) {
    const struct tape *t = m->tape;
    struct graph_size s = graph_size(t->graph, t->mixed[domain]);
    size_t c = (size_t)graph_size(t->graph, t->real[domain]).c, front = (size_t)s.c - c;
    size_t pixels = (size_t)s.h * (size_t)s.w;
    const float *a = model_data(m, t->real[MODEL_A]), *real = model_data(m, t->real[domain]);
    const float *fake = model_data(m, t->pooled[domain]);
    float *to = model_data(m, t->mixed[domain]);

    for (size_t p = 0; p < (size_t)s.n * pixels; p++) {
        float share = (float)rng_uniform(m->options.seed, RNG_PENALTY, m->step,
                                         (uint32_t)domain << 16 | (uint32_t)(p / pixels));
        memcpy(to + p * (front + c), a + p * front, front * sizeof *to);
        for (size_t i = 0; i < c; i++)
            to[p * (front + c) + front + i] =
                share * real[p * c + i] + (1 - share) * fake[p * c + i];
    }
}

int model_update_d(struct model *m, double lr, const float *pooled_a, const float *pooled_b) {
    const float *pooled[2] = {pooled_a, pooled_b};
    int err;

    for (int d = 0; d < 2; d++) {
        if (m->tape->pooled[d] < 0)
            continue;
        struct graph_size s = graph_size(m->tape->graph, m->tape->pooled[d]);
        size_t count = (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.c;
        memcpy(model_data(m, m->tape->pooled[d]), pooled[d], count * sizeof(float));
    }
    for (int d = 0; d < 2; d++)
        if (m->tape->mixed[d] >= 0)
            mix(m, (enum model_domain)d);
    err = run(m, &m->tape->update_d);
    if (err)
        return err;
    err = optimizer_step(&m->optimizer_d, lr);
    if (err)
        return err;
    return refresh(m, m->recipe->n_with_g, m->recipe->n_nets);
}

bool model_d_first(const struct model *m) {
    return m->recipe->d_first;
}

int model_n_generators(const struct model *m) {
    return m->recipe->n_generators;
}

// Penalties come behind the recipe's own losses, one for each discriminator.
static int n_penalties(const struct model *m) {
    return m->penalized ? m->recipe->n_nets - m->recipe->n_with_g : 0;
}

int model_n_losses(const struct model *m) {
    return m->recipe->n_losses + n_penalties(m);
}

const char *model_loss_name(const struct model *m, int i) {
    static const char *const penalties[] = {"gp_A", "gp_B"};

    if (i < m->recipe->n_losses)
        return m->recipe->losses[i];
    return n_penalties(m) == 1 ? "gp" : penalties[i - m->recipe->n_losses];
}

double model_loss(const struct model *m, int i) {
    const struct recipe *r = m->recipe;
    double sum = 0;

    if (!m->tape)
        return 0;
    if (i >= r->n_losses) // D_A judges pictures of B
        return m->tape->penalty[i == r->n_losses ? MODEL_B : MODEL_A];
    for (int k = 0; k < LOSSES; k++)
        if (i == r->total_loss && r->total ? r->total >> k & 1 : k == i)
            sum += m->tape->loss[k] + m->tape->loss_fake[k];
    return (r->logged[i] != 0 ? r->logged[i] : 1) * sum;
}

bool model_gradients_finite(const struct model *m) {
    return optimizer_finite(&m->optimizer_g) && optimizer_finite(&m->optimizer_d);
}

bool model_weights_finite(const struct model *m) {
    return optimizer_state_finite(&m->optimizer_g) && optimizer_state_finite(&m->optimizer_d);
}

size_t model_memory_bytes(const struct model *m) {
    size_t bytes = m->arena_bytes + m->translation_arena_bytes + optimizer_bytes(&m->optimizer_g) +
                   optimizer_bytes(&m->optimizer_d);

    for (int i = 0; i < m->recipe->n_nets; i++)
        bytes += net_bytes(m->nets[i]);
    return bytes;
}

char *model_kernels(const struct model *m) {
    char *text = NULL;

    for (int i = 0; i < m->n_tapes; i++)
        graph_describe(m->tapes[i]->graph, &text);
    return text ? text : xstrdup("");
}
