// picture - the list of candidates that all steps share, and the two ways to note a decision.
// Strings are owned by the picture and freed in pictures_fini.
#include "pictures/picture.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct picture *pictures_add(struct pictures *list) {
    if (list->count == list->capacity) {
        // Doubling: a set of 100 000 pictures moves 9 times.
        list->capacity = list->capacity ? list->capacity * 2 : 256;
        list->items = xrealloc(list->items, list->capacity * sizeof *list->items);
    }
    struct picture *p = &list->items[list->count++];
    // NaN says that no number belongs to the reason.
    *p = (struct picture){.score = NAN};
    return p;
}

// By bytes, not by locale: the manifest's order must be the same everywhere.
static int by_path(const void *a, const void *b) {
    return strcmp(((const struct picture *)a)->path, ((const struct picture *)b)->path);
}

void pictures_sort(struct pictures *list) {
    // qsort must not get NULL, not even with a count of 0.
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_path);
}

struct picture *pictures_find(const struct pictures *list, const char *path) {
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, list->items[middle].path);
        if (order == 0)
            return &list->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void pictures_fini(struct pictures *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].path);
        free(list->items[i].detail);
        free(list->items[i].histogram);
    }
    free(list->items);
    *list = (struct pictures){0};
}

static void decide(struct picture *p, const char *reason, double score, const char *format,
                   va_list args) {
    // The cache stores the same 255 bytes, so a cached verdict has the same text.
    char detail[256];
    (void)vsnprintf(detail, sizeof detail, format, args); // a cut text is still a text
    // A later step may replace the detail; `args` may point into the old one, which is still there.
    free(p->detail);
    p->detail = *detail ? xstrdup(detail) : NULL;
    p->score = score;
    (void)text_copy(p->reason, sizeof p->reason, reason); // may be cut
}

void picture_reject(struct picture *p, const char *reason, double score, const char *format, ...) {
    va_list args;
    va_start(args, format);
    decide(p, reason, score, format, args);
    va_end(args);
    p->verdict = VERDICT_REJECT;
}

void picture_note(struct picture *p, const char *reason, double score, const char *format, ...) {
    va_list args;
    va_start(args, format);
    decide(p, reason, score, format, args);
    va_end(args);
}

const char *picture_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *verdict_name(enum verdict v) {
    static const char *const names[] = {"open", "keep", "hold_out", "reject"};
    return names[v];
}
