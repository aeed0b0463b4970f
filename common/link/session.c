// session - the arithmetic of numbers and times, shared by both ends. Pure functions of the state
// and `now`, so tests need no clock.
#include "link/session.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// A ping after this silence; peers with shorter time-outs ping more often.
#define PING_US 1000000
// An answer usually carries the acknowledgement, so one of its own waits a little.
#define ACK_US 100000

void link_session_begin(struct link_session *s, const struct msg_peer *peer, uint64_t number,
                        int64_t timeout_us, int64_t now) {
    *s = (struct link_session){
        .up = true,
        .peer = *peer,
        .number = number,
        .timeout_us = timeout_us,
        // Four pings fit into a time-out: one lost ping breaks nothing.
        .ping_us = MIN(PING_US, timeout_us / 4),
        .heard_us = now,
    };
}

struct msg_envelope link_session_envelope(const struct link_session *s, const struct msg_peer *self,
                                          bool numbered) {
    return (struct msg_envelope){
        .seq = numbered ? s->sent + 1 : 0, .ack = s->taken, .from = *self, .to = s->peer};
}

void link_session_sent(struct link_session *s, const struct msg_envelope *e, int64_t now) {
    // Control messages have no number and are not acknowledged.
    if (e->seq) {
        s->sent = e->seq;
        s->sent_us = now;
    }
    // Every envelope carries our acknowledgement.
    s->confirmed = e->ack;
}

// Control messages may be lost without harm, so they are outside the numbers.
static bool is_control(enum msg_type type, uint64_t seq) {
    switch (type) {
    case MSG_refuse: // without a number the session's own, else the application's
        return seq == 0;
    case MSG_hello:
    case MSG_welcome:
    case MSG_ping:
    case MSG_pong:
    case MSG_ack:
    case MSG_fin_ack:
        return true;
    default:
        return false;
    }
}

int link_session_take(struct link_session *s, const struct msg_envelope *e, enum msg_type type,
                      int64_t now) {
    uint64_t expected = is_control(type, e->seq) ? 0 : s->taken + 1;
    if (e->seq != expected)
        return err_set(ERR_PEER, "%s of %s has number %" PRIu64 ", expected %" PRIu64,
                       msg_name(type), e->from.process, e->seq, expected);
    // An acknowledgement of what was never sent: the peers disagree about the session.
    if (e->ack > s->sent)
        return err_set(ERR_PEER, "%s acknowledges %" PRIu64 " of %" PRIu64, e->from.process, e->ack,
                       s->sent);
    s->acked = MAX(s->acked, e->ack);
    s->heard_us = now;
    if (expected) {
        // The clock of the owed acknowledgement starts with the first message that lacks one.
        if (s->confirmed == s->taken)
            s->owed_us = now;
        s->taken = expected;
    }
    return ERR_OK;
}

bool link_session_owes_ack(const struct link_session *s, int64_t now) {
    return s->confirmed != s->taken && now >= s->owed_us + ACK_US;
}

// While a message of ours is not acknowledged, the first ping is sent early. If the server is being
// restarted, this ping waits in the socket until it binds, and its answer opens the new session at
// once, not only after the next ping.
static int64_t ping_due_us(const struct link_session *s) {
    bool early = s->acked != s->sent && s->pinged_us <= s->sent_us;
    if (early)
        return MAX(s->heard_us, s->sent_us) + s->ping_us / 10;
    return MAX(s->heard_us, s->pinged_us) + s->ping_us;
}

bool link_session_wants_ping(const struct link_session *s, int64_t now) {
    return now >= ping_due_us(s);
}

bool link_session_is_silent(const struct link_session *s, int64_t now) {
    return now >= s->heard_us + s->timeout_us;
}

int64_t link_session_due_us(const struct link_session *s) {
    int64_t due = MIN(ping_due_us(s), s->heard_us + s->timeout_us);
    return s->confirmed != s->taken ? MIN(due, s->owed_us + ACK_US) : due;
}

bool link_peer_equal(const struct msg_peer *a, const struct msg_peer *b) {
    return strcmp(a->process, b->process) == 0 && a->instance == b->instance &&
           a->incarnation == b->incarnation;
}
