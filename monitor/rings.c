#include "rings.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "live.h"

#define DEAD_US 3000000  // without a beat; a successor would have come by then
#define WAIT_US 60000000 // --drain: for the database

struct taking {
    struct ingest *ingest;
    int64_t until_us; // commits are tried again until then
};

static bool may_pass(int err) {
    return err == ERR_BUSY || err == ERR_SPACE || err == ERR_IO;
}

static int commit(struct taking *t) {
    int err = ingest_commit(t->ingest);
    while (may_pass(err) && now_us() < t->until_us)
        err = ingest_commit(t->ingest); // SQLite waits inside
    return err;
}

static int take(void *context, const struct msg_peer *from, uint64_t seq, const uint8_t *record,
                size_t size) {
    struct taking *t = context;
    if (!record)
        return commit(t);
    if (!ingest_has_room(t->ingest) || ingest_pending(t->ingest) >= INGEST_ROWS) {
        int err = commit(t);
        if (err)
            return err;
    }
    return ingest_add_body(t->ingest, from, seq, record, size);
}

int rings_take_own(struct ingest *g, struct points *own) {
    struct taking t = {g, 0};
    return points_take(own, take, &t);
}

static bool is_forsaken(const struct live_process *p) {
    int64_t age_us = now_us() - p->page.beat_us;
    return !p->alive && p->page.head != p->page.tail && (age_us > DEAD_US || age_us < 0);
}

// `all`: also those that may come back soon.
static int take_files(struct taking *t, const char *ring_dir, bool all) {
    struct live *live = xmalloc(sizeof *live);
    int err = ERR_OK;
    live_read(ring_dir, live);
    for (int i = 0; !err && i < live->count; i++)
        if (all || is_forsaken(&live->processes[i])) {
            err = points_drain(live->processes[i].path, take, t);
            if (err == ERR_BUSY && !ingest_pending(t->ingest))
                err = ERR_OK; // its process is there and sends it
        }
    free(live);
    return err;
}

int rings_take_dead(struct ingest *g, const char *ring_dir) {
    struct taking t = {g, 0};
    return take_files(&t, ring_dir, false);
}

int rings_take_all(struct ingest *g, const char *ring_dir) {
    struct taking t = {g, now_us() + WAIT_US};
    return take_files(&t, ring_dir, true);
}
