// replay - the trainer's side of the pool: sends the fakes of a step, receives fakes of many steps.
//
// All images of a table have one size, in the number type of the trainer. They are neither
// inspected nor copied: outgoing fakes are lent to ZeroMQ, incoming ones stay in their frames, one
// image each.
//
// Requests to the pool are idempotent, and each is kept until it is answered. When the pool dies
// and comes back, pool_open and all unanswered requests are sent again, so the trainer only sees a
// pause. No function blocks. Call replay_poll whenever there is time, and check replay_busy.
//
//   replay_new, then replay_begin once. When that is done, in each step:
//   replay_exchange(both tables) ... replay_poll ... not busy: replay_pooled(0), (1)
//
// With capacity 0 there is no pool and no socket: an exchange returns the fakes themselves.
#ifndef REPLAY_H
#define REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link.h"

enum { REPLAY_FAKE_A, REPLAY_FAKE_B, REPLAY_TABLES };

struct replay_options {
    struct link_options link; // endpoint, identity; frame_max_bytes is set by replay_begin
    uint64_t capacity;        // images per table; 0: no pool
    uint64_t batch;           // largest n of an exchange
};

struct replay_begin {
    size_t slot_bytes[REPLAY_TABLES]; // bytes of an image
    uint64_t step;                    // of the checkpoint to resume from
    const char *path, *digest;        // of its pool.bin; NULL: an empty pool, as always at step 0
};

struct replay;

void replay_new(const struct replay_options *options, struct replay **ret_replay);
// Waits until ZeroMQ has returned the lent fakes. Call it before their memory is freed.
void replay_free(struct replay *r);

// Connects and requests tables of these sizes, restored to the step. The texts are copied. ERR_IO.
int replay_begin(struct replay *r, const struct replay_begin *begin);

// Starts an exchange. `fake` [n, slot_bytes] is lent until replay_busy is false, or to replay_free.
// ZeroMQ's thread reads it, again after a restart of the pool. BUG while an exchange or a snapshot
// is unanswered. The pool may be down.
void replay_exchange(struct replay *r, uint64_t step, uint64_t n,
                     const void *const fake[REPLAY_TABLES]);
// The result: n images of slot_bytes, at unaligned addresses; lent until the next exchange.
const void *const *replay_pooled(const struct replay *r, int table);

// Requests a snapshot of the pool after `step` in the file `path`. BUG as above.
void replay_save(struct replay *r, uint64_t step, const char *path);
// The digest of the snapshot, once not busy. NULL without a pool.
const char *replay_saved_digest(const struct replay *r);

// Whether a request is unanswered, or fakes are still lent.
bool replay_busy(const struct replay *r);

// Receives answers and sends requests. ERR_IO. ERR_PEER, or the error that the pool refuses with.
int replay_poll(struct replay *r);

// Ends the session. It has ended when replay_is_up is false.
void replay_finish(struct replay *r);
bool replay_is_up(const struct replay *r);

// To poll, as of the feed: the socket, and the time at which replay_poll is due without a message.
void *replay_socket(struct replay *r); // NULL without a session or pool
int64_t replay_due_us(const struct replay *r);

#endif
