// pickle - reads the object in a file of torch.save, without running any code.
//
// A pickle is a program for a stack machine, and Python's own reader lets it call any function.
// This reader knows the few instructions of protocol 2 and the few names that state dicts use. It
// refuses all others and names them, with their byte:
//
//   values      None, booleans, integers up to 64 bits, floats, texts, tuples, lists, dicts
//   names       collections.OrderedDict
//               torch._utils._rebuild_tensor_v2, _rebuild_tensor, _rebuild_parameter
//               torch.{Float,Half,BFloat16,Double,Long,Int,Short,Char,Byte,Bool}Storage
//   persistent  ('storage', type, key, location, count[, None])
//
// Attributes of an OrderedDict (_metadata) are dropped. Sizes are limited before anything is
// allocated: the text to PICKLE_BYTES_MAX, values and memo accordingly, in all below 640 KiB. A
// value may contain itself, so a walk through values must limit its depth.
//
// Source of the format: CPython, Lib/pickletools.py; PyTorch, torch/serialization.py.
#ifndef PICKLE_H
#define PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

#define PICKLE_BYTES_MAX (256 << 10)

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_NAME, // one of the names above
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
    PICKLE_MARK, // never in a result
};

// Valid as long as its pickle. `at` is a byte of the text or the number of a node.
struct pickle_value {
    uint32_t kind, at;
};

struct pickle;

// Reads the pickle at the start of `text`, which is lent for the life of the result. `what` names
// it in error texts. *ret_used is its length in bytes. ERR_FORMAT, ERR_LIMIT.
int pickle_read(const char *what, const uint8_t *text, size_t size, struct pickle **ret_pickle,
                size_t *ret_used);
// Accepts NULL.
void pickle_free(struct pickle *p);

struct pickle_value pickle_root(const struct pickle *p);

int64_t pickle_int(const struct pickle *p, struct pickle_value v); // v is an INT or BOOL
// v is a TEXT. The result is not zero-terminated.
const char *pickle_text(const struct pickle *p, struct pickle_value v, size_t *ret_size);
bool pickle_is_text(const struct pickle *p, struct pickle_value v, const char *text);

// Iterates over a dict or list. Items of a list have the key None. *cursor is 0 at first. Returns
// false at the end.
struct pickle_entry {
    struct pickle_value key, value;
};
bool pickle_next(const struct pickle *p, struct pickle_value dict, uint32_t *cursor,
                 struct pickle_entry *ret_entry);

struct pickle_storage {
    const char *type_name; // "FloatStorage"
    bool readable;         // `type` is valid
    enum weights_type type;
    int element_bytes;
    const char *key; // not zero-terminated
    size_t key_size;
    uint64_t count;
};
void pickle_storage(const struct pickle *p, struct pickle_value v, struct pickle_storage *ret);

// Iterates over all storages, each as often as something refers to it. *cursor is 0 at first.
// Returns false at the end.
bool pickle_next_storage(const struct pickle *p, uint32_t *cursor, struct pickle_storage *ret);

struct pickle_tensor {
    struct pickle_storage storage;
    uint64_t offset; // of the first element, in elements
    int rank;        // above WEIGHTS_RANK_MAX: dims and strides are not set
    int64_t dims[WEIGHTS_RANK_MAX], strides[WEIGHTS_RANK_MAX]; // not negative
};
void pickle_tensor(const struct pickle *p, struct pickle_value v, struct pickle_tensor *ret);

#endif
