#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>

#include "err.h"
#include "fs.h"
#include "text.h"
#include "util.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "data is written as it lies in memory");

static const char *const type_names[] = {[SAFETENSORS_F32] = "F32",
                                         [SAFETENSORS_I64] = "I64",
                                         [SAFETENSORS_F16] = "F16",
                                         [SAFETENSORS_BF16] = "BF16",
                                         [SAFETENSORS_F64] = "F64"};
static const uint64_t type_bytes[] = {[SAFETENSORS_F32] = 4,
                                      [SAFETENSORS_I64] = 8,
                                      [SAFETENSORS_F16] = 2,
                                      [SAFETENSORS_BF16] = 2,
                                      [SAFETENSORS_F64] = 8};

// Bytes of the tensor; false if that passes 2^63.
static bool size_of(const struct safetensor *t, uint64_t *ret_bytes) {
    uint64_t bytes = type_bytes[t->type];

    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->dims[i], &bytes) || bytes > INT64_MAX)
            return false;
    *ret_bytes = bytes;
    return true;
}

// ---- writing ----

static void write_entry(FILE *out, const struct safetensor *t, uint64_t begin, uint64_t bytes) {
    for (const char *c = t->name; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            BUG("tensor name '%s'", t->name);
    fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, type_names[t->type]);
    for (int i = 0; i < t->rank; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    unsigned long long end = begin + bytes;
    fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, end);
}

// The header with its length in front, padded. Caller frees.
static char *header_text(const struct safetensor *tensors, int n, size_t *ret_size) {
    char *text = NULL;
    uint64_t length, offset = 0, bytes;
    FILE *out = text_open(&text, ret_size);
    fprintf(out, "%8s{\"__metadata__\":{\"format\":\"pt\"}", "");
    for (int i = 0; i < n; i++) {
        if (!size_of(&tensors[i], &bytes))
            BUG("size of tensor '%s'", tensors[i].name);
        write_entry(out, &tensors[i], offset, bytes);
        offset += bytes;
    }
    fputc('}', out);
    while (ftell(out) % 8)
        fputc(' ', out);
    text_close(out);
    length = *ret_size - 8;
    memcpy(text, &length, 8);
    return text;
}

static int write_tensors(int fd, const char *path, const struct safetensor *tensors, int n,
                         safetensors_source *source, void *context) {
    uint64_t bytes = 0;
    const void *data;
    int err = ERR_OK;

    for (int i = 0; i < n && !err; i++) {
        (void)size_of(&tensors[i], &bytes); // header_text has checked it
        err = source(context, i, &data);
        if (!err)
            err = fs_write_all(fd, path, data, bytes);
    }
    return err;
}

int safetensors_write_from(const char *path, const struct safetensor *tensors, int n,
                           safetensors_source *source, void *context) {
    size_t size = 0;
    char *header = header_text(tensors, n, &size);
    int err, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0) {
        free(header);
        return fs_failed("open", path);
    }
    err = fs_write_all(fd, path, header, size);
    if (!err)
        err = write_tensors(fd, path, tensors, n, source, context);
    if (!err && fsync(fd))
        err = fs_failed("sync", path);
    if (close(fd) && !err)
        err = fs_failed("close", path);
    free(header);
    return err;
}

static int own_data(void *context, int i, const void **ret_data) {
    const struct safetensor *tensors = context;

    *ret_data = tensors[i].data;
    return ERR_OK;
}

int safetensors_write(const char *path, const struct safetensor *tensors, int n) {
    return safetensors_write_from(path, tensors, n, own_data, (void *)tensors);
}

// ---- reading: the header as a walk through the few places that JSON may be in ----

enum place {
    AT_START,
    AT_NAME,     // in the outer object
    AT_METADATA, // in {"__metadata__": {...}}
    AT_FIELD,    // in a tensor's object
    AT_DTYPE,
    AT_SHAPE,
    AT_OFFSETS,
    AT_TENSOR, // a tensor's object is about to open
    AT_META_OPEN,
    AT_END,
};

struct header {
    enum place place;
    bool in_list, meta_value, seen_metadata;
    unsigned seen; // bits: dtype, shape, offsets
    int n_offsets;
    uint64_t offsets[2];
    struct safetensors *file;
    int capacity;
    const char *wrong;
};

static int refuse(struct header *h, const char *why) {
    if (!h->wrong)
        h->wrong = why;
    return 0;
}

static struct safetensor *last(struct header *h) {
    return &h->file->tensors[h->file->count - 1];
}

static void add_tensor(struct header *h, const unsigned char *name, size_t size) {
    char *copy = xmalloc(size + 1);

    memcpy(copy, name, size);
    copy[size] = 0;
    if (h->file->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 64;
        h->file->tensors =
            xrealloc(h->file->tensors, (size_t)h->capacity * sizeof *h->file->tensors);
    }
    h->file->tensors[h->file->count++] = (struct safetensor){.name = copy};
    h->seen = 0;
    h->n_offsets = 0;
    h->place = AT_TENSOR;
}

static bool same(const unsigned char *text, size_t size, const char *word) {
    return size == strlen(word) && !memcmp(text, word, size);
}

static int enter_field(struct header *h, unsigned bit, enum place place) {
    if (h->seen & bit)
        return refuse(h, "a tensor's field is given twice");
    h->seen |= bit;
    h->place = place;
    h->in_list = false;
    return 1;
}

