// A model's steps: images in, sections run, images and losses out.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "models/recipe.h"

static int run_step_part(struct model *m, struct model_part *part, struct optimizer *optimizer,
                         double lr) {
    // With accumulation the update is a section of its own and no part of the tape.
    struct model_run r = {.graph = m->tape->graph,
                          .arena = m->arena,
                          .values = {.lr = lr, .seed = m->seed, .step = m->step},
                          .optimizer = model_accumulates(m) ? NULL : optimizer};
    int err = model_run_part(m, part, &r);

    return err || r.optimizer || !optimizer ? err : model_accumulate(m, optimizer, lr);
}

void model_step_fini(struct model *m, struct tape *t) {
    const struct backend *b = m->device->backend;
    const struct leaving *all[] = {&t->fakes, &t->recs, &t->idts, &t->elements};

    model_drop_part(m, &t->generate);
    model_drop_part(m, &t->update_g);
    model_drop_part(m, &t->update_d);
    for (int d = 0; d < 2; d++) {
        for (unsigned i = 0; i < COUNT(all); i++)
            b->shared_free(m->device, all[i]->host[d]);
        b->memory_free(m->device, t->alpha[d]);
    }
    // loss_fake and penalty are the rest of this allocation.
    b->shared_free(m->device, t->loss);
}

// ---- images ----

static int feed_images(struct model *m, enum model_domain domain, enum pixel_type type,
                       const void *images) {
    if (!m->tape)
        BUG("pictures before model_shape");
    return graph_write(m->tape->graph, m->arena, m->tape->real[domain], type, images);
}

int model_feed(struct model *m, enum model_domain domain, const uint8_t *images) {
    int ahead = m->prefetched[domain];

    // The slot is used up, even if the call below fails.
    m->prefetched[domain] = -1;
    if (ahead >= 0)
        return graph_write_prefetched(m->tape->graph, m->arena, m->tape->real[domain], PIXELS_BYTE,
                                      ahead);
    return feed_images(m, domain, PIXELS_BYTE, images);
}

int model_feed_floats(struct model *m, enum model_domain domain, const float *images) {
    return feed_images(m, domain, PIXELS_FLOAT, images);
}

int model_prefetch(struct model *m, enum model_domain domain, int n, int h, int w,
                   const uint8_t *images) {
    int c = domain == MODEL_A ? m->settings.input_nc : m->settings.output_nc;
    struct tensor_shape s = {n, h, w, c};

    return m->device->backend->image_prefetch(m->device, &s, PIXELS_BYTE, images,
                                              &m->prefetched[domain]);
}

// Lets tensors leave the device; they have left after the fence.
static int send_images(struct model *m, struct leaving *l, const int tensors[2],
                       enum device_fence fence) {
    const struct graph *g = m->tape->graph;
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++) {
        void *memory = l->host[d];
        if (tensors[d] < 0)
            continue;
        // Taken at the first use: training never reads rec and idt, so they cost nothing there.
        if (!memory)
            err = m->device->backend->shared_new(
                m->device, graph_image_bytes(g, tensors[d], l->type), &memory);
        l->host[d] = memory;
        if (!err)
            err = graph_read(g, m->arena, tensors[d], l->type, l->host[d]);
    }
    l->sent = !err;
    return err ? err : m->device->backend->fence_set(m->device, fence);
}

int model_send_fakes(struct model *m) {
    return m->device->asynchronous ? send_images(m, &m->tape->elements, m->tape->fake, FENCE_FAKES)
                                   : ERR_OK;
}

int model_failure(const struct model *m) {
    return m->failed ? err_set(m->failed, "%s", m->failure) : ERR_OK;
}

static void keep_failure(struct model *m, int err) {
    // The first failure is the cause; later ones follow from it.
    if (!err || m->failed)
        return;
    m->failed = err;
    m->failure = xstrdup(err_text());
}

static const void *receive_images(struct model *m, struct leaving *l, const int tensors[2],
                                  enum model_domain d) {
    if (tensors[d] < 0)
        return NULL;
    // The host can address the tensor itself: no copy is made.
    if (!m->device->asynchronous)
        return graph_data(m->tape->graph, m->arena, tensors[d]);
    int err = l->sent ? ERR_OK : send_images(m, l, tensors, FENCE_FAKES);
    if (!err)
        err = m->device->backend->fence_wait(m->device, FENCE_FAKES);
    keep_failure(m, err);
    return l->host[d];
}

const float *model_fake(struct model *m, enum model_domain domain) {
    return m->tape ? receive_images(m, &m->tape->fakes, m->tape->fake, domain) : NULL;
}

size_t model_number_bytes(const struct model *m) {
    return m->device->element_bytes;
}

