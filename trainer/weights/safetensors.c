// Opens safetensors files: checks the header and the layout once, then reads tensors on request.
#include "weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "weights/safetensors_header.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "data lies in files as in memory");

static int by_offset(const void *a, const void *b) {
    const struct safetensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    // Empty tensors share their offset with the next one and must come before it.
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *check_names(const struct safetensors *f) {
    const char **names = xcalloc((size_t)f->count + 1, sizeof *names);
    const char *wrong = NULL;

    for (int i = 0; i < f->count; i++)
        names[i] = f->tensors[i].name;
    // Equal names become neighbours: n log n, since the header's length bounds only n.
    qsort(names, (size_t)f->count, sizeof *names, by_name);
    for (int i = 1; i < f->count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            wrong = "two tensors of one name";
    free(names);
    return wrong;
}

static const char *check_layout(struct safetensors *f, uint64_t data_bytes) {
    uint64_t end = 0;

    // qsort forbids NULL, even for no elements.
    if (f->count)
        qsort(f->tensors, (size_t)f->count, sizeof *f->tensors, by_offset);
    for (int i = 0; i < f->count; i++) {
        if (f->tensors[i].begin != end)
            return "tensors that overlap or leave a hole";
        end += f->tensors[i].bytes; // begin == end <= data_bytes so far: no overflow
        if (end > data_bytes)
            return "a tensor beyond the end of the file";
    }
    return end == data_bytes ? NULL : "bytes behind the last tensor";
}

static int read_at(int fd, const char *path, uint64_t offset, void *ret, size_t size) {
    char *at = ret;

    while (size) {
        // Linux transfers at most 2 GiB - 4 KiB in a call; a GiB keeps a margin.
        ssize_t done = pread(fd, at, MIN(size, (size_t)1 << 30), (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fs_failed("read", path);
        if (!done)
            return err_set(ERR_FORMAT, "'%s' is not a safetensors file: it ends early", path);
        at += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return ERR_OK;
}

static int read_header(struct safetensors *f) {
    struct stat st;
    uint64_t length = 0;
    const char *wrong = NULL;
    unsigned char *text;
    int err;

    if (fstat(f->fd, &st))
        return fs_failed("stat", f->path);
    if (!S_ISREG(st.st_mode) || st.st_size < 8)
        return err_set(ERR_FORMAT, "'%s' is not a safetensors file: it is too short", f->path);
    err = read_at(f->fd, f->path, 0, &length, 8);
    if (err)
        return err;
    // The length is checked before memory of that size is taken.
    if (length < 2 || length > SAFETENSORS_HEADER_MAX || length > (uint64_t)st.st_size - 8)
        return err_set(ERR_FORMAT, "'%s' is not a safetensors file: header of %llu bytes", f->path,
                       (unsigned long long)length);
    text = xmalloc(length);
    err = read_at(f->fd, f->path, 8, text, length);
    if (!err) {
        wrong = text[0] == '{' ? safetensors_parse_header(f, text, length) : "a header without {";
        f->data_start = 8 + length;
        if (!wrong)
            wrong = check_names(f);
        if (!wrong)
            wrong = check_layout(f, (uint64_t)st.st_size - f->data_start);
    }
    free(text);
    if (wrong)
        return err_set(ERR_FORMAT, "'%s' is not a safetensors file: it has %s", f->path, wrong);
    return err;
}

int safetensors_open(const char *path, struct safetensors *ret_file) {
    struct safetensors f = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    int err;

    if (f.fd < 0)
        return fs_failed("open", path);
    f.path = xstrdup(path);
    err = read_header(&f);
    if (err) {
        safetensors_close(&f);
        return err;
    }
    *ret_file = f;
    return ERR_OK;
}

void safetensors_close(struct safetensors *f) {
    if (f->path && f->fd >= 0)
        (void)close(f->fd); // only read from
    for (int i = 0; i < f->count; i++)
        free((char *)f->tensors[i].name);
    free(f->tensors);
    free(f->path);
    *f = (struct safetensors){.fd = -1};
}

// Linear: a net has a few hundred tensors.
const struct safetensor *safetensors_find(const struct safetensors *f, const char *name) {
    for (int i = 0; i < f->count; i++)
        if (strcmp(f->tensors[i].name, name) == 0)
            return &f->tensors[i];
    return NULL;
}

int safetensors_read(const struct safetensors *f, const struct safetensor *t, void *ret_data) {
    return safetensors_read_part(f, t, 0, ret_data, t->bytes);
}

int safetensors_read_part(const struct safetensors *f, const struct safetensor *t, uint64_t at,
                          void *ret_data, size_t size) {
    if (at > t->bytes || size > t->bytes - at)
        BUG("bytes beyond tensor '%s'", t->name);
    return read_at(f->fd, f->path, f->data_start + t->begin + at, ret_data, size);
}
