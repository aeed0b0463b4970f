// safetensors_header - the JSON at the start of a safetensors file, and the types it names.
// Private to safetensors*.c.
#ifndef SAFETENSORS_HEADER_H
#define SAFETENSORS_HEADER_H

#include <stdbool.h>

#include "weights/safetensors.h"

#define SAFETENSORS_TYPES (SAFETENSORS_F64 + 1)

// "F32", ..., by enum safetensors_type.
extern const char *const safetensors_type_names[SAFETENSORS_TYPES];

// Size of the tensor's data. False if it exceeds 2^63 bytes.
bool safetensors_size(const struct safetensor *t, uint64_t *ret_bytes);

// Parses the header and appends its tensors to f. Returns NULL, or the reason for refusing it.
const char *safetensors_parse_header(struct safetensors *f, const unsigned char *text, size_t size);

#endif
