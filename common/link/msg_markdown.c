// docs/protocol.md, made from msg.def.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "link/msg.h"
#include "link/msg_layout.h"
#include "link/scan.h"

static const char preamble[] =
    "# Protocol\n\n"
    "Made from `common/link/msg.def`; version %d. Sockets are `ipc://s/NAME` in the run's folder; "
    "the\n"
    "client is a DEALER with the routing id `PROCESS.INSTANCE.INCARNATION`, the server a "
    "ROUTER.\n\n"
    "A message is one frame of msgpack, at most %d bytes, and the raw frames of its type:\n\n"
    "    [%d, type, seq, ack, [process, instance, incarnation], [the same of the peer], "
    "[fields]]\n\n"
    "`type` is the number below; the fields have the order below. Only integers, floats,\n"
    "strings and arrays occur; depth at most %d, at most %d objects.\n\n"
    "**Session.** The client sends `hello` (`seq` is a number of the session that grows; the\n"
    "peer's name may be empty), the server answers `welcome` with that number in `ack`. From then\n"
    "on every message that is not of stream `link`, and `fin`, carries `seq` 1, 2, 3, ... of its\n"
    "direction; the others carry `seq` 0. `ack` is the last `seq` that the sender's application\n"
    "has taken; an `ack` message follows within 100 ms if nothing else does. After a second of\n"
    "silence a side sends `ping`; `pong` returns its stamp. `fin` is answered by `fin_ack` and\n"
    "ends the session. `refuse` with `seq` 0 and err = ERR_AGAIN (%d) means: there is no such\n"
    "session, send `hello`. With another err, as an answer to `hello`, it is final. A gap in "
    "`seq`\n"
    "ends the session.\n";

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
