// wait - the trainer's one poll loop: for batches, for the pool, and between ops.
#ifndef WAIT_H
#define WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "proc.h"
#include "streams/feed.h"
#include "streams/replay.h"

struct wait {
    struct proc *proc;
    struct feed *feed;
    struct replay *replay;
    int64_t tell_after_us; // a longer wait is told: event `waiting`
    int64_t pumped_us;
    int err; // met between ops; returned by the next wait_for
    char text[512];
};

// Takes and sends whatever can be, without waiting.
int wait_pump(struct wait *w);

// The same for a computation that calls back often: does it once a millisecond and keeps an error
// for later. `context` is a struct wait.
void wait_between_ops(void *context);

// Polls until `done` says so; a signal to stop ends nothing unless `done` looks at it. `what` is
// for a person.
int wait_for(struct wait *w, bool (*done)(void *context), void *context, const char *what);

#endif
