// scratch - the rows of one map, as many in memory as it may take, the others in a file without a
// name, which goes with the process.
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

struct scratch;

// `rows` rows of row_bytes. *memory: what it may take of it; what it takes is taken off. The file
// is made in `folder` if one is needed; folder NULL: nothing is made or can be written, this is to
// see what it would take. ERR_IO, ERR_SPACE.
int scratch_new(int rows, size_t row_bytes, size_t *memory, const char *folder,
                struct scratch **ret);
// Gives memory back to *memory (may be NULL).
void scratch_free(struct scratch *s, size_t *memory);

// Rows [first, first + n). ERR_IO, ERR_SPACE.
int scratch_write(struct scratch *s, int first, int n, const void *data);
int scratch_read(const struct scratch *s, int first, int n, void *ret_data);

// Bytes of the file when all is written.
size_t scratch_file_bytes(const struct scratch *s);

#endif
