// pickle_names - the instructions of pickles, and the names that may stand in ours. Private to
// pickle*.c.
#ifndef PICKLE_NAMES_H
#define PICKLE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

// "REDUCE"; "" if there is no such instruction.
const char *pickle_opcode_name(uint8_t opcode);

enum pickle_role {
    PICKLE_ORDERED_DICT,
    PICKLE_REBUILD_TENSOR, // both versions: the first four arguments say all
    PICKLE_REBUILD_PARAMETER,
    PICKLE_STORAGE_TYPE,
};

struct pickle_name {
    const char *module, *name;
    enum pickle_role role;
    int element_bytes; // of storage types
    bool readable;
    enum weights_type type;
};

// Number of the entry in pickle_names; -1: not among them.
int pickle_name_find(const char *module, size_t module_size, const char *name, size_t name_size);
extern const struct pickle_name pickle_names[];

#endif
