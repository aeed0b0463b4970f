// cache - text in, text out: the entries of pictures/inspect.c, one line each, with a digest at the
// end. A cache that does not fit is ignored, so no version is ever converted.
#include "pictures/cache.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "manifest.h"
#include "pictures/checksum.h"

// A line has about 1 KiB: room for some millions of pictures.
#define FILE_MAX_BYTES ((size_t)4 << 30)
// The longest line of a manifest (manifest.c): each byte of a path may need %XX.
#define RECORD_MAX (128 + 3 * PATH_MAX)
#define N_STATS ((int)(sizeof(struct image_stats) / sizeof(double)))
#define DETAIL_MAX 255 // as picture_reject cuts it

// ---- reading ----

struct entry {
    bool good;
    int64_t mtime_ns;
    struct image_stats stats, opposite;
    struct dhash hash;
    struct image_histogram histogram;
    uint64_t orientation;
    double score;
    char reason[65], detail[DETAIL_MAX + 1];
    struct manifest_record record;
};

// Takes `digits` hex digits.
static bool take_hex(char **at, int digits, uint64_t *ret) {
    uint64_t value = 0;
    for (int i = 0; i < digits; i++) {
        char c = **at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
        (*at)++;
    }
    *ret = value;
    return true;
}

static bool take_space(char **at) {
    if (**at != ' ')
        return false;
    (*at)++;
    return true;
}

static bool take_stats(char **at, struct image_stats *ret) {
    double numbers[N_STATS] = {0};
    for (int i = 0; i < N_STATS; i++) {
        char *begun = *at;
        // A cache holds finite numbers only; "nan" and "inf" would pass strtod.
        numbers[i] = strtod(begun, at);
        if (*at == begun || !isfinite(numbers[i]))
            return false;
    }
    memcpy(ret, numbers, sizeof numbers);
    return true;
}

static bool take_histogram(char **at, struct image_histogram *ret) {
    for (int k = 0; k < STATS_CHANNELS; k++)
        for (int b = 0; b < STATS_BINS; b++) {
            uint64_t value;
            if (!take_hex(at, 4, &value))
                return false;
            ret->bins[k][b] = (uint16_t)value;
        }
    return true;
}

static bool take_good(char **at, struct entry *ret) {
    return take_stats(at, &ret->stats) && take_stats(at, &ret->opposite) && take_space(at) &&
           take_hex(at, 16, &ret->hash.rows) && take_hex(at, 16, &ret->hash.columns) &&
           take_space(at) && take_histogram(at, &ret->histogram) && take_space(at) &&
           take_hex(at, 1, &ret->orientation) && ret->orientation >= 1 && ret->orientation <= 8;
}

static bool take_detail(char **at, char ret[DETAIL_MAX + 1]) {
    size_t n = strcspn(*at, " ") / 2;
    if (**at == '-') {
        (*at)++;
        // Two hex digits a byte, up to the next blank.
        return true;
    }
    return n <= DETAIL_MAX && checksum_take_hex(at, n, ret) && !memchr(ret, 0, n);
}

static bool take_bad(char **at, struct entry *ret) {
    ret->score = strtod(*at, at);
    // Bad entries have a score of NaN where no number belongs to the reason.
    if (!take_space(at))
        return false;
    size_t n = strcspn(*at, " ");
    if (n == 0 || n >= sizeof ret->reason)
        return false;
    memcpy(ret->reason, *at, n);
    *at += n;
    return take_space(at) && take_detail(at, ret->detail);
}

// The caller has replaced the newline, so no conversion runs past this line.
// One line, ended by a 0.
static bool parse_line(char *line, size_t size, struct entry *ret) {
    *ret = (struct entry){.good = strncmp(line, "good ", 5) == 0};
    if (!ret->good && strncmp(line, "bad ", 4) != 0)
        return false;
    char *at = line + (ret->good ? 5 : 4);
    ret->mtime_ns = strtoll(at, &at, 10);
    bool ok = ret->good ? take_good(&at, ret) : take_space(&at) && take_bad(&at, ret);
    return ok && take_space(&at) &&
           // The rest is a record as in a manifest, with its own check of the path.
           manifest_parse(at, size - (size_t)(at - line), &ret->record) == ERR_OK;
}

