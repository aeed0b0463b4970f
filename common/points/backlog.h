// backlog - the records of one process that the monitor has not committed yet: a ring file, and a
// spill file for what does not fit into it. Any thread may call any function.
#ifndef BACKLOG_H
#define BACKLOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/msg.h"
#include "points/ring.h"
#include "points/spill.h"

// Bounds of one message to the monitor.
#define BACKLOG_BATCH_BYTES 65536
#define BACKLOG_BATCH_RECORDS 256

// `lock` guards ring and spill; `emptied` tells backlog_wait_empty.
struct backlog {
    pthread_mutex_t lock;
    pthread_cond_t emptied;
    struct ring ring;
    struct spill spill;
    uint8_t *chunk; // buffer between spill and ring
};

// DIR/NAME.ring and DIR/NAME.spill. Errors as ring_open and spill_open.
int backlog_open(const char *ring_path, size_t ring_bytes, size_t spill_bytes, int wait_ms,
                 struct backlog *ret_backlog);
// Records that are left stay in both files.
void backlog_close(struct backlog *b);

enum backlog_put { BACKLOG_KEPT, BACKLOG_SPILL_BEGINS, BACKLOG_LOST };

// The record is in a file when it returns, unless BACKLOG_LOST. BACKLOG_SPILL_BEGINS: it is the
// first one in the spill file.
enum backlog_put backlog_put(struct backlog *b, const uint8_t *body, size_t length);
// The number of losses that have not been reported; they count as reported now.
uint64_t backlog_lost(struct backlog *b);
// Undoes backlog_lost after the report itself was lost.
void backlog_lost_again(struct backlog *b, uint64_t n);

// Records of one message, as ring.h draws them.
struct backlog_batch {
    uint64_t first, count; // numbers first .. first + count - 1
    size_t size;
    uint8_t bytes[BACKLOG_BATCH_BYTES];
};

// Copies the next records from *place on and moves *place. A place before the oldest record stands
// for the oldest. False: there are no more. Only the thread that calls backlog_ack may call it.
bool backlog_copy(struct backlog *b, struct ring_place *place, struct backlog_batch *ret_batch);
// The oldest record that is not acknowledged; the head of an empty ring.
struct ring_place backlog_oldest(struct backlog *b);
// Records from `seq` on, without those in the spill.
uint64_t backlog_count_from(struct backlog *b, uint64_t seq);
// Frees all records up to `last`, then moves records from the spill into the ring.
void backlog_ack(struct backlog *b, uint64_t last);
// Whether the ring is empty, after waiting up to timeout_ms for it.
bool backlog_wait_empty(struct backlog *b, int timeout_ms);

// As points_drain.
int backlog_drain(struct backlog *b, const struct msg_peer *from,
                  int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                              const uint8_t *record, size_t size),
                  void *context);

#endif
