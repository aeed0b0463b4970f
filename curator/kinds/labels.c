// labels - a state machine over yajl's tokens. Only depth, the current frame and the current member
// are kept; "labels" with all boxes pass by unstored.
#include "kinds/labels.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

// Large enough for few system calls, small enough to notice `cancel` soon.
#define CHUNK_BYTES ((size_t)256 << 10)
#define QUIET_CHUNKS 4 // chunks without a token, all of which yajl keeps in memory
// Far deeper than the labels of the set nest.
#define DEPTH_MAX 100
#define DIGEST_ROWS 4096

enum member { MEMBER_OTHER, MEMBER_NAME, MEMBER_ATTRIBUTES, MEMBER_FRAMES };

struct frame {
    int depth; // of its opening brace
    enum member member;
    bool in_attributes;
    int attribute; // an enum label; LABELS: an attribute that is not read
    bool named;
    char name[NAME_MAX_BYTES + 1];
    uint8_t values[LABELS];
};

struct reader {
    struct labels *labels;
    const char *path;
    yajl_handle yajl;
    const uint8_t *chunk;
    long long line; // at the start of the chunk
    uint64_t tokens;

    int depth;
    bool list; // the top is a list of frames
    // The frame at the top or in the top's list, and one in "frames" of the former.
    struct frame frames[2], *frame; // NULL: outside
    bool in_frames;
    size_t named; // frames that had a name
    int err;
};

const char *label_name(enum label kind) {
    static const char *const names[] = {"timeofday", "weather", "scene"};
    return names[kind];
}

// ---- errors ----

// Counted only for an error, so the normal path never looks for newlines twice.
static long long line_of(const struct reader *r) {
    const uint8_t *at = r->chunk; // NULL after the last chunk
    const uint8_t *end = at ? at + yajl_get_bytes_consumed(r->yajl) : NULL;
    long long line = r->line;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        line++;
        at++;
    }
    return line;
}

// Returns 0, which makes yajl stop.
static int refuse_file(struct reader *r, const char *what) {
    r->err = err_set(ERR_DATA, "%s:%lld: %s", r->path, line_of(r), what);
    return 0;
}

// ---- frames ----

// Index of the value; -1 after refuse_file.
static int intern(struct reader *r, int kind, const char *text, size_t size) {
    // A 0 byte in JSON text (\u0000) would cut the C string.
    struct labels *l = r->labels;
    int n = l->value_count[kind];
    if (size > LABEL_VALUE_BYTES || memchr(text, 0, size)) {
        (void)refuse_file(r, "an attribute of a frame has more than 64 bytes, or a 0");
        return -1;
    }
    // At most 255 values: a linear search is fast enough.
    for (int i = 1; i <= n; i++)
        if (strncmp(l->values[kind][i], text, size) == 0 && !l->values[kind][i][size])
            return i;
    // The index has to fit a byte.
    if (n == LABEL_VALUES - 1) {
        (void)refuse_file(r, "a 256th value of an attribute of frames");
        return -1;
    }
    l->values[kind][n + 1] = xasprintf("%.*s", (int)size, text);
    return l->value_count[kind] = n + 1;
}

static bool is_defined(const struct labels *l, int kind, int value) {
    return value && strcmp(l->values[kind][value], "undefined") != 0;
}

static uint8_t value_of(const struct name_row *row, int kind) {
    // Three kinds in one 32-bit number, a byte each.
    return (uint8_t)(row->value >> 8 * kind);
}

static void merge(struct reader *r, struct name_row *row, const struct frame *f) {
    struct labels *l = r->labels;
    for (int kind = 0; kind < LABELS; kind++) {
        uint8_t old = value_of(row, kind), new = f->values[kind];
        // Nothing new: missing, equal, or less definite than before.
        if (!new || old == new || (old && !is_defined(l, kind, new)))
            continue;
        // A definite value replaces "undefined" and a missing one.
        if (!is_defined(l, kind, old))
            row->value = (row->value & ~(0xffU << 8 * kind)) | (uint32_t) new << 8 * kind;
        // Two definite values: the first stays, and one example is kept for a person.
        else if (l->conflicts++ == 0)
            (void)snprintf(l->conflict, sizeof l->conflict, "%.60s: %s is %s, then %s in %.100s",
                           f->name, label_name((enum label)kind), l->values[kind][old],
                           l->values[kind][new], r->path); // may be cut
    }
}

static int frame_begin(struct reader *r, struct frame *f) {
    *f = (struct frame){.depth = r->depth, .attribute = LABELS};
    r->frame = f;
    return 1;
}

static int frame_end(struct reader *r) {
    struct frame *f = r->frame;
    bool is_new;
    // Back to the enclosing frame, if there is one.
    r->frame = f == &r->frames[1] ? &r->frames[0] : NULL;
    if (!f->named && r->list)
        return refuse_file(r, "a frame without a name: no label file of BDD100K?");
    // At the top, a file may consist of "frames" alone; then those had to have names.
    if (!f->named && r->depth == 1 && !r->named)
        return refuse_file(r, "there is no name of a picture: no label file of BDD100K?");
    if (!f->named)
        return 1;
    struct name_row *row = names_add(&r->labels->names, f->name, strlen(f->name), &is_new);
    if (!row)
        return refuse_file(r, err_text());
    merge(r, row, f);
    r->named++;
    return 1;
}

