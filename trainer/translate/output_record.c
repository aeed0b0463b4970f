// A file of lines, appended only. Each line is complete or ignored, so a kill costs one line at
// most.
#include "translate/output_record.h"

#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

#define BYTES_MAX ((size_t)1 << 30)

struct record_entry {
    struct output_stamp stamp;
    char *out, *in;
};

struct output_record {
    char *path;
    int n;
    struct record_entry **entries; // all lines, the newest last
    void *by_in, *by_out;          // search trees of the newest entries
    int fd;                        // -1: not opened for appending yet
    pthread_mutex_t lock;
};

// ---- fields ----

static void print_escaped(FILE *out, const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        // Tabs and newlines separate fields and lines; other bytes, also of UTF-8, stay.
        if (*c < ' ' || *c == 0x7f || *c == '%')
            fprintf(out, "%%%02X", *c);
        else
            fputc(*c, out);
}

static char *unescape(const char *text) {
    char *ret = xmalloc(strlen(text) + 1), *to = ret;
    unsigned byte;
    while (*text)
        if (text[0] == '%' && sscanf(text + 1, "%2x", &byte) == 1 && text[1] && text[2]) {
            *to++ = (char)byte;
            text += 3;
        } else {
            *to++ = *text++;
        }
    *to = 0;
    return ret;
}

static bool parse_digest(const char *hex, uint8_t ret[32]) {
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return false;
    for (int i = 0; i < 32; i++) {
        unsigned byte = 0;
        (void)sscanf(hex + 2 * i, "%2x", &byte); // two hex digits
        ret[i] = (uint8_t)byte;
    }
    return true;
}

// ---- reading ----

static int by_in(const void *a, const void *b) {
    return strcmp(((const struct record_entry *)a)->in, ((const struct record_entry *)b)->in);
}

static int by_out(const void *a, const void *b) {
    return strcmp(((const struct record_entry *)a)->out, ((const struct record_entry *)b)->out);
}

// Puts the entry into a tree in place of an older one with the same key.
static void replace_in_tree(void **tree, struct record_entry *e,
                            int (*compare)(const void *, const void *)) {
    // tsearch returns the old node if the key exists; the assignment makes it the new entry.
    struct record_entry **node = tsearch(e, tree, compare);
    if (!node)
        BUG("no memory for an entry");
    *node = e;
}

static void add_entry(struct output_record *r, struct record_entry *e) {
    // At powers of two and at 0 the array is full.
    if (!(r->n & (r->n - 1)))
        r->entries = xrealloc(r->entries, (size_t)(r->n ? 2 * r->n : 1) * sizeof(*r->entries));
    r->entries[r->n++] = e;
    replace_in_tree(&r->by_in, e, by_in);
    replace_in_tree(&r->by_out, e, by_out);
}

// A line that does not have five valid fields is ignored.
static void read_line(struct output_record *r, char *line) {
    char *fields[5], *rest = line;
    int n = 0;
    for (char *field; n < 5 && (field = strsep(&rest, "\t")) != NULL;)
        fields[n++] = field;
    struct output_stamp stamp;
    if (n != 5 || rest || !*fields[3] || !*fields[4] || !parse_digest(fields[0], stamp.digest))
        return;
    stamp.bytes = strtoull(fields[1], NULL, 10);
    stamp.mtime_ns = strtoll(fields[2], NULL, 10);
    struct record_entry *e = xcalloc(1, sizeof *e);
    *e = (struct record_entry){stamp, unescape(fields[3]), unescape(fields[4])};
    add_entry(r, e);
}

static int read_record(struct output_record *r) {
    uint8_t *text;
    size_t size;
    if (!fs_exists(r->path))
        return ERR_OK;
    int err = fs_read(r->path, BYTES_MAX, &text, &size);
    if (err)
        return err;
    char *line = (char *)text;
    // A last line without newline was cut off and is left out.
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        read_line(r, line);
    }
    free(text);
    return ERR_OK;
}

