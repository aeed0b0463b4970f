// file - the interface between weights.h and the file formats. Private to this room.
#ifndef WEIGHTS_FILE_H
#define WEIGHTS_FILE_H

#include "weights/weights.h"

#define WEIGHTS_TENSORS_MAX 1024
#define WEIGHTS_NAME_MAX 255

// A tensor and the place of its elements: index i is element offset + sum i_k strides_k of the
// storage.
struct weights_entry {
    struct weights_tensor tensor;
    int storage; // number of the storage in its format
    uint64_t offset;
    int64_t strides[WEIGHTS_RANK_MAX];
};

// Reads a storage: begin at a byte, read any number of times, end. ERR_IO, ERR_FORMAT.
struct weights_format {
    int (*begin)(void *file, int storage, uint64_t byte);
    int (*read)(void *file, void *ret, size_t size);
    int (*end)(void *file); // verifies the checksum if the format has one; called after errors too
    void (*close)(void *file);
};

struct weights {
    char *path;
    const char *chosen; // the part of the path after '#' until it is found; NULL: none
    const struct weights_format *format;
    void *file;
    int count, capacity;
    struct weights_entry *entries;
    char *notes;
};

// Allocates room for `count` entries. ERR_LIMIT.
int weights_reserve(struct weights *w, int count);
// Adds an entry with `rank` sizes in dims. Checks the name, and that the size is below 2^62 bytes.
// ERR_FORMAT, ERR_LIMIT.
int weights_add(struct weights *w, const char *name, size_t name_size, enum weights_type type,
                int rank, const int64_t *dims, struct weights_entry **ret_entry);
// Adds a line to weights_notes.
void weights_note(struct weights *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Sets the strides of a contiguous row-major tensor at offset 0.
void weights_set_plain(struct weights_entry *e);

// Takes prefixes of wrappers and of whole models off the names, drops stale statistics, and refuses
// equal names. ERR_FORMAT.
int weights_convert_names(struct weights *w);

int weights_element_bytes(enum weights_type type);

// Open w->path and fill w->format, w->file and w->entries. ERR_IO, ERR_FORMAT, ERR_LIMIT.
int weights_open_safetensors(struct weights *w);
int weights_open_zip(struct weights *w);
int weights_open_legacy(struct weights *w);

#endif
