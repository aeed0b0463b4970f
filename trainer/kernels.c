#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

struct lines {
    int n, capacity;
    char **items; // into the texts
};

static void split(struct lines *l, char *text) {
    char *rest = NULL;
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
    char *copy = xstrdup(more);
    size_t size = strlen(more) + (old ? strlen(old) : 0) + 3; // two missing newlines and the end
    char *ret = xcalloc(size, 1), *end = ret;
    if (old)
        split(&l, old);
    split(&l, copy);
    if (l.n)
        qsort(l.items, (size_t)l.n, sizeof *l.items, by_text);
    for (int i = 0; i < l.n; i++)
        if (!i || strcmp(l.items[i - 1], l.items[i]) != 0) {
            end = stpcpy(end, l.items[i]);
            *end++ = '\n';
        }
    free(l.items);
    free(copy);
    free(old);
    return ret;
}
