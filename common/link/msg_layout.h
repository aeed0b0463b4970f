// msg_layout - the messages of msg.def as a table, for msg.c and msg_markdown.c.
#ifndef MSG_LAYOUT_H
#define MSG_LAYOUT_H

#include "link/msg.h"

// The C types of msg.def.
enum msg_kind { MSG_KIND_U64, MSG_KIND_I64, MSG_KIND_F64, MSG_KIND_STR, MSG_KIND_U64S };

// One field of a message.
struct msg_field {
    const char *name; // NULL ends a message's list
    const char *help;
    enum msg_kind kind;
    size_t offset;   // in the message's struct
    size_t n_offset; // MSG_KIND_U64S: of the count
    uint32_t max;    // bytes of a string, elements of a list
};

// One message.
struct msg_layout {
    const char *name, *stream, *direction, *help;
    int frames;
    uint32_t n_fields;
    const struct msg_field *fields;
    size_t size; // of the struct
};

// The row of a type; BUG for an invalid type.
const struct msg_layout *msg_layout_of(enum msg_type type);

#endif
