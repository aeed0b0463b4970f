// Packing and unpacking of every message; what is refused.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "link/msg.h"
#include "link/msg_layout.h"
#include "link/scan.h"

#define BIG 3000 // bytes; longer packed messages are mutated at every few places only

// Allocations of this program are counted, unless a sanitizer counts them itself.
static unsigned long allocations;
#ifndef __SANITIZE_ADDRESS__
extern void *__libc_malloc(size_t size);
void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}
#endif

static uint64_t draws;

static uint64_t draw(uint64_t n) {
    return rng_below(1, RNG_TEST, draws++, 0, n);
}

// Numbers of every packed length, and the largest.
static uint64_t draw_u64(void) {
    struct rng_block b = rng_block(2, RNG_TEST, draws++, 0);
    return ((uint64_t)b.v[0] << 32 | b.v[1]) >> draw(65) % 64;
}

static void fill_field(const struct msg_field *f, char *base) {
    void *value = base + f->offset;
    uint64_t bits = draw_u64();
    switch (f->kind) {
    case MSG_KIND_U64:
    case MSG_KIND_F64: // any bits are a double
        memcpy(value, &bits, 8);
        return;
    case MSG_KIND_I64:
        bits = draw(2) ? bits : -bits;
        memcpy(value, &bits, 8);
        return;
    case MSG_KIND_STR:
        for (uint64_t i = 0, n = draw(f->max + 1); i < n; i++)
            ((char *)value)[i] = (char)(1 + draw(255));
        return;
    case MSG_KIND_U64S:
        *(uint32_t *)(void *)(base + f->n_offset) = (uint32_t)draw(f->max + 1);
        for (uint32_t i = 0; i < *(uint32_t *)(void *)(base + f->n_offset); i++)
            ((uint64_t *)value)[i] = draw_u64();
        return;
    }
}

static void fill(struct msg *m, enum msg_type type) {
    memset(m, 0, sizeof *m);
    m->type = type;
    for (const struct msg_field *f = msg_layout_of(type)->fields; f->name; f++)
        fill_field(f, (char *)&m->hello);
}

static struct msg_envelope draw_envelope(void) {
    return (struct msg_envelope){.seq = draw_u64(),
                                 .ack = draw_u64(),
                                 .from = {"curator-A", draw_u64(), draw_u64()},
                                 .to = {"", draw_u64(), draw_u64()}};
}

static bool same_peer(const struct msg_peer *a, const struct msg_peer *b) {
    return strcmp(a->process, b->process) == 0 && a->instance == b->instance &&
           a->incarnation == b->incarnation;
}

static bool same(const struct msg *a, const struct msg *b) {
    return a->type == b->type && memcmp(&a->hello, &b->hello, msg_layout_of(a->type)->size) == 0;
}

static void every_message_comes_back_as_it_went(void **state) {
    static struct msg m, back;
    static uint8_t bytes[MSG_MAX];
    for (int i = 1; i < 200 * MSG_TYPES; i++) {
        size_t size;
        if (i % MSG_TYPES == MSG_NONE)
            continue;
        fill(&m, (enum msg_type)(i % MSG_TYPES));
        memset(&back, 0xee, sizeof back);
        struct msg_envelope e = draw_envelope(), got;
        assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
        assert_int_equal(msg_unpack(bytes, size, &got, &back), ERR_OK);
        assert_true(same(&m, &back));
        assert_true(got.seq == e.seq && got.ack == e.ack);
        assert_true(same_peer(&e.from, &got.from) && same_peer(&e.to, &got.to));
        assert_int_equal(msg_pack_record(&m, bytes, sizeof bytes, &size), ERR_OK);
        memset(&back, 0xee, sizeof back);
        assert_int_equal(msg_unpack_record(bytes, size, &back), ERR_OK);
        assert_true(same(&m, &back));
    }
}

