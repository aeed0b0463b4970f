// pickle_names - names of the pickle instructions, and the Python names that are accepted. Private
// to pickle*.c.
#ifndef PICKLE_NAMES_H
#define PICKLE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

// For example "REDUCE". "" if there is no such instruction.
const char *pickle_opcode_name(uint8_t opcode);

enum pickle_role {
    PICKLE_ORDERED_DICT,
    PICKLE_REBUILD_TENSOR, // both versions: only the first four arguments matter
    PICKLE_REBUILD_PARAMETER,
    PICKLE_STORAGE_TYPE,
};

struct pickle_name {
    const char *module, *name;
    enum pickle_role role;
    int element_bytes; // for storage types
    bool readable;
    enum weights_type type;
};

// Index in pickle_names. -1: not accepted.
int pickle_name_find(const char *module, size_t module_size, const char *name, size_t name_size);
extern const struct pickle_name pickle_names[];

#endif
