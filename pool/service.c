// service - checks each request against the pool's state and turns errors into refusals. The state
// that matters is in the arena; this struct can be lost and made again.
#include "service.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "snapshot.h"

void service_fini(struct service *s) {
    arena_close(s->arena);
    s->arena = NULL;
    free(s->frames);
    s->frames = NULL;
}

static int check_open(const struct service *s) {
    return s->arena ? ERR_OK : err_set(ERR_MISMATCH, "the pool is not open: send pool_open first");
}

// A path of a message must stay inside the run's folder.
static int check_path(const char *field, const char *path) {
    // Simple on purpose: ".." is refused even inside a name.
    if (*path == 0 || *path == '/' || strstr(path, ".."))
        return err_set(ERR_PEER, "%s.path '%s' does not lie in the run's folder", field, path);
    return ERR_OK;
}

// The seed is not compared: it comes from the same settings.
static bool same_shape(const struct arena_shape *a, const struct arena_shape *b) {
    if (a->capacity != b->capacity || a->batch != b->batch || a->n_tables != b->n_tables)
        return false;
    for (uint64_t t = 0; t < a->n_tables; t++)
        if (a->slot_bytes[t] != b->slot_bytes[t])
            return false;
    return true;
}

static int open_pool(struct service *s, const struct msg_pool_open *m, struct msg *ret) {
    struct arena_shape shape = {
        .seed = s->seed, .capacity = m->capacity, .batch = m->batch, .n_tables = m->n_slot_bytes};
    memcpy(shape.slot_bytes, m->slot_bytes, m->n_slot_bytes * sizeof *shape.slot_bytes);
    int err = ERR_OK;
    // A repeated pool_open, after a lost answer, is no error.
    if (s->arena && !same_shape(&shape, arena_shape(s->arena)))
        err = err_set(ERR_MISMATCH, "the pool is open with another shape");
    else if (!s->arena)
        err = arena_open(s->arena_path, &shape, s->memory_bytes, &s->arena);
    if (err)
        return err;
    // Frames are allocated once for the largest batch.
    if (!s->frames)
        s->frames = xcalloc(shape.batch, sizeof *s->frames);
    ret->type = MSG_pool_opened;
    ret->pool_opened.arena_bytes = arena_bytes(&shape);
    return ERR_OK;
}

static int restore_tables(struct service *s, uint64_t owner, const struct msg_pool_restore *m,
                          struct msg *ret) {
    int err = check_open(s);
    if (err)
        return err;
    if (owner == 0)
        return err_set(ERR_PEER, "incarnations count from 1");
    // Without a checkpoint the tables start empty.
    if (m->step == 0 || !*m->path) {
        snapshot_load_empty(s->arena, owner, m->step);
    } else {
        err = check_path("pool_restore", m->path);
        if (!err)
            err = snapshot_load(s->arena, owner, m->step, m->path, m->digest);
    }
    if (err)
        return err;
    ret->type = MSG_pool_restored;
    ret->pool_restored.step = m->step;
    return ERR_OK;
}

static int save_tables(struct service *s, const struct msg_pool_save *m, struct msg *ret) {
    int err = check_open(s);
    if (!err)
        err = check_path("pool_save", m->path);
    if (!err)
        // The digest goes into the checkpoint, and comes back with pool_restore.
        err = snapshot_save(s->arena, m->step, m->path, ret->pool_saved.digest,
                            &ret->pool_saved.bytes);
    if (err)
        return err;
    ret->type = MSG_pool_saved;
    ret->pool_saved.step = m->step;
    return ERR_OK;
}

// ---- exchange ----

// ZeroMQ calls it in its own thread when a frame has been sent.
static void give_back(void *bytes, void *hint) {
    arena_release(hint);
}

