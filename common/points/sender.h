// sender - the thread that sends a backlog to the monitor and frees what the monitor has committed.
#ifndef SENDER_H
#define SENDER_H

#include "link/msg.h"
#include "points/backlog.h"

struct sender;

// Fixed for the life of the sender.
struct sender_options {
    void *zmq;
    const char *endpoint, *run; // copied
    struct msg_peer self;
    struct backlog *backlog; // lent until sender_stop; only the sender frees its records
};

// ERR_IO if the thread cannot be started.
int sender_start(const struct sender_options *options, struct sender **ret_sender);
// To be called after each new record. While the thread is awake it costs one load.
void sender_nudge(struct sender *s);
// Ends the session in order, if there is one (at most half a second), then the thread.
void sender_stop(struct sender *s); // NULL: nothing

#endif