static bool apply_entry(const struct entry *e, struct pictures *list) {
    struct picture *p = pictures_find(list, e->record.path);
    // Kinds may have rejected the picture by its name already; that verdict stays.
    bool wanted = p && !p->known && !p->bad && p->verdict == VERDICT_OPEN;
    // Same path, size and mtime: the file is taken as unchanged, as make and git do.
    if (!wanted || p->size != e->record.size || p->mtime_ns != e->mtime_ns)
        return false;
    // Whether a picture for later is broken must not count before its turn comes (inspect_best).
    if (!e->good && p->later)
        return false;
    if (!e->good) {
        picture_reject(p, e->reason, e->score, "%s", e->detail);
        p->bad = true;
        return true;
    }
    p->known = true;
    memcpy(p->sha256, e->record.sha256, sizeof p->sha256);
    p->w = e->record.w;
    p->h = e->record.h;
    p->stats = e->stats;
    p->opposite = e->opposite;
    p->hash = e->hash;
    p->orientation = (uint8_t)e->orientation;
    // A histogram of its own for each picture, because pictures_fini frees it.
    p->histogram = xcalloc(1, sizeof *p->histogram);
    *p->histogram = e->histogram;
    return true;
}

static size_t apply_lines(char *at, char *end, struct pictures *list) {
    size_t hits = 0;
    char *newline;
    while (at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        struct entry e;
        *newline = 0; // so strtod cannot read into the next line
        if (!parse_line(at, (size_t)(newline - at), &e))
            // The digest held, so a bad line is a fault of this program; the rest is read anew.
            break;
        hits += apply_entry(&e, list);
        free(e.record.path);
        at = newline + 1;
    }
    return hits;
}

int cache_apply(const char *path, const char *key, struct pictures *list, size_t *ret_hits) {
    uint8_t *bytes;
    size_t size;
    *ret_hits = 0;
    // No file is the normal first start.
    if (!fs_exists(path))
        return ERR_OK;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err;
    // fs_read ends the bytes with a 0, so text functions may run over them.
    char *text = (char *)bytes, *head = xasprintf("cyclegan-cache 3 %s\n", key);
    size_t head_size = strlen(head);
    // Another key or version is no fault: the settings changed.
    bool ours = strncmp(text, head, head_size) == 0;
    if (ours && !checksum_holds(text, &size))
        err = err_set(ERR_FORMAT, "'%s': the digest does not hold: the file was changed", path);
    else if (ours)
        *ret_hits = apply_lines(text + head_size, text + size, list);
    free(head);
    free(bytes);
    return err;
}

// ---- writing ----

static void add_stats(struct text *t, const struct image_stats *stats) {
    // memcpy instead of a cast: the struct has doubles only, in the order of the file.
    double numbers[N_STATS];
    memcpy(numbers, stats, sizeof numbers);
    for (int i = 0; i < N_STATS; i++)
        text_add(t, " %a", numbers[i]);
}

static void add_histogram(struct text *t, const struct image_histogram *h) {
    // 16 bits are 4 hex digits; binary would break the lines.
    char digits[STATS_CHANNELS * STATS_BINS * 4 + 1];
    for (int i = 0; i < STATS_CHANNELS * STATS_BINS; i++)
        (void)snprintf(digits + 4 * i, 5, "%04x", h->bins[i / STATS_BINS][i % STATS_BINS]); // fits
    text_add_bytes(t, digits, sizeof digits - 1);
}

static void add_good(struct text *t, const struct picture *p, const char *record) {
    text_add(t, "good %lld", (long long)p->mtime_ns);
    add_stats(t, &p->stats);
    add_stats(t, &p->opposite);
    text_add(t, " %016" PRIx64 "%016" PRIx64 " ", p->hash.rows, p->hash.columns);
    add_histogram(t, p->histogram);
    text_add(t, " %d %s", p->orientation, record);
}

static void add_bad(struct text *t, const struct picture *p, const char *record) {
    // 1x1 and a digest of 0 fill the record: its parser refuses a side of 0.
    text_add(t, "bad %lld %a %s %s", (long long)p->mtime_ns, p->score, p->reason,
             p->detail ? "" : "-");
    if (p->detail)
        checksum_add_hex(t, p->detail, strlen(p->detail));
    text_add(t, " %s", record);
}

static void add_picture(struct text *t, const struct picture *p) {
    char text[RECORD_MAX];
    struct manifest_record record = {.size = p->size, .w = 1, .h = 1, .path = p->path};
    if (p->known) {
        memcpy(record.sha256, p->sha256, sizeof record.sha256);
        record.w = p->w;
        record.h = p->h;
    }
    if (manifest_format(&record, text, sizeof text) < 0)
        return; // the path is too long to be stored; the file is read again
    (p->known ? add_good : add_bad)(t, p, text);
}

int cache_save(const char *path, const char *key, const struct pictures *list) {
    struct text t = {0};
    text_add(&t, "cyclegan-cache 3 %s\n", key);
    // Pictures that were not read have nothing to store.
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].known || list->items[i].bad)
            add_picture(&t, &list->items[i]);
    checksum_seal(&t);
    int err = fs_write_atomic(path, t.bytes, t.size);
    free(t.bytes);
    return err;
}
