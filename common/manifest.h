// manifest - the images of one domain that a run trains on, in order, with their digests.
//
// The file (UTF-8 lines; paths keep their bytes, with %XX for %, control bytes and newline):
//
//   cyclegan-manifest 1
//   domain A
//   root /absolute/folder                 not part of the digest: a data set may be moved
//   count 1600
//   held_out 84
//   <size> <sha256> <w> <h> <path>        one line a record: bytes, hex, pixels, relative path
//   ...                                   first `count` training records, then the held-out ones
//   digest <sha256>                       of all lines above but the root line
//
// Records are sorted by strcmp of their paths. The digest depends on no time, host or root.
#ifndef MANIFEST_H
#define MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manifest_record {
    uint64_t size;
    uint8_t sha256[32];
    int w, h;
    char *path; // relative to root
};

struct manifest {
    char domain[8];
    char *root;
    size_t count, held_out; // records[0..count) to train on, then held_out more
    struct manifest_record *records;
    char digest[65]; // hex
};

// What tells two data sets apart, without their records.
struct manifest_summary {
    char digest[65];
    uint64_t count, held_out;
};

// Whether the domains A and B of both have the same images, and the same of them held out.
bool manifest_same_data(const struct manifest_summary a[2], const struct manifest_summary b[2]);

void manifest_free(struct manifest *m);

// Sorts both parts by path and computes the digest.
void manifest_seal(struct manifest *m);

// Writes one record as a line with its newline and returns the length. ERR_LIMIT if n is too small.
int manifest_format(const struct manifest_record *r, char *ret, size_t n);
// Parses one line of `size` bytes, with or without its newline. The path is malloc'ed; it has no
// empty, "." or ".." part, so it stays inside the root. ERR_FORMAT.
int manifest_parse(const char *line, size_t size, struct manifest_record *ret_record);

// Writes the file atomically (fs_write_atomic). ERR_IO, ERR_SPACE.
int manifest_save(const struct manifest *m, const char *path);
// Reads and checks a file. ERR_IO; ERR_FORMAT names path and line, also for a wrong digest.
int manifest_load(const char *path, struct manifest **ret_manifest);

#endif
