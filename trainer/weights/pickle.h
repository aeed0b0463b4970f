// pickle - what torch.save has pickled, as values to look at. Nothing is ever run.
//
// A pickle is a program for a stack machine, and Python's own reader lets it call anything. This
// one knows the few instructions (of protocol 2) and the few names that a state dict is made of,
// and refuses every other, by name and with the byte it is at:
//
//   values      None, booleans, integers up to 64 bits, floats, texts, tuples, lists, dicts
//   names       collections.OrderedDict
//               torch._utils._rebuild_tensor_v2, _rebuild_tensor, _rebuild_parameter
//               torch.{Float,Half,BFloat16,Double,Long,Int,Short,Char,Byte,Bool}Storage
//   persistent  ('storage', type, key, location, count[, None])
//
// An OrderedDict's attributes (_metadata) are dropped. Sizes are bounded before anything is
// allocated: text PICKLE_BYTES_MAX, values and memo by that and by the numbers below, in all less
// than 640 KiB. Values may contain themselves: who walks through them bounds the depth.
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
    PICKLE_NAME, // one of those above
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
    PICKLE_MARK, // never in a result
};

// Valid as long as its pickle. `at`: where it is in the text, or among the nodes.
struct pickle_value {
    uint32_t kind, at;
};

struct pickle;

// Reads one pickle at the start of `text`, which is lent as long as the result lives. `what` names
// it in errors. *ret_used: its bytes. ERR_FORMAT, ERR_LIMIT.
int pickle_read(const char *what, const uint8_t *text, size_t size, struct pickle **ret_pickle,
                size_t *ret_used);
void pickle_free(struct pickle *p);

struct pickle_value pickle_root(const struct pickle *p);

int64_t pickle_int(const struct pickle *p, struct pickle_value v); // of an INT or BOOL
// Of a TEXT; not ended by a zero.
const char *pickle_text(const struct pickle *p, struct pickle_value v, size_t *ret_size);
bool pickle_is_text(const struct pickle *p, struct pickle_value v, const char *text);

// A list's items have the key None. *cursor begins at 0; false at the end.
struct pickle_entry {
    struct pickle_value key, value;
};
bool pickle_next(const struct pickle *p, struct pickle_value dict, uint32_t *cursor,
                 struct pickle_entry *ret_entry);

struct pickle_storage {
    const char *type_name; // "FloatStorage"
    bool readable;         // `type` says how
    enum weights_type type;
    int element_bytes;
    const char *key; // not ended by a zero
    size_t key_size;
    uint64_t count;
};
void pickle_storage(const struct pickle *p, struct pickle_value v, struct pickle_storage *ret);

// Every storage that a tensor or anything else holds, one as often as it is held. *cursor begins at
// 0; false at the end.
bool pickle_next_storage(const struct pickle *p, uint32_t *cursor, struct pickle_storage *ret);

struct pickle_tensor {
    struct pickle_storage storage;
    uint64_t offset; // of the first element, in elements
    int rank;        // above WEIGHTS_RANK_MAX: dims and strides are not given
    int64_t dims[WEIGHTS_RANK_MAX], strides[WEIGHTS_RANK_MAX]; // not negative
};
void pickle_tensor(const struct pickle *p, struct pickle_value v, struct pickle_tensor *ret);

#endif
