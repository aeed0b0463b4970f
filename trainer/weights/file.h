// file - what the formats behind weights.h fill in. Private to weights/.
#ifndef WEIGHTS_FILE_H
#define WEIGHTS_FILE_H

#include "weights/weights.h"

#define WEIGHTS_TENSORS_MAX 1024
#define WEIGHTS_NAME_MAX 255

// A tensor and where its elements are: the one at index i is element offset + sum i_k strides_k of
// the storage.
struct weights_entry {
    struct weights_tensor tensor;
    int storage; // as the format counts
    uint64_t offset;
    int64_t strides[WEIGHTS_RANK_MAX];
};

// How to read a storage: begin at a byte, read on, end. Each fails with ERR_IO, ERR_FORMAT.
struct weights_format {
    int (*begin)(void *file, int storage, uint64_t byte);
    int (*read)(void *file, void *ret, size_t size);
    int (*end)(void *file); // checks what the format lets one check; also after an error
    void (*close)(void *file);
};

struct weights {
    char *path;
    const char *chosen; // behind '#' in the path; NULL: nothing
    const struct weights_format *format;
    void *file;
    int count, capacity;
    struct weights_entry *entries;
    char *notes;
};

// Makes room for `count` entries. ERR_LIMIT.
int weights_reserve(struct weights *w, int count);
// Adds an entry; dims has `rank` sizes. Checks name, sizes and that they stay below 2^62 bytes.
// ERR_FORMAT, ERR_LIMIT.
int weights_add(struct weights *w, const char *name, size_t name_size, enum weights_type type,
                int rank, const int64_t *dims, struct weights_entry **ret_entry);
void weights_note(struct weights *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Contiguous, from the first element on.
void weights_set_plain(struct weights_entry *e);

int weights_element_bytes(enum weights_type type);

// Fill w->format, file and entries from w->path. ERR_IO, ERR_FORMAT, ERR_LIMIT.
int weights_open_safetensors(struct weights *w);
int weights_open_zip(struct weights *w);
int weights_open_legacy(struct weights *w);

#endif
