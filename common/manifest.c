// manifest - the file and its lines. Each manifest has exactly one spelling, so equal contents have
// equal bytes and one digest.
#include "manifest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

#define FILE_MAX ((size_t)4 << 30)
#define LINE_MAX_BYTES (128 + 3 * PATH_MAX) // every byte of a path may need %XX
// Keeps both sides within an int.
#define SIDE_MAX 1000000000

bool manifest_same_data(const struct manifest_summary a[2], const struct manifest_summary b[2]) {
    for (int i = 0; i < 2; i++)
        if (strcmp(a[i].digest, b[i].digest) != 0 || a[i].count != b[i].count ||
            a[i].held_out != b[i].held_out)
            return false;
    return true;
}

void manifest_free(struct manifest *m) {
    if (!m)
        return;
    // records is NULL where reading failed before the counts.
    for (size_t i = 0; m->records && i < m->count + m->held_out; i++)
        free(m->records[i].path);
    free(m->records);
    free(m->root);
    free(m);
}

// Writes the path with %XX into ret. Returns its length, or n if it does not fit.
static size_t escape(const char *path, char *ret, size_t n) {
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        // Control bytes would break lines; '%' marks an escape. Bytes from 0x80 on stay, as UTF-8
        // has them.
        bool plain = *p >= 0x20 && *p != 0x7f && *p != '%';
        if (used + (plain ? 1 : 3) >= n)
            return n;
        if (plain) {
            ret[used++] = (char)*p;
        } else {
            ret[used++] = '%';
            ret[used++] = hex[*p >> 4];
            ret[used++] = hex[*p & 15];
        }
    }
    ret[used] = 0;
    return used;
}

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The inverse, malloc'ed. NULL for a text that escape() does not write: each path has one spelling.
static char *unescape(const char *text, size_t size) {
    // Unescaping never makes a text longer.
    char *path = xmalloc(size + 1);
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        int c = (unsigned char)text[i];
        bool escaped = c == '%';
        if (escaped && size - i < 3)
            goto fail;
        if (escaped) {
            int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
            if (high < 0 || low < 0)
                goto fail;
            c = high * 16 + low;
            i += 2;
        }
        // A plain byte must not be escaped, and an escaped one not plain.
        if (c == 0 || escaped != (c < 0x20 || c == 0x7f || c == '%'))
            goto fail;
        path[used++] = (char)c;
    }
    path[used] = 0;
    return path;

fail:
    free(path);
    return NULL;
}

