// Writes safetensors files: one pass for the header, one for the data, then fsync.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "weights/safetensors_header.h"

static void write_entry(FILE *out, const struct safetensor *t, uint64_t begin, uint64_t bytes) {
    // Names come from our nets and need no JSON escapes, so an odd one is a bug.
    for (const char *c = t->name; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            BUG("tensor name '%s'", t->name);
    fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, safetensors_type_names[t->type]);
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
    // Eight spaces hold the place of the length, which is known only at the end.
    fprintf(out, "%8s{\"__metadata__\":{\"format\":\"pt\"}", "");
    for (int i = 0; i < n; i++) {
        if (!safetensors_size(&tensors[i], &bytes))
            BUG("size of tensor '%s'", tensors[i].name);
        write_entry(out, &tensors[i], offset, bytes);
        offset += bytes;
    }
    fputc('}', out);
    // The format aligns the data to 8 bytes by spaces at the header's end.
    while (ftell(out) % 8)
        fputc(' ', out);
    text_close(out);
    // The length does not count itself.
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
        (void)safetensors_size(&tensors[i], &bytes); // header_text has checked it
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
    // Callers rename the file afterwards; the data must be on the disk before its name.
    if (!err && fsync(fd))
        err = fs_failed("sync", path);
    // NFS reports a full disk only at close.
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
