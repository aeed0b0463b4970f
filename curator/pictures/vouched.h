// vouched - texts that end with the digest of all their lines, so that one changed byte is noticed.
//
//   ... lines ...
//   digest <sha256>
#ifndef VOUCHED_H
#define VOUCHED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

// Adds the last line.
void vouched_seal(struct text *t);

// Whether the last line is there and holds. Cuts it off *size then.
bool vouched_holds(const char *bytes, size_t *size);

// Bytes in hex, two digits each.
void vouched_add_hex(struct text *t, const void *bytes, size_t size);

// Takes exactly `size` bytes in hex and moves *at behind them; false at what is no digit.
bool vouched_take_hex(char **at, size_t size, void *ret_bytes);

#endif
