// The container since PyTorch 1.6: a zip archive with PREFIX/data.pkl and a file PREFIX/data/KEY
// for each storage. torch.save does not compress them; deflated entries can be read too.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zip.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "weights/pth.h"
#include "weights/zip_end.h"

// Inflated size at most INFLATED_MAX times the file plus INFLATED_BESIDES. Weights hardly compress.
#define INFLATED_MAX 4
#define INFLATED_BESIDES (64 << 10)
#define SKIP 4096

struct archive {
    const char *path; // lent
    zip_t *zip;
    zip_file_t *open; // the storage being read
    struct pth_storages storages;
};

#define ZIP(call, a)                                                                               \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            return err_set(ERR_FORMAT, "'%s': %s", (a)->path, zip_strerror((a)->zip));             \
    } while (0)

static int failed_entry(const struct archive *a, zip_file_t *f, const char *name) {
    int code = zip_error_code_zip(zip_file_get_error(f));
    return err_set(code == ZIP_ER_READ ? ERR_IO : ERR_FORMAT, "'%s': %s: %s", a->path, name,
                   code ? zip_file_strerror(f) : "it ends early");
}

// ---- entries ----

static int stat_entry(const struct archive *a, uint64_t i, zip_stat_t *ret) {
    ZIP(zip_stat_index(a->zip, i, 0, ret), a);
    const zip_uint64_t wanted = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
    if ((ret->valid & wanted) != wanted)
        return err_set(ERR_FORMAT, "'%s': an entry without name or size", a->path);
    return ERR_OK;
}

static int check_entry(const struct archive *a, const zip_stat_t *s) {
    if (s->comp_method != ZIP_CM_STORE && s->comp_method != ZIP_CM_DEFLATE)
        return err_set(ERR_FORMAT,
                       "'%s': %.100s is compressed by method %u; stored and deflated "
                       "entries can be read",
                       a->path, s->name, s->comp_method);
    if ((s->valid & ZIP_STAT_ENCRYPTION_METHOD) && s->encryption_method != ZIP_EM_NONE)
        return err_set(ERR_FORMAT, "'%s': %.100s is encrypted", a->path, s->name);
    return ERR_OK;
}

// Refuses archives that inflate to a multiple of their size.
static int check_inflation(const struct archive *a, uint64_t file_size) {
    uint64_t sum = 0, limit = file_size * INFLATED_MAX + INFLATED_BESIDES;
    // zip_end_check has bounded the number of entries.
    for (int64_t i = 0; i < zip_get_num_entries(a->zip, 0); i++) {
        zip_stat_t s;
        int err = stat_entry(a, (uint64_t)i, &s);
        if (err)
            return err;
        if (s.size > limit || (sum += s.size) > limit)
            return err_set(ERR_LIMIT, "'%s' says that it inflates to more than %d times its size",
                           a->path, INFLATED_MAX);
    }
    return ERR_OK;
}

// Finds "PREFIX/data.pkl". The archive owns the name.
static int find_pickle(const struct archive *a, zip_stat_t *ret) {
    static const char end[] = "/data.pkl";
    int found = 0;
    for (int64_t i = 0; i < zip_get_num_entries(a->zip, 0); i++) {
        zip_stat_t s;
        int err = stat_entry(a, (uint64_t)i, &s);
        if (err)
            return err;
        size_t n = strlen(s.name);
        // n < sizeof end leaves at least one byte for the prefix.
        if (n < sizeof end || strcmp(s.name + n - (sizeof end - 1), end) != 0)
            continue;
        found++;
        *ret = s;
    }
    if (found == 1)
        return check_entry(a, ret);
    return err_set(ERR_FORMAT, "'%s' is a zip archive %s data.pkl: no weights of PyTorch", a->path,
                   found ? "with more than one" : "without");
}

static int open_entry(const struct archive *a, const char *name, uint64_t i, zip_file_t **ret) {
    *ret = zip_fopen_index(a->zip, i, 0);
    if (!*ret)
        return err_set(ERR_FORMAT, "'%s': %s: %s", a->path, name, zip_strerror(a->zip));
    return ERR_OK;
}

