// arena - the tables of the pool in one file of fixed size, mapped into memory.
//
// Every exchange is whole or not at all, whatever instant the process is killed at: new pictures go
// to slots that nobody refers to, then a record that describes the table after the exchange is
// written over the older of two copies. The one with a valid checksum and the larger number counts.
// The pages outlive the process, not the machine: after a power loss the trainer restores a
// snapshot (snapshot.h), as it does whenever it starts.
//
//   offset 0      header, a page: magic, version, shape, checksum
//   then          per table two records of equal size, each
//                   checksum of the rest, number, owner, step, met, filled,
//                   count, stored, age of the last exchange,
//                   u64 born[capacity], u32 slot[capacity], u32 reply[batch]
//   then, page    per table capacity + 2 * batch slots: what is stored, what is being stored, and
//   aligned       what the last reply consists of, so that it can be given again
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_TABLES 16

struct arena_shape {
    uint64_t seed;     // of the draws
    uint64_t capacity; // pictures per table, at least 1
    uint64_t batch;    // largest count of an exchange
    uint64_t n_tables;
    uint64_t slot_bytes[ARENA_TABLES];
};

// A table after its last exchange or restore.
struct arena_state {
    uint64_t owner;  // incarnation of the trainer that restored it; 0: to be restored first
    uint64_t step;   // of the last exchange, or of the checkpoint
    uint64_t met;    // pictures that met the full table so far
    uint64_t filled; // pictures in the table
    uint64_t count;  // pictures of the last exchange; 0: none since the restore
    uint64_t stored; // how many of its reply came out of the table
    uint64_t age;    // sum of their ages in steps
};

struct arena_request {
    uint64_t owner, table, step, count;
    const void *pictures; // count * slot_bytes[table]
};

struct arena;

// ERR_LIMIT for numbers that make no arena; the text names the field.
int arena_check(const struct arena_shape *shape);
// Bytes of the file. The shape has passed arena_check.
uint64_t arena_bytes(const struct arena_shape *shape);

// Maps `path`. A file of another shape, or a damaged one, is replaced by an empty one. ERR_LIMIT if
// it would be larger than memory_bytes, ERR_SPACE if the disk is short, both with the arithmetic;
// ERR_IO.
int arena_open(const char *path, const struct arena_shape *shape, uint64_t memory_bytes,
               struct arena **ret_arena);
void arena_close(struct arena *a);
// Keeps what arena_reply gave readable beyond arena_close, until as many arena_release. Any thread.
void arena_hold(struct arena *a);
void arena_release(struct arena *a);

const struct arena_shape *arena_shape(const struct arena *a);
const struct arena_state *arena_state(const struct arena *a, uint64_t table);

// Takes pictures in and decides on the reply. Step last + 1 advances; the last step again changes
// nothing and keeps the reply it had; ERR_MISMATCH for anything else, for another count, and for an
// owner that has not restored; ERR_LIMIT for a table or count that cannot be.
int arena_exchange(struct arena *a, const struct arena_request *r);
// Picture `i` of the last reply, until the exchange after the next.
const void *arena_reply(const struct arena *a, uint64_t table, uint64_t i);

// What stands at a position below .filled, and the step it came in.
const void *arena_picture(const struct arena *a, uint64_t table, uint64_t position);
uint64_t arena_born(const struct arena *a, uint64_t table, uint64_t position);

// Going back: arena_clear leaves all tables empty and without an owner. Then arena_fill hands out
// the room of position 0, 1, ... of a table, to be written by the caller, and arena_settle makes
// them the table's content. born[filled]: step each came in. A kill in between leaves the table
// without an owner.
void arena_clear(struct arena *a);
void *arena_fill(struct arena *a, uint64_t table, uint64_t position);
void arena_settle(struct arena *a, uint64_t table, const struct arena_state *state,
                  const uint64_t *born);

#endif
