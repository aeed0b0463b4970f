#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// Makes room for `more` bytes and the 0.
static void reserve_bytes(struct text *t, size_t more) {
    if (t->capacity - t->size > more)
        return;
    t->capacity = MAX(2 * t->capacity, t->size + more + 1);
    t->bytes = xrealloc(t->bytes, t->capacity);
}

void text_add(struct text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0)
        BUG("format '%s'", format);
    reserve_bytes(t, (size_t)n);
    (void)vsnprintf(t->bytes + t->size, t->capacity - t->size, format, again); // fits
    t->size += (size_t)n;
    va_end(again);
    va_end(args);
}

void text_add_bytes(struct text *t, const void *bytes, size_t size) {
    reserve_bytes(t, size);
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    t->bytes[t->size] = 0;
}

FILE *text_open(char **ret_text, size_t *ret_size) {
    FILE *out = open_memstream(ret_text, ret_size);
    if (!out)
        BUG("open_memstream: %s", strerror(errno));
    return out;
}

void text_close(FILE *out) {
    if (fclose(out))
        BUG("open_memstream: %s", strerror(errno));
}

size_t text_mark_bytes(const void *bytes, size_t size) {
    return size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}
