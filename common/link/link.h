// link - sessions over ZeroMQ between two processes: ordered, acknowledged, with an end.
//
// A `link` is the client's end (DEALER, connects, one server). A `hub` is the server's end (ROUTER,
// binds, many clients).
//
//   Begin    hello/welcome; both sides learn the other's process, instance and incarnation.
//   LINK_UP. Within   Messages carry sequence numbers from 1. A ping is sent after a second of
//   silence. Broken   A gap in the numbers, an old incarnation, or silence for peer_timeout ends
//   the session
//            with LINK_DOWN, and a new one is opened. Messages in flight are lost. The application
//            repeats its requests, which are idempotent.
//   End      fin/fin_ack. LINK_FIN.
//
// Nothing here blocks or sleeps: one poll loop drives everything. LINGER is 0, because delivery is
// promised by acknowledgements of the application, not by the socket.
//
// A process opens one link to a server at a time: its routing id is process.instance.incarnation.
// Sockets lie in the run's folder, the process's working directory: ipc://s/NAME, mode 0600. Only
// the thread that made a link or hub uses it.
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
    LINK_NONE,  // no event
    LINK_UP,    // a session with .peer is open; .new_incarnation if the last one had another
    LINK_DOWN,  // the session is broken; messages in flight are lost
    LINK_MSG,   // .msg and .frames
    LINK_FIN,   // the session ended in order: the peer's fin has arrived, or its answer to ours
    LINK_NOISE, // hub: invalid bytes arrived and were dropped; err_text says which. Reported at
                // most once a second, for logging only
};

struct link_in {
    enum link_event event;
    int client; // hub: the client's number, from 0; constant during a session
    struct msg_peer peer;
    bool new_incarnation;
    struct msg msg;
    int n_frames;
    zmq_msg_t *frames; // LINK_MSG with raw frames: the caller's, who calls link_in_fini
};

// Ends the frames. Accepts a zeroed struct.
void link_in_fini(struct link_in *in);

// A raw frame to send. Without free_fn, `bytes` is copied. With it, ZeroMQ keeps `bytes` and its
// thread calls free_fn(bytes, hint) after sending.
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
    int hwm;                 // messages; larger than what the protocol's credits allow
    int64_t peer_timeout_us; // silence that breaks a session
    size_t frame_max_bytes;  // larger raw frames are refused
};

// ---- client ----
struct link;
int link_open(const struct link_options *options, struct link **ret_link);
// Sends nothing more. For an orderly end call link_fin and wait for LINK_FIN first.
void link_close(struct link *l);
// The next event, or LINK_NONE. ERR_PEER and ERR_IO are final. MSG_refuse arrives as LINK_MSG; as
// an answer to hello (another run or protocol, an older incarnation, too many clients) it is final,
// and later calls return ERR_PEER with its text. ret_in is overwritten: free its frames first.
int link_next(struct link *l, struct link_in *ret_in);
//   frames   msg_raw_frames(m) of them
// ERR_AGAIN without a session or if the socket is full; ERR_LIMIT for frames that are too large or
// too many. After an error nothing was sent and the frames are still the caller's.
int link_send(struct link *l, const struct msg *m, const struct link_frame *frames);
// Announces that nothing more will be sent. Call link_next until LINK_FIN: then the peer's
// application has taken everything. After a LINK_DOWN in between, call it again. ERR_AGAIN.
int link_fin(struct link *l);
bool link_is_up(const struct link *l);
// Whether the peer's application has taken everything sent in this session: its link_next or
// hub_next returned it. The acknowledgement comes with the next message, or alone within 100 ms.
// For tests; an application that needs to know waits for its own answer.
bool link_all_acked(const struct link *l);
void *link_socket(struct link *l);         // for zmq_poll, ZMQ_POLLIN only
int64_t link_due_us(const struct link *l); // now_us() by which link_next must be called again

// ---- server ----
// A client's number belongs to its process and instance. A new incarnation takes over the number of
// the one before, whose session ends with LINK_DOWN first. At most HUB_CLIENTS.
struct hub;
// Replaces the socket file of a dead process. Errors as link_bind (bind.h).
int hub_open(const struct link_options *options, struct hub **ret_hub);
// Messages that a client has not taken yet are lost: call hub_fin first and wait for its LINK_FIN.
// The path is free again when the context has been terminated.
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
