// The server's end of link.h.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "link/bind.h"
#include "link/link.h"
#include "link/session.h"
#include "link/wire.h"

#define BURST 256        // most messages that one call reads without an event
#define LINGER_MS 200    // time for a last fin_ack to be sent after hub_close
#define NOISE_US 1000000 // least time between two LINK_NOISE

// One process and instance. Its incarnations use the same element one after the other.
struct client {
    struct link_id id;
    struct link_session session;
    struct msg_peer gone; // the peer of a broken session that has not been reported yet
    bool report_down, report_up, new_incarnation;
};

struct hub {
    struct link_wire wire;
    struct link_options options; // endpoint and run are ours
    bool fin_ack_sent;
    int64_t noise_us; // time of the last LINK_NOISE
    int n_clients, n_unreported;
    struct client clients[HUB_CLIENTS];
};

// ---- opening ----

int hub_open(const struct link_options *options, struct hub **ret_hub) {
    struct hub *h = xcalloc(1, sizeof *h);
    h->options = *options;
    h->options.endpoint = xstrdup(options->endpoint);
    h->options.run = xstrdup(options->run);
    int err = link_wire_open(&h->options, ZMQ_ROUTER, &h->wire);
    if (!err)
        err = link_bind(h->wire.socket, options->endpoint);
    if (err) {
        hub_close(h);
        return err;
    }
    *ret_hub = h;
    return ERR_OK;
}

void hub_close(struct hub *h) {
    if (!h)
        return;
    link_wire_close(&h->wire, h->fin_ack_sent ? LINGER_MS : 0);
    free((char *)h->options.endpoint);
    free((char *)h->options.run);
    free(h);
}

// ---- clients ----

static struct client *find_client(struct hub *h, const struct link_id *id) {
    for (int i = 0; i < h->n_clients; i++)
        if (strcmp(h->clients[i].id.text, id->text) == 0)
            return &h->clients[i];
    return NULL;
}

// The element of a process and instance, or a free one. NULL: all are in use.
// Elements are reused late: a number keeps its meaning while its session may be reported.
static struct client *place_for(struct hub *h, const struct msg_peer *peer) {
    struct client *unused = NULL;
    for (int i = 0; i < h->n_clients; i++) {
        struct client *c = &h->clients[i];
        if (strcmp(c->session.peer.process, peer->process) == 0 &&
            c->session.peer.instance == peer->instance)
            return c;
        // An element in use has a session, or a LINK_DOWN that the application has not seen.
        if (!c->session.up && !c->report_down && !unused)
            unused = c;
    }
    if (h->n_clients < HUB_CLIENTS)
        return &h->clients[h->n_clients++];
    if (unused)
        memset(unused, 0, sizeof *unused);
    return unused;
}

// Marks a session as broken; hub_next reports it. A session whose LINK_UP has not been reported yet
// disappears without an event.
// The application never saw this session, so it must not see its end.
static void drop_session(struct hub *h, struct client *c) {
    if (!c->session.up)
        return;
    c->session.up = false;
    if (c->report_up) {
        c->report_up = false;
        h->n_unreported--;
        return;
    }
    c->gone = c->session.peer;
    c->report_down = true;
    h->n_unreported++;
}

static int send_in_session(struct hub *h, struct client *c, const struct msg *m,
                           const struct link_frame *frames, bool numbered) {
    struct msg_envelope e = link_session_envelope(&c->session, &h->options.self, numbered);
    // Counted as sent only now: a full socket leaves no gap in the numbers.
    int err = link_wire_send(&h->wire, &c->id, &e, m, frames);
    if (!err)
        link_session_sent(&c->session, &e, now_us());
    // ERR_PEER is ROUTER_MANDATORY's answer for a client that is gone.
    if (err != ERR_PEER)
        return err;
    c->session.fin_owed = false; // the client has disconnected
    drop_session(h, c);
    return ERR_AGAIN;
}

static void send_control(struct hub *h, struct client *c, enum msg_type type) {
    (void)send_in_session(h, c, &(struct msg){.type = type}, NULL,
                          false); // full: send_due tries again
}

// Answers a peer that is in no session.
static void send_refusal(struct hub *h, const struct link_id *id, const struct msg_peer *to,
                         int code, const char *text) {
    struct msg m = {.type = MSG_refuse, .refuse.err = code};
    // Without a number, and to a peer as it named itself.
    struct msg_envelope e = {.from = h->options.self, .to = *to};
    (void)text_copy(m.refuse.text, sizeof m.refuse.text, text); // cut if too long
    (void)link_wire_send(&h->wire, id, &e, &m, NULL);           // if it fails, the peer repeats
}

// ---- the opening of a session ----

static int check_hello(const struct hub *h, const struct msg_hello *hello) {
    if (hello->protocol != PROTOCOL_VERSION)
        return err_set(ERR_MISMATCH, "protocol %llu, here it is %d",
                       (unsigned long long)hello->protocol, PROTOCOL_VERSION);
    if (strcmp(hello->run, h->options.run) != 0)
        return err_set(ERR_MISMATCH, "run '%s', here it is run '%s'", hello->run, h->options.run);
    return ERR_OK;
}

