// utf8 - texts of unknown encoding (names of files) as valid UTF-8, and back.
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>

// Whether all bytes are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, up to U+10FFFF.
bool utf8_is_valid(const char *text);

// The text as valid UTF-8, malloc'ed: each byte that belongs to no character becomes \xHH, and each
// backslash becomes two. A valid text has to be kept as it is, so that ordinary names stay
// readable; a reader then has to know which of the two it has (metrics.sqlite: path_bytes is not
// NULL).
char *utf8_escape(const char *bytes);

// The bytes that utf8_escape was given, malloc'ed. What is no escape stays as it is.
char *utf8_unescape(const char *text);

#endif
