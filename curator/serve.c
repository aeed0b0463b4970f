// serve - the curator's half of the manifest protocol: request in, answer out. The peer's numbers
// are checked here, and main.c sends what this returns.
#include "serve.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// Each byte of a path takes up to 3 in a manifest (percent coding); 128 covers digest and numbers.
#define LINE_MAX_BYTES (128 + 3 * PATH_MAX)

_Static_assert(SERVE_FRAME_MAX >= (size_t)MANIFEST_CHUNK * LINE_MAX_BYTES,
               "a chunk of the longest paths fits a frame");

static void refuse_request(struct msg *ret, int err, const char *format, ...) {
    va_list args;
    ret->type = MSG_refuse;
    ret->refuse.err = err;
    va_start(args, format);
    (void)vsnprintf(ret->refuse.text, sizeof ret->refuse.text, format, args); // may be cut
    va_end(args);
}

static void answer_info(const struct manifest *m, struct msg *ret) {
    struct msg_manifest_info *i = &ret->manifest_info;
    ret->type = MSG_manifest_info;
    i->count = m->count;
    i->held_out = m->held_out;
    // All of these fit: save_manifest checked the length of the root.
    (void)text_copy(i->domain, sizeof i->domain, m->domain);
    (void)text_copy(i->digest, sizeof i->digest, m->digest);
    (void)text_copy(i->root, sizeof i->root, m->root);
}

static void answer_chunk(const struct manifest *m, const struct msg_manifest_chunk_ask *ask,
                         struct msg *ret, char **ret_frame, size_t *ret_size) {
    // Training records come first, held-out ones follow; a request may span both.
    uint64_t records = m->count + m->held_out;
    // Subtracts rather than adds, so a peer's large count cannot overflow.
    if (ask->count < 1 || ask->count > MANIFEST_CHUNK || ask->first >= records ||
        ask->count > records - ask->first) {
        refuse_request(ret, ERR_PEER,
                       "records %llu.. (%llu of them) of %llu: 1 to %d that exist can be had",
                       (unsigned long long)ask->first, (unsigned long long)ask->count,
                       (unsigned long long)records, MANIFEST_CHUNK);
        return;
    }
    // At most SERVE_FRAME_MAX, by the assertion above.
    char *text = xmalloc(ask->count * LINE_MAX_BYTES);
    size_t size = 0;
    for (uint64_t i = 0; i < ask->count; i++) {
        int n = manifest_format(&m->records[ask->first + i], text + size, LINE_MAX_BYTES);
        // No candidate's path reaches PATH_MAX (walk.c), so the line always fits.
        if (n < 0)
            BUG("a path longer than any file's: %s", err_text());
        size += (size_t)n;
    }
    ret->type = MSG_manifest_chunk;
    ret->manifest_chunk.first = ask->first;
    ret->manifest_chunk.count = ask->count;
    *ret_frame = text;
    *ret_size = size;
}

void serve_answer(const struct manifest *m, const struct msg *ask, struct msg *ret_answer,
                  char **ret_frame, size_t *ret_size) {
    // The caller frees this, so each branch without a frame must leave NULL.
    *ret_frame = NULL;
    *ret_size = 0;
    if (ask->type == MSG_manifest_ask)
        answer_info(m, ret_answer);
    else if (ask->type == MSG_manifest_chunk_ask)
        answer_chunk(m, &ask->manifest_chunk_ask, ret_answer, ret_frame, ret_size);
    else
        refuse_request(ret_answer, ERR_PEER, "a curator does not answer '%s'", msg_name(ask->type));
}
