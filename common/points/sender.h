// sender - the thread that carries a backlog to the monitor and frees what it has committed.
#ifndef SENDER_H
#define SENDER_H

#include "link/msg.h"
#include "points/backlog.h"

struct sender;

struct sender_options {
    void *zmq;
    const char *endpoint, *run; // copied
    struct msg_peer self;
    struct backlog *backlog; // kept; nobody else frees records of it
};

// ERR_IO if there can be no thread.
int sender_start(const struct sender_options *options, struct sender **ret_sender);
// Says that there is a new record. Costs a load while the thread is awake.
void sender_nudge(struct sender *s);
// Ends the session in order if there is one (at most half a second), then the thread.
void sender_stop(struct sender *s); // NULL: nothing

#endif
