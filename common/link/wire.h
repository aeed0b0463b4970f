// wire - a ZeroMQ socket that sends and receives our messages whole, without waiting. For
// link.c and hub.c.
#ifndef LINK_WIRE_H
#define LINK_WIRE_H

#include "link/link.h"

// "process.instance.incarnation", the routing id of a DEALER; "" for one that is not of this form.
struct link_id {
    char text[96];
};

struct link_wire {
    void *socket;
    bool router;
    size_t frame_max_bytes;
    uint8_t buffer[MSG_MAX];
};

// Makes and sets up the socket (ZMQ_DEALER or ZMQ_ROUTER); does not connect or bind. ERR_IO.
int link_wire_open(const struct link_options *options, int type, struct link_wire *ret);
// linger_ms: how long the context may still send what is on its way.
void link_wire_close(struct link_wire *w, int linger_ms);

struct link_id link_id_of(const struct msg_peer *peer);

// `to` is NULL on a DEALER. ERR_AGAIN: full; ERR_PEER: nobody of that id; ERR_LIMIT, ERR_IO. Unless
// it succeeds nothing was sent and the frames are still the caller's.
int link_wire_send(struct link_wire *w, const struct link_id *to, const struct msg_envelope *e,
                   const struct msg *m, const struct link_frame *frames);

// Takes one message: fills ret_id (ROUTER), ret_envelope and the message and frames of ret_in.
// ERR_AGAIN: nothing there. ERR_PEER: no message of ours; it is gone and ret_id is set.
int link_wire_recv(struct link_wire *w, struct link_id *ret_id, struct msg_envelope *ret_envelope,
                   struct link_in *ret_in);

#endif
