// scan - reads msgpack from peers that are not trusted: a check that allocates nothing, and a
// cursor.
//
// It accepts integers, floats, strings and arrays: our messages have no other kinds. It refuses
// what is deeper than SCAN_DEPTH, has more than SCAN_OBJECTS objects or a string longer than
// SCAN_STRING, a count or length beyond the bytes that follow, and bytes behind the top object.
// (msgpack-c would allocate as much as a count announces.)
#ifndef SCAN_H
#define SCAN_H

#include <stddef.h>
#include <stdint.h>

// Bounds on what a peer may send.
#define SCAN_DEPTH 8
#define SCAN_OBJECTS 8192
#define SCAN_STRING 4096

enum scan_kind {
    SCAN_UNSIGNED, // .u; signed encodings of numbers >= 0 too
    SCAN_NEGATIVE, // .i
    SCAN_FLOAT,    // .f; from 32 or 64 bits
    SCAN_STR,      // .str, .size bytes without an end mark
    SCAN_ARRAY,    // .size elements follow
};

// One item. Which field holds the value depends on the kind.
struct scan_item {
    enum scan_kind kind;
    uint64_t u;
    int64_t i;
    double f;
    const char *str; // into the bytes that are read
    uint32_t size;
};

// A cursor; it never moves behind `end`.
struct scan {
    const uint8_t *at, *end;
};

// Checks all bytes. ERR_PEER with the reason.
int scan_check(const uint8_t *bytes, size_t size);

// Reads the next item. After an array its elements follow, one by one. ERR_PEER beyond a bound
// above or at the end of the bytes; the cursor does not move then.
int scan_next(struct scan *s, struct scan_item *ret);

#endif
