// replay - the trainer's side of the pool: fakes of a step out, fakes of many steps back.
//
// Pictures are of one size a table, in whatever numbers the trainer uses: they are not looked at.
// They are not copied either: what goes out is lent to ZeroMQ, what comes back stays where it came
// in, one picture a frame.
//
// Requests to the pool are idempotent. Each stays with us until it is answered: when the pool dies
// and comes back, pool_open is sent again and then what was unanswered, and the trainer has noticed
// nothing but a pause. Nothing blocks: call replay_poll whenever there is time and ask
// replay_busy.
//
//   replay_new, replay_begin (once, before the first exchange), and when that is done, a step:
//   replay_exchange(both tables) ... replay_poll ... not busy: replay_pooled(0), (1)
//
// With capacity 0 there is no pool and no socket: fakes come back as they are.
#ifndef REPLAY_H
#define REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link.h"

enum { REPLAY_FAKE_A, REPLAY_FAKE_B, REPLAY_TABLES };

struct replay_options {
    struct link_options link; // endpoint, identity; frame_max_bytes is set by replay_begin
    uint64_t capacity;        // pictures per table; 0: no pool
    uint64_t batch;           // largest n of an exchange
};

struct replay_begin {
    size_t slot_bytes[REPLAY_TABLES]; // of a picture
    uint64_t step;                    // of the checkpoint to go back to
    const char *path, *digest;        // of its pool.bin; NULL: empty, as always at step 0
};

struct replay;

void replay_new(const struct replay_options *options, struct replay **ret_replay);
// Waits until ZeroMQ has given back what it was lent: before the fakes' memory is freed.
void replay_free(struct replay *r);

// Connects and asks for tables of these sizes, rewound to the step. The texts are copied. ERR_IO.
int replay_begin(struct replay *r, const struct replay_begin *begin);

// `fake` [n, slot_bytes]: lent until replay_busy is false or, if that never comes, replay_free. It
// is read meanwhile by ZeroMQ's thread, and again if the pool has to be asked again. BUG while
// an exchange or a snapshot is unanswered; a pool that is just coming back may be asked.
void replay_exchange(struct replay *r, uint64_t step, uint64_t n,
                     const void *const fake[REPLAY_TABLES]);
// What came back: n pictures of slot_bytes, at any address (not aligned); lent until the next
// exchange.
const void *const *replay_pooled(const struct replay *r, int table);

// Asks for a snapshot of the state after `step` in the file `path`. BUG as above.
void replay_save(struct replay *r, uint64_t step, const char *path);
// Its digest, when no longer busy; NULL without a pool.
const char *replay_saved_digest(const struct replay *r);

// Whether something is unanswered, or fakes are still lent.
bool replay_busy(const struct replay *r);

// Takes what has come, sends what is due. ERR_IO; ERR_PEER, or the pool's own error, when it
// refuses.
int replay_poll(struct replay *r);

// Asks for the end of the session; it has come when replay_is_up is false.
void replay_finish(struct replay *r);
bool replay_is_up(const struct replay *r);

void *replay_socket(struct replay *r); // NULL without a session or pool
int64_t replay_due_us(const struct replay *r);

#endif
