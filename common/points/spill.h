// spill - the file for records that do not fit into a full ring: records (ring.h) one behind the
// other. They move into the ring, in order, as it empties. Then the file is truncated.
#ifndef SPILL_H
#define SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The file's state; one thread at a time.
struct spill {
    int fd;
    size_t size, taken, limit; // bytes written, bytes moved into the ring, bytes allowed
    uint64_t next;             // the number after the last one; 0: empty
};

// Opens or makes the file. Skips records with numbers below `from`, which are in the ring already,
// and truncates a torn end. ERR_IO.
int spill_open(const char *path, size_t limit, uint64_t from, struct spill *ret_spill);
void spill_close(struct spill *s); // accepts a zeroed struct

// Whether every record was moved into the ring.
bool spill_is_empty(const struct spill *s);
// False: the limit is reached, or the disk is full.
bool spill_append(struct spill *s, uint64_t seq, const uint8_t *body, size_t length);
// Reads up to n bytes from the first record that has not been taken; the last record may be
// incomplete. Returns the number of bytes.
size_t spill_read(const struct spill *s, uint8_t *ret, size_t n);
// Marks the next `bytes` as taken. After the last one the file is truncated.
void spill_take(struct spill *s, size_t bytes);

#endif
