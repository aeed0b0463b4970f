// Parts of a tape as sections of the device: recorded at their first run, repeated later. A file of
// its own, because steps, translations and the arena all use it.
#include "base/err.h"
#include "models/recipe.h"

void model_drop_part(struct model *m, struct model_part *part) {
    m->device->backend->section_free(part->section);
    part->section = NULL;
}

static int issue_ops(struct model *m, const struct model_part *part, const struct model_run *r) {
    int err = graph_run(r->graph, r->arena, part->begin, part->end, &m->hook);

    return err || !r->optimizer ? err : model_update(m, r->optimizer);
}

int model_run_part(struct model *m, struct model_part *part, struct model_run *r) {
    const struct backend *b = m->device->backend;
    bool wanted = false;
    int err = part->section ? ERR_OK : b->section_new(m->device, &part->section);

    // Adam's t is a value of the section: the device repeats the section without calling Adam.
    if (!err && r->optimizer)
        r->values.t = ++r->optimizer->t;
    if (!err)
        err = b->section_begin(part->section, &r->values, &wanted);
    if (err)
        return err;
    // The counters are the host's. A repeated section does not move them.
    graph_count_batches(r->graph, part->begin, part->end);
    // On a device that records, the ops are issued once, and later runs repeat them.
    if (wanted)
        err = issue_ops(m, part, r);
    return device_section_end(m->device, part->section, err);
}
