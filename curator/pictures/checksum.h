// checksum - texts that end with the digest of all their lines, so that one changed byte is
// noticed.
//
//   ... lines ...
//   digest <sha256>
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

// Adds the last line.
void checksum_seal(struct text *t);

// Whether the last line is there and holds. Cuts it off *size then.
bool checksum_holds(const char *bytes, size_t *size);

// Bytes in hex, two digits each.
void checksum_add_hex(struct text *t, const void *bytes, size_t size);

// Takes exactly `size` bytes in hex and moves *at behind them; false at what is no digit.
bool checksum_take_hex(char **at, size_t size, void *ret_bytes);

#endif
