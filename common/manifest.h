// manifest - the images of one domain that a run trains on, in order, with their digests.
//
// The file (UTF-8 lines; paths keep their bytes, with %XX for %, control bytes and newline):
//
//   cyclegan-manifest 1
//   domain A
//   root /absolute/folder                 (not part of the digest: a moved data set is the same)
//   count 1600
//   held_out 84
//   <size> <sha256> <w> <h> <path>        one line a record: bytes, hex, pixels, relative path
//   ...                                   first `count` training records, then the held-out ones
//   digest <sha256>                       of all lines above but the root line
//
// Order: strcmp of the path. The digest holds no time, host or root.
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

// One record as a line (with newline) into ret; returns its length; ERR_LIMIT if n is too small.
int manifest_format(const struct manifest_record *r, char *ret, size_t n);
// Parses one line of `size` bytes, with or without its newline; the path is malloc'ed and lies
// inside the root (no empty, "." or ".." part). ERR_FORMAT.
int manifest_parse(const char *line, size_t size, struct manifest_record *ret_record);

// Written beside, synced, renamed. ERR_IO, ERR_SPACE.
int manifest_save(const struct manifest *m, const char *path);
// ERR_IO; ERR_FORMAT names path and line; also when the digest does not hold.
int manifest_load(const char *path, struct manifest **ret_manifest);

#endif
