// table - splits a text in place, so a list of 200 000 rows costs one allocation. Fields are valid
// until the table is closed.
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

// Far above CelebA's largest list.
#define FILE_MAX_BYTES ((size_t)256 << 20)

int table_open(const char *path, struct table *ret) {
    uint8_t *bytes;
    size_t size;
    if (fs_read(path, FILE_MAX_BYTES, &bytes, &size))
        return err_set(ERR_DATA, "%s", err_text());
    // A text has no 0 byte; UTF-16 has one in every ASCII character.
    if (memchr(bytes, 0, size)) {
        bool wide = size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || //
                                  memcmp(bytes, "\xfe\xff", 2) == 0);
        free(bytes);
        return err_set(ERR_DATA,
                       wide ? "%s: a UTF-16 file; save it as UTF-8" : "%s: not a text file", path);
    }
    char *text = (char *)bytes;
    // Rows -1: no count was read yet.
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
    // All bytes above ',' are part of a field, so most need one comparison.
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
    // A quote inside a word is no quoted field.
    if (*from != '"' || (from[1] && from[1] != '\n' && !is_gap(from[1])))
        return NULL;
    char *end = from + 1;
    // Moved towards the front: the text only becomes shorter.
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
    // Runs of separators count as one: the official lists align columns with blanks.
    for (;;) {
        while (is_gap(*p))
            p++;
        if (!*p || *p == '\n')
            break;
        char *field = p, *quoted_end = unquote_field(p);
        // Fields beyond the limit are cut off, but the line is still read to its end.
        if (t->count < TABLE_FIELDS)
            t->fields[t->count++] = field;
        p = quoted_end ? quoted_end : field_end(p);
        bool ends = !*p || *p == '\n';
        if (ends)
            break;
        // The 0 replaces a separator; at the end of a line it replaces the newline below.
        *p++ = 0;
    }
    // Advanced before *p is overwritten.
    t->at = p + (*p == '\n');
    *p = 0;
}

bool table_next(struct table *t) {
    t->count = 0;
    // Empty lines count for the line number but give no row.
    while (*t->at && t->count == 0)
        cut_line(t);
    return t->count > 0;
}

int table_head(struct table *t, const char *what) {
    if (!table_next(t))
        return err_set(ERR_DATA, "%s: the %s file is empty", t->path, what);
    // A line of one whole number is the count of the official layout.
    if (t->count > 1 || t->fields[0][strspn(t->fields[0], "0123456789")])
        return ERR_OK;
    // A count that is too large cannot match the rows, so table_check_rows refuses it.
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
    // strtod takes most of the time of reading a list; nearly all numbers are whole.
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
    // An empty text converts to 0 with end == text, so it is refused by *text.
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