// ---- tokens ----

static bool is_text(const unsigned char *text, size_t size, const char *what) {
    return size == strlen(what) && memcmp(text, what, size) == 0;
}

static int take_key(void *context, const unsigned char *text, size_t size) {
    struct reader *r = context;
    struct frame *f = r->frame;
    r->tokens++;
    if (f && r->depth == f->depth) {
        f->member = is_text(text, size, "name")         ? MEMBER_NAME
                    : is_text(text, size, "attributes") ? MEMBER_ATTRIBUTES
                    : is_text(text, size, "frames")     ? MEMBER_FRAMES
                                                        : MEMBER_OTHER;
    } else if (f && f->in_attributes && r->depth == f->depth + 1) {
        // An unknown attribute ends at LABELS and is ignored.
        f->attribute = 0;
        while (f->attribute < LABELS && !is_text(text, size, label_name((enum label)f->attribute)))
            f->attribute++;
    }
    return 1;
}

static int take_name(struct reader *r, const unsigned char *text, size_t size) {
    struct frame *f = r->frame;
    if (size == 0 || size > NAME_MAX_BYTES || memchr(text, 0, size))
        return refuse_file(r, "a name of a picture has 1 to 255 bytes");
    memcpy(f->name, text, size);
    f->name[size] = 0;
    f->named = true;
    return 1;
}

// Refuses a value that is not a string where only a string may stand.
// Values of other members may have any type; they are skipped.
static int check_place(struct reader *r, bool is_null, bool is_map) {
    const struct frame *f = r->frame;
    r->tokens++;
    if (r->depth == 0 && !is_map)
        return refuse_file(r,
                           "a list of frames or one frame is expected: no label file of BDD100K?");
    if (r->depth == 1 && r->list && !is_map)
        return refuse_file(r, "a frame, { ... }, is expected in the list");
    if (f && r->depth == f->depth && f->member == MEMBER_NAME)
        return refuse_file(r, "the name of a frame is no text");
    if (f && r->depth == f->depth && f->member == MEMBER_ATTRIBUTES && !is_null && !is_map)
        return refuse_file(r, "the attributes of a frame are no object");
    if (f && f->in_attributes && r->depth == f->depth + 1 && f->attribute < LABELS && !is_null)
        return refuse_file(r, "timeofday, weather or scene of a frame is no text");
    return 1;
}

static int take_string(void *context, const unsigned char *text, size_t size) {
    struct reader *r = context;
    struct frame *f = r->frame;
    // Depth alone tells the frame's name from the name of a box inside it.
    if (f && r->depth == f->depth && f->member == MEMBER_NAME) {
        r->tokens++;
        return take_name(r, text, size);
    }
    if (f && f->in_attributes && r->depth == f->depth + 1 && f->attribute < LABELS) {
        r->tokens++;
        int value = intern(r, f->attribute, (const char *)text, size);
        f->values[f->attribute] = (uint8_t)MAX(value, 0);
        return value >= 0;
    }
    return check_place(r, false, false);
}

static int take_null(void *context) {
    return check_place(context, true, false);
}

static int take_boolean(void *context, int value) {
    return check_place(context, false, false);
}

static int take_number(void *context, const char *text, size_t size) {
    return check_place(context, false, false);
}

static int deeper(struct reader *r) {
    return ++r->depth <= DEPTH_MAX ? 1 : refuse_file(r, "brackets are nested more than 100 deep");
}

static int begin_map(void *context) {
    // The depth is that of the map's parent until deeper().
    struct reader *r = context;
    if (!check_place(r, false, true) || !deeper(r))
        return 0;
    // Frames are at depth 2 in a list, and the file itself is the frame otherwise.
    if (r->depth == (r->list ? 2 : 1))
        return frame_begin(r, &r->frames[0]);
    // Inside the top's "frames" list, frames are at depth 3.
    if (r->in_frames && r->depth == 3)
        return frame_begin(r, &r->frames[1]);
    if (r->frame && r->depth == r->frame->depth + 1)
        r->frame->in_attributes = r->frame->member == MEMBER_ATTRIBUTES;
    return 1;
}

static int end_map(void *context) {
    struct reader *r = context;
    r->tokens++;
    if (r->frame && r->depth == r->frame->depth && !frame_end(r))
        return 0;
    if (r->frame && r->depth == r->frame->depth + 1)
        r->frame->in_attributes = false;
    r->depth--;
    return 1;
}

static int begin_array(void *context) {
    struct reader *r = context;
    if (r->depth == 0)
        r->list = true;
    else if (!check_place(r, false, false))
        return 0;
    // Only a "frames" of the top counts, not one deeper inside.
    if (r->depth == 1 && r->frame)
        r->in_frames = r->frame->member == MEMBER_FRAMES;
    r->tokens++;
    return deeper(r);
}

