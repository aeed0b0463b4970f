// wire - frames of one message in order: the routing id (ROUTER), the envelope, then raw frames.
#include "link/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// The default of ZeroMQ is ten times as long; local sockets come back quickly.
#define RECONNECT_MS 10

static int wire_error(const char *what) {
    if (errno == EAGAIN)
        return ERR_AGAIN;
    return err_set(ERR_IO, "%s: %s", what, zmq_strerror(errno));
}

static bool set_int(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

// ROUTER_MANDATORY: sending to a client that is gone is an error, not a silent loss.
static bool set_options(struct link_wire *w, const struct link_options *o) {
    // One limit for all parts: envelopes are bounded by MSG_MAX, frames by their own limit.
    int64_t max_bytes = MAX(MSG_MAX, (int64_t)o->frame_max_bytes);
    struct link_id id = link_id_of(&o->self);
    return set_int(w->socket, ZMQ_LINGER, 0) && set_int(w->socket, ZMQ_SNDHWM, o->hwm) &&
           set_int(w->socket, ZMQ_RCVHWM, o->hwm) &&
           set_int(w->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           zmq_setsockopt(w->socket, ZMQ_MAXMSGSIZE, &max_bytes, sizeof max_bytes) == 0 &&
           (w->router ? set_int(w->socket, ZMQ_ROUTER_MANDATORY, 1)
                      // A DEALER names itself, so that the hub knows it again after a reconnect.
                      : zmq_setsockopt(w->socket, ZMQ_ROUTING_ID, id.text, strlen(id.text)) == 0);
}

int link_wire_open(const struct link_options *options, int type, struct link_wire *ret) {
    ret->router = type == ZMQ_ROUTER;
    ret->frame_max_bytes = options->frame_max_bytes;
    ret->socket = zmq_socket(options->zmq, type);
    if (!ret->socket)
        return err_set(ERR_IO, "a socket for '%s': %s", options->endpoint, zmq_strerror(errno));
    if (set_options(ret, options))
        return ERR_OK;
    int err = err_set(ERR_IO, "options of '%s': %s", options->endpoint, zmq_strerror(errno));
    link_wire_close(ret, 0);
    return err;
}

void link_wire_close(struct link_wire *w, int linger_ms) {
    if (!w->socket)
        return;
    (void)set_int(w->socket, ZMQ_LINGER, linger_ms); // if it fails, it stays 0
    zmq_close(w->socket);
    w->socket = NULL;
}

struct link_id link_id_of(const struct msg_peer *peer) {
    struct link_id id;
    (void)snprintf(id.text, sizeof id.text, "%s.%" PRIu64 ".%" PRIu64, peer->process,
                   peer->instance, peer->incarnation); // 31 + 2 * 21 bytes at most
    return id;
}

// ---- sending ----

static bool send_frame(void *socket, const struct link_frame *f, int flags) {
    zmq_msg_t part;
    if (!f->free_fn)
        return zmq_send(socket, f->bytes, f->size, flags) >= 0;
    if (zmq_msg_init_data(&part, f->bytes, f->size, f->free_fn, f->hint))
        return false;
    return zmq_msg_send(&part, socket, flags) >= 0;
}

static int send_head(struct link_wire *w, const struct link_id *to, size_t size, int flags) {
    if (to && zmq_send(w->socket, to->text, strlen(to->text), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        if (errno == EHOSTUNREACH)
            return err_set(ERR_PEER, "%s is not connected", to->text);
        return wire_error("send");
    }
    if (zmq_send(w->socket, w->buffer, size, flags) < 0)
        return wire_error("send");
    return ERR_OK;
}

int link_wire_send(struct link_wire *w, const struct link_id *to, const struct msg_envelope *e,
                   const struct msg *m, const struct link_frame *frames) {
    uint64_t n = msg_raw_frames(m);
    if (n > LINK_FRAMES_MAX)
        return err_set(ERR_LIMIT, "%s: %" PRIu64 " frames, at most %d", msg_name(m->type), n,
                       LINK_FRAMES_MAX);
    // Checked before anything is sent: half a message could not be taken back.
    for (uint64_t i = 0; i < n; i++)
        if (frames[i].size > w->frame_max_bytes)
            return err_set(ERR_LIMIT, "%s: a frame of %zu bytes, at most %zu", msg_name(m->type),
                           frames[i].size, w->frame_max_bytes);
    size_t size;
    int err = msg_pack(e, m, w->buffer, &size);
    if (!err)
        err = send_head(w, to, size, ZMQ_DONTWAIT | (n ? ZMQ_SNDMORE : 0));
    // ZeroMQ counts whole messages: after it has accepted the head, it accepts every frame.
    for (uint64_t i = 0; !err && i < n; i++)
        if (!send_frame(w->socket, &frames[i], ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0)))
            return err_set(ERR_IO, "send a frame: %s", zmq_strerror(errno));
    return err;
}

// ---- receiving ----

// Receives one part; *ret_more says whether another follows.
static int recv_part(void *socket, zmq_msg_t *part, bool *ret_more) {
    (void)zmq_msg_init(part); // cannot fail
    while (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) < 0)
        if (errno != EINTR) {
            int err = wire_error("receive");
            zmq_msg_close(part);
            return err;
        }
    *ret_more = zmq_msg_more(part);
    return ERR_OK;
}

static int recv_id(struct link_wire *w, struct link_id *ret_id, bool *ret_more) {
    zmq_msg_t part;
    int err = recv_part(w->socket, &part, ret_more);
    if (err)
        return err;
    size_t size = zmq_msg_size(&part);
    const char *bytes = zmq_msg_data(&part);
    // An id of another form becomes "", which no client has.
    bool fits = size < sizeof ret_id->text && !memchr(bytes, 0, size);
    memset(ret_id, 0, sizeof *ret_id);
    if (fits)
        memcpy(ret_id->text, bytes, size);
    zmq_msg_close(&part);
    return ERR_OK;
}

// Makes room for one more frame. The capacity is the next power of two, so it need not be stored.
static void reserve_frame(struct link_in *in) {
    int n = in->n_frames;
    // Full at 0 and at each power of two from 2 on.
    if (n & (n - 1) || n == 1)
        return;
    zmq_msg_t *more = xcalloc(MAX(2 * (size_t)n, 2), sizeof *more);
    for (int i = 0; i < n; i++) {
        (void)zmq_msg_init(&more[i]);                 // cannot fail
        (void)zmq_msg_move(&more[i], &in->frames[i]); // both are valid
    }
    free(in->frames);
    in->frames = more;
}

// Receives the frames behind an envelope. Frames beyond the limit are counted and dropped, so that
// the next message begins with an envelope again.
static int recv_frames(struct link_wire *w, bool more, struct link_in *ret_in, int *ret_count) {
    for (*ret_count = 0; more; ++*ret_count) {
        zmq_msg_t part;
        int err = recv_part(w->socket, &part, &more);
        if (err)
            return err;
        if (ret_in->n_frames < LINK_FRAMES_MAX) {
            reserve_frame(ret_in);
            zmq_msg_t *frame = &ret_in->frames[ret_in->n_frames++];
            (void)zmq_msg_init(frame);
            zmq_msg_move(frame, &part);
        }
        zmq_msg_close(&part);
    }
    return ERR_OK;
}

static int check_frames(const struct link_wire *w, struct link_in *in, int count) {
    if (count != in->n_frames || (uint64_t)count != msg_raw_frames(&in->msg))
        // The message says how many frames it has; more or fewer are a broken peer.
        return err_set(ERR_PEER, "%s with %d raw frames", msg_name(in->msg.type), count);
    for (int i = 0; i < count; i++)
        if (zmq_msg_size(&in->frames[i]) > w->frame_max_bytes)
            return err_set(ERR_PEER, "%s with a frame of %zu bytes", msg_name(in->msg.type),
                           zmq_msg_size(&in->frames[i]));
    return ERR_OK;
}

int link_wire_recv(struct link_wire *w, struct link_id *ret_id, struct msg_envelope *ret_envelope,
                   struct link_in *ret_in) {
    bool more = true;
    int count;
    zmq_msg_t head;
    int err = w->router ? recv_id(w, ret_id, &more) : ERR_OK;
    if (err)
        return err;
    if (!more)
        return err_set(ERR_PEER, "a message without an envelope");
    err = recv_part(w->socket, &head, &more);
    if (err)
        return err;
    // The caller's struct may hold numbers of an earlier message.
    ret_in->n_frames = 0;
    err = recv_frames(w, more, ret_in, &count);
    if (!err)
        err = msg_unpack(zmq_msg_data(&head), zmq_msg_size(&head), ret_envelope, &ret_in->msg);
    if (!err)
        err = check_frames(w, ret_in, count);
    if (err)
        link_in_fini(ret_in);
    zmq_msg_close(&head);
    return err;
}

void link_in_fini(struct link_in *in) {
    for (int i = 0; i < in->n_frames; i++)
        zmq_msg_close(&in->frames[i]);
    free(in->frames);
    in->frames = NULL;
    in->n_frames = 0;
}

void link_in_clear(struct link_in *in) {
    in->event = LINK_NONE;
    in->client = 0;
    in->new_incarnation = false;
    in->n_frames = 0;
    in->frames = NULL;
}
