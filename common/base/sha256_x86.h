// sha256_x86 - SHA-256 by the processor's own instructions (FIPS 180-4), for digest.c.
#ifndef SHA256_X86_H
#define SHA256_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// False if the processor or the architecture has no such instructions.
bool sha256_x86_usable(void);

// The digest of all bytes. BUG unless it is usable.
void sha256_x86(const uint8_t *bytes, size_t size, uint8_t ret[32]);

#endif
