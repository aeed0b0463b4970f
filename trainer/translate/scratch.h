// scratch - the rows of one feature map: as many in memory as allowed, the rest in an unnamed
// temporary file, which disappears with the process.
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

// A row may be written before or after any other, but must be written before it is read.
struct scratch;

// Creates and removes a file in `folder`. ERR_IO if it cannot be written.
int scratch_probe(const char *folder);

// Room for `rows` rows of row_bytes. *memory is the budget; the bytes taken are subtracted. A file
// is made in `folder` if the budget does not suffice. With folder NULL nothing is allocated: the
// result only tells what would be needed. ERR_IO, ERR_SPACE.
int scratch_new(int rows, size_t row_bytes, size_t *memory, const char *folder,
                struct scratch **ret);
// Adds the bytes taken to *memory, which may be NULL.
void scratch_free(struct scratch *s, size_t *memory);

// Write or read rows [first, first + n). ERR_IO, ERR_SPACE.
int scratch_write(struct scratch *s, int first, int n, const void *data);
int scratch_read(const struct scratch *s, int first, int n, void *ret_data);

// Bytes of the file when all rows are written.
size_t scratch_file_bytes(const struct scratch *s);

#endif