int output_record_open(const char *folder, struct output_record **ret) {
    struct output_record *r = xcalloc(1, sizeof *r);
    r->path = xasprintf("%s/" OUTPUT_RECORD_FILE, folder);
    r->fd = -1;
    pthread_mutex_init(&r->lock, NULL); // the default kind cannot fail
    int err = read_record(r);
    if (err) {
        output_record_close(r);
        return err;
    }
    *ret = r;
    return ERR_OK;
}

static void keep_node(void *entry) {
    // The array owns the entries of the trees.
}

void output_record_close(struct output_record *r) {
    if (!r)
        return;
    tdestroy(r->by_in, keep_node);
    tdestroy(r->by_out, keep_node);
    for (int i = 0; i < r->n; i++) {
        free(r->entries[i]->in);
        free(r->entries[i]->out);
        free(r->entries[i]);
    }
    if (r->fd >= 0)
        (void)close(r->fd); // each line was checked when it was written
    pthread_mutex_destroy(&r->lock);
    free(r->entries);
    free(r->path);
    free(r);
}

// ---- questions ----

static const struct record_entry *find_input(const struct output_record *r, const char *in) {
    struct record_entry key = {.in = (char *)in}, **found = tfind(&key, &r->by_in, by_in);
    return found ? *found : NULL;
}

const char *output_record_output(const struct output_record *r, const char *in) {
    const struct record_entry *e = find_input(r, in);
    // Another input may have taken over the output since.
    return e && strcmp(output_record_input(r, e->out), in) == 0 ? e->out : NULL;
}

const char *output_record_input(const struct output_record *r, const char *out) {
    struct record_entry key = {.out = (char *)out}, **found = tfind(&key, &r->by_out, by_out);
    return found ? (*found)->in : NULL;
}

int output_stamp_stat(const char *path, struct output_stamp *ret) {
    struct stat st;
    if (stat(path, &st))
        return fs_failed("stat", path);
    ret->bytes = (uint64_t)st.st_size;
    ret->mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
    return ERR_OK;
}

bool output_record_is_current(const struct output_record *r, const char *in, const char *path) {
    const struct record_entry *e = find_input(r, in);
    struct output_stamp now = {0};
    uint64_t size;
    // Size first: it spares the digest of most changed files.
    if (!e || output_stamp_stat(path, &now) || now.bytes != e->stamp.bytes)
        return false;
    return now.mtime_ns == e->stamp.mtime_ns ||
           (!digest_file(path, now.digest, &size) &&
            memcmp(now.digest, e->stamp.digest, sizeof now.digest) == 0);
}

// ---- writing ----

// Called with the lock. A kill may have cut off the last line, even if it was the only one, so the
// first new line begins with a newline of its own.
static int open_for_append(struct output_record *r) {
    struct stat st;
    if (r->fd >= 0)
        return ERR_OK;
    r->fd = open(r->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (r->fd < 0)
        return fs_failed("open", r->path);
    if (fstat(r->fd, &st))
        return fs_failed("stat", r->path);
    // The reader ignores an empty line.
    return st.st_size ? fs_write_all(r->fd, r->path, "\n", 1) : ERR_OK;
}

int output_record_add(struct output_record *r, const char *out, const char *in,
                      const struct output_stamp *stamp) {
    char hex[65], *line = NULL;
    size_t size = 0;
    digest_hex(stamp->digest, hex);
    // In memory first, so that a line is one write.
    FILE *text = open_memstream(&line, &size);
    if (!text)
        BUG("no memory for a line");
    fprintf(text, "%s\t%llu\t%lld\t", hex, (unsigned long long)stamp->bytes,
            (long long)stamp->mtime_ns);
    print_escaped(text, out);
    fputc('\t', text);
    print_escaped(text, in);
    fputc('\n', text);
    (void)fclose(text); // memory cannot fail otherwise
    pthread_mutex_lock(&r->lock);
    int err = open_for_append(r);
    if (!err)
        err = fs_write_all(r->fd, r->path, line, size);
    pthread_mutex_unlock(&r->lock);
    free(line);
    return err;
}
