// safetensors_parts - what safetensors.c, safetensors_header.c and safetensors_write.c share and
// nobody else sees.
#ifndef SAFETENSORS_PARTS_H
#define SAFETENSORS_PARTS_H

#include <stdbool.h>

#include "weights/safetensors.h"

#define SAFETENSORS_TYPES (SAFETENSORS_F64 + 1)

extern const char *const safetensors_type_names[SAFETENSORS_TYPES];

// Bytes of the tensor; false if that passes 2^63.
bool safetensors_size(const struct safetensor *t, uint64_t *ret_bytes);

// Appends the header's tensors to f. NULL, or what is wrong with it.
const char *safetensors_parse_header(struct safetensors *f, const unsigned char *text, size_t size);

#endif
