// ring - records in a memory-mapped file that outlive `kill -9`, oldest out first. For points.
//
// The file, all numbers little-endian:
//
//      0  struct points_page, which anybody may read at any time
//   1024  u64 capacity, u64 boot, two marks {u64 seq, u64 offset, u64 check}, u64 told
//   4096  `capacity` bytes of records, around and around
//
// A record, in the ring, in a spill file and in the frame of a `points` message alike:
//
//      0  u32 length   of the body
//      4  u32 crc      CRC-32 (zlib's) of length, seq and body
//      8  u64 seq
//     16  body         [type, fields...] as msg_pack_record makes it
//         zeros up to a multiple of 8
//
// The records that count begin at the newer of the two marks whose check holds, and go on while
// crc and seq are what they should be. So neither a store order nor a file size has to be trusted:
// a record torn by a kill is one that was never written. Two lengths mean something else:
// RING_WRAP goes on at the beginning of the data, RING_JUMP goes on with its seq.
//
// A new file begins with seq = microseconds since 1970, and so does a file that has seen another
// boot: whatever was lost with a folder or a power cut, a seq is never used twice.
//
// Not locked: the caller sees to it that one thread at a time appends or frees. ring_copy only
// looks at what lies between the two and may run beside appends.
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

struct points_page {
    uint64_t magic, version;
    uint64_t pid, instance, incarnation;
    uint64_t state; // enum process_state
    uint64_t step;
    int64_t beat_us;     // CLOCK_MONOTONIC of the last sign of life of the main loop
    uint64_t head, tail; // sequence numbers: next to be written, next to be acknowledged
    uint64_t lost;
    char process[32];
    char line[512]; // progress for a person, NUL-terminated
};

// Bytes that a body of this length takes.
#define RING_SIZE(length) (RING_HEADER + ((size_t)(length) + 7) / 8 * 8)

struct ring_place {
    uint64_t seq;    // of the record that lies there, or will
    uint64_t offset; // in the data
};

struct ring {
    int fd; // holds the lock
    struct points_page *page;
    uint8_t *data;
    size_t capacity;
    struct ring_place tail, head; // oldest record; where the next one goes
    bool made;                    // the file was not there or was not a ring
};

// Maps the file, makes it if it is missing or is none of ours (then the old one is set aside as
// PATH.broken), finds the records in it. `bytes` is used for a new file only. Waits up to wait_ms
// for the lock. ERR_IO, ERR_SPACE, ERR_BUSY.
int ring_open(const char *path, size_t bytes, int wait_ms, struct ring *ret_ring);
// Unmaps; the file stays. Accepts a zeroed struct.
void ring_close(struct ring *r);

// The record is in the file when it returns true; false: no room.
bool ring_append(struct ring *r, const uint8_t *body, size_t length);
// Goes on with a larger seq. False: no room.
bool ring_jump(struct ring *r, uint64_t seq);
// Gives back the room of all records up to and including `last`.
void ring_free_to(struct ring *r, uint64_t last);
bool ring_is_empty(const struct ring *r);
size_t ring_used(const struct ring *r); // bytes
// Of page->lost, how many an event has told of. Lies in the file.
uint64_t *ring_lost_told(const struct ring *r);

// Copies whole records with consecutive numbers from *place on, up to `head`, at most `count` and
// `capacity` bytes; moves *place. Returns the bytes. *ret_first is the first one's number.
size_t ring_copy(const struct ring *r, struct ring_place *place, struct ring_place head,
                 size_t capacity, uint64_t *ret_first, uint64_t *ret_count, uint8_t *ret);

struct ring_record {
    uint64_t seq;
    const uint8_t *body; // inside the bytes given
    size_t length;
};

// Takes the record at *offset of a spill file's or frame's bytes. False, *offset unmoved: there is
// no whole and sound one.
bool ring_next(const uint8_t *bytes, size_t size, size_t *offset, struct ring_record *ret_record);

// Writes one record (RING_SIZE(length) bytes) at ret.
void ring_write(uint8_t *ret, uint64_t seq, const uint8_t *body, size_t length);

#endif