const void *model_sent_fake(struct model *m, enum model_domain domain) {
    return receive_images(m, &m->tape->elements, m->tape->fake, domain);
}

const float *model_rec(struct model *m, enum model_domain domain) {
    return m->tape ? receive_images(m, &m->tape->recs, m->tape->rec, domain) : NULL;
}

const float *model_idt(struct model *m, enum model_domain domain) {
    return m->tape ? receive_images(m, &m->tape->idts, m->tape->idt, domain) : NULL;
}

// ---- a step ----

void model_set_step(struct model *m, uint64_t step) {
    m->step = step;
}

void model_set_draws(struct model *m, const struct model_draws *draws) {
    m->draws = draws;
}

int model_generate(struct model *m) {
    struct tape *t = m->tape;
    int err = model_failure(m);

    if (!t)
        BUG("model_generate before model_shape");
    t->fakes.sent = t->recs.sent = t->idts.sent = t->elements.sent = false;
    if (!err && m->recipe->prepare)
        err = m->recipe->prepare(m, t);
    // Draws from outside are for one step.
    m->draws = NULL;
    return err ? err : run_step_part(m, &t->generate, NULL, 0);
}

static int end_update(struct model *m, int err) {
    return err ? err : m->device->backend->fence_set(m->device, FENCE_STEP);
}

int model_update_g(struct model *m, double lr) {
    int err = model_failure(m);

    m->average_moved = true;
    return err ? err : end_update(m, run_step_part(m, &m->tape->update_g, &m->optimizer_g, lr));
}

// Gives a discriminator its fakes: the pool's, or those of this step.
static int write_pooled(struct model *m, enum model_domain d, const float *pooled) {
    const struct tape *t = m->tape;
    struct graph_size s = graph_size(t->graph, t->pooled[d]);
    struct tensor_shape shape = {s.n, s.h, s.w, s.c};

    if (pooled)
        return graph_write(t->graph, m->arena, t->pooled[d], PIXELS_FLOAT, pooled);
    // A copy although the numbers are equal: the pooled images are an input at a place of its own.
    return m->device->backend->copy(m->device, graph_data(t->graph, m->arena, t->pooled[d]),
                                    graph_data(t->graph, m->arena, t->fake[d]),
                                    device_tensor_bytes(m->device, &shape, 0));
}

static int update_d(struct model *m, double lr) {
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++)
        // Before the section: inside of it, no copy from the host is allowed.
        if (m->tape->mixed[d] >= 0)
            err = model_draw_penalty(m, (enum model_domain)d);
    return end_update(m, err ? err : run_step_part(m, &m->tape->update_d, &m->optimizer_d, lr));
}

int model_update_d(struct model *m, double lr, const float *pooled_a, const float *pooled_b) {
    const float *pooled[2] = {pooled_a, pooled_b};
    int err = model_failure(m);

    for (int d = 0; d < 2 && !err; d++)
        if (m->tape->pooled[d] >= 0)
            err = write_pooled(m, (enum model_domain)d, pooled[d]);
    return err ? err : update_d(m, lr);
}

int model_update_d_pooled(struct model *m, double lr, const void *const *pooled_a,
                          const void *const *pooled_b) {
    const void *const *pooled[2] = {pooled_a, pooled_b};
    int err = model_failure(m);

    for (int d = 0; d < 2 && !err; d++)
        if (m->tape->pooled[d] >= 0)
            err = graph_write_each(m->tape->graph, m->arena, m->tape->pooled[d], PIXELS_NATIVE,
                                   pooled[d]);
    return err ? err : update_d(m, lr);
}

int model_wait(struct model *m) {
    int err = model_failure(m);

    return err ? err : m->device->backend->fence_wait(m->device, FENCE_STEP);
}

// ---- what came of it ----

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
    if (i >= r->n_losses) // D_A reads images of B
        return m->tape->penalty[i == r->n_losses ? MODEL_B : MODEL_A];
    for (int k = 0; k < LOSSES; k++)
        if (i == r->total_loss && r->total ? r->total >> k & 1 : k == i)
            sum += m->tape->loss[k] + m->tape->loss_fake[k];
    return (r->logged[i] != 0 ? r->logged[i] : 1) * sum;
}

bool model_gradients_finite(const struct model *m) {
    return optimizer_finite(&m->optimizer_g) && optimizer_finite(&m->optimizer_d);
}

int model_weights_finite(struct model *m, bool *ret_finite) {
    bool g, d;
    int err = optimizer_state_finite(&m->optimizer_g, &g);

    if (!err)
        err = optimizer_state_finite(&m->optimizer_d, &d);
    if (!err)
        *ret_finite = g && d;
    return err;
}
