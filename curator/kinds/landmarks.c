// landmarks - reads positions, computes each face's distance from the mean face, and finds rows by
// name. Positions are freed after scoring; a row keeps only its score.
#include "kinds/landmarks.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "image/format.h"
#include "kinds/table.h"

#define ROW_FIELDS (1 + LANDMARK_COORDINATES)
#define UNALIGNED_STD 20 // pixels; the eyes of aligned pictures vary by less than 2

static const char *const columns[LANDMARK_COORDINATES] = {
    "lefteye_x", "lefteye_y",   "righteye_x",  "righteye_y",   "nose_x",
    "nose_y",    "leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y",
};

// What only reading the file needs.
struct reader {
    struct table table;
    double *x; // [capacity][LANDMARK_COORDINATES]
    size_t capacity;
};

static bool is_header(const struct table *t) {
    // The .csv names its first column, the official list does not.
    int first = t->count == ROW_FIELDS ? 1 : 0; // "image_id" in front
    if (t->count - first != LANDMARK_COORDINATES)
        return false;
    for (int i = 0; i < LANDMARK_COORDINATES; i++)
        if (strcmp(t->fields[first + i], columns[i]) != 0)
            return false;
    return true;
}

static int refuse_header(const struct table *t) {
    // Told by the number of columns or by the first attribute: users often pick the wrong list.
    bool attributes = t->count >= 40;
    for (int i = 0; i < t->count; i++)
        attributes |= strcmp(t->fields[i], "5_o_Clock_Shadow") == 0;
    if (attributes)
        return table_refuse(t, "this file holds attributes (40 columns of 1 and -1), not "
                               "positions; the landmarks are in list_landmarks_align_celeba.txt "
                               "or .csv");
    return table_refuse(t, "not a landmark file: the header lefteye_x ... rightmouth_y is expected "
                           "here, as in list_landmarks_align_celeba.txt or .csv");
}

static int read_row(const struct table *t, struct landmark_row *row, double *x) {
    if (t->count != ROW_FIELDS)
        return table_refuse(t, "%d columns, but a name and %d numbers are expected", t->count,
                            LANDMARK_COORDINATES);
    // Lent from the text, which the landmarks keep.
    row->name = t->fields[0];
    row->line = t->line;
    for (int i = 0; i < LANDMARK_COORDINATES; i++)
        if (!table_number(t->fields[1 + i], &x[i]))
            return table_refuse(t, "%s is '%s', not a number", columns[i], t->fields[1 + i]);
    return ERR_OK;
}

static int read_rows(struct reader *r, struct landmarks *l) {
    while (table_next(&r->table)) {
        if (l->count == r->capacity) {
            r->capacity = r->capacity ? 2 * r->capacity : 1024;
            l->rows = xrealloc(l->rows, r->capacity * sizeof *l->rows);
            r->x = xrealloc(r->x, r->capacity * LANDMARK_COORDINATES * sizeof *r->x);
        }
        int err = read_row(&r->table, &l->rows[l->count], r->x + l->count * LANDMARK_COORDINATES);
        if (err)
            return err;
        l->count++;
    }
    // Before computing means, which would divide by 0.
    if (l->count == 0)
        return err_set(ERR_DATA, "%s: no rows behind the header", r->table.path);
    return table_check_rows(&r->table, l->count);
}

static int compare_stems(const char *a, const char *b) {
    size_t n = image_stem_length(a), m = image_stem_length(b);
    // By bytes: the sort and the search must agree, whatever the locale.
    int order = memcmp(a, b, MIN(n, m));
    return order ? order : (n > m) - (n < m);
}

static int by_stem(const void *a, const void *b) {
    return compare_stems(((const struct landmark_row *)a)->name,
                         ((const struct landmark_row *)b)->name);
}

// After sorting, equal names are neighbours.
static int check_twice(const char *path, const struct landmarks *l) {
    for (size_t i = 1; i < l->count; i++)
        if (by_stem(&l->rows[i - 1], &l->rows[i]) == 0)
            return err_set(ERR_DATA, "%s:%d: '%s' has a row already, in line %d", path,
                           MAX(l->rows[i - 1].line, l->rows[i].line), l->rows[i].name,
                           MIN(l->rows[i - 1].line, l->rows[i].line));
    return ERR_OK;
}

