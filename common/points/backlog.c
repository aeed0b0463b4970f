// backlog - ring first, spill file when the ring is full. Order is kept: while the spill holds
// records, new ones go behind it.
#include "points/backlog.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/util.h"

// A piece of the spill that is moved at once; a record is far smaller.
#define CHUNK 65536

static void init_lock(struct backlog *b) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    // Monotonic: a change of the wall clock must not prolong a wait.
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&b->emptied, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&b->lock, NULL); // none of these can fail on Linux
}

static char *spill_path(const char *ring_path) {
    size_t n = strlen(ring_path);
    if (n > 5 && strcmp(ring_path + n - 5, ".ring") == 0)
        n -= 5;
    return xasprintf("%.*s.spill", (int)n, ring_path);
}

// Moves records that fit from the spill into the ring. The spill's numbers follow the ring's. If
// the ring file was lost and made anew, there is a gap, and ring_jump skips it.
static void refill(struct backlog *b) {
    while (!spill_is_empty(&b->spill)) {
        // Whole records only: ring_next stops at a record that the chunk cuts.
        size_t n = spill_read(&b->spill, b->chunk, CHUNK), offset = 0, moved = 0;
        struct ring_record record;
        while (ring_next(b->chunk, n, &offset, &record) && ring_jump(&b->ring, record.seq) &&
               ring_append(&b->ring, record.body, record.length))
            moved = offset;
        // The ring is full again.
        if (!moved)
            return;
        spill_take(&b->spill, moved);
    }
}

int backlog_open(const char *ring_path, size_t ring_bytes, size_t spill_bytes, int wait_ms,
                 struct backlog *ret_backlog) {
    struct backlog *b = ret_backlog;
    *b = (struct backlog){0};
    int err = ring_open(ring_path, ring_bytes, wait_ms, &b->ring);
    if (err)
        return err;
    char *path = spill_path(ring_path);
    // Records below the ring's head were moved before the last process ended.
    err = spill_open(path, spill_bytes, b->ring.head.seq, &b->spill);
    free(path);
    if (err) {
        ring_close(&b->ring);
        return err;
    }
    init_lock(b);
    b->chunk = xmalloc(CHUNK);
    // The predecessor may have left records in the spill.
    refill(b);
    return ERR_OK;
}

void backlog_close(struct backlog *b) {
    if (!b->chunk)
        return;
    ring_close(&b->ring);
    spill_close(&b->spill);
    free(b->chunk);
    (void)pthread_cond_destroy(&b->emptied);
    (void)pthread_mutex_destroy(&b->lock);
    *b = (struct backlog){0};
}

enum backlog_put backlog_put(struct backlog *b, const uint8_t *body, size_t length) {
    enum backlog_put result = BACKLOG_KEPT;
    (void)pthread_mutex_lock(&b->lock);
    bool spilling = !spill_is_empty(&b->spill);
    // While the spill has records, room in the ring is for those: they are older.
    if (spilling || !ring_append(&b->ring, body, length)) {
        uint64_t seq = spilling ? b->spill.next : b->ring.head.seq;
        if (!spill_append(&b->spill, seq, body, length)) {
            // Other processes read this counter in the page.
            (void)__atomic_add_fetch(&b->ring.page->lost, 1, __ATOMIC_RELAXED);
            result = BACKLOG_LOST;
        } else if (!spilling) {
            result = BACKLOG_SPILL_BEGINS;
        }
    }
    (void)pthread_mutex_unlock(&b->lock);
    return result;
}

uint64_t backlog_lost(struct backlog *b) {
    uint64_t *told = ring_lost_reported(&b->ring), *lost = &b->ring.page->lost;
    if (__atomic_load_n(lost, __ATOMIC_RELAXED) == __atomic_load_n(told, __ATOMIC_RELAXED))
        // The producer calls this for every record.
        return 0; // the usual case needs no lock
    (void)pthread_mutex_lock(&b->lock);
    uint64_t n = *lost - *told;
    __atomic_store_n(told, *lost, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&b->lock);
    return n;
}

void backlog_lost_again(struct backlog *b, uint64_t n) {
    // The report itself was lost, so these losses are reported again later.
    (void)pthread_mutex_lock(&b->lock);
    (void)__atomic_sub_fetch(ring_lost_reported(&b->ring), n, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&b->lock);
}

bool backlog_copy(struct backlog *b, struct ring_place *place, struct backlog_batch *ret_batch) {
    (void)pthread_mutex_lock(&b->lock);
    struct ring_place head = b->ring.head;
    // Freed records cannot be sent again; the sender's place may be behind.
    if (place->seq < b->ring.tail.seq)
        *place = b->ring.tail;
    (void)pthread_mutex_unlock(&b->lock);
    // Without the lock: up to `head` the ring changes only in backlog_ack, which this thread calls.
    ret_batch->count = BACKLOG_BATCH_RECORDS;
    ret_batch->size = ring_copy(&b->ring, place, head, BACKLOG_BATCH_BYTES, &ret_batch->first,
                                &ret_batch->count, ret_batch->bytes);
    return ret_batch->count != 0;
}

struct ring_place backlog_oldest(struct backlog *b) {
    (void)pthread_mutex_lock(&b->lock);
    struct ring_place oldest = b->ring.tail;
    (void)pthread_mutex_unlock(&b->lock);
    return oldest;
}

uint64_t backlog_count_from(struct backlog *b, uint64_t seq) {
    (void)pthread_mutex_lock(&b->lock);
    uint64_t n = b->ring.head.seq > seq ? b->ring.head.seq - seq : 0;
    (void)pthread_mutex_unlock(&b->lock);
    return n;
}

void backlog_ack(struct backlog *b, uint64_t last) {
    (void)pthread_mutex_lock(&b->lock);
    ring_free_to(&b->ring, last);
    // Room in the ring is for the spill first.
    refill(b);
    if (ring_is_empty(&b->ring)) {
        // A ring that was made anew has smaller numbers than the database. It continues behind
        // these.
        (void)ring_jump(&b->ring, last + 1);
        (void)pthread_cond_broadcast(&b->emptied);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

bool backlog_wait_empty(struct backlog *b, int timeout_ms) {
    int64_t until = now_us() + timeout_ms * (int64_t)1000;
    // An absolute time of the monotonic clock, as init_lock has chosen.
    struct timespec t = {until / 1000000, until % 1000000 * 1000};
    int failure = 0;
    (void)pthread_mutex_lock(&b->lock);
    while (!ring_is_empty(&b->ring) && !failure && timeout_ms > 0)
        failure = pthread_cond_timedwait(&b->emptied, &b->lock, &t);
    bool empty = ring_is_empty(&b->ring);
    (void)pthread_mutex_unlock(&b->lock);
    return empty;
}

// Without a sender, in the calling thread: copy, hand over, acknowledge.
int backlog_drain(struct backlog *b, const struct msg_peer *from,
                  int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                              const uint8_t *record, size_t size),
                  void *context) {
    struct backlog_batch *batch = xmalloc(sizeof *batch);
    struct ring_place place = backlog_oldest(b);
    int err = ERR_OK;
    while (!err && !backlog_wait_empty(b, 0)) {
        while (!err && backlog_copy(b, &place, batch)) {
            size_t offset = 0;
            struct ring_record record;
            while (!err && ring_next(batch->bytes, batch->size, &offset, &record))
                err = take(context, from, record.seq, record.body, record.length);
        }
        if (!err)
            // A record NULL asks for durability; only then are records freed.
            err = take(context, from, place.seq - 1, NULL, 0);
        if (!err)
            backlog_ack(b, place.seq - 1);
    }
    free(batch);
    return err;
}
