// text - a text in memory that grows while it is written.
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

// Zeroed at the start. `bytes` ends with a 0 behind `size` bytes after the first text_add; it is
// the owner's to free.
struct text {
    char *bytes;
    size_t size, capacity;
};

void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

// `size` bytes as they are, zeros included.
void text_add_bytes(struct text *t, const void *bytes, size_t size);

#endif
