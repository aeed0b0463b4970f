// What msg.h has for people: a message as a line, the protocol as a page.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "link/msg.h"
#include "link/msg_layout.h"
#include "link/scan.h"

struct text {
    char *at;
    size_t left; // with the end mark
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : MIN((size_t)n, t->left ? t->left - 1 : 0);
    t->at += used;
    t->left -= used;
}

static void put_list(struct text *t, const uint64_t *values, uint32_t n) {
    put(t, "[");
    for (uint32_t i = 0; i < n && i < 8; i++)
        put(t, "%s%" PRIu64, i ? " " : "", values[i]);
    put(t, n > 8 ? " .. %u]" : "]", n);
}

static void put_field(struct text *t, const struct msg_field *f, const char *base) {
    const void *value = base + f->offset;
    put(t, " %s=", f->name);
    if (f->kind == MSG_KIND_U64)
        put(t, "%" PRIu64, *(const uint64_t *)value);
    else if (f->kind == MSG_KIND_I64)
        put(t, "%" PRId64, *(const int64_t *)value);
    else if (f->kind == MSG_KIND_F64)
        put(t, "%.9g", *(const double *)value);
    else if (f->kind == MSG_KIND_STR)
        put(t, "\"%.*s\"", (int)f->max, (const char *)value);
    else
        put_list(t, value, MIN(*(const uint32_t *)(const void *)(base + f->n_offset), f->max));
}

void msg_text(const struct msg *m, char *ret, size_t n) {
    struct text t = {ret, n};
    put(&t, "%s", msg_name(m->type));
    if (m->type == MSG_NONE)
        return;
    for (const struct msg_field *f = msg_layout_of(m->type)->fields; f->name; f++)
        put_field(&t, f, (const char *)&m->hello);
}

static const char preamble[] =
    "# Protocol\n\n"
    "Made from `common/link/msg.def`; version %d. Sockets are `ipc://s/NAME` in the run's folder; "
    "the\n"
    "client is a DEALER with the routing id `PROCESS.INSTANCE.INCARNATION`, the server a "
    "ROUTER.\n\n"
    "A message is one frame of msgpack, at most %d bytes, and the raw frames its type asks for:\n\n"
    "    [%d, type, seq, ack, [process, instance, incarnation], [the same of the peer], "
    "[fields]]\n\n"
    "`type` is the number below; the fields stand in the order below. Only integers, floats,\n"
    "strings and arrays occur; depth at most %d, at most %d objects.\n\n"
    "**Session.** The client sends `hello` (`seq` is a number of the session that grows; the\n"
    "peer's name may be empty), the server answers `welcome` with that number in `ack`. From then\n"
    "on every message that is not of stream `link`, and `fin`, carries `seq` 1, 2, 3, ... of its\n"
    "direction; the others carry `seq` 0. `ack` is the last `seq` that the sender's application\n"
    "has taken; an `ack` message follows within 100 ms if nothing else does. Who hears nothing\n"
    "for a second sends `ping`; `pong` gives the stamp back. `fin` is answered by `fin_ack` and\n"
    "ends the session. `refuse` with `seq` 0 and err = ERR_AGAIN (%d) means: no such session, say\n"
    "`hello`; with another err in answer to `hello` it is final. A gap ends the session.\n";

static void print_field(const struct msg_field *f) {
    static const char *const kinds[] = {"unsigned", "integer", "float", "string", "unsigned list"};
    printf("| | `%s` | %s", f->name, kinds[f->kind]);
    if (f->max)
        printf(", at most %u", f->max);
    printf(" | %s |\n", f->help);
}

static void print_message(enum msg_type type) {
    const struct msg_layout *layout = msg_layout_of(type);
    printf("| %d | **%s** | %s", (int)type, layout->name,
           *layout->direction ? layout->direction : "in a ring");
    if (layout->frames == FRAMES_COUNTED)
        printf(", `count` raw");
    else if (layout->frames)
        printf(", %d raw", layout->frames);
    printf(" | %s |\n", layout->help);
    for (const struct msg_field *f = layout->fields; f->name; f++)
        print_field(f);
}

void msg_print_markdown(void) {
    const char *stream = "";
    printf(preamble, PROTOCOL_VERSION, MSG_MAX, PROTOCOL_VERSION, SCAN_DEPTH, SCAN_OBJECTS,
           ERR_AGAIN);
    for (int type = 1; type < MSG_TYPES; type++) {
        const struct msg_layout *layout = msg_layout_of((enum msg_type)type);
        if (strcmp(stream, layout->stream) != 0) {
            stream = layout->stream;
            printf("\n## %s\n\n| type | name | kind | meaning |\n|---|---|---|---|\n", stream);
        }
        print_message((enum msg_type)type);
    }
}
