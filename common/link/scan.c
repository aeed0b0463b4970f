// scan - a reader of msgpack that trusts nothing. Every length is compared with the bytes left
// before it is used.
#include "link/scan.h"

#include <string.h>

#include "base/err.h"

static uint64_t big_endian(const uint8_t *bytes, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | bytes[i];
    return v;
}

static void set_signed(struct scan_item *item, int64_t v) {
    item->kind = v < 0 ? SCAN_NEGATIVE : SCAN_UNSIGNED;
    item->i = v;
    item->u = (uint64_t)v;
}

// Both widths are copied; the switch by width takes the right one.
static void set_float(struct scan_item *item, uint64_t bits, unsigned n) {
    uint32_t bits32 = (uint32_t)bits;
    float single;
    item->kind = SCAN_FLOAT;
    memcpy(&single, &bits32, sizeof single);
    memcpy(&item->f, &bits, sizeof item->f);
    if (n == 4)
        item->f = (double)single;
}

// The kinds of number_bytes.
static void set_number(struct scan_item *item, uint8_t head, uint64_t v, unsigned n) {
    if (head == 0xca || head == 0xcb) {
        set_float(item, v, n);
    } else if (head >= 0xcc && head <= 0xcf) {
        item->kind = SCAN_UNSIGNED;
        item->u = v;
    } else if (head >= 0xd0 && head <= 0xd3) {
        unsigned shift = 64 - 8 * n; // sign extension
        set_signed(item, (int64_t)(v << shift) >> shift);
    } else if (head >= 0xd9 && head <= 0xdb) {
        item->kind = SCAN_STR;
        item->size = (uint32_t)v;
    } else {
        item->kind = SCAN_ARRAY;
        item->size = (uint32_t)v;
    }
}

// A table by the low five bits of the head.
// Bytes of the number behind the heads 0xc0 .. 0xdf; 0: a kind that we refuse (nil, bool, bin, ext,
// map). Source: the msgpack specification, "Formats".
static const uint8_t number_bytes[32] = {
    [0x0a] = 4, [0x0b] = 8,                                     // float 32, 64
    [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8,             // uint
    [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8,             // int
    [0x19] = 1, [0x1a] = 2, [0x1b] = 4, [0x1c] = 2, [0x1d] = 4, // str, array
};

// Reads head and number, *ret_used bytes. The caller checks the sizes of strings and arrays.
static int read_head(const struct scan *s, struct scan_item *item, size_t *ret_used) {
    if (s->at == s->end)
        return err_set(ERR_PEER, "msgpack: the bytes end too early");
    uint8_t head = *s->at;
    *ret_used = 1;
    // Fixed integers hold their value in the head: 0 to 127, and -32 to -1.
    if (head <= 0x7f || head >= 0xe0) {
        set_signed(item, (int8_t)head);
    } else if (head >= 0x90 && head <= 0x9f) {
        item->kind = SCAN_ARRAY;
        item->size = head & 0x0f;
    } else if (head >= 0xa0 && head <= 0xbf) {
        item->kind = SCAN_STR;
        item->size = head & 0x1f;
    } else {
        unsigned n = head >= 0xc0 ? number_bytes[head - 0xc0] : 0;
        if (n == 0)
            return err_set(ERR_PEER, "msgpack: a kind we do not use (0x%02x)", head);
        if ((size_t)(s->end - s->at) < 1 + n)
            return err_set(ERR_PEER, "msgpack: the bytes end too early");
        set_number(item, head, big_endian(s->at + 1, n), n);
        *ret_used = 1 + n;
    }
    return ERR_OK;
}

int scan_next(struct scan *s, struct scan_item *ret) {
    struct scan_item item = {0};
    size_t used = 0;
    int err = read_head(s, &item, &used);
    if (err)
        return err;
    const uint8_t *at = s->at + used;
    size_t left = (size_t)(s->end - at);
    if (item.kind == SCAN_STR && item.size > SCAN_STRING)
        return err_set(ERR_PEER, "msgpack: a string of %u bytes", item.size);
    if ((item.kind == SCAN_STR || item.kind == SCAN_ARRAY) && item.size > left)
        // Each element has at least one byte, so a count above the rest is a lie.
        return err_set(ERR_PEER, "msgpack: %u announced, %zu bytes left", item.size, left);
    if (item.kind == SCAN_STR) {
        item.str = (const char *)at;
        at += item.size;
    }
    s->at = at;
    *ret = item;
    return ERR_OK;
}

// Iterative, with a fixed stack: recursion would let a peer choose our depth.
int scan_check(const uint8_t *bytes, size_t size) {
    struct scan s = {bytes, bytes + size};
    uint32_t left[SCAN_DEPTH]; // elements still to come, per open array
    int depth = 0, objects = 0;
    do {
        struct scan_item item = {0};
        int err = scan_next(&s, &item);
        if (err)
            return err;
        if (++objects > SCAN_OBJECTS)
            return err_set(ERR_PEER, "msgpack: more than %d objects", SCAN_OBJECTS);
        if (depth > 0)
            // The array itself is an element of the one around it.
            left[depth - 1]--;
        if (item.kind == SCAN_ARRAY) {
            if (depth == SCAN_DEPTH)
                return err_set(ERR_PEER, "msgpack: deeper than %d", SCAN_DEPTH);
            left[depth++] = item.size;
        }
        while (depth > 0 && left[depth - 1] == 0) // arrays that end here, also empty ones
            depth--;
    } while (depth > 0);
    if (s.at != s.end)
        return err_set(ERR_PEER, "msgpack: %zu bytes behind the end", (size_t)(s.end - s.at));
    return ERR_OK;
}
