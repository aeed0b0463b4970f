// util - memory that does not fail, time, small arithmetic. No I/O.
#ifndef UTIL_H
#define UTIL_H

#include <stddef.h>
#include <stdint.h>

// Elements of an array; not of a pointer.
#define COUNT(array) (sizeof(array) / sizeof *(array))
// Arguments are evaluated twice, so they must have no side effects.
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

// malloc, calloc, realloc, strdup, asprintf that end the process (exit code 1, one line on stderr)
// when there is no memory. The result is freed with free().
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Zeroed memory aligned to 64 bytes, for pixels and tensors; freed with free().
void *xaligned(size_t size);

// CLOCK_MONOTONIC in microseconds, for every time-out and duration.
int64_t now_us(void);

// Microseconds since 1970, only for what a person reads.
int64_t wall_us(void);

// Processor cores that this process may run on (its affinity mask, not the machine), at least 1.
int core_count(void);

// Copies at most size - 1 bytes and a 0. False: the text was cut.
_Bool text_copy(char *ret, size_t size, const char *text);

#endif
