#include "kinds/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

#define FILE_MAX_BYTES ((size_t)256 << 20)

int table_open(const char *path, struct table *ret) {
    uint8_t *bytes;
    size_t size;
    if (fs_read(path, FILE_MAX_BYTES, &bytes, &size))
        return err_set(ERR_DATA, "%s", err_text());
    if (memchr(bytes, 0, size)) {
        bool wide = size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || //
                                  memcmp(bytes, "\xfe\xff", 2) == 0);
        free(bytes);
        return err_set(ERR_DATA,
                       wide ? "%s: a UTF-16 file; save it as UTF-8" : "%s: not a text file", path);
    }
    char *text = (char *)bytes;
    *ret = (struct table){
        .path = path, .text = text, .at = text + text_mark_bytes(bytes, size), .rows = -1};
    return ERR_OK;
}

void table_close(struct table *t) {
    free(t->text);
    *t = (struct table){0};
}

static bool is_gap(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == ',';
}

// The end of the field at p: a gap, the end of the line or the end of the text.
static char *field_end(char *p) {
    while ((unsigned char)*p > ',' || (*p && *p != '\n' && !is_gap(*p)))
        p++;
    return p;
}

// Reads a quoted field in place, as RFC 4180 has it: "" stands for one quote, and gaps belong to
// the field. Returns its end, behind the closing quote; NULL, with nothing changed, if p is no such
// field.
static char *unquote_field(char *p) {
    char *from = p + 1, *to = p;
    if (*p != '"')
        return NULL;
    while (*from && *from != '\n' && (*from != '"' || from[1] == '"'))
        from += *from == '"' ? 2 : 1;
    if (*from != '"' || (from[1] && from[1] != '\n' && !is_gap(from[1])))
        return NULL;
    char *end = from + 1;
    for (char *at = p + 1; at < from; at++) {
        at += *at == '"';
        *to++ = *at;
    }
    *to = 0; // at most where the closing quote was, so *end stays
    return end;
}

// The line's fields, each ended by a 0; the text's own 0 stays where it is.
static void cut_line(struct table *t) {
    char *p = t->at;
    t->count = 0;
    t->line++;
    for (;;) {
        while (is_gap(*p))
            p++;
        if (!*p || *p == '\n')
            break;
        char *field = p, *quoted_end = unquote_field(p);
        if (t->count < TABLE_FIELDS)
            t->fields[t->count++] = field;
        p = quoted_end ? quoted_end : field_end(p);
        bool ends = !*p || *p == '\n';
        if (ends)
            break;
        *p++ = 0;
    }
    t->at = p + (*p == '\n');
    *p = 0;
}

bool table_next(struct table *t) {
    t->count = 0;
    while (*t->at && t->count == 0)
        cut_line(t);
    return t->count > 0;
}

int table_head(struct table *t, const char *what) {
    if (!table_next(t))
        return err_set(ERR_DATA, "%s: the %s file is empty", t->path, what);
    if (t->count > 1 || t->fields[0][strspn(t->fields[0], "0123456789")])
        return ERR_OK;
    t->rows = atoll(t->fields[0]);
    if (!table_next(t))
        return table_refuse(t, "the file ends after the count");
    return ERR_OK;
}

int table_check_rows(const struct table *t, size_t rows) {
    if (t->rows < 0 || (size_t)t->rows == rows)
        return ERR_OK;
    return err_set(ERR_DATA, "%s:1: says %lld rows, but there are %zu: an incomplete copy?",
                   t->path, t->rows, rows);
}

// Up to 15 digits are exact in a double and need no strtod.
bool table_number(const char *text, double *ret_number) {
    const char *p = text + (*text == '-');
    int64_t value = 0;
    int digits = 0;
    for (; *p >= '0' && *p <= '9' && digits < 16; digits++)
        value = 10 * value + (*p++ - '0');
    if (!*p && digits > 0 && digits < 16) {
        *ret_number = *text == '-' ? -(double)value : (double)value;
        return true;
    }
    char *end;
    *ret_number = strtod(text, &end);
    return *text && !*end && isfinite(*ret_number);
}

int table_refuse(const struct table *t, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); // a cut text is still a text
    va_end(args);
    return err_set(ERR_DATA, "%s:%d: %s", t->path, t->line, text);
}
