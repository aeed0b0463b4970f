// The client's end of link.h.
#include "link/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "link/session.h"
#include "link/wire.h"

#define HELLO_US 200000 // period of hello until it is answered
#define BURST 256       // most messages that one call reads without an event
#define LINGER_MS 200   // time for a last fin_ack to be sent after link_close

enum link_state {
    LINK_ASKING,  // hello is repeated until it is answered
    LINK_OPEN,    // session.up
    LINK_REFUSED, // final
    LINK_OVER,    // after a fin
};

struct link {
    struct link_wire wire;
    struct link_options options; // endpoint and run are ours
    enum link_state state;
    struct link_session session;
    bool met; // there was a session before; session.peer is its peer
    int64_t hello_us;
    char refusal[1024];
};

int link_open(const struct link_options *options, struct link **ret_link) {
    struct link *l = xcalloc(1, sizeof *l);
    l->options = *options;
    l->options.endpoint = xstrdup(options->endpoint);
    l->options.run = xstrdup(options->run);
    int err = link_wire_open(&l->options, ZMQ_DEALER, &l->wire);
    if (err)
        goto fail;
    if (zmq_connect(l->wire.socket, options->endpoint)) {
        err = err_set(ERR_IO, "connect to '%s': %s", options->endpoint, zmq_strerror(errno));
        goto fail;
    }
    *ret_link = l;
    return ERR_OK;

fail:
    link_close(l);
    return err;
}

void link_close(struct link *l) {
    if (!l)
        return;
    // Only an ended session has a last message worth waiting for.
    link_wire_close(&l->wire, l->state == LINK_OVER ? LINGER_MS : 0);
    free((char *)l->options.endpoint);
    free((char *)l->options.run);
    free(l);
}

static int send_in_session(struct link *l, const struct msg *m, const struct link_frame *frames,
                           bool numbered) {
    struct msg_envelope e = link_session_envelope(&l->session, &l->options.self, numbered);
    // NULL: a DEALER has one server, so no address.
    int err = link_wire_send(&l->wire, NULL, &e, m, frames);
    if (!err)
        link_session_sent(&l->session, &e, now_us());
    return err;
}

static void send_control(struct link *l, enum msg_type type) {
    (void)send_in_session(l, &(struct msg){.type = type}, NULL,
                          false); // full: send_due tries again
}

static void send_hello(struct link *l, int64_t now) {
    struct msg m = {.type = MSG_hello, .hello.protocol = PROTOCOL_VERSION};
    // The session's number travels as seq; the welcome returns it as ack.
    struct msg_envelope e = {.seq = l->session.number, .from = l->options.self};
    (void)text_copy(m.hello.run, sizeof m.hello.run, l->options.run); // names are shorter
    (void)link_wire_send(&l->wire, NULL, &e, &m, NULL);               // full: HELLO_US later again
    l->hello_us = now;
}

// Starts a new attempt. Answers to older attempts carry their number and are ignored. The number
// grows across incarnations of this process, too: the time is its lower bound.
static void start_attempt(struct link *l, int64_t now) {
    l->state = LINK_ASKING;
    l->session.up = false;
    l->session.number = MAX(l->session.number + 1, (uint64_t)now);
    send_hello(l, now);
}

static void report_down(struct link *l, struct link_in *in, int64_t now) {
    in->event = LINK_DOWN;
    in->peer = l->session.peer;
    start_attempt(l, now);
}

static void report_up(struct link *l, const struct msg_peer *peer, struct link_in *in,
                      int64_t now) {
    in->event = LINK_UP;
    in->peer = *peer;
    in->new_incarnation = l->met && !link_peer_equal(peer, &l->session.peer);
    link_session_begin(&l->session, peer, l->session.number, l->options.peer_timeout_us, now);
    l->state = LINK_OPEN;
    l->met = true;
}

static void end_session(struct link *l, struct link_in *in) {
    in->event = LINK_FIN;
    l->state = LINK_OVER;
    l->session.up = false;
}

static void take_while_asking(struct link *l, const struct msg_envelope *e, struct link_in *in,
                              int64_t now) {
    const struct msg *m = &in->msg;
    // A welcome to an earlier attempt has another number.
    if (m->type == MSG_welcome && e->ack == l->session.number) {
        report_up(l, &e->from, in, now);
        // ERR_AGAIN is no refusal of us, only of a session that the server does not know.
    } else if (m->type == MSG_refuse && e->seq == 0 && m->refuse.err != ERR_AGAIN) {
        (void)text_copy(l->refusal, sizeof l->refusal, m->refuse.text);
        l->state = LINK_REFUSED;
        in->event = LINK_MSG;
        in->peer = e->from;
    }
}

