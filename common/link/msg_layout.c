// msg_layout - msg.def included twice: for the fields of each message, then for the table of
// messages.
#include "link/msg_layout.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define FIELD(m, f, help, kind, n_offset, max)                                                     \
    {#f, help, kind, offsetof(struct msg_##m, f), n_offset, max},
#define MSG(name, stream, direction, frames, help) static const struct msg_field fields_##name[] = {
#define U64(m, f, help) FIELD(m, f, help, MSG_KIND_U64, 0, 0)
#define I64(m, f, help) FIELD(m, f, help, MSG_KIND_I64, 0, 0)
#define F64(m, f, help) FIELD(m, f, help, MSG_KIND_F64, 0, 0)
#define STR(m, f, n, help) FIELD(m, f, help, MSG_KIND_STR, 0, n)
#define U64S(m, f, n, help) FIELD(m, f, help, MSG_KIND_U64S, offsetof(struct msg_##m, n_##f), n)
// The row of zeros ends the list: its name is NULL.
#define END(name)                                                                                  \
    { 0 }                                                                                          \
    }                                                                                              \
    ;
#include "link/msg.def"

static const struct msg_layout layouts[MSG_TYPES] = {
#define MSG(name, stream, direction, frames, help)                                                 \
    [MSG_##name] = {#name,         #stream,                                                        \
                    direction,     help,                                                           \
                    frames,        COUNT(fields_##name) - 1,                                       \
                    fields_##name, sizeof(struct msg_##name)},
#include "link/msg.def"
};

const struct msg_layout *msg_layout_of(enum msg_type type) {
    if (type <= MSG_NONE || type >= MSG_TYPES)
        BUG("message type %d", (int)type);
    return &layouts[type];
}

const char *msg_name(enum msg_type type) {
    return type <= MSG_NONE || type >= MSG_TYPES ? "none" : layouts[type].name;
}

// Only messages of FRAMES_COUNTED need it; msg.def gives each of these a field `count`.
static uint64_t count_of(const struct msg *m, const struct msg_layout *layout) {
    for (const struct msg_field *f = layout->fields; f->name; f++)
        if (strcmp(f->name, "count") == 0) // all members of the union begin at `hello`
            return *(const uint64_t *)(const void *)((const char *)&m->hello + f->offset);
    BUG("%s has no count of its frames", layout->name);
}

uint64_t msg_raw_frames(const struct msg *m) {
    const struct msg_layout *layout = msg_layout_of(m->type);
    return layout->frames == FRAMES_COUNTED ? count_of(m, layout) : (uint64_t)layout->frames;
}
