// snapshot - the pool's tables in a file of a checkpoint.
//
// The bytes are a function of the run's settings and steps alone: no time, host, process or slot
// number, so the files of two equal runs are equal. Numbers are 64 bits, little-endian:
//
//   offset 0   "CGPOOL1\n"
//   8          seed, capacity, n_tables, step
//   40         n_tables times: slot_bytes, filled, met
//   then       for every table: born[filled], and filled * slot_bytes bytes of pictures, both in
//              the order of positions
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "arena.h"

// Writes the tables, all of which stand at `step` (else ERR_MISMATCH), to `path` and syncs file and
// folder. ret_digest: SHA-256 in hex. On failure the file is removed. ERR_IO, ERR_SPACE.
int snapshot_save(const struct arena *a, uint64_t step, const char *path, char ret_digest[65],
                  uint64_t *ret_bytes);

// Puts the tables back as the file has them and gives them to `owner`. Nothing is changed before
// the whole file has been checked: ERR_FORMAT if its digest differs or it is no snapshot,
// ERR_MISMATCH if it belongs to another step or shape, ERR_IO.
int snapshot_load(struct arena *a, uint64_t owner, uint64_t step, const char *path,
                  const char *digest);

// Empty tables; the next exchange is that of step + 1.
void snapshot_load_empty(struct arena *a, uint64_t owner, uint64_t step);

#endif