static int on_key(void *context, const unsigned char *key, size_t size) {
    struct header *h = context;

    if (h->place == AT_METADATA) {
        h->meta_value = true;
        return 1;
    }
    if (h->place == AT_NAME && same(key, size, "__metadata__")) {
        if (h->seen_metadata)
            return refuse(h, "two __metadata__");
        h->seen_metadata = true;
        h->place = AT_META_OPEN;
        return 1;
    }
    if (h->place == AT_NAME) {
        if (!size || memchr(key, 0, size))
            return refuse(h, "a tensor's name is empty or holds a zero");
        add_tensor(h, key, size);
        return 1;
    }
    if (h->place == AT_FIELD && same(key, size, "dtype"))
        return enter_field(h, 1, AT_DTYPE);
    if (h->place == AT_FIELD && same(key, size, "shape"))
        return enter_field(h, 2, AT_SHAPE);
    if (h->place == AT_FIELD && same(key, size, "data_offsets"))
        return enter_field(h, 4, AT_OFFSETS);
    return refuse(h, "an unknown field");
}

static int on_string(void *context, const unsigned char *text, size_t size) {
    struct header *h = context;

    if (h->place == AT_METADATA && h->meta_value) {
        h->meta_value = false;
        return 1;
    }
    if (h->place != AT_DTYPE)
        return refuse(h, "a text where none may be");
    for (int i = 0; i < (int)COUNT(type_names); i++)
        if (same(text, size, type_names[i])) {
            last(h)->type = (enum safetensors_type)i;
            h->place = AT_FIELD;
            return 1;
        }
    return refuse(h, "a dtype other than F32, F16, BF16, F64 and I64");
}

static int on_integer(void *context, long long value) {
    struct header *h = context;

    if (value < 0)
        return refuse(h, "a negative number");
    if (h->place == AT_SHAPE && h->in_list) {
        if (last(h)->rank == SAFETENSORS_RANK_MAX)
            return refuse(h, "a tensor of more than 4 dimensions");
        last(h)->dims[last(h)->rank++] = value;
        return 1;
    }
    if (h->place == AT_OFFSETS && h->in_list && h->n_offsets < 2) {
        h->offsets[h->n_offsets++] = (uint64_t)value;
        return 1;
    }
    return refuse(h, "a number where none may be");
}

static int on_object(void *context) {
    struct header *h = context;

    switch (h->place) {
    case AT_START:
        h->place = AT_NAME;
        return 1;
    case AT_META_OPEN:
        h->place = AT_METADATA;
        return 1;
    case AT_TENSOR:
        h->place = AT_FIELD;
        return 1;
    default:
        return refuse(h, "an object where none may be");
    }
}

static int end_tensor(struct header *h) {
    struct safetensor *t = last(h);
    uint64_t bytes;

    if (h->seen != 7)
        return refuse(h, "a tensor without dtype, shape or data_offsets");
    if (!size_of(t, &bytes) || h->offsets[1] < h->offsets[0] ||
        h->offsets[1] - h->offsets[0] != bytes)
        return refuse(h, "a tensor whose data_offsets do not fit its shape");
    t->begin = h->offsets[0];
    t->bytes = bytes;
    h->place = AT_NAME;
    return 1;
}

static int on_object_end(void *context) {
    struct header *h = context;

    if (h->place == AT_FIELD)
        return end_tensor(h);
    if (h->place != AT_NAME && h->place != AT_METADATA)
        return refuse(h, "an object that ends too early");
    h->place = h->place == AT_NAME ? AT_END : AT_NAME;
    return 1;
}

static int on_list(void *context) {
    struct header *h = context;

    if ((h->place != AT_SHAPE && h->place != AT_OFFSETS) || h->in_list)
        return refuse(h, "a list where none may be");
    h->in_list = true;
    return 1;
}

static int on_list_end(void *context) {
    struct header *h = context;

    if (h->place == AT_OFFSETS && h->n_offsets != 2)
        return refuse(h, "data_offsets without two numbers");
    h->in_list = false;
    h->place = AT_FIELD;
    return 1;
}

static int on_null(void *context) {
    return refuse(context, "null");
}

static int on_boolean(void *context, int value) {
    return refuse(context, "a truth value");
}

static int on_double(void *context, double value) {
    return refuse(context, "a fraction");
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_integer = on_integer,
    .yajl_double = on_double,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_list,
    .yajl_end_array = on_list_end,
};

static const char *parse_header(struct safetensors *f, const unsigned char *text, size_t size) {
    struct header h = {.file = f};
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &h);
    yajl_status status = yajl_parse(parser, text, size);

    if (status == yajl_status_ok)
        status = yajl_complete_parse(parser);
    yajl_free(parser);
    if (h.wrong)
        return h.wrong;
    return status == yajl_status_ok && h.place == AT_END ? NULL : "a header that is not JSON";
}

static int by_offset(const void *a, const void *b) {
    const struct safetensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
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
    qsort(names, (size_t)f->count, sizeof *names, by_name);
    for (int i = 1; i < f->count; i++)
        if (!strcmp(names[i - 1], names[i]))
            wrong = "two tensors of one name";
    free(names);
    return wrong;
}

static const char *check_layout(struct safetensors *f, uint64_t data_bytes) {
    uint64_t end = 0;

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
    if (length < 2 || length > SAFETENSORS_HEADER_MAX || length > (uint64_t)st.st_size - 8)
        return err_set(ERR_FORMAT, "'%s' is not a safetensors file: header of %llu bytes", f->path,
                       (unsigned long long)length);
    text = xmalloc(length);
    err = read_at(f->fd, f->path, 8, text, length);
    if (!err) {
        wrong = text[0] == '{' ? parse_header(f, text, length) : "a header without {";
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

const struct safetensor *safetensors_find(const struct safetensors *f, const char *name) {
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->tensors[i].name, name))
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