// Relative, inside its root: no empty, "." or ".." part.
static bool path_is_inside(const char *path) {
    // A path that no file can have is refused at the edge.
    if (strlen(path) >= PATH_MAX)
        return false;
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

int manifest_format(const struct manifest_record *r, char *ret, size_t n) {
    char hex[65];
    digest_hex(r->sha256, hex);
    int used = snprintf(ret, n, "%llu %s %d %d ", (unsigned long long)r->size, hex, r->w, r->h);
    if (used < 0 || (size_t)used >= n)
        return err_set(ERR_LIMIT, "record of '%s': %zu bytes are too few", r->path, n);
    size_t left = n - (size_t)used, path = escape(r->path, ret + used, left);
    // Room for the newline and the 0.
    if (path + 1 >= left)
        return err_set(ERR_LIMIT, "record of '%s': %zu bytes are too few", r->path, n);
    memcpy(ret + used + path, "\n", 2);
    return used + (int)path + 1;
}

// Parses digits and the byte `stop` behind them. No leading 0, at most max.
static bool take_number(const char **at, const char *end, char stop, uint64_t max,
                        uint64_t *ret_number) {
    uint64_t number = 0;
    const char *p = *at;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        // Checked before the product, so it cannot overflow.
        if (digit > max || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    // "007" is refused: each number has one spelling.
    if (p == *at || p == end || *p != stop || (**at == '0' && p - *at > 1))
        return false;
    *at = p + 1;
    *ret_number = number;
    return true;
}

static bool take_digest(const char **at, const char *end, uint8_t ret[32]) {
    // 64 digits and the blank behind them.
    if (end - *at < 65 || (*at)[64] != ' ')
        return false;
    // sodium_hex2bin would take capitals as well.
    for (int i = 0; i < 64; i++)
        if ((*at)[i] >= 'A' && (*at)[i] <= 'F')
            return false;
    size_t n;
    if (sodium_hex2bin(ret, 32, *at, 64, NULL, &n, NULL) || n != 32)
        return false;
    *at += 65;
    return true;
}

int manifest_parse(const char *line, size_t size, struct manifest_record *ret_record) {
    struct manifest_record r = {0};
    const char *at = line, *end = line + size;
    uint64_t w, h;
    if (size && end[-1] == '\n')
        end--;
    // INT64_MAX, so that a size fits signed file offsets.
    if (!take_number(&at, end, ' ', INT64_MAX, &r.size))
        return err_set(ERR_FORMAT, "a record begins with the file's size");
    if (!take_digest(&at, end, r.sha256))
        return err_set(ERR_FORMAT, "64 small hex digits of SHA-256 are expected after the size");
    if (!take_number(&at, end, ' ', SIDE_MAX, &w) || !take_number(&at, end, ' ', SIDE_MAX, &h) ||
        !w || !h)
        return err_set(ERR_FORMAT, "width and height are expected after the SHA-256");
    r.path = unescape(at, (size_t)(end - at));
    if (!r.path || !path_is_inside(r.path)) {
        free(r.path);
        return err_set(ERR_FORMAT, "the path is not one inside the root");
    }
    r.w = (int)w;
    r.h = (int)h;
    *ret_record = r;
    return ERR_OK;
}

// Without the root, a data set that was moved keeps its digest.
// The file's text without its last line; without the root line if `root` is NULL.
static struct text manifest_text(const struct manifest *m, const char *root) {
    struct text t = {0};
    char *line = xmalloc(LINE_MAX_BYTES);
    text_add(&t, "cyclegan-manifest 1\ndomain %s\n", m->domain);
    if (root && escape(root, line, LINE_MAX_BYTES) == LINE_MAX_BYTES)
        BUG("root of %zu bytes", strlen(root));
    if (root)
        text_add(&t, "root %s\n", line);
    text_add(&t, "count %zu\nheld_out %zu\n", m->count, m->held_out);
    for (size_t i = 0; i < m->count + m->held_out; i++) {
        int n = manifest_format(&m->records[i], line, LINE_MAX_BYTES);
        if (n < 0)
            BUG("path of %zu bytes", strlen(m->records[i].path));
        text_add_bytes(&t, line, (size_t)n);
    }
    free(line);
    return t;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct manifest_record *)a)->path,
                  ((const struct manifest_record *)b)->path);
}

static void compute_digest(struct manifest *m) {
    uint8_t digest[32];
    struct text t = manifest_text(m, NULL);
    digest_bytes(t.bytes, t.size, digest);
    digest_hex(digest, m->digest);
    free(t.bytes);
}

void manifest_seal(struct manifest *m) {
    // Each part by itself: training records stay in front of held-out ones.
    if (m->count)
        qsort(m->records, m->count, sizeof *m->records, by_path);
    if (m->held_out)
        qsort(m->records + m->count, m->held_out, sizeof *m->records, by_path);
    compute_digest(m);
}

int manifest_save(const struct manifest *m, const char *path) {
    struct text t = manifest_text(m, m->root);
    text_add(&t, "digest %s\n", m->digest);
    int err = fs_write_atomic(path, t.bytes, t.size);
    free(t.bytes);
    return err;
}

struct reader {
    const char *path;
    const char *at, *end;
    int line;
    const char *text; // of the line (next_line) or its value (next_value), `size` bytes
    size_t size;
};

static int refuse_line(const struct reader *r, const char *what) {
    return err_set(ERR_FORMAT, "%s:%d: %s", r->path, r->line, what);
}

// The next line without its newline.
static int next_line(struct reader *r) {
    r->line++;
    const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!newline)
        return refuse_line(r, "the file ends too early");
    r->text = r->at;
    r->size = (size_t)(newline - r->at);
    r->at = newline + 1;
    return ERR_OK;
}

