// arena - the tables of the pool in one file of fixed size, mapped into memory.
//
// An exchange is atomic, at whatever instant the process is killed. New images are written to free
// slots. Then a record that describes the table after the exchange replaces the older of two
// copies. The valid copy with the larger number is the state. The pages outlive the process, not
// the machine: after a power loss the trainer restores a snapshot (snapshot.h), as at every start.
//
//   offset 0      header, a page: magic, version, shape, checksum
//   then          per table two records of equal size, each
//                   checksum of the rest, number, owner, step, met, filled,
//                   count, stored, age of the last exchange,
//                   u64 born[capacity], u32 slot[capacity], u32 reply[batch]
//   then, page    per table capacity + 2 * batch slots: the stored images, those of the exchange
//   aligned       that is being made, and those of the last reply, which may be requested again
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_TABLES 16

struct arena_shape {
    uint64_t seed;     // of the draws
    uint64_t capacity; // images per table, at least 1
    uint64_t batch;    // largest count of an exchange
    uint64_t n_tables;
    uint64_t slot_bytes[ARENA_TABLES];
};

// A table after its last exchange or restore.
struct arena_state {
    uint64_t owner;  // incarnation of the trainer that restored it; 0: to be restored first
    uint64_t step;   // of the last exchange, or of the checkpoint
    uint64_t met;    // images so far that found the table full
    uint64_t filled; // images in the table
    uint64_t count;  // images of the last exchange; 0: none since the restore
    uint64_t stored; // how many images of its reply came out of the table
    uint64_t age;    // sum of their ages in steps
};

struct arena_request {
    uint64_t owner, table, step, count;
    const void *images; // count * slot_bytes[table]
};

struct arena;

// ERR_LIMIT for a number out of range; the text names the field.
int arena_check(const struct arena_shape *shape);
// Bytes of the file. The shape has passed arena_check.
uint64_t arena_bytes(const struct arena_shape *shape);

// Maps `path`. A damaged file, or one of another shape, is replaced by an empty one. ERR_LIMIT if
// it would be larger than memory_bytes, ERR_SPACE if the disk is full; both texts show the
// arithmetic. ERR_IO.
int arena_open(const char *path, const struct arena_shape *shape, uint64_t memory_bytes,
               struct arena **ret_arena);
void arena_close(struct arena *a);
// Images of arena_reply stay readable after arena_close until each arena_hold has had its
// arena_release. Any thread.
void arena_hold(struct arena *a);
void arena_release(struct arena *a);

const struct arena_shape *arena_shape(const struct arena *a);
const struct arena_state *arena_state(const struct arena *a, uint64_t table);

// Stores the images and decides on the reply. The request is of the step after the last one, or
// repeats the last one: that changes nothing and keeps its reply. ERR_MISMATCH for any other step,
// for a repetition with another count, and for an owner that has not restored the table. ERR_LIMIT
// for a table or count out of range.
int arena_exchange(struct arena *a, const struct arena_request *r);
// Image `i` of the last reply, until the exchange after the next.
const void *arena_reply(const struct arena *a, uint64_t table, uint64_t i);

// The image at a position below .filled, and the step in which it was stored.
const void *arena_image(const struct arena *a, uint64_t table, uint64_t position);
uint64_t arena_born(const struct arena *a, uint64_t table, uint64_t position);

// Restoring: arena_clear empties all tables and takes their owner away. arena_fill returns the slot
// for position 0, 1, ... of a table, which the caller writes. arena_settle makes them the content
// of the table. born[filled]: the step in which each was stored. A kill in between leaves the table
// without an owner, so that it has to be restored again.
void arena_clear(struct arena *a);
void *arena_fill(struct arena *a, uint64_t table, uint64_t position);
void arena_settle(struct arena *a, uint64_t table, const struct arena_state *state,
                  const uint64_t *born);

#endif