static int end_array(void *context) {
    struct reader *r = context;
    r->tokens++;
    r->depth--;
    if (r->depth == 1)
        r->in_frames = false;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = take_null,
    .yajl_boolean = take_boolean,
    .yajl_number = take_number,
    .yajl_string = take_string,
    .yajl_start_map = begin_map,
    .yajl_map_key = take_key,
    .yajl_end_map = end_map,
    .yajl_start_array = begin_array,
    .yajl_end_array = end_array,
};

// ---- a file ----

static int check(struct reader *r, yajl_status status) {
    // A callback that stopped has set the error itself; yajl's text says only that it was stopped.
    if (status == yajl_status_ok || r->err)
        return r->err;
    unsigned char *text = yajl_get_error(r->yajl, 0, NULL, 0);
    // The first line of yajl's text is the message.
    text[strcspn((char *)text, "\n")] = 0;
    bool ends = strstr((char *)text, "premature EOF") != NULL;
    (void)refuse_file(r, ends ? "the file ends too early: an incomplete copy?" : (char *)text);
    yajl_free_error(r->yajl, text);
    return r->err;
}

static int parse_chunk(struct reader *r, const uint8_t *bytes, size_t size) {
    // line_of needs the chunk while the error is described.
    r->chunk = bytes;
    int err = check(r, yajl_parse(r->yajl, bytes, size));
    for (const uint8_t *at = bytes; !err && (at = memchr(at, '\n', (size_t)(bytes + size - at)));
         at++)
        r->line++;
    return err;
}

static int read_chunks(struct reader *r, int fd, uint8_t *bytes, const atomic_bool *cancel) {
    uint64_t tokens = 0;
    int quiet = 0, err = ERR_OK;
    bool begun = false;
    ssize_t n = 0;
    while (!err && (n = read(fd, bytes, CHUNK_BYTES)) > 0) {
        // The byte order mark is part of the first chunk only.
        size_t mark = begun ? 0 : text_mark_bytes(bytes, (size_t)n);
        begun = true;
        r->labels->bytes += (uint64_t)n;
        err = parse_chunk(r, bytes + mark, (size_t)n - mark);
        // yajl buffers an unfinished token, so a huge string would fill the memory.
        quiet = r->tokens == tokens ? quiet + 1 : 0;
        tokens = r->tokens;
        if (!err && quiet == QUIET_CHUNKS) {
            (void)refuse_file(r, "a megabyte without a new value: no label file of BDD100K?");
            err = r->err;
        }
        // Once a chunk, so that a large file can be stopped within it.
        if (!err && cancel && atomic_load(cancel))
            err = err_set(ERR_STOPPED, "stopped while '%s' was read", r->path);
    }
    if (!err && n < 0)
        return fs_failed("read", r->path);
    if (err)
        return err;
    // The chunk is consumed; an error now is about the end of the file.
    r->chunk = NULL;
    return check(r, yajl_complete_parse(r->yajl));
}

int labels_read(struct labels *l, const char *path, const atomic_bool *cancel) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fs_failed("open", path);
    struct reader *r = xcalloc(1, sizeof *r);
    uint8_t *bytes = xmalloc(CHUNK_BYTES);
    r->labels = l;
    r->path = path;
    r->line = 1;
    r->yajl = yajl_alloc(&callbacks, NULL, r);
    int err = read_chunks(r, fd, bytes, cancel);
    yajl_free(r->yajl);
    free(bytes);
    free(r);
    (void)close(fd); // only read from
    l->files += !err;
    return err;
}

// ---- what was read ----

const char *labels_value(const struct labels *l, const struct name_row *row, enum label kind) {
    return l->values[kind][value_of(row, kind)];
}

void labels_digest(const struct labels *l, char ret[65]) {
    // In the order of first mention, which the order of the files fixes.
    struct text t = {0};
    uint8_t digest[32] = {0};
    for (size_t i = 0; i <= l->names.count; i++) {
        if (i % DIGEST_ROWS == 0 || i == l->names.count) { // a digest of digests: constant memory
            text_add_bytes(&t, digest, sizeof digest);
            digest_bytes(t.bytes, t.size, digest);
            t.size = 0;
        }
        if (i == l->names.count)
            break;
        const struct name_row *row = &l->names.rows[i];
        text_add(&t, "%s", names_text(&l->names, row));
        for (int kind = 0; kind < LABELS; kind++) {
            const char *value = labels_value(l, row, (enum label)kind);
            text_add(&t, "\n%s", value ? value : "");
        }
        text_add(&t, "\n");
    }
    digest_hex(digest, ret);
    free(t.bytes);
}

void labels_fini(struct labels *l) {
    for (int kind = 0; kind < LABELS; kind++)
        for (int i = 1; i <= l->value_count[kind]; i++)
            free(l->values[kind][i]);
    names_fini(&l->names);
    *l = (struct labels){0};
}
