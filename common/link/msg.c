// msg - packing and unpacking by the tables of msg_layout, so that no message has code of its own.
#include "link/msg.h"

#include <inttypes.h>
#include <string.h>

#include <msgpack.h>

#include "base/err.h"
#include "link/msg_layout.h"
#include "link/scan.h"

struct sink {
    uint8_t *at;
    size_t left;
};

// msgpack-c writes through this; it allocates nothing.
static int sink_write(void *context, const char *bytes, size_t size) {
    struct sink *sink = context;
    if (size > sink->left) {
        sink->left = 0; // nothing after a gap may fit
        return -1;
    }
    memcpy(sink->at, bytes, size);
    sink->at += size;
    sink->left -= size;
    return 0;
}

static bool pack_text(msgpack_packer *p, const char *text, size_t size) {
    return !msgpack_pack_str(p, size) && !msgpack_pack_str_body(p, text, size);
}

static bool pack_list(msgpack_packer *p, const uint64_t *values, uint32_t n) {
    if (msgpack_pack_array(p, n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (msgpack_pack_uint64(p, values[i]))
            return false;
    return true;
}

static bool pack_field(msgpack_packer *p, const struct msg_field *f, const char *base) {
    const void *value = base + f->offset;
    switch (f->kind) {
    case MSG_KIND_U64:
        return !msgpack_pack_uint64(p, *(const uint64_t *)value);
    case MSG_KIND_I64:
        return !msgpack_pack_int64(p, *(const int64_t *)value);
    case MSG_KIND_F64:
        return !msgpack_pack_double(p, *(const double *)value);
    case MSG_KIND_STR: {
        size_t size = strnlen(value, f->max + 1);
        if (size > f->max)
            // Our own struct is at fault: text_copy always ends its texts.
            BUG("%s has no end", f->name);
        return pack_text(p, value, size);
    }
    case MSG_KIND_U64S: {
        uint32_t n = *(const uint32_t *)(const void *)(base + f->n_offset);
        if (n > f->max)
            BUG("%s has %u elements", f->name, n);
        return pack_list(p, value, n);
    }
    }
    // No default above: the compiler reports a kind that is missing there.
    BUG("kind %d", (int)f->kind);
}

static bool pack_fields(msgpack_packer *p, const struct msg_layout *layout, const struct msg *m) {
    for (const struct msg_field *f = layout->fields; f->name; f++)
        if (!pack_field(p, f, (const char *)&m->hello)) // all members of the union begin here
            return false;
    return true;
}

static bool pack_peer(msgpack_packer *p, const struct msg_peer *peer) {
    return !msgpack_pack_array(p, 3) &&
           pack_text(p, peer->process, strnlen(peer->process, sizeof peer->process - 1)) &&
           !msgpack_pack_uint64(p, peer->instance) && !msgpack_pack_uint64(p, peer->incarnation);
}

static bool pack_envelope(msgpack_packer *p, const struct msg_envelope *e, const struct msg *m) {
    // 7 parts, as take_version expects.
    const struct msg_layout *layout = msg_layout_of(m->type);
    return !msgpack_pack_array(p, 7) && !msgpack_pack_uint64(p, PROTOCOL_VERSION) &&
           !msgpack_pack_uint64(p, m->type) && !msgpack_pack_uint64(p, e->seq) &&
           !msgpack_pack_uint64(p, e->ack) && pack_peer(p, &e->from) && pack_peer(p, &e->to) &&
           !msgpack_pack_array(p, layout->n_fields) && pack_fields(p, layout, m);
}

int msg_pack(const struct msg_envelope *envelope, const struct msg *m, uint8_t *ret,
             size_t *ret_size) {
    struct sink sink = {ret, MSG_MAX};
    msgpack_packer p;
    msgpack_packer_init(&p, &sink, sink_write);
    if (!pack_envelope(&p, envelope, m))
        return err_set(ERR_LIMIT, "%s: more than %d bytes", msg_name(m->type), MSG_MAX);
    *ret_size = (size_t)(sink.at - ret);
    return ERR_OK;
}

int msg_pack_record(const struct msg *m, uint8_t *ret, size_t capacity, size_t *ret_size) {
    const struct msg_layout *layout = msg_layout_of(m->type);
    struct sink sink = {ret, capacity};
    msgpack_packer p;
    msgpack_packer_init(&p, &sink, sink_write);
    if (msgpack_pack_array(&p, layout->n_fields + 1) || msgpack_pack_uint64(&p, m->type) ||
        !pack_fields(&p, layout, m))
        return err_set(ERR_LIMIT, "%s: more than %zu bytes", msg_name(m->type), capacity);
    *ret_size = (size_t)(sink.at - ret);
    return ERR_OK;
}

// ---- unpacking: the bytes have passed scan_check ----

static int refuse_field(const char *message, const char *field, const char *what) {
    return err_set(ERR_PEER, "message %s, field %s: %s", message, field, what);
}

static int take_u64(struct scan *s, const char *message, const char *field, uint64_t *ret) {
    struct scan_item item = {0};
    // The cursor has moved beyond the item even if its kind is wrong; the caller gives up then.
    int err = scan_next(s, &item);
    if (err)
        return err;
    if (item.kind != SCAN_UNSIGNED)
        return refuse_field(message, field, "not an unsigned integer");
    *ret = item.u;
    return ERR_OK;
}

static int take_i64(struct scan *s, const char *message, const char *field, int64_t *ret) {
    struct scan_item item = {0};
    int err = scan_next(s, &item);
    if (err)
        return err;
    if (item.kind == SCAN_NEGATIVE)
        *ret = item.i;
    // msgpack packs non-negative signed numbers as unsigned.
    else if (item.kind == SCAN_UNSIGNED && item.u <= INT64_MAX)
        *ret = (int64_t)item.u;
    else
        return refuse_field(message, field, "not an integer of 64 bits");
    return ERR_OK;
}

static int take_f64(struct scan *s, const char *message, const char *field, double *ret) {
    struct scan_item item = {0};
    int err = scan_next(s, &item);
    if (err)
        return err;
    if (item.kind != SCAN_FLOAT)
        return refuse_field(message, field, "not a floating-point number");
    *ret = item.f;
    return ERR_OK;
}

static int take_str(struct scan *s, const char *message, const char *field, uint32_t max,
                    char *ret) {
    struct scan_item item = {0};
    int err = scan_next(s, &item);
    if (err)
        return err;
    if (item.kind != SCAN_STR)
        return refuse_field(message, field, "not a string");
    if (item.size > max)
        return refuse_field(message, field, "too long");
    // A C string would end there, and two texts would look equal.
    if (memchr(item.str, 0, item.size))
        return refuse_field(message, field, "a zero byte inside");
    memcpy(ret, item.str, item.size);
    ret[item.size] = 0;
    return ERR_OK;
}

static int take_array(struct scan *s, const char *message, const char *field, uint32_t min,
                      uint32_t max, uint32_t *ret_n) {
    struct scan_item item = {0};
    int err = scan_next(s, &item);
    if (err)
        return err;
    if (item.kind != SCAN_ARRAY)
        return refuse_field(message, field, "not an array");
    if (item.size < min || item.size > max)
        return refuse_field(message, field, "wrong number of elements");
    *ret_n = item.size;
    return ERR_OK;
}

static int take_list(struct scan *s, const char *message, const struct msg_field *f, char *base) {
    uint64_t *values = (uint64_t *)(void *)(base + f->offset);
    uint32_t n = 0;
    // The bound comes from msg.def and is the size of the array in the struct.
    int err = take_array(s, message, f->name, 0, f->max, &n);
    for (uint32_t i = 0; !err && i < n; i++)
        err = take_u64(s, message, f->name, &values[i]);
    if (!err)
        *(uint32_t *)(void *)(base + f->n_offset) = n;
    return err;
}

static int take_field(struct scan *s, const char *message, const struct msg_field *f, char *base) {
    void *value = base + f->offset;
    switch (f->kind) {
    case MSG_KIND_U64:
        return take_u64(s, message, f->name, value);
    case MSG_KIND_I64:
        return take_i64(s, message, f->name, value);
    case MSG_KIND_F64:
        return take_f64(s, message, f->name, value);
    case MSG_KIND_STR:
        return take_str(s, message, f->name, f->max, value);
    case MSG_KIND_U64S:
        return take_list(s, message, f, base);
    }
    BUG("kind %d", (int)f->kind);
}

static int take_type(struct scan *s, enum msg_type *ret) {
    uint64_t type = 0;
    int err = take_u64(s, "?", "type", &type);
    if (err)
        return err;
    if (type == MSG_NONE || type >= MSG_TYPES)
        return err_set(ERR_PEER, "unknown message type %" PRIu64, type);
    *ret = (enum msg_type)type;
    return ERR_OK;
}

// The fields of a message whose type is known; ret_m->type is set last.
static int take_fields(struct scan *s, enum msg_type type, struct msg *ret_m) {
    const struct msg_layout *layout = msg_layout_of(type);
    // All members of the union begin at `hello`.
    char *base = (char *)&ret_m->hello;
    // A failure in the middle leaves a message without a type, which nobody reads.
    ret_m->type = MSG_NONE;
    memset(base, 0, layout->size);
    for (const struct msg_field *f = layout->fields; f->name; f++) {
        int err = take_field(s, layout->name, f, base);
        if (err)
            return err;
    }
    ret_m->type = type;
    return ERR_OK;
}

static int take_peer(struct scan *s, const char *message, const char *field, struct msg_peer *ret) {
    uint32_t n = 0;
    int err = take_array(s, message, field, 3, 3, &n);
    if (!err)
        err = take_str(s, message, field, sizeof ret->process - 1, ret->process);
    if (!err)
        err = take_u64(s, message, field, &ret->instance);
    if (!err)
        err = take_u64(s, message, field, &ret->incarnation);
    return err;
}

static int take_version(struct scan *s) {
    uint32_t n = 0;
    uint64_t version = 0;
    // The number of parts is checked after the version: another version may have others.
    int err = take_array(s, "?", "envelope", 1, UINT32_MAX, &n);
    if (!err)
        err = take_u64(s, "?", "version", &version);
    if (err)
        return err;
    if (version != PROTOCOL_VERSION)
        return err_set(ERR_PEER, "protocol version %" PRIu64 ", ours is %d", version,
                       PROTOCOL_VERSION);
    return n == 7 ? ERR_OK : err_set(ERR_PEER, "an envelope of %u parts", n);
}

static int take_envelope(struct scan *s, struct msg_envelope *ret, struct msg *ret_m) {
    enum msg_type type = MSG_NONE;
    uint32_t n = 0;
    int err = take_version(s);
    if (!err)
        err = take_type(s, &type);
    if (err)
        return err;
    const struct msg_layout *layout = msg_layout_of(type);
    err = take_u64(s, layout->name, "seq", &ret->seq);
    if (!err)
        err = take_u64(s, layout->name, "ack", &ret->ack);
    if (!err)
        err = take_peer(s, layout->name, "from", &ret->from);
    if (!err)
        err = take_peer(s, layout->name, "to", &ret->to);
    if (!err)
        err = take_array(s, layout->name, "body", layout->n_fields, layout->n_fields, &n);
    return err ? err : take_fields(s, type, ret_m);
}

int msg_unpack(const uint8_t *bytes, size_t size, struct msg_envelope *ret_envelope,
               struct msg *ret_m) {
    // Into a copy, so that the caller's envelope changes on success only.
    struct msg_envelope envelope = {0};
    struct scan s = {bytes, bytes + size};
    ret_m->type = MSG_NONE;
    if (size > MSG_MAX)
        return err_set(ERR_PEER, "an envelope of %zu bytes", size);
    int err = scan_check(bytes, size);
    if (!err)
        err = take_envelope(&s, &envelope, ret_m);
    if (err)
        return err;
    *ret_envelope = envelope;
    return ERR_OK;
}

int msg_unpack_record(const uint8_t *bytes, size_t size, struct msg *ret_m) {
    struct scan s = {bytes, bytes + size};
    enum msg_type type = MSG_NONE;
    uint32_t n = 0;
    ret_m->type = MSG_NONE;
    int err = scan_check(bytes, size);
    if (!err)
        err = take_array(&s, "?", "record", 1, UINT32_MAX, &n);
    if (!err)
        err = take_type(&s, &type);
    if (err)
        return err;
    // The type counts as one element.
    if (n != msg_layout_of(type)->n_fields + 1)
        return refuse_field(msg_name(type), "record", "wrong number of elements");
    return take_fields(&s, type, ret_m);
}
