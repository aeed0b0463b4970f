#include "cache.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fs.h"
#include "manifest.h"
#include "text.h"
#include "util.h"

#define FILE_MAX_BYTES ((size_t)4 << 30)
#define RECORD_MAX (128 + 3 * PATH_MAX)
#define N_STATS ((int)(sizeof(struct image_stats) / sizeof(double)))

// image_stats is nine doubles and nothing else.
_Static_assert(sizeof(struct image_stats) == 9 * sizeof(double), "the line has nine numbers");

struct entry {
    int64_t mtime_ns;
    struct image_stats stats;
    struct manifest_record record;
};

// One line, ended by its newline; `line` may be written to.
static bool parse_line(char *line, size_t size, struct entry *ret) {
    char *at = line;
    double numbers[N_STATS] = {0};
    ret->mtime_ns = strtoll(at, &at, 10);
    for (int i = 0; i < N_STATS; i++)
        numbers[i] = strtod(at, &at);
    memcpy(&ret->stats, numbers, sizeof numbers);
    if (*at++ != ' ')
        return false;
    return manifest_parse(at, size - (size_t)(at - line), &ret->record) == ERR_OK;
}

static bool apply(const struct entry *e, struct pictures *list) {
    struct picture *p = pictures_find(list, e->record.path);
    if (!p || p->known || p->size != e->record.size || p->mtime_ns != e->mtime_ns)
        return false;
    p->known = true;
    memcpy(p->sha256, e->record.sha256, sizeof p->sha256);
    p->w = e->record.w;
    p->h = e->record.h;
    p->stats = e->stats;
    return true;
}

size_t cache_apply(const char *path, const char *key, struct pictures *list) {
    uint8_t *bytes;
    size_t size, hits = 0;
    if (fs_read(path, FILE_MAX_BYTES, &bytes, &size))
        return 0;

    char *head = xasprintf("cyclegan-cache 1 %s\n", key);
    char *at = (char *)bytes, *end = at + size, *newline;
    bool ours = strncmp(at, head, strlen(head)) == 0;
    at += strlen(head);
    while (ours && at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        struct entry e;
        *newline = 0; // numbers end here at the latest
        if (!parse_line(at, (size_t)(newline - at), &e))
            break;
        hits += apply(&e, list);
        free(e.record.path);
        at = newline + 1;
    }
    free(head);
    free(bytes);
    return hits;
}

static void add_picture(struct text *t, const struct picture *p) {
    char record_text[RECORD_MAX];
    struct manifest_record record = {.size = p->size, .w = p->w, .h = p->h, .path = p->path};
    double numbers[N_STATS];
    memcpy(record.sha256, p->sha256, sizeof record.sha256);
    memcpy(numbers, &p->stats, sizeof numbers);
    if (manifest_format(&record, record_text, sizeof record_text) < 0)
        return; // a path longer than any file has
    text_add(t, "%lld", (long long)p->mtime_ns);
    for (int i = 0; i < N_STATS; i++)
        text_add(t, " %a", numbers[i]);
    text_add(t, " %s", record_text);
}

int cache_save(const char *path, const char *key, const struct pictures *list) {
    struct text t = {0};
    text_add(&t, "cyclegan-cache 1 %s\n", key);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].known)
            add_picture(&t, &list->items[i]);
    int err = fs_write_atomic(path, t.bytes, t.size);
    free(t.bytes);
    return err;
}
