// The container before PyTorch 1.6, or with _use_new_zipfile_serialization=False:
//
//   byte 0   pickle of 0x1950a86a20f9469cfc6c        15 bytes, always the same
//            pickle of the protocol, 1001
//            pickle of {"protocol_version", "little_endian", "type_sizes"}
//            pickle of the object
//            pickle of the list of the storages' keys
//   then, in this order, each storage: elements i64, and their bytes
//
// Source: PyTorch, torch/serialization.py, _legacy_save.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "weights/pth.h"

#define MAGIC_SIZE 15
#define PROTOCOL 1001

struct legacy {
    const char *path; // lent
    int fd;
    uint64_t size, at; // of the file; the next byte to read
    struct pth_storages storages;
};

// The pickles at the beginning, one after the other.
struct pickles {
    struct legacy *file;
    uint8_t *text;
    size_t size, at;
};

static int read_at(const struct legacy *f, uint64_t place, void *ret, size_t size) {
    char *to = ret;
    while (size) {
        ssize_t n = pread(f->fd, to, MIN(size, (size_t)1 << 30), (off_t)place);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fs_failed("read", f->path);
        if (!n)
            return err_set(ERR_FORMAT, "'%s' ends early, at byte %llu", f->path,
                           (unsigned long long)place);
        to += n;
        place += (uint64_t)n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

// ---- the pickles ----

static int next_pickle(struct pickles *s, const char *name, struct pickle **ret) {
    // Offsets count from the file's start, so that a message leads to the byte.
    size_t used;
    char *what = xasprintf("'%s': %s, %zu bytes from the start", s->file->path, name, s->at);
    int err = pickle_read(what, s->text + s->at, s->size - s->at, ret, &used);
    free(what);
    if (!err)
        s->at += used;
    return err;
}

static int check_protocol(struct pickles *s) {
    struct pickle *p;
    int err = next_pickle(s, "the protocol's number", &p);
    if (err)
        return err;
    struct pickle_value v = pickle_root(p);
    if (v.kind != PICKLE_INT || pickle_int(p, v) != PROTOCOL)
        err = err_set(ERR_FORMAT, "'%s' is of another protocol than %d", s->file->path, PROTOCOL);
    pickle_free(p);
    return err;
}

static int check_system(struct pickles *s) {
    struct pickle *p;
    struct pickle_entry e;
    uint32_t cursor = 0;
    int err = next_pickle(s, "the writer's machine", &p);
    if (err)
        return err;
    if (pickle_root(p).kind != PICKLE_DICT)
        err = err_set(ERR_FORMAT, "'%s' does not tell its writer's machine", s->file->path);
    while (!err && pickle_next(p, pickle_root(p), &cursor, &e))
        // A file without the key is taken as little-endian.
        if (pickle_is_text(p, e.key, "little_endian") && e.value.kind == PICKLE_BOOL &&
            !pickle_int(p, e.value))
            err = err_set(ERR_FORMAT, "'%s' was written on a machine of another byte order",
                          s->file->path);
    pickle_free(p);
    return err;
}

// Adds unused storages too: their sizes give the places of those behind them.
static int add_all_storages(struct pickles *s, const struct pickle *p) {
    struct pickle_storage found;
    uint32_t cursor = 0;
    int i, err = ERR_OK;
    while (!err && pickle_next_storage(p, &cursor, &found))
        err = pth_storage_add(&s->file->storages, s->file->path, &found, &i);
    return err;
}

static int read_object(struct pickles *s, struct weights *w) {
    struct pickle *p;
    int err = next_pickle(s, "the object", &p);
    if (err)
        return err;
    // The used storages come first, so that their numbers in the entries stay.
    err = pth_list(w, p, &s->file->storages);
    if (!err)
        err = add_all_storages(s, p);
    pickle_free(p);
    return err;
}

// ---- the storages ----

static struct pth_storage *find_storage(const struct legacy *f, const char *key, size_t size) {
    for (int i = 0; i < f->storages.count; i++) {
        struct pth_storage *s = &f->storages.items[i];
        if (strlen(s->key) == size && memcmp(s->key, key, size) == 0)
            return s;
    }
    return NULL;
}

static int place_storage(struct legacy *f, struct pth_storage *s) {
    int64_t count;
    // A place is never 0, since the pickles come first.
    if (s->place)
        return err_set(ERR_FORMAT, "'%s': storage %s comes twice", f->path, s->key);
    // This count must agree with the pickle's, or all later places would be wrong.
    int err = read_at(f, f->at, &count, sizeof count);
    if (err)
        return err;
    if (count < 0 || (uint64_t)count != s->count)
        return err_set(ERR_FORMAT, "'%s': storage %s has %lld elements in place of %llu", f->path,
                       s->key, (long long)count, (unsigned long long)s->count);
    s->place = f->at + sizeof count;
    uint64_t left = f->size - s->place; // the count has been read: not below 0
    if (s->count > left / (unsigned)s->element_bytes)
        return err_set(ERR_FORMAT, "'%s' ends in the middle of storage %s", f->path, s->key);
    f->at = s->place + s->count * (unsigned)s->element_bytes;
    return ERR_OK;
}

static int place_storages(struct pickles *s) {
    struct legacy *f = s->file;
    struct pickle *p;
    struct pickle_entry e;
    uint32_t cursor = 0;
    int err = next_pickle(s, "the list of storages", &p);
    if (err)
        return err;
    // The first storage follows the last pickle without padding.
    f->at = s->at;
    if (pickle_root(p).kind != PICKLE_LIST)
        err = err_set(ERR_FORMAT, "'%s' does not list its storages", f->path);
    while (!err && pickle_next(p, pickle_root(p), &cursor, &e)) {
        size_t size = 0;
        const char *key = e.value.kind == PICKLE_TEXT ? pickle_text(p, e.value, &size) : "";
        struct pth_storage *storage = find_storage(f, key, size);
        err = storage ? place_storage(f, storage)
                      : err_set(ERR_FORMAT, "'%s' holds a storage that nothing names", f->path);
    }
    pickle_free(p);
    for (int i = 0; i < f->storages.count && !err; i++)
        if (!f->storages.items[i].place)
            err = err_set(ERR_FORMAT, "'%s': storage %s is not there", f->path,
                          f->storages.items[i].key);
    return err;
}

// ---- reading ----

static int storage_begin(void *file, int storage, uint64_t byte) {
    struct legacy *f = file;
    f->at = f->storages.items[storage].place + byte;
    return ERR_OK;
}

static int storage_read(void *file, void *ret, size_t size) {
    struct legacy *f = file;
    int err = read_at(f, f->at, ret, size);
    f->at += size;
    return err;
}

static int storage_end(void *file) {
    (void)file; // the format has no checksum
    return ERR_OK;
}

static void legacy_close(void *file) {
    struct legacy *f = file;
    if (f->fd >= 0)
        (void)close(f->fd); // only read from
    pth_storages_fini(&f->storages);
    free(f);
}

// ---- opening ----

static int open_file(struct legacy *f) {
    struct stat st;
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0 || fstat(f->fd, &st))
        return fs_failed("open", f->path);
    f->size = (uint64_t)st.st_size;
    return ERR_OK;
}

static int list_tensors(struct weights *w, struct legacy *f) {
    // weights_open has checked the magic number.
    struct pickles s = {
        .file = f, .at = MAGIC_SIZE, .size = MIN(f->size, (uint64_t)PICKLE_BYTES_MAX)};
    s.text = xmalloc(s.size + 1);
    int err = read_at(f, 0, s.text, s.size);
    if (!err)
        err = check_protocol(&s);
    if (!err)
        err = check_system(&s);
    if (!err)
        err = read_object(&s, w);
    if (!err)
        err = place_storages(&s);
    free(s.text);
    return err;
}

int weights_open_legacy(struct weights *w) {
    static const struct weights_format format = {
        .begin = storage_begin, .read = storage_read, .end = storage_end, .close = legacy_close};
    struct legacy *f = xcalloc(1, sizeof *f);
    f->path = w->path;
    // The format is set before anything fails, so weights_close frees `f`.
    f->fd = -1;
    w->format = &format;
    w->file = f;
    int err = open_file(f);
    return err ? err : list_tensors(w, f);
}
