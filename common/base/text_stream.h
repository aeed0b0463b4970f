// text_stream - text that grows as it is printed to.
#ifndef TEXT_STREAM_H
#define TEXT_STREAM_H

#include <stddef.h>
#include <stdio.h>

// Never NULL. After text_close, *ret_text is a heap string of *ret_size bytes, the caller's.
FILE *text_open(char **ret_text, size_t *ret_size);
void text_close(FILE *out);

#endif
