// One generator alone, on tapes and in an arena of its own: a training step may be half done.
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "models/recipe.h"

static struct translation *translation_find(struct model *m, int net, int n, int h, int w) {
    for (int i = 0; i < TRANSLATIONS; i++) {
        struct translation *t = &m->translations[i];
        if (t->graph && t->net == net && t->n == n && t->h == h && t->w == w)
            return t;
    }
    return NULL;
}

// A free slot, or that of the tape that was not used for longest.
// A few shapes are kept, because the samples of a run have few sizes.
static struct translation *translation_claim(struct model *m) {
    struct translation *oldest = &m->translations[0];

    for (int i = 1; i < TRANSLATIONS; i++)
        if (m->translations[i].used < oldest->used)
            oldest = &m->translations[i];
    model_translation_fini(m, oldest);
    return oldest;
}

void model_translation_fini(struct model *m, struct translation *t) {
    if (!t->graph)
        return;
    model_drop_part(m, &t->all);
    m->device->backend->shared_free(m->device, t->host);
    graph_free(t->graph);
    // used is 0 then, so the slot is the first to be claimed.
    memset(t, 0, sizeof *t);
}

static int translation_arena(struct model *m, const struct translation *t) {
    struct model_batch batch = {"a translation", t->n, t->h, t->w};

    return model_arena_grow(m, &batch, t->graph, &m->translation_arena,
                            &m->translation_arena_bytes);
}

static int translation_build(struct model *m, struct translation *t) {
    const struct net *net = model_generator(m, t->net);
    int c = t->net == 0 ? m->settings.input_nc : m->settings.output_nc;
    int err = net_check_size(net, t->h, t->w);

    if (err)
        return err;
    t->x = graph_input(t->graph, t->n, t->h, t->w, c);
    // Running statistics stay as they are: a rendered sample must not change training.
    err = net_forward(net, t->graph, t->x, NET_ALONE, &t->y);
    if (err)
        return err;
    graph_keep(t->graph, t->y);
    graph_place(t->graph, false);
    t->all.end = graph_n_ops(t->graph);
    err = translation_arena(m, t);
    if (err)
        return err;
    if (m->device->asynchronous) {
        void *memory;
        err = m->device->backend->shared_new(m->device, graph_count(t->graph, t->y) * sizeof(float),
                                             &memory);
        if (err)
            return err;
        t->host = memory;
    }
    // New convolutions may need packed copies that no refresh has filled yet.
    return optimizer_refresh(m->settings.ema > 0 ? &m->average : &m->optimizer_g);
}

static int translation_add(struct model *m, const struct translation *want,
                           struct translation **ret) {
    struct translation *t = translation_claim(m);
    int err;

    *t = *want;
    // From here on a failure frees the slot.
    t->graph = graph_new(m->device);
    err = translation_build(m, t);
    if (err) {
        model_translation_fini(m, t);
        return err;
    }
    *ret = t;
    return ERR_OK;
}

// The answer, as floats of the host.
static int fetch_answer(struct model *m, const struct translation *t, const float **ret_y) {
    if (!m->device->asynchronous) {
        *ret_y = graph_data(t->graph, m->translation_arena, t->y);
        return ERR_OK;
    }
    *ret_y = t->host;
    int err = graph_read(t->graph, m->translation_arena, t->y, PIXELS_FLOAT, t->host);
    return err ? err : device_wait(m->device);
}

int model_translate(struct model *m, int net, int n, int h, int w, const float *x, float *ret_y) {
    struct translation *t = translation_find(m, net, n, h, w);
    const float *y;
    int err;

    if (net < 0 || net >= m->recipe->n_generators)
        return err_set(ERR_CONFIG, "%s translates in one direction only", m->recipe->name);
    if (n < 1)
        return err_set(ERR_SHAPE, "a batch of %d pictures: 1 or more", n);
    if (n > 1 && net_couples_images(m->nets[net])) { // no image depends on its neighbours
        size_t in = (size_t)h * (size_t)w *
                    (size_t)(net == 0 ? m->settings.input_nc : m->settings.output_nc);
        size_t out = (size_t)h * (size_t)w *
                     (size_t)(net == 0 ? m->settings.output_nc : m->settings.input_nc);
        for (int i = 0; i < n; i++) {
            err = model_translate(m, net, 1, h, w, x + (size_t)i * in, ret_y + (size_t)i * out);
            if (err)
                return err;
        }
        return ERR_OK;
    }
    if (!t) {
        struct translation want = {.net = net, .n = n, .h = h, .w = w};
        err = translation_add(m, &want, &t);
        if (err)
            return err;
    }
    t->used = ++m->clock;
    err = translation_arena(m, t); // a larger one may have lost it
    if (!err)
        err = model_generator_refresh(m);
    if (!err)
        err = graph_write(t->graph, m->translation_arena, t->x, PIXELS_FLOAT, x);
    struct model_run run = {.graph = t->graph, .arena = m->translation_arena};
    if (!err)
        err = model_run_part(m, &t->all, &run);
    if (!err)
        err = fetch_answer(m, t, &y);
    if (err)
        return err;
    memcpy(ret_y, y, graph_count(t->graph, t->y) * sizeof *ret_y);
    return ERR_OK;
}