static void largest_message_fits_an_envelope(void **state) {
    static struct msg m;
    static uint8_t bytes[MSG_MAX];
    size_t size;
    struct msg_envelope e = {.seq = UINT64_MAX, .ack = UINT64_MAX};
    for (int type = 1; type < MSG_TYPES; type++) {
        memset(&m, 0xff, sizeof m);
        m.type = (enum msg_type)type;
        for (const struct msg_field *f = msg_layout_of(m.type)->fields; f->name; f++) {
            char *base = (char *)&m.hello;
            if (f->kind == MSG_KIND_STR)
                base[f->offset + f->max] = 0;
            if (f->kind == MSG_KIND_U64S)
                *(uint32_t *)(void *)(base + f->n_offset) = f->max;
        }
        assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
        assert_int_equal(msg_unpack(bytes, size, &e, &m), ERR_OK);
    }
}

static void record_that_does_not_fit_is_refused(void **state) {
    static struct msg m;
    static uint8_t bytes[MSG_MAX], small[MSG_MAX];
    size_t size, used;
    fill(&m, MSG_event);
    assert_int_equal(msg_pack_record(&m, bytes, sizeof bytes, &size), ERR_OK);
    for (size_t n = 0; n < size; n++) {
        small[n] = 0xaa;
        assert_int_equal(msg_pack_record(&m, small, n, &used), ERR_LIMIT);
        assert_int_equal(small[n], 0xaa);
    }
    assert_int_equal(msg_pack_record(&m, small, size, &used), ERR_OK);
}

// Unpacks what may be anything, from a buffer that ends where the bytes end.
static void must_not_crash(const uint8_t *bytes, size_t size) {
    static struct msg m;
    static uint8_t again[MSG_MAX];
    struct msg_envelope e;
    size_t used;
    uint8_t *exact = xmalloc(size ? size : 1);
    memcpy(exact, bytes, size);
    int err = msg_unpack(exact, size, &e, &m);
    free(exact);
    if (err) {
        assert_int_equal(err, ERR_PEER);
        assert_int_equal(m.type, MSG_NONE);
        return;
    }
    assert_true(m.type > MSG_NONE && m.type < MSG_TYPES);
    assert_int_equal(msg_pack(&e, &m, again, &used), ERR_OK); // within its bounds, or a BUG
}

static void every_truncation_is_refused(void **state) {
    static struct msg m;
    static uint8_t bytes[MSG_MAX];
    struct msg_envelope e = draw_envelope(), got;
    size_t size;
    for (int type = 1; type < MSG_TYPES; type++) {
        fill(&m, (enum msg_type)type);
        assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
        for (size_t n = 0; n < size; n += 1 + (size > BIG) * 7) {
            assert_int_equal(msg_unpack(bytes, n, &got, &m), ERR_PEER);
            must_not_crash(bytes, n);
        }
        bytes[size] = 0;
        assert_int_equal(msg_unpack(bytes, size + 1, &got, &m), ERR_PEER); // nor anything behind
    }
}

static void mutate(uint8_t *bytes, size_t size, size_t at) {
    static const uint8_t heads[] = {0x00, 0x7f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc4, 0xca, 0xcb,
                                    0xcc, 0xcf, 0xd0, 0xd3, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xff};
    uint8_t kept = bytes[at];
    for (int bit = 0; bit < 8; bit++) {
        bytes[at] = kept ^ (uint8_t)(1 << bit);
        must_not_crash(bytes, size);
    }
    for (size_t i = 0; i < COUNT(heads); i++) {
        bytes[at] = heads[i];
        must_not_crash(bytes, size);
    }
    bytes[at] = kept;
}

static void every_mutation_is_refused_or_valid(void **state) {
    static struct msg m;
    static uint8_t bytes[MSG_MAX];
    struct msg_envelope e = draw_envelope();
    size_t size;
    for (int type = 1; type < MSG_TYPES; type++) {
        fill(&m, (enum msg_type)type);
        assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
        for (size_t at = 0; at < size; at += 1 + (size > BIG && at > 200) * 97)
            mutate(bytes, size, at);
    }
}

static void refuse_bytes(const void *bytes, size_t size, const char *why) {
    static struct msg m;
    struct msg_envelope e;
    assert_int_equal(msg_unpack(bytes, size, &e, &m), ERR_PEER);
    assert_non_null(strstr(err_text(), why));
    assert_int_equal(msg_unpack_record(bytes, size, &m), ERR_PEER);
}

