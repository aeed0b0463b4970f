// scan - reading msgpack from strangers: a check that allocates nothing, and a cursor.
//
// Only what our messages are made of is let through: integers, floats, strings and arrays. A text
// is refused when it is deeper than SCAN_DEPTH, has more than SCAN_OBJECTS objects or a string
// longer than SCAN_STRING, when a count or length goes beyond the bytes that follow, or when
// anything stands behind the one top object. msgpack-c itself would believe a count and ask for
// the memory.
#ifndef SCAN_H
#define SCAN_H

#include <stddef.h>
#include <stdint.h>

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

struct scan_item {
    enum scan_kind kind;
    uint64_t u;
    int64_t i;
    double f;
    const char *str; // into the bytes that are read
    uint32_t size;
};

struct scan {
    const uint8_t *at, *end;
};

// Checks the whole text. ERR_PEER with the reason.
int scan_check(const uint8_t *bytes, size_t size);

// Takes the next item; an array's elements come next, one by one. ERR_PEER where a bound above is
// passed or the bytes end; the cursor stays then.
int scan_next(struct scan *s, struct scan_item *ret);

#endif
