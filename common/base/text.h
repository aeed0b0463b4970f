// text - text in memory that grows while it is written: by appending, or through a stream.
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdio.h>

// Zeroed at the start. After the first text_add, `bytes` holds `size` bytes and a 0 behind them.
// The owner frees it.
struct text {
    char *bytes;
    size_t size, capacity;
};

// As printf, behind what is there.
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Appends `size` bytes as they are, zeros included.
void text_add_bytes(struct text *t, const void *bytes, size_t size);

// A stream into memory, for functions that print to a FILE. Never NULL. After text_close,
// *ret_text holds *ret_size bytes and a 0 behind them; the caller frees it.
FILE *text_open(char **ret_text, size_t *ret_size);
void text_close(FILE *out);

// Size of the UTF-8 byte order mark that the bytes begin with (editors and spreadsheets write one):
// 3, or 0 without one. Every reader of a text file from outside passes over it.
size_t text_mark_bytes(const void *bytes, size_t size);

#endif
