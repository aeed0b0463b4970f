// safetensors files as a weights_format: the list from the header, and the bytes.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/file.h"
#include "weights/safetensors.h"

struct tensors {
    struct safetensors file;
    const struct safetensor *open; // the tensor being read, and the next byte
    uint64_t at;
};

static const enum weights_type types[] = {
    [SAFETENSORS_F32] = WEIGHTS_F32, [SAFETENSORS_I64] = WEIGHTS_I64,
    [SAFETENSORS_F16] = WEIGHTS_F16, [SAFETENSORS_BF16] = WEIGHTS_BF16,
    [SAFETENSORS_F64] = WEIGHTS_F64,
};

static int tensor_begin(void *file, int storage, uint64_t byte) {
    struct tensors *t = file;
    t->open = &t->file.tensors[storage];
    t->at = byte;
    return ERR_OK;
}

static int tensor_read(void *file, void *ret, size_t size) {
    struct tensors *t = file;
    int err = safetensors_read_part(&t->file, t->open, t->at, ret, size);
    t->at += size;
    return err;
}

static int tensor_end(void *file) {
    (void)file; // the format has no checksum
    return ERR_OK;
}

static void tensors_close(void *file) {
    struct tensors *t = file;
    safetensors_close(&t->file);
    free(t);
}

int weights_open_safetensors(struct weights *w) {
    static const struct weights_format format = {
        .begin = tensor_begin, .read = tensor_read, .end = tensor_end, .close = tensors_close};
    struct tensors *t = xcalloc(1, sizeof *t);
    // Closed state first: weights_close calls tensors_close even if opening fails.
    t->file.fd = -1;
    w->format = &format;
    w->file = t;
    int err = safetensors_open(w->path, &t->file);
    if (!err)
        err = weights_reserve(w, t->file.count);
    for (int i = 0; i < t->file.count && !err; i++) {
        const struct safetensor *s = &t->file.tensors[i];
        struct weights_entry *e;
        err = weights_add(w, s->name, strlen(s->name), types[s->type], s->rank, s->dims, &e);
        if (err)
            break;
        // Each tensor is its own storage: the format has no shared ones.
        e->storage = i;
        weights_set_plain(e);
    }
    return err;
}
