// ring - a queue of records in a memory-mapped file that survives `kill -9`. For points.
//
// The file, all numbers little-endian:
//
//      0  struct points_page, which other processes may read at any time
//   1024  u64 capacity, u64 boot, two marks {u64 seq, u64 offset, u64 check}, u64 lost_reported
//   4096  `capacity` bytes of records, used in a circle
//
// A record, in the ring, in a spill file and in the frame of a `points` message alike:
//
//      0  u32 length   of the body
//      4  u32 crc      CRC-32 (zlib's) of length, seq and body
//      8  u64 seq
//     16  body         [type, fields...] as msg_pack_record makes it
//         zeros up to a multiple of 8
//
// The valid records begin at the newer mark with a correct check. They end at the first record
// whose crc or seq is wrong. So the order of stores does not matter: a record that a kill tore
// counts as never written. Two values of length are signs: after RING_WRAP the next record is at
// the beginning of the data, and RING_JUMP sets the seq of the next record.
//
// A new file starts at seq = microseconds since 1970, and so does a file of an earlier boot: no seq
// is used twice, even if a folder or a power loss destroyed records.
//
// There is no lock: one thread at a time may append or free. ring_copy only reads between the tail
// and a given head, so it may run beside appends.
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC 0x31474e4952474343u // "CCGRING1" in the file
#define RING_VERSION 1
#define RING_HEADER 16
#define RING_WRAP 0xffffffffu
#define RING_JUMP 0xfffffffeu
#define RING_BODY_MAX 4096 // bytes of a body

enum process_state { STATE_STARTING, STATE_RUNNING, STATE_WAITING, STATE_STOPPING, STATE_ENDED };

// Other processes may read it while it changes: each field is whole, the page is not.
struct points_page {
    uint64_t magic, version;
    uint64_t pid, instance, incarnation;
    uint64_t state; // enum process_state
    uint64_t step;
    int64_t beat_us;     // CLOCK_MONOTONIC of the main loop's last heartbeat
    uint64_t head, tail; // sequence numbers: next to be written, next to be acknowledged
    uint64_t lost;
    char process[32];
    char line[512]; // progress for a person, NUL-terminated
};

// Bytes that a body of this length takes.
#define RING_SIZE(length) (RING_HEADER + ((size_t)(length) + 7) / 8 * 8)

// A position of a reader or writer, as a number and an offset.
struct ring_place {
    uint64_t seq;    // of the record at this place, or of the next one
    uint64_t offset; // in the data
};

struct ring {
    int fd; // holds the lock
    struct points_page *page;
    uint8_t *data;
    size_t capacity;
    struct ring_place tail, head; // oldest record; where the next one goes
    bool made;                    // the file is new
};

// Maps the file and finds its records. A missing file is made with a capacity for `bytes`; a file
// that is no ring is first renamed to PATH.broken. Waits up to wait_ms for the lock. ERR_IO,
// ERR_SPACE, ERR_BUSY.
int ring_open(const char *path, size_t bytes, int wait_ms, struct ring *ret_ring);
// Unmaps; the file stays. Accepts a zeroed struct.
void ring_close(struct ring *r);

// The record is in the file when it returns true; false: no room.
bool ring_append(struct ring *r, const uint8_t *body, size_t length);
// Makes `seq` the number of the next record, if it is larger. False: no room.
bool ring_jump(struct ring *r, uint64_t seq);
// Frees all records up to and including `last`.
void ring_free_to(struct ring *r, uint64_t last);
bool ring_is_empty(const struct ring *r);
size_t ring_used(const struct ring *r); // bytes
// How many of page->lost an event has reported. It is part of the file.
uint64_t *ring_lost_reported(const struct ring *r);

// Copies whole records with consecutive numbers from *place on, up to `head`, at most `count` and
// `capacity` bytes; moves *place. Returns the bytes. *ret_first is the first one's number.
size_t ring_copy(const struct ring *r, struct ring_place *place, struct ring_place head,
                 size_t capacity, uint64_t *ret_first, uint64_t *ret_count, uint8_t *ret);

struct ring_record {
    uint64_t seq;
    const uint8_t *body; // inside the bytes given
    size_t length;
};

// Reads the record at *offset of a spill file's or frame's bytes and moves *offset behind it.
// False: there is no complete and valid record.
bool ring_next(const uint8_t *bytes, size_t size, size_t *offset, struct ring_record *ret_record);

// Writes one record (RING_SIZE(length) bytes) at ret.
void ring_write(uint8_t *ret, uint64_t seq, const uint8_t *body, size_t length);

#endif
