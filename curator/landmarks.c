#include "landmarks.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fs.h"
#include "picture.h"
#include "util.h"

#define FILE_MAX_BYTES ((size_t)256 << 20)
#define MAX_FIELDS 64
#define ROW_FIELDS (1 + LANDMARK_COORDINATES)
#define UNALIGNED_STD 20 // pixels; the eyes of aligned pictures vary by less than 2

static const char *const columns[LANDMARK_COORDINATES] = {
    "lefteye_x", "lefteye_y",   "righteye_x",  "righteye_y",   "nose_x",
    "nose_y",    "leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y",
};

struct reader {
    const char *path;
    char *at;
    int line;
    char *fields[MAX_FIELDS]; // of the line
    int count;
};

// Cuts the next line into fields; false at the end of the file. Empty lines are passed over.
static bool next_line(struct reader *r) {
    r->count = 0;
    while (*r->at && r->count == 0) {
        char *end = strchrnul(r->at, '\n'), *rest = NULL;
        char *next = *end ? end + 1 : end;
        *end = 0;
        r->line++;
        for (char *f = strtok_r(r->at, " \t\r,", &rest); f && r->count < MAX_FIELDS;
             f = strtok_r(NULL, " \t\r,", &rest))
            r->fields[r->count++] = f;
        r->at = next;
    }
    return r->count > 0;
}

static bool is_number(const char *text, double *ret_number) {
    char *end;
    *ret_number = strtod(text, &end);
    return *text && !*end && isfinite(*ret_number);
}

static bool is_digits(const char *text) {
    return text[strspn(text, "0123456789")] == 0;
}

static bool is_header(const struct reader *r) {
    int first = r->count == ROW_FIELDS ? 1 : 0; // "image_id" in front
    if (r->count - first != LANDMARK_COORDINATES)
        return false;
    for (int i = 0; i < LANDMARK_COORDINATES; i++)
        if (strcmp(r->fields[first + i], columns[i]) != 0)
            return false;
    return true;
}

static int refuse_header(const struct reader *r) {
    bool attributes = r->count >= 40;
    for (int i = 0; i < r->count; i++)
        attributes |= strcmp(r->fields[i], "5_o_Clock_Shadow") == 0;
    if (attributes)
        return err_set(ERR_DATA,
                       "%s:%d: this file holds attributes (40 columns of 1 and -1), not positions; "
                       "the landmarks are in list_landmarks_align_celeba.txt or .csv",
                       r->path, r->line);
    return err_set(ERR_DATA,
                   "%s:%d: not a landmark file: the header lefteye_x ... rightmouth_y is expected "
                   "here, as in list_landmarks_align_celeba.txt or .csv",
                   r->path, r->line);
}

// ret_count: what the first line of the official layout says, else -1.
static int read_head(struct reader *r, long long *ret_count) {
    *ret_count = -1;
    if (!next_line(r))
        return err_set(ERR_DATA, "%s: the landmark file is empty", r->path);
    if (r->count == 1 && is_digits(r->fields[0])) {
        *ret_count = atoll(r->fields[0]);
        if (!next_line(r))
            return err_set(ERR_DATA, "%s:%d: the file ends after the count", r->path, r->line);
    }
    return is_header(r) ? ERR_OK : refuse_header(r);
}

static int read_row(const struct reader *r, struct landmark_row *row) {
    if (r->count != ROW_FIELDS)
        return err_set(ERR_DATA, "%s:%d: %d columns, but a name and %d numbers are expected",
                       r->path, r->line, r->count, LANDMARK_COORDINATES);
    row->name = r->fields[0];
    row->line = r->line;
    for (int i = 0; i < LANDMARK_COORDINATES; i++)
        if (!is_number(r->fields[1 + i], &row->x[i]))
            return err_set(ERR_DATA, "%s:%d: %s is '%s', not a number", r->path, r->line,
                           columns[i], r->fields[1 + i]);
    return ERR_OK;
}

