// A ring file and its spill file, as left by a killed process. The input is a short form of both:
//
//    0  capacity / 64 of the ring (u8), bytes / 64 of the spill (u8), 6 unused
//    8  two marks {u64 seq, u64 offset}
//   40  the ring's data, then the spill's; the ring's rest is 0
//
// A record whose crc is 0 gets the right one, so that the mutations reach what lies behind it.
// After draining, the process that comes next finds the ring empty and appends to it.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "points/points.h"
#include "points/ring.h"

#define START 40
#define DATA_AT 4096 // as ring.h draws it
#define PRIVATE_AT 1024
#define PATH "input.ring"
#define SPILL_PATH "input.spill"

static uint32_t crc_of(const uint8_t *record, uint32_t length) {
    uint8_t head[12];
    memcpy(head, record, 4);
    memcpy(head + 4, record + 8, 8);
    return (uint32_t)crc32(crc32(0, head, sizeof head), record + RING_HEADER, length);
}

// Returns the bytes to go on behind.
static size_t mend_record(uint8_t *at, size_t left) {
    uint32_t length, crc;
    memcpy(&length, at, 4);
    memcpy(&crc, at + 4, 4);
    if (length == RING_WRAP || length == RING_JUMP)
        length = 0;
    if (crc != 0 || length > RING_BODY_MAX || RING_SIZE(length) > left)
        return 8;
    crc = crc_of(at, length);
    memcpy(at + 4, &crc, 4);
    return RING_SIZE(length);
}

static void mend(uint8_t *data, size_t size) {
    for (size_t at = 0; at + RING_HEADER <= size;)
        at += mend_record(data + at, size - at);
}

static void write_ring(const uint8_t *marks, const uint8_t *data, size_t size, uint64_t capacity) {
    uint8_t *file = xcalloc(1, DATA_AT + capacity), *at = file + PRIVATE_AT;
    struct points_page page = {.magic = RING_MAGIC, .version = RING_VERSION};
    memcpy(file, &page, sizeof page);
    memcpy(at, &capacity, 8);
    for (int i = 0; i < 2; i++) {
        uint64_t mark[3];
        memcpy(mark, marks + 16 * i, 16);
        mark[2] = ~(mark[0] * 0x9e3779b97f4a7c15u ^ mark[1]);
        memcpy(at + 16 + 24 * i, mark, sizeof mark);
    }
    memcpy(file + DATA_AT, data, size);
    mend(file + DATA_AT, capacity);
    fuzz_write(PATH, file, DATA_AT + capacity);
    free(file);
}

static void write_spill(const uint8_t *data, size_t size) {
    uint8_t *file = xcalloc(1, size + 1);
    memcpy(file, data, size);
    mend(file, size);
    fuzz_write(SPILL_PATH, file, size);
    free(file);
}

static uint64_t taken, last;

static int take(void *context, const struct msg_peer *from, uint64_t seq, const uint8_t *record,
                size_t size) {
    static struct msg m;
    if (!record)
        return ERR_OK;
    FUZZ_CHECK(size <= RING_BODY_MAX && (taken == 0 || seq > last));
    (void)msg_unpack_record(record, size, &m); // refused or not
    last = seq;
    taken++;
    return taken < 10000 ? ERR_OK : err_set(ERR_LIMIT, "too many");
}

static void come_next(void) {
    static const uint8_t body[100] = {1};
    struct ring r;
    FUZZ_CHECK(ring_open(PATH, 0, 0, &r) == ERR_OK);
    FUZZ_CHECK(ring_used(&r) <= r.capacity);
    for (int i = 0; i < 3 && ring_append(&r, body, sizeof body); i++)
        FUZZ_CHECK(ring_used(&r) <= r.capacity && !ring_is_empty(&r));
    ring_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < START)
        return 0;
    size_t capacity = MAX(bytes[0], 1) * 64u, data = MIN(size - START, capacity);
    size_t spill = MIN(size - START - data, bytes[1] * 64u);
    write_ring(bytes + 8, bytes + START, data, capacity);
    write_spill(bytes + START + data, spill);
    taken = 0;
    (void)points_drain(PATH, take, NULL); // may be refused
    come_next();
    (void)unlink(PATH ".broken"); // there if the ring was none
    return 0;
}

static size_t put(uint8_t *at, uint64_t seq, size_t length) {
    struct msg m = {.type = MSG_param};
    uint8_t body[RING_BODY_MAX] = {0};
    size_t size;
    strcpy(m.param.key, "key");
    FUZZ_CHECK(msg_pack_record(&m, body, sizeof body, &size) == ERR_OK);
    ring_write(at, seq, body, MAX(length, size));
    memset(at + 4, 0, 4); // the target puts the crc there
    return RING_SIZE(MAX(length, size));
}

static size_t sign(uint8_t *at, uint32_t kind, uint64_t seq) {
    memcpy(at, &kind, 4);
    memcpy(at + 8, &seq, 8);
    return RING_HEADER;
}

void fuzz_seeds(void) {
    uint8_t bytes[2048] = {4, 4};
    uint64_t marks[4] = {7, 0, 5, 0};
    size_t at = START;
    memcpy(bytes + 8, marks, sizeof marks);
    at += put(bytes + at, 7, 0);
    at += put(bytes + at, 8, 40);
    at += sign(bytes + at, RING_JUMP, 20);
    at += put(bytes + at, 20, 0);
    fuzz_write("jump", bytes, START + 256);
    at = START + 256;
    at += put(bytes + at, 21, 0);
    at += put(bytes + at, 22, 30);
    fuzz_write("spill", bytes, at);

    memset(bytes + START, 0, sizeof bytes - START);
    marks[1] = 128;
    memcpy(bytes + 8, marks, sizeof marks);
    (void)put(bytes + START, 8, 0);
    at = START + 128;
    at += put(bytes + at, 7, 0);
    (void)sign(bytes + at, RING_WRAP, 8);
    fuzz_write("wrap", bytes, START + 256);
}
