// label_cache - the labels of the last start as text. One file of rows is read faster than JSON
// with all its boxes.
#include "kinds/label_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "pictures/checksum.h"

// The number changes with the format and with how label files are read: older caches are ignored.
#define HEAD "cyclegan-labels 1 %s\n"

int label_cache_key(const struct label_files *files, char ret[65]) {
    struct text t = {0};
    uint8_t digest[32];
    text_add(&t, "%s", ""); // there may be none
    for (size_t i = 0; i < files->count; i++) {
        struct stat st;
        // Follows links: the size and time of the file behind them count.
        if (stat(files->paths[i], &st)) {
            free(t.bytes);
            return fs_failed("read", files->paths[i]);
        }
        // With its 0, which no path contains: no two lists of files give one text.
        text_add_bytes(&t, files->paths[i], strlen(files->paths[i]) + 1);
        text_add(&t, "%lld %lld.%09ld\n", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                 st.st_mtim.tv_nsec);
    }
    digest_bytes(t.bytes, t.size, digest);
    digest_hex(digest, ret);
    free(t.bytes);
    return ERR_OK;
}

// ---- writing ----

static void add_text(struct text *t, const char *text) {
    if (*text)
        // An empty field would shift the columns behind it.
        checksum_add_hex(t, text, strlen(text));
    else
        text_add(t, "-");
    text_add(t, "\n");
}

static void add_row(struct text *t, const struct labels *l, const struct name_row *row) {
    uint8_t values[LABELS];
    for (int kind = 0; kind < LABELS; kind++)
        // As labels.c packs them: one byte a kind.
        values[kind] = (uint8_t)(row->value >> 8 * kind);
    text_add(t, "name ");
    checksum_add_hex(t, values, sizeof values);
    text_add(t, " ");
    add_text(t, names_text(&l->names, row));
}

int label_cache_save(const char *path, const char *key, const struct labels *l) {
    struct text t = {0};
    int err = ERR_OK;
    text_add(&t, HEAD, key);
    text_add(&t, "files %zu %llu %zu ", l->files, (unsigned long long)l->bytes, l->conflicts);
    add_text(&t, l->conflict);
    // Values precede the rows, since the rows refer to them by index.
    for (int kind = 0; kind < LABELS; kind++)
        for (int i = 1; i <= l->value_count[kind]; i++) {
            text_add(&t, "value %d ", kind);
            add_text(&t, l->values[kind][i]);
        }
    // Stops early when the text is too large already.
    for (size_t i = 0; i < l->names.count && t.size < LABEL_CACHE_BYTES; i++)
        add_row(&t, l, &l->names.rows[i]);
    checksum_seal(&t);
    // A cache above the bound could not be read again.
    if (t.size > LABEL_CACHE_BYTES)
        err =
            err_set(ERR_LIMIT, "'%s' would have more than %zu MiB", path, LABEL_CACHE_BYTES >> 20);
    else
        err = fs_write_atomic(path, t.bytes, t.size);
    free(t.bytes);
    return err;
}

// ---- reading ----

// Takes the text at the end of a line: hex for at most `max` bytes.
static bool take_text(char *at, size_t max, char *ret) {
    size_t size = strlen(at);
    if (strcmp(at, "-") == 0)
        size = 0;
    if (size % 2 || size / 2 > max || !checksum_take_hex(&at, size / 2, ret))
        return false;
    ret[size / 2] = 0;
    return !memchr(ret, 0, size / 2);
}

static bool take_files(char *at, struct labels *l) {
    char *end;
    // No check of the end after each number: the digest has vouched for the line.
    l->files = strtoul(at, &end, 10);
    l->bytes = strtoull(end, &end, 10);
    l->conflicts = strtoul(end, &end, 10);
    return *end == ' ' && take_text(end + 1, sizeof l->conflict - 1, l->conflict);
}

static bool take_value(char *at, struct labels *l) {
    char text[LABEL_VALUE_BYTES + 1];
    // The counts of values bound the indices of the rows that follow.
    int kind = at[0] - '0';
    if (kind < 0 || kind >= LABELS || at[1] != ' ' || l->value_count[kind] == LABEL_VALUES - 1 ||
        !take_text(at + 2, LABEL_VALUE_BYTES, text))
        return false;
    l->values[kind][++l->value_count[kind]] = xstrdup(text);
    return true;
}

static bool take_row(char *at, struct labels *l) {
    static const char extension[] =
        ".jpg"; // names_add cuts one extension, and the cached name has none
    char name[NAME_MAX_BYTES + sizeof extension];
    uint8_t values[LABELS];
    bool is_new;
    if (!checksum_take_hex(&at, sizeof values, values) || *at != ' ' ||
        // A name without folder, as names_add had cut it.
        !take_text(at + 1, NAME_MAX_BYTES, name) || !*name || strchr(name, '/'))
        return false;
    strcat(name, extension); // fits
    struct name_row *row = names_add(&l->names, name, strlen(name), &is_new);
    if (!row || !is_new)
        return false;
    for (int kind = 0; kind < LABELS; kind++) {
        if (values[kind] > l->value_count[kind])
            return false;
        row->value |= (uint32_t)values[kind] << 8 * kind;
    }
    return true;
}

static bool take_line(char *line, struct labels *l) {
    if (strncmp(line, "name ", 5) == 0)
        return take_row(line + 5, l);
    if (strncmp(line, "value ", 6) == 0)
        return take_value(line + 6, l);
    return strncmp(line, "files ", 6) == 0 && take_files(line + 6, l);
}

static bool take_lines(char *at, const char *end, struct labels *l) {
    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            return false;
        // Lines are cut by zeros, so each take_ function sees one.
        *newline = 0;
        if (!take_line(at, l))
            return false;
        at = newline + 1;
    }
    return true;
}

int label_cache_load(const char *path, const char *key, struct labels *ret_labels) {
    uint8_t *bytes;
    size_t size;
    if (!fs_exists(path))
        return ERR_AGAIN;
    // Larger than any that label_cache_save writes: ERR_LIMIT.
    int err = fs_read(path, LABEL_CACHE_BYTES, &bytes, &size);
    if (err)
        return err;
    char *text = (char *)bytes, *head = xasprintf(HEAD, key);
    size_t head_size = strlen(head);
    if (strncmp(text, head, head_size) != 0)
        err = ERR_AGAIN;
    else if (!checksum_holds(text, &size) || size < head_size ||
             !take_lines(text + head_size, text + size, ret_labels))
        err = err_set(ERR_FORMAT, "'%s': not as it was written", path);
    // Half-read rows are dropped: the caller then reads the label files themselves.
    if (err)
        labels_fini(ret_labels);
    free(head);
    free(bytes);
    return err;
}