// The value of a line "key value".
static int next_value(struct reader *r, const char *key) {
    size_t n = strlen(key);
    int err = next_line(r);
    if (err)
        return err;
    if (r->size < n + 2 || memcmp(r->text, key, n) != 0 || r->text[n] != ' ')
        return err_set(ERR_FORMAT, "%s:%d: '%s ...' is expected here", r->path, r->line, key);
    r->text += n + 1;
    r->size -= n + 1;
    return ERR_OK;
}

static int next_count(struct reader *r, const char *key, size_t *ret_count) {
    uint64_t count;
    int err = next_value(r, key);
    if (err)
        return err;
    // A record has at least 72 bytes, so the rest of the file bounds the count before it is used.
    const char *at = r->text;
    if (!take_number(&at, r->at, '\n', (uint64_t)(r->end - r->at) / 72, &count) || at != r->at)
        return refuse_line(r, "not a number of records that this file can hold");
    *ret_count = (size_t)count;
    return ERR_OK;
}

static int read_head(struct reader *r, struct manifest *m, size_t *ret_count, size_t *ret_held) {
    int err = next_line(r);
    if (err)
        return err;
    // 19 bytes: the name and the version.
    if (r->size != 19 || memcmp(r->text, "cyclegan-manifest 1", 19) != 0)
        return refuse_line(r, "not a manifest of version 1");

    err = next_value(r, "domain");
    if (err)
        return err;
    if (r->size >= sizeof m->domain || memchr(r->text, 0, r->size))
        return refuse_line(r, "not the name of a domain");
    memcpy(m->domain, r->text, r->size);

    err = next_value(r, "root");
    if (err)
        return err;
    m->root = unescape(r->text, r->size);
    if (!m->root || m->root[0] != '/' || strlen(m->root) >= PATH_MAX)
        return refuse_line(r, "not an absolute folder");

    err = next_count(r, "count", ret_count);
    return err ? err : next_count(r, "held_out", ret_held);
}

// m->count grows with each record, so that manifest_free frees exactly those that were read.
static int read_records(struct reader *r, struct manifest *m, size_t count, size_t held_out) {
    m->records = xcalloc(count + held_out, sizeof *m->records);
    for (size_t i = 0; i < count + held_out; i++) {
        int err = next_line(r);
        if (err)
            return err;
        err = manifest_parse(r->text, r->size, &m->records[i]);
        if (err)
            return err_prefix(err, "%s:%d", r->path, r->line);
        m->count++;
        // Strictly ascending, which excludes duplicates; the two parts are sorted apart.
        if (i > 0 && i != count && by_path(&m->records[i - 1], &m->records[i]) >= 0)
            return refuse_line(r, "not in the order of paths");
    }
    m->count = count;
    m->held_out = held_out;
    return ERR_OK;
}

static int read_digest(struct reader *r, struct manifest *m) {
    int err = next_value(r, "digest");
    if (err)
        return err;
    // Computed from what was read, so the digest covers the parsed values.
    compute_digest(m);
    if (r->size != 64 || memcmp(r->text, m->digest, 64) != 0)
        return refuse_line(r, "the digest does not hold: the file was changed");
    r->line++;
    return r->at == r->end ? ERR_OK : refuse_line(r, "nothing is expected after the digest");
}

int manifest_load(const char *path, struct manifest **ret_manifest) {
    uint8_t *bytes;
    size_t size, count = 0, held_out = 0;
    int err = fs_read(path, FILE_MAX, &bytes, &size);
    if (err)
        return err;

    struct reader r = {.path = path, .at = (char *)bytes, .end = (char *)bytes + size};
    struct manifest *m = xcalloc(1, sizeof *m);
    err = read_head(&r, m, &count, &held_out);
    if (!err)
        err = read_records(&r, m, count, held_out);
    if (!err)
        err = read_digest(&r, m);
    // The records have copies of their paths.
    free(bytes);
    if (err) {
        manifest_free(m);
        return err;
    }
    *ret_manifest = m;
    return ERR_OK;
}
