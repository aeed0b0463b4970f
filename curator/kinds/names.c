// names - open addressing with linear probing over row numbers. Rows stay in the order of adding,
// since labels_digest depends on that order.
#include "kinds/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "image/format.h"

// Cuts a path to what is compared: the name without folders and without a picture's extension.
static void cut_to_stem(const char **name, size_t *size) {
    const char *slash = memrchr(*name, '/', *size);
    if (slash) {
        *size -= (size_t)(slash + 1 - *name);
        *name = slash + 1;
    }
    // Longer names are refused by names_add, so an uncut one does no harm.
    char copy[NAME_MAX_BYTES + 8]; // `name` need not end in a 0
    if (*size < sizeof copy) {
        memcpy(copy, *name, *size);
        copy[*size] = 0;
        *size = image_stem_length(copy);
    }
}

// FNV-1a. Its high bits are mixed into the low ones, which choose the slot.
static size_t hash_name(const char *name, size_t size) {
    uint64_t h = 14695981039346656037U;
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)name[i]) * 1099511628211U;
    return (size_t)(h ^ h >> 29);
}

// The slot of the name, or the free one where it belongs.
static uint32_t *slot_of(const struct names *n, const char *name, size_t size) {
    // Ends, since at least half of the slots are free.
    for (size_t i = hash_name(name, size);; i++) {
        // slot_count is a power of two, so the mask replaces a division.
        uint32_t *slot = &n->slots[i & (n->slot_count - 1)];
        if (!*slot)
            return slot;
        const char *other = names_text(n, &n->rows[*slot - 1]);
        // The stored text ends in a 0, the given one need not.
        if (strncmp(other, name, size) == 0 && !other[size])
            return slot;
    }
}

// Doubles the slots: at most half of them are taken, so probing stays short and always ends.
static void grow_slots(struct names *n) {
    free(n->slots);
    n->slot_count = n->slot_count ? 2 * n->slot_count : 1024;
    n->slots = xcalloc(n->slot_count, sizeof *n->slots);
    for (size_t i = 0; i < n->count; i++) {
        const char *name = names_text(n, &n->rows[i]);
        // Row + 1, because 0 marks a free slot.
        *slot_of(n, name, strlen(name)) = (uint32_t)i + 1;
    }
}

static void grow_rows(struct names *n, size_t size) {
    if (n->count == n->capacity) {
        // The factor of 1.5 wastes less memory than doubling.
        n->capacity = n->capacity ? n->capacity + n->capacity / 2 : 512;
        n->rows = xrealloc(n->rows, n->capacity * sizeof *n->rows);
    }
    if (n->text_size + size + 1 > n->text_capacity) {
        // The constant makes room for at least one name of any allowed length.
        n->text_capacity += n->text_capacity / 2 + 16384;
        n->text = xrealloc(n->text, n->text_capacity);
    }
}

struct name_row *names_add(struct names *n, const char *name, size_t size, bool *ret_is_new) {
    cut_to_stem(&name, &size);
    if (size == 0 || size > NAME_MAX_BYTES || memchr(name, 0, size)) {
        (void)err_set(ERR_DATA, "a name of %zu bytes: 1 to %d without a 0 are expected", size,
                      NAME_MAX_BYTES);
        return NULL;
    }
    if (n->count * 2 >= n->slot_count)
        grow_slots(n);
    uint32_t *slot = slot_of(n, name, size);
    // Read before growing: the slot decides whether a row is needed.
    *ret_is_new = *slot == 0;
    if (*slot)
        return &n->rows[*slot - 1];
    if (n->count == NAMES_MAX) {
        (void)err_set(ERR_DATA, "more than %d names", NAMES_MAX);
        return NULL;
    }
    // May move rows and text; the slot stays valid, since slots are another array.
    grow_rows(n, size);
    struct name_row *row = &n->rows[n->count++];
    // Offsets instead of pointers: the text moves as it grows.
    *row = (struct name_row){.offset = (uint32_t)n->text_size};
    memcpy(n->text + n->text_size, name, size);
    n->text[n->text_size + size] = 0;
    n->text_size += size + 1;
    *slot = (uint32_t)n->count;
    return row;
}

struct name_row *names_find(const struct names *n, const char *name) {
    size_t size = strlen(name);
    cut_to_stem(&name, &size);
    // An empty table has no slots to look at.
    uint32_t slot = n->count && size ? *slot_of(n, name, size) : 0;
    return slot ? &n->rows[slot - 1] : NULL;
}

void names_fini(struct names *n) {
    free(n->rows);
    free(n->text);
    free(n->slots);
    *n = (struct names){0};
}
