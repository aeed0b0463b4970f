// link - sessions over ZeroMQ between two processes: ordered, acknowledged, with an end.
//
// A `link` is the client's end (DEALER, connects, one server); a `hub` is the server's end (ROUTER,
// binds, many clients). A session begins with hello/welcome, which tell both sides the other's
// process, instance and incarnation, and ends with fin/fin_ack. Within a session messages carry
// sequence numbers from 1; a gap, an unknown peer or an old incarnation ends it with LINK_DOWN and
// a new one is opened (LINK_UP again). What was under way in the old session is void: it is the
// application that asks again (every request of ours is idempotent). Nothing here blocks, nothing
// sleeps; one poll loop drives everything; silence is met with pings (every second) and, after
// peer_timeout, with LINK_DOWN. LINGER is 0: application acks carry the promise.
//
// A process opens one link to a server at a time: its routing id is process.instance.incarnation.
// Sockets lie in the run's folder (the process has changed into it): ipc://s/NAME, mode 0600.
// One thread uses a link or hub, the one that made it.
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <zmq.h>

#include "link/msg.h"

#define HUB_CLIENTS 64        // at most; one more is refused
#define LINK_FRAMES_MAX 65536 // of a message

enum link_event {
    LINK_NONE, // nothing now
    LINK_UP,   // a session is open; .peer says with whom; .new_incarnation if it was another before
    LINK_DOWN, // the session is over without a fin; what was under way is void
    LINK_MSG,  // .msg and .frames
    LINK_FIN,  // the session ended in order: the peer's fin has come, or its answer to ours
    LINK_NOISE, // hub: something on the socket was no message of ours; err_text says what. It was
                // dropped; told at most once a second. For an event, nothing need be done
};

struct link_in {
    enum link_event event;
    int client; // hub: which client, 0.. ; stays the same number during a session
    struct msg_peer peer;
    bool new_incarnation;
    struct msg msg;
    int n_frames;
    zmq_msg_t *frames; // LINK_MSG with raw frames: yours until link_in_fini
};

// Ends the frames. Accepts a zeroed struct.
void link_in_fini(struct link_in *in);

// A raw frame to send. `bytes` is copied, unless free_fn is set: then it is kept and free_fn(bytes,
// hint) is called by ZeroMQ's thread when it has gone.
struct link_frame {
    void *bytes;
    size_t size;
    void (*free_fn)(void *bytes, void *hint);
    void *hint;
};

struct link_options {
    void *zmq;            // context, made after fork and exec
    const char *endpoint; // "ipc://s/trainer"
    const char *run;      // name of the run; a peer of another run is refused
    struct msg_peer self;
    int hwm;                 // messages; a safety net above the protocol's credits
    int64_t peer_timeout_us; // silence after which a session counts as down
    size_t frame_max_bytes;  // larger raw frames are refused
};

// ---- client ----
struct link;
int link_open(const struct link_options *options, struct link **ret_link);
// Sends nothing more; for an orderly end call link_fin and wait for LINK_FIN first.
void link_close(struct link *l);
// The next event; LINK_NONE when there is none. Errors: ERR_PEER, ERR_IO (both mean: give up).
// MSG_refuse arrives as LINK_MSG. If it answered the hello (another run or protocol, an older
// incarnation, too many clients) it is final: the calls after it return ERR_PEER with its text.
// ret_in is overwritten: end the last one's frames first.
int link_next(struct link *l, struct link_in *ret_in);
// ERR_AGAIN without a session or when the socket is full; ERR_LIMIT for a frame that is too large
// or too many. Then nothing was sent and the frames are still yours. Frames: msg_raw_frames(m) of
// them.
int link_send(struct link *l, const struct msg *m, const struct link_frame *frames);
// Says that nothing more will be sent. Go on with link_next until LINK_FIN: the peer's application
// has taken everything then. After a LINK_DOWN in between it is to be said again. ERR_AGAIN.
int link_fin(struct link *l);
bool link_is_up(const struct link *l);
// Everything sent in this session was taken by the peer's application: its link_next or hub_next
// returned it. The acknowledgement comes with the next message, or alone within 100 ms.
bool link_all_acked(const struct link *l);
void *link_socket(struct link *l);         // for zmq_poll, ZMQ_POLLIN only
int64_t link_due_us(const struct link *l); // now_us() by which link_next wants to be called again

// ---- server ----
// A client's number belongs to its process and instance: a new incarnation gets the number of the
// one before, whose session ends with LINK_DOWN. HUB_CLIENTS at most.
struct hub;
// Takes over a socket file that a dead process left. ERR_BUSY if somebody answers there, ERR_LIMIT
// for a path over 107 bytes, ERR_IO.
int hub_open(const struct link_options *options, struct hub **ret_hub);
// What a client has not taken by then is lost: hub_fin first, and wait for its LINK_FIN. The path
// is free again when the context has been terminated.
void hub_close(struct hub *h);
// As link_next. Errors: ERR_IO.
int hub_next(struct hub *h, struct link_in *ret_in);
int hub_send(struct hub *h, int client, const struct msg *m, const struct link_frame *frames);
int hub_fin(struct hub *h, int client);
const struct msg_peer *hub_peer(const struct hub *h, int client); // NULL if not in a session
int hub_clients(const struct hub *h);                             // numbers are below this
void *hub_socket(struct hub *h);
int64_t hub_due_us(const struct hub *h);

#endif
