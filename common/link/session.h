// session - the state of one session: numbers, acknowledgements, silence. It has no socket and no
// clock: `now` is the caller's now_us(). For link.c and hub.c.
#ifndef LINK_SESSION_H
#define LINK_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "link/msg.h"

// Both ends of a session keep one of these.
struct link_session {
    bool up;
    bool fin_sent;
    bool fin_owed; // the peer's fin has arrived, our fin_ack has not been sent
    struct msg_peer peer;
    uint64_t number;             // of the session; chosen by the client, grows
    uint64_t sent, acked;        // ours: last sent, last taken by the peer's application
    uint64_t taken, confirmed;   // theirs: last taken, last acknowledged by us
    int64_t timeout_us, ping_us; // of silence
    int64_t heard_us, pinged_us; // last sign of the peer, last ping to it
    int64_t sent_us, owed_us;    // last numbered message, since when an ack is owed
};

// Starts from nothing: every number and time of an earlier session is gone.
void link_session_begin(struct link_session *s, const struct msg_peer *peer, uint64_t number,
                        int64_t timeout_us, int64_t now);

// The envelope of the next message, and the update of the state after it has been sent. Only fin
// and messages of the application are `numbered`.
struct msg_envelope link_session_envelope(const struct link_session *s, const struct msg_peer *self,
                                          bool numbered);
void link_session_sent(struct link_session *s, const struct msg_envelope *e, int64_t now);

// Updates the state for an incoming message. ERR_PEER: its number does not follow the last one.
int link_session_take(struct link_session *s, const struct msg_envelope *e, enum msg_type type,
                      int64_t now);

// Questions of the poll loop. None of them changes the state.
bool link_session_owes_ack(const struct link_session *s, int64_t now);
bool link_session_wants_ping(const struct link_session *s, int64_t now);
bool link_session_is_silent(const struct link_session *s, int64_t now); // for the whole time-out
int64_t link_session_due_us(const struct link_session *s); // when one of these three becomes true

// The same process, instance and incarnation.
bool link_peer_equal(const struct msg_peer *a, const struct msg_peer *b);

#endif
