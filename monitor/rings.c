#include "rings.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "live.h"

#define DEAD_US 3000000  // without a heartbeat; a restart would have happened by then
#define WAIT_US 60000000 // of --drain, for the database

struct taking {
    struct ingest *ingest;
    int64_t until_us; // commits are tried again until then
};

static bool is_temporary(int err) {
    return err == ERR_BUSY || err == ERR_SPACE || err == ERR_IO;
}

static int commit_until(struct taking *t) {
    int err = ingest_commit(t->ingest);
    while (is_temporary(err) && now_us() < t->until_us)
        err = ingest_commit(t->ingest); // no busy loop: SQLite waits inside (SCHEMA_BUSY_MS)
    return err;
}

// The callback of points_drain; `record` NULL asks to make everything before it durable.
static int take_record(void *context, const struct msg_peer *from, uint64_t seq,
                       const uint8_t *record, size_t size) {
    struct taking *t = context;
    if (!record)
        return commit_until(t);
    if (!ingest_has_room(t->ingest) || ingest_pending(t->ingest) >= INGEST_ROWS) {
        int err = commit_until(t);
        if (err)
            return err;
    }
    return ingest_add_body(t->ingest, from, seq, record, size);
}

int rings_take_own(struct ingest *g, struct points *own) {
    struct taking t = {g, 0};
    return points_take(own, take_record, &t);
}

// The age is negative after a reboot, when the monotonic clock has started again.
static bool is_abandoned(const struct live_process *p) {
    int64_t age_us = now_us() - p->page.beat_us;
    return !p->alive && p->page.head != p->page.tail && (age_us > DEAD_US || age_us < 0);
}

// `all`: also rings of processes that may be restarted soon.
static int take_files(struct taking *t, const char *ring_dir, bool all) {
    struct live *live = xmalloc(sizeof *live);
    int err = ERR_OK;
    live_read(ring_dir, live);
    for (int i = 0; !err && i < live->count; i++)
        if (all || is_abandoned(&live->processes[i])) {
            err = points_drain(live->processes[i].path, take_record, t);
            if (err == ERR_BUSY && !ingest_pending(t->ingest))
                err = ERR_OK; // the ring is locked: its process lives and sends it
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
