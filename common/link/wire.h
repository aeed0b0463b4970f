// wire - a ZeroMQ socket that sends and receives whole messages without waiting. For link.c and
// hub.c.
#ifndef LINK_WIRE_H
#define LINK_WIRE_H

#include "link/link.h"

// "process.instance.incarnation", the routing id of a DEALER; "" if it has another form.
struct link_id {
    char text[96];
};

// One socket with the buffer for its envelopes; one thread.
struct link_wire {
    void *socket;
    bool router;
    size_t frame_max_bytes;
    uint8_t buffer[MSG_MAX];
};

// Makes and sets up the socket (ZMQ_DEALER or ZMQ_ROUTER); does not connect or bind. ERR_IO.
int link_wire_open(const struct link_options *options, int type, struct link_wire *ret);
// linger_ms: how long the context goes on sending queued messages.
void link_wire_close(struct link_wire *w, int linger_ms);

// The id that a process with this name must use.
struct link_id link_id_of(const struct msg_peer *peer);

// `to` is NULL on a DEALER. ERR_AGAIN: the socket is full; ERR_PEER: no connection with that id;
// ERR_LIMIT, ERR_IO. After an error nothing was sent and the frames are still the caller's.
int link_wire_send(struct link_wire *w, const struct link_id *to, const struct msg_envelope *e,
                   const struct msg *m, const struct link_frame *frames);

// Receives one message: fills ret_id (ROUTER), ret_envelope and the message and frames of ret_in.
// ERR_AGAIN: none has arrived. ERR_PEER: it was invalid and has been dropped; ret_id is set.
int link_wire_recv(struct link_wire *w, struct link_id *ret_id, struct msg_envelope *ret_envelope,
                   struct link_in *ret_in);

// LINK_NONE without frames. Frees nothing.
void link_in_clear(struct link_in *in);

#endif