static int admit_client(struct hub *h, const struct msg_envelope *e, const struct msg_hello *hello,
                        struct client **ret) {
    int err = check_hello(h, hello);
    if (err)
        return err;
    struct client *c = place_for(h, &e->from);
    if (!c)
        return err_set(ERR_LIMIT, "%d clients are here already", HUB_CLIENTS);
    // A late hello of an old incarnation must not end the newer one's session.
    if (c->session.up && c->session.peer.incarnation > e->from.incarnation)
        return err_set(ERR_MISMATCH, "incarnation %llu of %s is here already",
                       (unsigned long long)c->session.peer.incarnation, e->from.process);
    *ret = c;
    return ERR_OK;
}

static void open_session(struct hub *h, struct client *c, const struct link_id *id,
                         const struct msg_envelope *e, int64_t now) {
    // A client that was here before, in the same element.
    bool met = *c->session.peer.process != 0;
    drop_session(h, c);
    c->new_incarnation = met && c->session.peer.incarnation != e->from.incarnation;
    c->id = *id;
    link_session_begin(&c->session, &e->from, e->seq, h->options.peer_timeout_us, now);
    c->report_up = true;
    h->n_unreported++;
}

static void take_hello(struct hub *h, const struct link_id *id, const struct msg_envelope *e,
                       const struct msg_hello *hello, int64_t now) {
    struct client *c = NULL;
    int err = admit_client(h, e, hello, &c);
    if (!c) {
        send_refusal(h, id, &e->from, err, err_text());
        return;
    }
    // A repeated hello: the first welcome may be lost, and the session must not start again.
    bool again =
        c->session.up && link_peer_equal(&c->session.peer, &e->from) && c->session.number == e->seq;
    if (!again)
        open_session(h, c, id, e, now);
    struct msg m = {.type = MSG_welcome, .welcome.protocol = PROTOCOL_VERSION};
    struct msg_envelope answer = {.ack = e->seq, .from = h->options.self, .to = e->from};
    (void)link_wire_send(&h->wire, &c->id, &answer, &m, NULL); // if it fails, hello comes again
}

// ---- messages ----

static void end_session(struct client *c, struct link_in *in) {
    in->event = LINK_FIN;
    c->session.up = false;
}

static void take_in_session(struct hub *h, struct client *c, const struct msg_envelope *e,
                            struct link_in *in, int64_t now) {
    // A gap or a wrong number: messages were lost, so the whole session is.
    if (link_session_take(&c->session, e, in->msg.type, now)) {
        send_refusal(h, &c->id, &e->from, ERR_AGAIN, err_text());
        drop_session(h, c);
        return;
    }
    switch (in->msg.type) {
    // These carry acknowledgements only, which link_session_take has noted.
    case MSG_welcome:
    case MSG_pong:
    case MSG_ack:
        return;
    case MSG_ping: {
        struct msg pong = {.type = MSG_pong, .pong.stamp = in->msg.ping.stamp};
        (void)send_in_session(h, c, &pong, NULL, false); // full: queued messages show life, too
        return;
    }
    case MSG_fin:
        c->session.fin_owed = true;
        end_session(c, in);
        break;
    case MSG_fin_ack:
        end_session(c, in);
        break;
    default:
        in->event = LINK_MSG;
    }
    in->client = (int)(c - h->clients);
    in->peer = c->session.peer;
}

// Handles bytes that are not a valid message. Reports them at most once a second.
static void take_noise(struct hub *h, const struct link_id *id, struct client *c,
                       struct link_in *in, int64_t now) {
    if (c && c->session.up) {
        send_refusal(h, id, &c->session.peer, ERR_AGAIN, err_text());
        drop_session(h, c);
    }
    // Noise may come in floods; the log gets one line a second.
    if (h->noise_us && now < h->noise_us + NOISE_US)
        return;
    if (!c)
        send_refusal(h, id, &(struct msg_peer){0}, ERR_PEER, err_text());
    h->noise_us = now;
    in->event = LINK_NOISE;
}

// Receives one message and handles it. ERR_AGAIN: none has arrived.
static int receive_one(struct hub *h, struct link_in *in, int64_t now) {
    struct link_id id = {0};
    struct msg_envelope e = {0};
    int err = link_wire_recv(&h->wire, &id, &e, in);
    if (err && err != ERR_PEER)
        return err;
    struct client *c = find_client(h, &id);
    // The routing id has to match the sender's own name: a client cannot speak for another.
    if (!err && strcmp(link_id_of(&e.from).text, id.text) != 0)
        err = err_set(ERR_PEER, "routing id '%s' does not belong to %s", id.text, e.from.process);
    if (err)
        take_noise(h, &id, c, in, now);
    else if (in->msg.type == MSG_hello)
        take_hello(h, &id, &e, &in->msg.hello, now);
    else if (c && c->session.up && link_peer_equal(&e.to, &h->options.self))
        take_in_session(h, c, &e, in, now);
    // The late answer to a fin needs no refusal.
    else if (in->msg.type != MSG_fin_ack)
        send_refusal(h, &id, &e.from, ERR_AGAIN, "no session; say hello");
    // Frames of messages that are not passed on have no other owner.
    if (in->event != LINK_MSG)
        link_in_fini(in);
    return ERR_OK;
}

