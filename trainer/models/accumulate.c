// Gradients of several batches for one update, as if they had been one batch: their mean.
//
//   sum = g                 the first batch
//   sum = sum + g           the others
//   g = sum / n; update     behind the last
//
// Each of the three is a section of its own, so that the tape's sections are the same for every
// batch.
#include "base/err.h"
#include "base/util.h"
#include "models/recipe.h"

static bool is_wanted(const struct model *m) {
    return m->options.accumulate > 1;
}

static int new_sum(struct model *m, struct gather *g, struct optimizer *o) {
    void *memory;
    int err = m->device->backend->memory_new(m->device, o->count * sizeof(float), &memory);

    if (!err)
        *g = (struct gather){.optimizer = o, .sum = memory};
    return err;
}

int model_gather_new(struct model *m) {
    m->share = (struct share){0, 1};
    if (!is_wanted(m))
        return ERR_OK;
    int err = new_sum(m, &m->gather_g, &m->optimizer_g);
    return err ? err : new_sum(m, &m->gather_d, &m->optimizer_d);
}

static void fini(struct model *m, struct gather *g) {
    for (int i = 0; i < GATHER_SECTIONS && g->optimizer; i++)
        m->device->backend->section_free(g->section[i]);
    if (g->optimizer)
        m->device->backend->memory_free(m->device, g->sum);
}

void model_gather_fini(struct model *m) {
    fini(m, &m->gather_g);
    fini(m, &m->gather_d);
}

size_t model_gather_bytes(const struct model *m) {
    return is_wanted(m)
               ? (m->gather_g.optimizer->count + m->gather_d.optimizer->count) * sizeof(float)
               : 0;
}

void model_set_micro_batch(struct model *m, int i, int n) {
    if (i < 0 || i >= n || n > MAX(m->options.accumulate, 1))
        BUG("batch %d of %d, at most %d", i, n, m->options.accumulate);
    m->share = (struct share){i, n};
}

static int issue(struct model *m, const struct gather *g, enum gather_section kind) {
    const struct backend *b = m->device->backend;
    struct optimizer *o = g->optimizer;

    if (kind == GATHER_FIRST)
        return b->blend(m->device, o->count, 1, o->g, 0, g->sum);
    if (kind == GATHER_MORE)
        return b->blend(m->device, o->count, 1, o->g, 1, g->sum);
    int err = b->blend(m->device, o->count, 1.0 / g->n, g->sum, 0, o->g);
    return err ? err : model_update(m, o);
}

static int run(struct model *m, struct gather *g, enum gather_section kind,
               const struct device_values *values) {
    const struct backend *b = m->device->backend;
    bool wanted = false;
    int err = ERR_OK;

    if (kind == GATHER_LAST && g->n != m->share.n) { // what was recorded divides by another number
        b->section_free(g->section[kind]);
        g->section[kind] = NULL;
        g->n = m->share.n;
    }
    if (!g->section[kind])
        err = b->section_new(m->device, &g->section[kind]);
    if (!err)
        err = b->section_begin(g->section[kind], values, &wanted);
    if (err)
        return err;
    if (wanted)
        err = issue(m, g, kind);
    return device_section_end(m->device, g->section[kind], err);
}

int model_gather(struct model *m, struct optimizer *o, double lr) {
    struct gather *g = o == &m->optimizer_g ? &m->gather_g : &m->gather_d;
    struct device_values values = {.lr = lr, .seed = m->options.seed, .step = m->step};
    int err = run(m, g, m->share.i ? GATHER_MORE : GATHER_FIRST, &values);

    if (err || m->share.i < m->share.n - 1)
        return err;
    values.t = ++o->t;
    return run(m, g, GATHER_LAST, &values);
}

bool model_gathers(const struct model *m) {
    return is_wanted(m);
}