// Sums in the order of the file, before the sort, so that rounding never depends on it.
static void compute_moments(struct landmarks *l, const double *x) {
    double n = (double)l->count;
    for (size_t i = 0; i < l->count; i++)
        for (int k = 0; k < LANDMARK_COORDINATES; k++)
            l->mean[k] += x[i * LANDMARK_COORDINATES + (size_t)k];
    for (int k = 0; k < LANDMARK_COORDINATES; k++)
        l->mean[k] /= n;
    // Two passes: the variance from squared differences loses no digits.
    for (size_t i = 0; i < l->count; i++)
        for (int k = 0; k < LANDMARK_COORDINATES; k++) {
            double d = x[i * LANDMARK_COORDINATES + (size_t)k] - l->mean[k];
            l->std[k] += d * d;
        }
    for (int k = 0; k < LANDMARK_COORDINATES; k++)
        // The population's deviation: the rows are the whole set.
        l->std[k] = sqrt(l->std[k] / n);
}

static void score_rows(struct landmarks *l, const double *x) {
    // The score of the header: the sum of squared standard scores.
    for (size_t i = 0; i < l->count; i++, x += LANDMARK_COORDINATES) {
        double sum = 0;
        for (int k = 0; k < LANDMARK_COORDINATES; k++) {
            // A coordinate that never varies has std 0 and tells nothing.
            double z = l->std[k] > 0 ? (x[k] - l->mean[k]) / l->std[k] : 0;
            sum += z * z;
        }
        l->rows[i].score = sum;
    }
}

// The official files are sorted already; then one pass replaces the sort.
static void sort_rows(struct landmarks *l) {
    size_t i = 1;
    while (i < l->count && by_stem(&l->rows[i - 1], &l->rows[i]) <= 0)
        i++;
    if (i < l->count)
        qsort(l->rows, l->count, sizeof *l->rows, by_stem);
}

static int load_rows(struct reader *r, struct landmarks *l) {
    int err = table_head(&r->table, "landmark");
    if (!err && !is_header(&r->table))
        err = refuse_header(&r->table);
    if (!err)
        err = read_rows(r, l);
    if (err)
        return err;
    compute_moments(l, r->x);
    score_rows(l, r->x);
    // After scoring, because x is in the order of the file.
    sort_rows(l);
    return check_twice(r->table.path, l);
}

int landmarks_load(const char *path, struct landmarks **ret_landmarks) {
    struct reader r = {0};
    int err = table_open(path, &r.table);
    if (err)
        return err_prefix(err, "landmarks");
    struct landmarks *l = xcalloc(1, sizeof *l);
    err = load_rows(&r, l);
    // Also after a failure, so that landmarks_free frees the text with the rows.
    l->text = r.table.text; // the names point into it
    free(r.x);
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
    // A key with nothing but a name is enough for by_stem.
    struct landmark_row key = {.name = name};
    return bsearch(&key, l->rows, l->count, sizeof *l->rows, by_stem);
}

bool landmarks_are_unaligned(const struct landmarks *l) {
    // The x of the left eye stands for all: alignment fixes the eyes.
    return l->std[0] > UNALIGNED_STD;
}

// ---- the nearest ----

// A strict total order, so that the selection has one result.
static bool is_nearer(const struct landmarks *l, uint32_t a, uint32_t b) {
    double p = l->rows[a].score, q = l->rows[b].score;
    return p < q || (p == q && a < b); // rows are in the order of names
}

static int by_distance(const void *a, const void *b, void *landmarks) {
    uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
    return p == q ? 0 : is_nearer(landmarks, p, q) ? -1 : 1;
}

// Quickselect (Hoare 1961, in Wirth's form): the n nearest, n < count, come to the front in no
// order.
// Linear on average, while sorting all rows for the best few is not.
static void select_nearest(const struct landmarks *l, uint32_t *rows, size_t count, size_t n) {
    ptrdiff_t low = 0, high = (ptrdiff_t)count - 1, k = (ptrdiff_t)n;
    while (low < high) {
        uint32_t pivot = rows[low + (high - low) / 2];
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            // Neither scan needs a bound: the pivot, or an element swapped before, stops it.
            while (is_nearer(l, rows[i], pivot))
                i++;
            while (is_nearer(l, pivot, rows[j]))
                j--;
            if (i > j)
                break;
            uint32_t swapped = rows[i];
            rows[i++] = rows[j];
            rows[j--] = swapped;
        }
        // Only the part that holds position k is searched on.
        if (j < k)
            low = i;
        if (k < i)
            high = j;
    }
}

uint32_t *landmarks_nearest(const struct landmarks *l, size_t n) {
    // At least one element, because malloc(0) may give NULL.
    uint32_t *rows = xmalloc(MAX(l->count, 1) * sizeof *rows);
    n = MIN(n, l->count);
    for (size_t i = 0; i < l->count; i++)
        rows[i] = (uint32_t)i;
    if (n < l->count)
        select_nearest(l, rows, l->count, n);
    qsort_r(rows, n, sizeof *rows, by_distance, (void *)l);
    return rows;
}
