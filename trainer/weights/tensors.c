// The list of tensors that a format fills, and what its readers see of it.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/file.h"

// ---- for the formats ----

int weights_element_bytes(enum weights_type type) {
    static const int bytes[] = {[WEIGHTS_F32] = 4,
                                [WEIGHTS_F16] = 2,
                                [WEIGHTS_BF16] = 2,
                                [WEIGHTS_F64] = 8,
                                [WEIGHTS_I64] = 8};
    return bytes[type];
}

void weights_note(struct weights *w, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); // cut: it is for a person
    va_end(args);
    // A handful of lines per file, so copying all of them is cheap.
    char *all = xasprintf("%s%s\n", w->notes, line);
    free(w->notes);
    w->notes = all;
}

int weights_reserve(struct weights *w, int count) {
    if (count > WEIGHTS_TENSORS_MAX)
        return err_set(ERR_LIMIT, "'%s' holds %d tensors, no net of ours has more than %d", w->path,
                       count, WEIGHTS_TENSORS_MAX);
    // One allocation for all: pointers to entries stay valid while the list fills.
    w->entries = xcalloc((size_t)count + 1, sizeof *w->entries);
    w->capacity = count;
    return ERR_OK;
}

static bool is_printable(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

static bool count_elements(int rank, const int64_t *dims, uint64_t *ret_count) {
    uint64_t count = 1;
    for (int i = 0; i < rank; i++)
        // At most 2^59 elements of 8 bytes: below 2^62.
        if (dims[i] < 0 || __builtin_mul_overflow(count, (uint64_t)dims[i], &count) ||
            count > (UINT64_MAX >> 5))
            return false;
    *ret_count = count;
    return true;
}

int weights_add(struct weights *w, const char *name, size_t name_size, enum weights_type type,
                int rank, const int64_t *dims, struct weights_entry **ret_entry) {
    uint64_t count;
    // The formats count their tensors before they add them.
    if (w->count == w->capacity)
        BUG("more tensors than announced");
    if (!name_size || name_size > WEIGHTS_NAME_MAX || !is_printable(name, name_size))
        return err_set(ERR_FORMAT, "'%s' holds a tensor whose name cannot be shown", w->path);
    if (!count_elements(rank, dims, &count))
        return err_set(ERR_FORMAT, "'%s': %.*s has too many elements", w->path, (int)name_size,
                       name);
    struct weights_entry *e = &w->entries[w->count++];
    *e = (struct weights_entry){.tensor = {.type = type, .rank = rank, .count = count}};
    e->tensor.name = xasprintf("%.*s", (int)name_size, name);
    memcpy(e->tensor.dims, dims, (size_t)rank * sizeof *dims);
    *ret_entry = e;
    return ERR_OK;
}

void weights_set_plain(struct weights_entry *e) {
    int64_t stride = 1;
    for (int i = e->tensor.rank - 1; i >= 0; i--) {
        e->strides[i] = stride;
        // An empty dimension must not make all further strides 0.
        stride *= MAX(e->tensor.dims[i], 1);
    }
    e->offset = 0;
}

// ---- for readers of the list ----

const char *weights_path(const struct weights *w) {
    return w->path;
}

int weights_count(const struct weights *w) {
    return w->count;
}

const struct weights_tensor *weights_at(const struct weights *w, int i) {
    return &w->entries[i].tensor;
}

const struct weights_tensor *weights_find(const struct weights *w, const char *name) {
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->entries[i].tensor.name, name) == 0)
            return &w->entries[i].tensor;
    return NULL;
}

const char *weights_notes(const struct weights *w) {
    return w->notes;
}
