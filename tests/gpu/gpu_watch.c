// Counts and times of ops: what stands behind each entry of a watched device's table.
#include "gpu/gpu_watch_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define LAUNCHES 8 // of a recorded section, more than one
#define SAMPLES 3

// The entries for convolutions are not told their device.
struct gpu_watch *gpu_watch_now;

// ---- taking the time of an op ----

static int launch(struct gpu_watch *w, int times, double *ret_us) {
    int err = device_wait(w->device);
    int64_t start = now_us();

    for (int i = 0; i < times && !err; i++) {
        bool issue;
        err = w->under->section_begin(w->section, &w->values, &issue);
        if (!err)
            err = w->under->section_end(w->section);
    }
    if (!err)
        err = device_wait(w->device);
    *ret_us = (double)(now_us() - start);
    return err;
}

// The median of SAMPLES differences.
static int time_section(struct gpu_watch *w) {
    double us[SAMPLES] = {0}, once = 0, more = 0;
    int err = ERR_OK;

    for (int i = 0; i < SAMPLES && !err; i++) {
        err = launch(w, 1, &once);
        if (!err)
            err = launch(w, 1 + LAUNCHES, &more);
        us[i] = MAX(more - once, 0) / LAUNCHES / w->repeats;
    }
    if (!err)
        w->ops[w->op].us = MAX(MIN(us[0], us[1]), MIN(MAX(us[0], us[1]), us[2]));
    return err;
}

// Round 1 issues the section, round 2 records it; then its time is taken.
static bool next_round(struct gpu_watch *w, int *err) {
    bool issue;

    if (w->round)
        *err = w->under->section_end(w->section);
    if (!*err && w->round == 2) {
        *err = time_section(w);
        w->round = 0;
        return false;
    }
    if (!*err)
        *err = w->under->section_begin(w->section, &w->values, &issue);
    if (*err)
        return false;
    w->round++;
    w->left = w->repeats - 1;
    return true;
}

bool gpu_watch_again(struct gpu_watch *w, int *err) {
    if (*err)
        return false;
    if (w->left-- > 0)
        return true;
    return w->section && next_round(w, err);
}

int gpu_watch_done(struct gpu_watch *w, int err) {
    if (w->section && w->round)
        (void)w->under->section_end(w->section); // the op has failed already
    w->under->section_free(w->section);
    w->section = NULL;
    return err;
}

static struct gpu_op *find(struct gpu_watch *w, const char *name, const char *shape) {
    for (int i = 0; i < w->n_ops; i++)
        if (strcmp(w->ops[i].name, name) == 0 && strcmp(w->ops[i].shape, shape) == 0)
            return &w->ops[i];
    w->ops = xrealloc(w->ops, (size_t)(w->n_ops + 1) * sizeof *w->ops);
    struct gpu_op *op = &w->ops[w->n_ops++];
    *op = (struct gpu_op){.us = -1};
    (void)text_copy(op->name, sizeof op->name, name);
    (void)text_copy(op->shape, sizeof op->shape, shape);
    return op;
}

int gpu_watch_begin(struct gpu_watch *w, const char *name, struct gpu_work work, const char *format,
                    ...) {
    char shape[sizeof w->ops->shape];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(shape, sizeof shape, format,
                    args); // what is cut is told apart by its beginning
    va_end(args);
    struct gpu_op *op = find(w, name, shape);
    op->calls++;
    op->flop = work.flop;
    op->bytes = work.bytes;
    w->op = (int)(op - w->ops);
    w->round = 0;
    w->left = 1;
    if (!w->measure || op->us >= 0)
        return ERR_OK;
    w->left = 0;
    return w->under->section_new(w->device, &w->section);
}

// ---- the watch ----

struct gpu_watch *gpu_watch_open(struct device *device, bool measure, int repeats) {
    struct gpu_watch *w = xcalloc(1, sizeof *w);

    if (gpu_watch_now)
        BUG("two watches at a time");
    *w = (struct gpu_watch){.table = *device->backend,
                            .under = device->backend,
                            .device = device,
                            .measure = measure,
                            .repeats = repeats};
    gpu_watch_fill(&w->table, measure);
    device->backend = &w->table;
    gpu_watch_now = w;
    return w;
}

void gpu_watch_close(struct gpu_watch *w) {
    if (!w)
        return;
    w->device->backend = w->under;
    gpu_watch_now = NULL;
    free(w->convs);
    free(w->ops);
    free(w);
}

void gpu_watch_reset(struct gpu_watch *w) {
    for (int i = 0; i < w->n_ops; i++)
        w->ops[i].calls = 0;
}

int gpu_watch_ops(const struct gpu_watch *w, const struct gpu_op **ret_ops) {
    *ret_ops = w->ops;
    return w->n_ops;
}

double gpu_watch_flop(const struct gpu_watch *w) {
    double flop = 0;

    for (int i = 0; i < w->n_ops; i++)
        flop += w->ops[i].calls * w->ops[i].flop;
    return flop;
}