static void bombs_are_refused_without_allocating(void **state) {
    static uint8_t nest[4 * SCAN_OBJECTS], many[4 * SCAN_OBJECTS];
    memset(nest, 0x91, sizeof nest);
    memset(many, 0, sizeof many);
    memcpy(many, "\xdc\x40\x00", 3); // 16384 elements
    unsigned long before = allocations;
    refuse_bytes("\xdd\xff\xff\xff\xff", 5, "announced");
    refuse_bytes("\xdd\xff\x00\x00\x00", 5, "announced");
    refuse_bytes("\xdd\xff\xff\xff", 4, "end too early");
    refuse_bytes("\xdb\xff\xff\xff\xff", 5, "a string of");
    refuse_bytes("\xd9\x10"
                 "abc",
                 5, "announced");
    refuse_bytes("\xdf\xff\xff\xff\xff", 5, "a kind we do not use");
    refuse_bytes("\xc6\xff\xff\xff\xff", 5, "a kind we do not use");
    refuse_bytes("\xc9\xff\xff\xff\xff\x01", 6, "a kind we do not use");
    refuse_bytes("\xc0", 1, "a kind we do not use");
    refuse_bytes("\x91\xc3", 2, "a kind we do not use");
    refuse_bytes("", 0, "end too early");
    refuse_bytes("\x01\x01", 2, "behind the end");
    refuse_bytes(nest, sizeof nest, "deeper");
    refuse_bytes(many, 3 + 16384, "objects");
    assert_int_equal(allocations, before);
}

static void deepest_and_longest_are_let_through(void **state) {
    static uint8_t text[3 + SCAN_STRING], many[3 + SCAN_OBJECTS];
    memcpy(text, "\xda\x10\x00", 3);
    memcpy(many, "\xdc\x1f\xff", 3); // 8191 elements and the array
    assert_int_equal(scan_check((const uint8_t *)"\x91\x91\x91\x91\x91\x91\x91\x91\x07", 9),
                     ERR_OK);
    assert_int_equal(scan_check(text, sizeof text), ERR_OK);
    assert_int_equal(scan_check(many, 3 + SCAN_OBJECTS - 1), ERR_OK);
    text[2] = 1;
    assert_int_equal(scan_check(text, sizeof text), ERR_PEER);
}

static void complaint_names_message_and_field(void **state) {
    static struct msg m;
    uint8_t bytes[MSG_MAX];
    size_t size;
    fill(&m, MSG_sample);
    assert_int_equal(msg_pack_record(&m, bytes, sizeof bytes, &size), ERR_OK);
    bytes[2] = 0xa0; // the step is a string now
    memmove(bytes + 3, "\xa0\xa0", 2);
    assert_int_equal(msg_unpack_record(bytes, 5, &m), ERR_PEER);
    assert_string_equal(err_text(), "message sample, field step: not an unsigned integer");
    memcpy(bytes, "\x97", 1);
    bytes[1] = MSG_verdict;
    memcpy(bytes + 2,
           "\xa9"
           "too long!",
           10);
    memset(bytes + 12, 0xa0, 5);
    assert_int_equal(msg_unpack_record(bytes, 17, &m), ERR_PEER);
    assert_string_equal(err_text(), "message verdict, field domain: too long");
    memcpy(bytes + 2,
           "\xa3"
           "a\0b",
           4);
    memset(bytes + 6, 0xa0, 5);
    assert_int_equal(msg_unpack_record(bytes, 11, &m), ERR_PEER);
    assert_string_equal(err_text(), "message verdict, field domain: a zero byte inside");
}

static void other_version_is_refused_by_number(void **state) {
    refuse_bytes("\x97\x03\x01\x01\x00\x90\x90\x90", 8, "protocol version 3, ours is 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_went),
        cmocka_unit_test(largest_message_fits_an_envelope),
        cmocka_unit_test(record_that_does_not_fit_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_mutation_is_refused_or_valid),
        cmocka_unit_test(bombs_are_refused_without_allocating),
        cmocka_unit_test(deepest_and_longest_are_let_through),
        cmocka_unit_test(complaint_names_message_and_field),
        cmocka_unit_test(other_version_is_refused_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
