// digest - SHA-256 (libsodium), as bytes and as 64 hex digits.
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

// The SHA-256 of memory; equal on every processor, whichever implementation computes it.
void digest_bytes(const void *bytes, size_t size, uint8_t ret[32]);
// Small letters, ended by a 0.
void digest_hex(const uint8_t digest[32], char ret[65]);
// The digest and the size of a file, which is read in pieces. ERR_IO.
int digest_file(const char *path, uint8_t ret[32], uint64_t *ret_size);

#endif
