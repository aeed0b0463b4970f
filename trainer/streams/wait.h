// wait - the poll loop of the trainer: for batches, for the pool, and between ops.
#ifndef WAIT_H
#define WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "proc.h"
#include "streams/feed.h"
#include "streams/replay.h"

// The fields that the caller sets: proc, feed, replay, report_after_us. All others begin as zero.
struct wait {
    struct proc *proc;
    struct feed *feed;
    struct replay *replay;
    int64_t report_after_us; // a longer wait is reported as event `waiting`
    int64_t pumped_us;
    int err; // of wait_between_ops; returned by the next wait_pump
    char text[512];
};

// Receives and sends what is possible without waiting. ERR_IO, ERR_PEER, ERR_MISMATCH.
int wait_pump(struct wait *w);

// The same as a callback of a computation. It acts at most once a millisecond and keeps an error
// for later. `context` is a struct wait.
void wait_between_ops(void *context);

// Polls until `done` returns true. A stop signal does not end it unless `done` checks for it.
// `what` names the event in messages.
int wait_for(struct wait *w, bool (*done)(void *context), void *context, const char *what);

#endif