static int read_rows(struct reader *r, struct landmarks *l) {
    size_t capacity = 1024;
    l->rows = xmalloc(capacity * sizeof *l->rows);
    while (next_line(r)) {
        if (l->count == capacity) {
            capacity *= 2;
            l->rows = xrealloc(l->rows, capacity * sizeof *l->rows);
        }
        int err = read_row(r, &l->rows[l->count]);
        if (err)
            return err;
        l->count++;
    }
    if (l->count == 0)
        return err_set(ERR_DATA, "%s: no rows behind the header", r->path);
    return ERR_OK;
}

static size_t stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static int compare_stems(const char *a, const char *b) {
    size_t n = stem_length(a), m = stem_length(b);
    int order = memcmp(a, b, MIN(n, m));
    return order ? order : (n > m) - (n < m);
}

static int by_stem(const void *a, const void *b) {
    return compare_stems(((const struct landmark_row *)a)->name,
                         ((const struct landmark_row *)b)->name);
}

static int check_twice(const char *path, const struct landmarks *l) {
    for (size_t i = 1; i < l->count; i++)
        if (by_stem(&l->rows[i - 1], &l->rows[i]) == 0)
            return err_set(ERR_DATA, "%s:%d: '%s' has a row already, in line %d", path,
                           MAX(l->rows[i - 1].line, l->rows[i].line), l->rows[i].name,
                           MIN(l->rows[i - 1].line, l->rows[i].line));
    return ERR_OK;
}

// In the order of the file, before sorting: the sums do not depend on the sort.
static void moments(struct landmarks *l) {
    double n = (double)l->count;
    for (int k = 0; k < LANDMARK_COORDINATES; k++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < l->count; i++)
            sum += l->rows[i].x[k];
        l->mean[k] = sum / n;
        for (size_t i = 0; i < l->count; i++) {
            double d = l->rows[i].x[k] - l->mean[k];
            squares += d * d;
        }
        l->std[k] = sqrt(squares / n);
    }
}

static void score(struct landmarks *l) {
    for (size_t i = 0; i < l->count; i++) {
        struct landmark_row *row = &l->rows[i];
        row->score = 0;
        for (int k = 0; k < LANDMARK_COORDINATES; k++) {
            double z = l->std[k] > 0 ? (row->x[k] - l->mean[k]) / l->std[k] : 0;
            row->score += z * z;
        }
    }
}

static int load(struct reader *r, struct landmarks *l) {
    long long count;
    int err = read_head(r, &count);
    if (!err)
        err = read_rows(r, l);
    if (err)
        return err;
    if (count >= 0 && (size_t)count != l->count)
        return err_set(ERR_DATA, "%s:1: says %lld rows, but there are %zu: an incomplete copy?",
                       r->path, count, l->count);
    moments(l);
    score(l);
    qsort(l->rows, l->count, sizeof *l->rows, by_stem);
    return check_twice(r->path, l);
}

int landmarks_load(const char *path, struct landmarks **ret_landmarks) {
    uint8_t *bytes;
    size_t size;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err_set(ERR_DATA, "landmarks: %s", err_text());
    struct landmarks *l = xcalloc(1, sizeof *l);
    l->text = (char *)bytes;
    struct reader r = {.path = path, .at = l->text};
    if (memchr(bytes, 0, size))
        err = err_set(ERR_DATA, "%s: not a text file", path);
    if (!err)
        err = load(&r, l);
    if (err) {
        landmarks_free(l);
        return err;
    }
    *ret_landmarks = l;
    return ERR_OK;
}

void landmarks_free(struct landmarks *l) {
    if (!l)
        return;
    free(l->rows);
    free(l->text);
    free(l);
}

const struct landmark_row *landmarks_find(const struct landmarks *l, const char *name) {
    struct landmark_row key = {.name = name};
    return bsearch(&key, l->rows, l->count, sizeof *l->rows, by_stem);
}

bool landmarks_are_unaligned(const struct landmarks *l) {
    return l->std[0] > UNALIGNED_STD;
}
