// Compares and merges lists of kernels: one "PROBLEM: kernel" in a line.
#include "checkpoint/kernel_list.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct lines {
    int n, capacity;
    char **items; // into the texts
};

static void split_lines(struct lines *l, char *text) {
    char *rest = NULL;
    // strtok_r cuts `text` in place and skips empty lines.
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (l->n == l->capacity) {
            l->capacity = l->capacity ? 2 * l->capacity : 64;
            l->items = xrealloc(l->items, (size_t)l->capacity * sizeof *l->items);
        }
        l->items[l->n++] = line;
    }
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *kernels_merge(char *old, const char *more) {
    struct lines l = {0};
    // A copy, since `more` is lent and the split writes into it.
    char *copy = xstrdup(more);
    size_t size = strlen(more) + (old ? strlen(old) : 0) + 3; // two missing newlines and the end
    char *ret = xcalloc(size, 1), *end = ret;
    if (old)
        split_lines(&l, old);
    split_lines(&l, copy);
    if (l.n)
        qsort(l.items, (size_t)l.n, sizeof *l.items, by_text);
    for (int i = 0; i < l.n; i++)
        // Sorted, so equal lines are neighbours and the result does not depend on the order of
        // runs.
        if (!i || strcmp(l.items[i - 1], l.items[i]) != 0) {
            end = stpcpy(end, l.items[i]);
            *end++ = '\n';
        }
    free(l.items);
    free(copy);
    free(old);
    return ret;
}

// The first line of `text` that begins with the `length` bytes at `start`; NULL: none.
static const char *line_of(const char *text, const char *start, size_t length) {
    for (const char *line = text; *line; line += *line == '\n') {
        if (strncmp(line, start, length) == 0)
            return line;
        line += strcspn(line, "\n");
    }
    return NULL;
}

char *kernels_changed(const char *old, const char *now) {
    for (const char *line = now; *line; line += *line == '\n') {
        size_t length = strcspn(line, "\n");
        const char *colon = memchr(line, ':', length);
        char *whole = xasprintf("%.*s\n", (int)length, line);
        // A problem that is in both lists and has another kernel now. New problems are no change.
        bool changed = colon && line_of(old, line, (size_t)(colon - line) + 1) &&
                       !line_of(old, whole, length + 1);
        whole[length] = 0;
        if (changed)
            return whole;
        free(whole);
        line += length;
    }
    return NULL;
}