static int read_exactly(const struct archive *a, zip_file_t *f, const char *name, void *ret,
                        size_t size) {
    char *at = ret;
    while (size) {
        zip_int64_t n = zip_fread(f, at, MIN(size, (size_t)1 << 24));
        if (n <= 0)
            return failed_entry(a, f, name);
        at += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

// Reads to the end, where libzip verifies the checksum.
static int drain(const struct archive *a, zip_file_t *f, const char *name) {
    char bytes[SKIP];
    zip_int64_t n;
    do
        n = zip_fread(f, bytes, sizeof bytes);
    while (n > 0);
    return n < 0 ? failed_entry(a, f, name) : ERR_OK;
}

static int read_small(const struct archive *a, const zip_stat_t *s, size_t max, uint8_t **ret) {
    zip_file_t *f;
    char more;
    // The size in the directory is a claim; read_exactly and the last byte check it.
    if (s->size > max)
        return err_set(ERR_LIMIT, "'%s': %.100s of %llu bytes; weights have less than %zu", a->path,
                       s->name, (unsigned long long)s->size, max);
    int err = open_entry(a, s->name, s->index, &f);
    if (err)
        return err;
    uint8_t *bytes = xmalloc(s->size + 1);
    err = read_exactly(a, f, s->name, bytes, s->size);
    zip_int64_t left = err ? 0 : zip_fread(f, &more, 1); // libzip verifies the checksum at the end
    if (left < 0)
        err = failed_entry(a, f, s->name);
    if (left > 0)
        err = err_set(ERR_FORMAT, "'%s': %.100s is longer than it says", a->path, s->name);
    (void)zip_fclose(f); // only read from
    if (err) {
        free(bytes);
        return err;
    }
    *ret = bytes;
    return ERR_OK;
}

// ---- storages ----

static int find_storage(const struct archive *a, const char *prefix, int prefix_size,
                        struct pth_storage *s) {
    char name[WEIGHTS_NAME_MAX + PTH_KEY_MAX + 16];
    zip_stat_t stat;
    (void)snprintf(name, sizeof name, "%.*sdata/%s", prefix_size, prefix, s->key); // checked
    int64_t i = zip_name_locate(a->zip, name, 0);
    if (i < 0)
        return err_set(ERR_FORMAT, "'%s': there is no %s", a->path, name);
    int err = stat_entry(a, (uint64_t)i, &stat);
    if (!err)
        err = check_entry(a, &stat);
    if (err)
        return err;
    if (stat.size != s->count * (uint64_t)s->element_bytes)
        return err_set(ERR_FORMAT, "'%s': %s has %llu bytes in place of %llu", a->path, name,
                       (unsigned long long)stat.size,
                       (unsigned long long)s->count * (unsigned)s->element_bytes);
    s->place = (uint64_t)i;
    return ERR_OK;
}

static int check_byteorder(const struct archive *a, const char *prefix, int prefix_size) {
    char name[WEIGHTS_NAME_MAX + 16];
    zip_stat_t s;
    uint8_t *text;
    (void)snprintf(name, sizeof name, "%.*sbyteorder", prefix_size, prefix); // checked
    int64_t i = zip_name_locate(a->zip, name, 0);
    // Older versions of PyTorch do not write this file.
    if (i < 0)
        return ERR_OK;
    int err = stat_entry(a, (uint64_t)i, &s);
    if (!err)
        err = read_small(a, &s, 16, &text);
    if (err)
        return err;
    if (s.size != 6 || memcmp(text, "little", 6) != 0)
        err = err_set(ERR_FORMAT, "'%s' was written on a machine of another byte order", a->path);
    free(text);
    return err;
}

static int storage_begin(void *file, int storage, uint64_t byte) {
    struct archive *a = file;
    char skipped[SKIP];
    const struct pth_storage *s = &a->storages.items[storage];
    int err = open_entry(a, s->key, s->place, &a->open);
    // A deflated entry cannot seek, so the bytes before the tensor are read and dropped.
    while (!err && byte) {
        size_t n = MIN(byte, sizeof skipped);
        err = read_exactly(a, a->open, s->key, skipped, n);
        byte -= n;
    }
    return err;
}

static int storage_read(void *file, void *ret, size_t size) {
    struct archive *a = file;
    return read_exactly(a, a->open, "a storage", ret, size);
}

static int storage_end(void *file) {
    struct archive *a = file;
    // end is called after a failed begin too.
    if (!a->open)
        return ERR_OK;
    // The checksum covers the whole entry, even if the tensor is a part of it.
    int err = drain(a, a->open, "a storage");
    (void)zip_fclose(a->open); // only read from
    a->open = NULL;
    return err;
}

static void archive_close(void *file) {
    struct archive *a = file;
    if (a->zip)
        zip_discard(a->zip);
    pth_storages_fini(&a->storages);
    free(a);
}

// ---- opening ----

static int list_tensors(struct weights *w, struct archive *a) {
    zip_stat_t pkl;
    uint8_t *text;
    struct pickle *pickle;
    size_t used;
    int err = find_pickle(a, &pkl);
    if (err)
        return err;
    // The prefix is free: torch.save takes the file's name.
    int prefix_size = (int)strlen(pkl.name) - (int)strlen("data.pkl");
    if (prefix_size > WEIGHTS_NAME_MAX)
        return err_set(ERR_FORMAT, "'%s': a name of %d bytes", a->path, prefix_size);
    err = check_byteorder(a, pkl.name, prefix_size);
    if (!err)
        err = read_small(a, &pkl, PICKLE_BYTES_MAX, &text);
    if (err)
        return err;
    char *what = xasprintf("'%s': data.pkl", a->path);
    err = pickle_read(what, text, pkl.size, &pickle, &used);
    if (!err) {
        err = pth_list(w, pickle, &a->storages);
        pickle_free(pickle);
    }
    for (int i = 0; i < a->storages.count && !err; i++)
        err = find_storage(a, pkl.name, prefix_size, &a->storages.items[i]);
    free(what);
    free(text);
    return err;
}

static int open_zip(struct archive *a) {
    zip_error_t error;
    int code = 0;
    // Before libzip: it would allocate by the claimed number of entries.
    int err = zip_end_check(a->path);
    if (err)
        return err;
    a->zip = zip_open(a->path, ZIP_RDONLY, &code);
    if (a->zip)
        return ERR_OK;
    zip_error_init_with_code(&error, code);
    err = err_set(code == ZIP_ER_OPEN || code == ZIP_ER_READ ? ERR_IO : ERR_FORMAT, "'%s': %s",
                  a->path, zip_error_strerror(&error));
    zip_error_fini(&error);
    return err;
}

int weights_open_zip(struct weights *w) {
    static const struct weights_format format = {
        .begin = storage_begin, .read = storage_read, .end = storage_end, .close = archive_close};
    struct archive *a = xcalloc(1, sizeof *a);
    struct stat st;
    a->path = w->path;
    w->format = &format;
    w->file = a;
    int err = stat(w->path, &st) ? fs_failed("stat", w->path) : open_zip(a);
    if (!err)
        err = check_inflation(a, (uint64_t)st.st_size);
    return err ? err : list_tensors(w, a);
}