// The reply is sent from the arena without a copy. The exchange after the next overwrites these
// slots. By then the trainer has the whole reply, since it asked for the next exchange.
static void lend_reply(struct service *s, uint64_t table, uint64_t count) {
    size_t each = arena_shape(s->arena)->slot_bytes[table];
    for (uint64_t i = 0; i < count; i++) {
        // One hold for each frame; give_back releases it.
        arena_hold(s->arena);
        s->frames[i] =
            (struct link_frame){(void *)arena_reply(s->arena, table, i), each, give_back, s->arena};
    }
}

// Metrics of a step, when every table has done its exchange. They are a function of the tables, so
// a repeated step reports the same values. Only the time differs: it is not replayable.
static void report_step(struct service *s, uint64_t step) {
    uint64_t n = arena_shape(s->arena)->n_tables;
    uint64_t count = 0, stored = 0, filled = 0, age = 0;
    for (uint64_t t = 0; t < n; t++) {
        const struct arena_state *state = arena_state(s->arena, t);
        // A table is behind: the last one of the step reports.
        if (state->step != step)
            return;
        count += state->count;
        stored += state->stored;
        filled += state->filled;
        age += state->age;
    }
    // Means over the tables, so that models with one and with two tables compare.
    points_metric(s->points, "pool/filled", true, step, (double)filled / (double)n);
    points_metric(s->points, "pool/stored_share", true, step, (double)stored / (double)count);
    // Without a returned old image there is no age.
    if (stored)
        points_metric(s->points, "pool/age", true, step, (double)age / (double)stored);
    points_metric(s->points, "pool/exchange_us", false, step, (double)s->exchange_us);
    s->exchange_us = 0;
}

static int exchange(struct service *s, uint64_t owner, const struct msg_exchange *m,
                    const void *frame, size_t size, struct msg *ret) {
    int64_t start = now_us();
    struct arena_request r = {owner, m->table, m->step, m->count, frame};
    int err = check_open(s);
    if (err)
        return err;
    const struct arena_shape *shape = arena_shape(s->arena);
    // The arena checks table and count too. The size of the frame depends on both.
    if (m->table >= shape->n_tables || m->count > shape->batch ||
        size != m->count * shape->slot_bytes[m->table])
        return err_set(ERR_PEER,
                       "exchange of %" PRIu64 " pictures of table %" PRIu64 " brings %zu bytes",
                       m->count, m->table, size);
    err = arena_exchange(s->arena, &r);
    if (err)
        return err;
    const struct arena_state *state = arena_state(s->arena, m->table);
    lend_reply(s, m->table, m->count);
    ret->type = MSG_exchanged;
    ret->exchanged = (struct msg_exchanged){
        .table = m->table,
        .step = m->step,
        .count = m->count,
        .stored = state->stored,
        .filled = state->filled,
        // A mean in whole steps.
        .age = state->stored ? state->age / state->stored : 0,
    };
    // Without report_step: metrics are no part of the exchange.
    s->exchange_us += now_us() - start;
    report_step(s, m->step);
    return ERR_OK;
}

static int answer_request(struct service *s, uint64_t owner, const struct msg *m, const void *frame,
                          size_t size, struct msg *ret) {
    switch (m->type) {
    case MSG_pool_open:
        return open_pool(s, &m->pool_open, ret);
    case MSG_pool_restore:
        return restore_tables(s, owner, &m->pool_restore, ret);
    case MSG_pool_save:
        return save_tables(s, &m->pool_save, ret);
    case MSG_exchange:
        return exchange(s, owner, &m->exchange, frame, size, ret);
    default:
        return err_set(ERR_PEER, "the pool does not answer %s", msg_name(m->type));
    }
}

const struct link_frame *service_answer(struct service *s, uint64_t incarnation,
                                        const struct msg *request, const void *frame, size_t size,
                                        struct msg *ret_reply) {
    int err = answer_request(s, incarnation, request, frame, size, ret_reply);
    // The caller takes as many frames as the answer's type has.
    if (!err)
        return s->frames;
    ret_reply->type = MSG_refuse;
    ret_reply->refuse.err = err;
    (void)text_copy(ret_reply->refuse.text, sizeof ret_reply->refuse.text,
                    err_text()); // may be cut
    return s->frames;
}