// Reports the next change that is due: a client's LINK_DOWN first, then its LINK_UP.
static void report_change(struct hub *h, struct link_in *in) {
    // n_unreported ends the search early; usually nothing is due.
    for (int i = 0; h->n_unreported && i < h->n_clients && in->event == LINK_NONE; i++) {
        struct client *c = &h->clients[i];
        if (!c->report_down && !c->report_up)
            continue;
        in->event = c->report_down ? LINK_DOWN : LINK_UP;
        in->peer = c->report_down ? c->gone : c->session.peer;
        in->new_incarnation = !c->report_down && c->new_incarnation;
        in->client = i;
        *(c->report_down ? &c->report_down : &c->report_up) = false;
        h->n_unreported--;
    }
}

// Sends what is due without the application: fin_ack, acknowledgements, pings.
static void send_due(struct hub *h, struct client *c, int64_t now) {
    struct link_session *s = &c->session;
    // Any result but ERR_AGAIN settles the fin: it was sent, or nobody is left to get it.
    if (s->fin_owed &&
        send_in_session(h, c, &(struct msg){.type = MSG_fin_ack}, NULL, false) != ERR_AGAIN) {
        s->fin_owed = false;
        h->fin_ack_sent = true;
    }
    if (!s->up)
        return;
    if (link_session_owes_ack(s, now))
        send_control(h, c, MSG_ack);
    if (s->up && link_session_wants_ping(s, now)) {
        send_control(h, c, MSG_ping);
        s->pinged_us = now;
    }
}

static void drop_silent(struct hub *h, int64_t now) {
    for (int i = 0; i < h->n_clients; i++)
        if (h->clients[i].session.up && link_session_is_silent(&h->clients[i].session, now))
            drop_session(h, &h->clients[i]);
}

int hub_next(struct hub *h, struct link_in *ret_in) {
    int64_t now = now_us();
    int err = ERR_OK;
    link_in_clear(ret_in);
    for (int i = 0; i < h->n_clients; i++)
        send_due(h, &h->clients[i], now);
    // BURST bounds one call, so that a busy client does not starve the process's other work.
    for (int i = 0; i < BURST; i++) {
        report_change(h, ret_in);
        if (err || ret_in->event != LINK_NONE)
            break;
        err = receive_one(h, ret_in, now);
    }
    // Only with an empty socket: a message of a slow client may still wait in it.
    if (err == ERR_AGAIN) {
        drop_silent(h, now);
        if (ret_in->event == LINK_NONE)
            report_change(h, ret_in);
    }
    // A fin that has just arrived is answered in the same call.
    for (int i = 0; i < h->n_clients; i++)
        if (h->clients[i].session.fin_owed)
            send_due(h, &h->clients[i], now);
    return err == ERR_AGAIN ? ERR_OK : err;
}

// ---- the application's side ----

static struct client *in_session(const struct hub *h, int client) {
    if (client < 0 || client >= h->n_clients || !h->clients[client].session.up)
        return NULL;
    return (struct client *)&h->clients[client];
}

int hub_send(struct hub *h, int client, const struct msg *m, const struct link_frame *frames) {
    struct client *c = in_session(h, client);
    // Before LINK_UP has been reported, the application cannot mean this session.
    if (!c || c->report_up || c->session.fin_sent)
        return err_set(ERR_AGAIN, "client %d is in no session at '%s'", client,
                       h->options.endpoint);
    return send_in_session(h, c, m, frames, true);
}

int hub_fin(struct hub *h, int client) {
    struct client *c = in_session(h, client);
    if (!c)
        return err_set(ERR_AGAIN, "client %d is in no session at '%s'", client,
                       h->options.endpoint);
    if (c->session.fin_sent)
        return ERR_OK;
    int err = send_in_session(h, c, &(struct msg){.type = MSG_fin}, NULL, true);
    if (!err)
        c->session.fin_sent = true;
    return err;
}

const struct msg_peer *hub_peer(const struct hub *h, int client) {
    const struct client *c = in_session(h, client);
    return c && !c->report_up ? &c->session.peer : NULL;
}

int hub_clients(const struct hub *h) {
    return h->n_clients;
}

void *hub_socket(struct hub *h) {
    return h->wire.socket;
}

int64_t hub_due_us(const struct hub *h) {
    int64_t due = INT64_MAX;
    if (h->n_unreported)
        return 0;
    for (int i = 0; i < h->n_clients; i++) {
        const struct link_session *s = &h->clients[i].session;
        if (s->up)
            due = MIN(due, link_session_due_us(s));
        else if (s->fin_owed) // not sent yet: the socket was full
            due = MIN(due, now_us() + 10000);
    }
    return due;
}
