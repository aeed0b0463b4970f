// spill - the file that takes over when a ring is full: records (ring.h) one behind the other.
// They go back into the ring, in order, as it empties; then the file is empty again.
#ifndef SPILL_H
#define SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spill {
    int fd;
    size_t size, taken, limit; // bytes written, of them back in the ring, allowed
    uint64_t next;             // the number after the last one; 0: empty
};

// Opens or makes the file, skips records below `from` (they are in the ring already), cuts a torn
// end off. ERR_IO.
int spill_open(const char *path, size_t limit, uint64_t from, struct spill *ret_spill);
void spill_close(struct spill *s); // accepts a zeroed struct

bool spill_is_empty(const struct spill *s);
// False: the limit is reached, or the disk is full.
bool spill_append(struct spill *s, uint64_t seq, const uint8_t *body, size_t length);
// Reads what comes next, up to n bytes, the last record perhaps in part. Returns the bytes.
size_t spill_read(const struct spill *s, uint8_t *ret, size_t n);
// So many bytes of it are taken. After the last one the file is made empty.
void spill_take(struct spill *s, size_t bytes);

#endif
