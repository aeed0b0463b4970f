// Opens a file of weights of any format: recognises it by its first bytes, then cleans the names.
#include "weights/weights.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "weights/file.h"

// ---- opening ----

static bool has(const uint8_t *bytes, size_t size, size_t at, const char *text) {
    return size >= at + strlen(text) && memcmp(bytes + at, text, strlen(text)) == 0;
}

// Explains files that are commonly mistaken for weights.
static const char *what_else(const uint8_t *bytes, size_t size) {
    if (has(bytes, size, 0, "version https://git-lfs"))
        return "a pointer of Git LFS; fetch the file itself";
    if (has(bytes, size, 0, "<"))
        return "a page, not the file itself; download it again";
    if (has(bytes, size, 0, "\x1f\x8b"))
        return "compressed by gzip; unpack it first";
    if (has(bytes, size, 0, "\x89HDF"))
        return "HDF5, as Keras writes";
    // The magic of tar is inside of its first 512-byte header.
    if (has(bytes, size, 257, "ustar"))
        return "a tar archive; unpack it first";
    if (has(bytes, size, 0, "\x80"))
        return "a bare pickle, not written by torch.save";
    if (has(bytes, size, 0, "\x08") && size > 4)
        return "perhaps ONNX: that has the net's operations, not the names of its weights";
    return "neither written by torch.save nor safetensors";
}

static int read_start(const char *path, uint8_t *ret, size_t max, size_t *ret_size) {
    struct stat st;
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fs_failed("open", path);
    ssize_t n = fstat(fd, &st) || !S_ISREG(st.st_mode) ? -1 : read(fd, ret, max);
    (void)close(fd); // only read from
    if (n < 0)
        return err_set(ERR_IO, "'%s' is no file that can be read", path);
    *ret_size = (size_t)n;
    return ERR_OK;
}

static int open_by_content(struct weights *w) {
    uint8_t start[512];
    size_t size = 0;
    int err = read_start(w->path, start, sizeof start, &size);
    if (err)
        return err;
    // A zip archive begins with the local header of its first file.
    if (has(start, size, 0, "PK\3\4"))
        return weights_open_zip(w);
    // The pickled magic number of the old container (pth_legacy.c), always these bytes.
    if (has(start, size, 0, "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19."))
        return weights_open_legacy(w);
    // The header of safetensors follows its 8-byte length.
    if (size > 8 && start[8] == '{')
        return weights_open_safetensors(w);
    return err_set(ERR_FORMAT, "'%s' holds no weights: it is %s", w->path, what_else(start, size));
}

// Splits FILE#NAME, unless a file of the whole name exists.
static void split_path(struct weights *w, const char *path) {
    w->path = xstrdup(path);
    char *hash = strrchr(w->path, '#');
    // w->chosen points into w->path, which is freed with it.
    if (hash && hash[1] && !fs_exists(path)) {
        *hash = 0;
        w->chosen = hash + 1;
    }
}

static void note_types(struct weights *w) {
    static const char *const names[] = {
        [WEIGHTS_F16] = "float16", [WEIGHTS_BF16] = "bfloat16", [WEIGHTS_F64] = "float64"};
    int n[COUNT(names) + 1] = {0}; // and of I64
    for (int i = 0; i < w->count; i++)
        n[w->entries[i].tensor.type]++;
    for (size_t i = WEIGHTS_F16; i <= WEIGHTS_F64; i++)
        if (n[i])
            weights_note(w, "%d tensors of %s become float32", n[i], names[i]);
}

int weights_open(const char *path, struct weights **ret_weights) {
    struct weights *w = xcalloc(1, sizeof *w);
    w->notes = xstrdup("");
    split_path(w, path);
    int err = open_by_content(w);
    if (!err) {
        err = weights_convert_names(w);
        note_types(w);
    }
    if (!err && !w->count)
        err = err_set(ERR_FORMAT, "'%s' holds no tensors", w->path);
    if (err) {
        weights_close(w);
        return err;
    }
    *ret_weights = w;
    return ERR_OK;
}

void weights_close(struct weights *w) {
    if (!w)
        return;
    // A file refused by its first bytes has no format yet.
    if (w->format)
        w->format->close(w->file);
    for (int i = 0; i < w->count; i++)
        free((char *)w->entries[i].tensor.name);
    free(w->entries);
    free(w->notes);
    free(w->path);
    free(w);
}

int weights_unusable(int err) {
    // ERR_MISMATCH stays: the file is sound, but of another net. ERR_SPACE is a fault of the disk.
    bool unusable = err == ERR_IO || err == ERR_FORMAT || err == ERR_SHAPE || err == ERR_LIMIT;
    return unusable ? ERR_DATA : err;
}
