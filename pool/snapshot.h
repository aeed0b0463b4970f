// snapshot - the pool's tables in a file of a checkpoint.
//
// The bytes depend on the run's settings and steps only, not on time, host, process or slot
// numbers: two equal runs write equal files. Numbers are 64 bits, little-endian:
//
//   offset 0   "CGPOOL1\n"
//   8          seed, capacity, n_tables, step
//   40         n_tables times: slot_bytes, filled, met
//   then       for every table: born[filled], and filled * slot_bytes bytes of images, both in
//              the order of positions
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "arena.h"

// Writes the tables to `path` and syncs file and folder. ERR_MISMATCH unless all are at `step`.
// ret_digest: SHA-256 in hex. A failure removes the file. ERR_IO, ERR_SPACE.
int snapshot_save(const struct arena *a, uint64_t step, const char *path, char ret_digest[65],
                  uint64_t *ret_bytes);

// Restores the tables from the file for `owner`. The whole file is checked before anything changes:
// ERR_FORMAT if its digest differs or it is no snapshot, ERR_MISMATCH if it is of another step or
// shape, ERR_IO.
int snapshot_load(struct arena *a, uint64_t owner, uint64_t step, const char *path,
                  const char *digest);

// Makes empty tables of `owner`; the next exchange is that of step + 1.
void snapshot_load_empty(struct arena *a, uint64_t owner, uint64_t step);

#endif