static void take_in_session(struct link *l, const struct msg_envelope *e, struct link_in *in,
                            int64_t now) {
    if (!link_peer_equal(&e->from, &l->session.peer) && in->msg.type != MSG_refuse)
        return; // sent by an earlier incarnation of the server
    // The server has no such session any more: it was restarted, or it dropped us.
    if ((in->msg.type == MSG_refuse && e->seq == 0) ||
        link_session_take(&l->session, e, in->msg.type, now)) {
        report_down(l, in, now);
        return;
    }
    in->peer = l->session.peer;
    switch (in->msg.type) {
    case MSG_hello:
    case MSG_welcome:
    case MSG_pong:
    case MSG_ack:
        return;
    case MSG_ping: {
        struct msg pong = {.type = MSG_pong, .pong.stamp = in->msg.ping.stamp};
        (void)send_in_session(l, &pong, NULL, false); // full: queued messages show life, too
        return;
    }
    case MSG_fin:
        l->session.fin_owed = true; // send_due sends it, again until it succeeds
        end_session(l, in);
        return;
    case MSG_fin_ack:
        end_session(l, in);
        return;
    default:
        in->event = LINK_MSG;
    }
}

// Receives one message and handles it. ERR_AGAIN: none has arrived.
static int receive_one(struct link *l, struct link_in *in, int64_t now) {
    struct msg_envelope e = {0};
    int err = link_wire_recv(&l->wire, NULL, &e, in);
    // Invalid bytes break the session: what was lost in them is unknown.
    if (err == ERR_PEER && l->state == LINK_OPEN)
        report_down(l, in, now);
    if (err)
        return err == ERR_PEER ? ERR_OK : err;
    if (l->state == LINK_ASKING)
        take_while_asking(l, &e, in, now);
    else if (l->state == LINK_OPEN)
        take_in_session(l, &e, in, now);
    if (in->event != LINK_MSG)
        link_in_fini(in);
    return ERR_OK;
}

// Sends what is due without the application: hello, fin_ack, acknowledgements, pings.
static void send_due(struct link *l, int64_t now) {
    struct link_session *s = &l->session;
    if (s->fin_owed &&
        send_in_session(l, &(struct msg){.type = MSG_fin_ack}, NULL, false) == ERR_OK)
        s->fin_owed = false;
    // Number 0: no attempt was made yet.
    if (l->state == LINK_ASKING && s->number == 0)
        start_attempt(l, now);
    if (l->state == LINK_ASKING && now >= l->hello_us + HELLO_US)
        send_hello(l, now);
    if (l->state != LINK_OPEN)
        return;
    if (link_session_owes_ack(s, now))
        send_control(l, MSG_ack);
    if (link_session_wants_ping(s, now)) {
        send_control(l, MSG_ping);
        s->pinged_us = now;
    }
}

int link_next(struct link *l, struct link_in *ret_in) {
    int64_t now = now_us();
    int err = ERR_OK;
    link_in_clear(ret_in);
    if (l->state == LINK_REFUSED)
        return err_set(ERR_PEER, "'%s' refused: %s", l->options.endpoint, l->refusal);
    send_due(l, now);
    // Until there is an event, or nothing to read.
    for (int i = 0; !err && ret_in->event == LINK_NONE && i < BURST; i++)
        err = receive_one(l, ret_in, now);
    // Only with an empty socket: waiting messages are a sign of life.
    if (err == ERR_AGAIN && l->state == LINK_OPEN && link_session_is_silent(&l->session, now))
        report_down(l, ret_in, now);
    if (l->session.fin_owed)
        send_due(l, now);
    return err == ERR_AGAIN ? ERR_OK : err;
}

int link_send(struct link *l, const struct msg *m, const struct link_frame *frames) {
    if (l->state != LINK_OPEN || l->session.fin_sent)
        return err_set(ERR_AGAIN, "no session at '%s'", l->options.endpoint);
    return send_in_session(l, m, frames, true);
}

int link_fin(struct link *l) {
    if (l->state != LINK_OPEN)
        return err_set(ERR_AGAIN, "no session at '%s'", l->options.endpoint);
    // A second call does nothing: one fin ends the session.
    if (l->session.fin_sent)
        return ERR_OK;
    int err = send_in_session(l, &(struct msg){.type = MSG_fin}, NULL, true);
    if (!err)
        l->session.fin_sent = true;
    return err;
}

bool link_is_up(const struct link *l) {
    return l->state == LINK_OPEN;
}

bool link_all_acked(const struct link *l) {
    return l->session.acked == l->session.sent;
}

void *link_socket(struct link *l) {
    return l->wire.socket;
}

int64_t link_due_us(const struct link *l) {
    switch (l->state) {
    case LINK_ASKING:
        return l->session.number == 0 ? 0 : l->hello_us + HELLO_US;
    case LINK_OPEN:
        return link_session_due_us(&l->session);
    case LINK_OVER: // a fin_ack may be unsent: the socket was full
        return l->session.fin_owed ? now_us() + 10000 : INT64_MAX;
    default:
        return INT64_MAX;
    }
}
