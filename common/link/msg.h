// msg - the struct of every message, packed and checked; made from msg.def.
//
// An envelope is one msgpack array: [PROTOCOL_VERSION, type, seq, ack, from, to, body] with
// from, to = [process, instance, incarnation] and body = array of the fields in msg.def's order.
// It is at most MSG_MAX bytes; pixels follow it in raw frames. Before anything is unpacked, a scan
// that allocates nothing checks depth, counts, lengths and kinds (scan.h).
#ifndef MSG_H
#define MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 2
#define MSG_MAX 65536 // bytes of an envelope
// The largest raw frame with pixels: a batch of one domain.
#define BATCH_BYTES_MAX ((uint64_t)1 << 31)
#define MANIFEST_CHUNK 256  // records of a manifest in one message
#define FRAMES_COUNTED (-1) // in msg.def: as many raw frames as the field `count` says

enum msg_type {
    MSG_NONE,
#define MSG(name, stream, direction, frames, help) MSG_##name,
#include "link/msg.def"
    MSG_TYPES
};

#define MSG(name, stream, direction, frames, help)                                                 \
    struct msg_##name {                                                                            \
        char unused_[1];
#define U64(m, f, help) uint64_t f;
#define I64(m, f, help) int64_t f;
#define F64(m, f, help) double f;
#define STR(m, f, n, help) char f[(n) + 1];
#define U64S(m, f, n, help)                                                                        \
    uint32_t n_##f;                                                                                \
    uint64_t f[n];
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "link/msg.def"

// The union makes a message as large as its largest member: keep it off the stack.
// Any message: type and the struct of that type.
struct msg {
    enum msg_type type;
    union {
#define MSG(name, stream, direction, frames, help) struct msg_##name name;
#include "link/msg.def"
    };
};

// A process, as sender or receiver: "loader", 0, 3 is the third incarnation of loader 0.
struct msg_peer {
    char process[32];
    uint64_t instance, incarnation;
};

struct msg_envelope {
    uint64_t seq, ack; // number in this direction; last one taken of the other direction
    struct msg_peer from, to;
};

const char *msg_name(enum msg_type type);     // "ticket"
uint64_t msg_raw_frames(const struct msg *m); // frames that follow the envelope

// Packs into ret (MSG_MAX bytes); *ret_size bytes are used. ERR_LIMIT if it does not fit.
int msg_pack(const struct msg_envelope *envelope, const struct msg *m, uint8_t *ret,
             size_t *ret_size);

// Checks and unpacks one envelope of a known type, with exactly its fields within their bounds.
// ERR_PEER with the field's name for anything else; ret_m->type is MSG_NONE then.
int msg_unpack(const uint8_t *bytes, size_t size, struct msg_envelope *ret_envelope,
               struct msg *ret_m);

// The body alone ([type, fields...]), for the records of a ring.
int msg_pack_record(const struct msg *m, uint8_t *ret, size_t capacity, size_t *ret_size);
int msg_unpack_record(const uint8_t *bytes, size_t size, struct msg *ret_m);

// docs/protocol.md, as Markdown on stdout.
void msg_print_markdown(void);

#endif
