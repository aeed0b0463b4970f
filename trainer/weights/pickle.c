// Reads values out of a pickle that has run. Numbers and texts are decoded from the text at `at`.
#include "weights/pickle.h"

#include <string.h>

#include "base/util.h"
#include "weights/pickle_machine.h"
#include "weights/pickle_names.h"

struct pickle_value pickle_root(const struct pickle *p) {
    return p->stack[0];
}

int64_t pickle_int(const struct pickle *p, struct pickle_value v) {
    const uint8_t *at = p->text + v.at;
    switch (*at) {
    case 0x88: // NEWTRUE
        return 1;
    case 'K':
        return at[1];
    case 'M':
        return (int64_t)machine_little_endian(at + 1, 2);
    case 'J':
        return (int32_t)machine_little_endian(at + 1, 4);
    case 0x8a: { // LONG1, two's complement
        int n = at[1];
        uint64_t u = machine_little_endian(at + 2, n);
        // Extends the sign. With 8 bytes the top bit is there already.
        if (n && n < 8 && at[1 + n] & 0x80)
            u |= UINT64_MAX << (8 * n);
        return (int64_t)u;
    }
    default:
        return 0; // NEWFALSE
    }
}

const char *pickle_text(const struct pickle *p, struct pickle_value v, size_t *ret_size) {
    const uint8_t *at = p->text + v.at;
    // SHORT_BINSTRING has a 1-byte length, BINUNICODE and BINSTRING a 4-byte one.
    int length_bytes = *at == 'U' ? 1 : 4;
    *ret_size = machine_little_endian(at + 1, length_bytes);
    return (const char *)at + 1 + length_bytes;
}

bool pickle_is_text(const struct pickle *p, struct pickle_value v, const char *text) {
    if (v.kind != PICKLE_TEXT)
        return false;
    size_t size;
    const char *bytes = pickle_text(p, v, &size);
    return size == strlen(text) && memcmp(bytes, text, size) == 0;
}

bool pickle_next(const struct pickle *p, struct pickle_value dict, uint32_t *cursor,
                 struct pickle_entry *ret_entry) {
    // The layout of entries is drawn in pickle_machine.h.
    uint32_t at = *cursor ? p->nodes[*cursor + 2].at : p->nodes[dict.at].at;
    if (!at)
        return false;
    *cursor = at;
    *ret_entry = (struct pickle_entry){p->nodes[at], p->nodes[at + 1]};
    return true;
}

void pickle_storage(const struct pickle *p, struct pickle_value v, struct pickle_storage *ret) {
    const struct pickle_name *type = &pickle_names[machine_item(p, v, 1).at];
    *ret = (struct pickle_storage){.type_name = type->name,
                                   .readable = type->readable,
                                   .type = type->type,
                                   .element_bytes = type->element_bytes,
                                   .count = (uint64_t)pickle_int(p, machine_item(p, v, 4))};
    ret->key = pickle_text(p, machine_item(p, v, 2), &ret->key_size);
}

bool pickle_next_storage(const struct pickle *p, uint32_t *cursor, struct pickle_storage *ret) {
    // A scan over all nodes finds each storage without recursion, also in values that contain
    // themselves.
    for (uint32_t i = *cursor + 1; i < p->n_nodes; i++)
        if (p->nodes[i].kind == PICKLE_STORAGE) {
            pickle_storage(p, p->nodes[i], ret);
            *cursor = i;
            return true;
        }
    return false;
}

void pickle_tensor(const struct pickle *p, struct pickle_value v, struct pickle_tensor *ret) {
    struct pickle_value sizes = machine_item(p, v, 2), strides = machine_item(p, v, 3);
    *ret = (struct pickle_tensor){.offset = (uint64_t)pickle_int(p, machine_item(p, v, 1)),
                                  .rank = (int)machine_tuple_size(p, sizes)};
    pickle_storage(p, machine_item(p, v, 0), &ret->storage);
    // The caller refuses higher ranks by name; here the arrays must not overflow.
    for (int i = 0; i < MIN(ret->rank, WEIGHTS_RANK_MAX); i++) {
        ret->dims[i] = pickle_int(p, machine_item(p, sizes, (uint32_t)i));
        ret->strides[i] = pickle_int(p, machine_item(p, strides, (uint32_t)i));
    }
}
