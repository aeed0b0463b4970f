// Gradient accumulation: one update by the gradients of n micro-batches, by their mean.
//
//   sum = g                 the first micro-batch
//   sum = sum + g           the others
//   g = sum / n; update     behind the last
//
// Each of the three is a section of its own. So the tape's own sections are the same for every
// micro-batch, and the device repeats them.
#include "base/err.h"
#include "base/util.h"
#include "models/recipe.h"

bool model_accumulates(const struct model *m) {
    return m->settings.accumulate > 1;
}

static int sum_new(struct model *m, struct accumulator *a, struct optimizer *o) {
    void *memory;
    int err = m->device->backend->memory_new(m->device, o->count * sizeof(float), &memory);

    if (!err)
        *a = (struct accumulator){.optimizer = o, .sum = memory};
    return err;
}

int model_accumulate_new(struct model *m) {
    // Without accumulation each batch is the only one of its update.
    m->micro_batch = (struct micro_batch){0, 1};
    if (!model_accumulates(m))
        return ERR_OK;
    int err = sum_new(m, &m->accumulator_g, &m->optimizer_g);
    return err ? err : sum_new(m, &m->accumulator_d, &m->optimizer_d);
}

static void accumulator_fini(struct model *m, struct accumulator *a) {
    if (!a->optimizer)
        return;
    // Sections before the buffer that their ops use (backend.h).
    for (int i = 0; i < ACCUMULATE_SECTIONS; i++)
        m->device->backend->section_free(a->section[i]);
    m->device->backend->memory_free(m->device, a->sum);
}

void model_accumulate_fini(struct model *m) {
    accumulator_fini(m, &m->accumulator_g);
    accumulator_fini(m, &m->accumulator_d);
}

size_t model_accumulate_bytes(const struct model *m) {
    if (!model_accumulates(m))
        return 0;
    return (m->optimizer_g.count + m->optimizer_d.count) * sizeof(float);
}

void model_set_micro_batch(struct model *m, int i, int n) {
    // The caller may gather fewer batches than the setting allows.
    if (i < 0 || i >= n || n > MAX(m->settings.accumulate, 1))
        BUG("batch %d of %d, at most %d", i, n, (int)m->settings.accumulate);
    m->micro_batch = (struct micro_batch){i, n};
}

int model_update(struct model *m, struct optimizer *o) {
    int err = optimizer_update(o);

    return err || o != &m->optimizer_g ? err : model_average_move(m);
}

static int issue_section(struct model *m, const struct accumulator *a,
                         enum accumulate_section kind) {
    const struct backend *b = m->device->backend;
    struct optimizer *o = a->optimizer;

    if (kind == ACCUMULATE_FIRST)
        // A copy while the sum is finite; 0 times a NaN of the step before stays NaN.
        return b->blend(m->device, o->count, 1, o->g, 0, a->sum);
    if (kind == ACCUMULATE_NEXT)
        return b->blend(m->device, o->count, 1, o->g, 1, a->sum);
    int err = b->blend(m->device, o->count, 1.0 / a->n, a->sum, 0, o->g);
    return err ? err : model_update(m, o);
}

static int run_section(struct model *m, struct accumulator *a, enum accumulate_section kind,
                       const struct device_values *values) {
    const struct backend *b = m->device->backend;
    bool wanted = false;
    int err = ERR_OK;

    // The recorded section divides by the n of its recording.
    if (kind == ACCUMULATE_UPDATE && a->n != m->micro_batch.n) {
        b->section_free(a->section[kind]);
        a->section[kind] = NULL;
        a->n = m->micro_batch.n;
    }
    if (!a->section[kind])
        err = b->section_new(m->device, &a->section[kind]);
    if (!err)
        err = b->section_begin(a->section[kind], values, &wanted);
    if (err)
        return err;
    if (wanted)
        err = issue_section(m, a, kind);
    return device_section_end(m->device, a->section[kind], err);
}

int model_accumulate(struct model *m, struct optimizer *o, double lr) {
    struct accumulator *a = o == &m->optimizer_g ? &m->accumulator_g : &m->accumulator_d;
    struct device_values values = {.lr = lr, .seed = m->seed, .step = m->step};
    int err = run_section(m, a, m->micro_batch.i ? ACCUMULATE_NEXT : ACCUMULATE_FIRST, &values);

    if (err || m->micro_batch.i < m->micro_batch.n - 1)
        return err;
    // t counts updates, not micro-batches: Adam's bias correction depends on it.
    values.t = ++o->t;
    return run_section(m, a, ACCUMULATE_UPDATE, &values);
}
