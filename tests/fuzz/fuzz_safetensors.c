// Weights: 8 bytes of header length are put in front of the input's header, its length being the
// input's first two bytes. What is accepted lies inside the file, without holes.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "weights/safetensors.h"

static void check_tensors(const struct safetensors *f, size_t size) {
    uint64_t end = f->data_start;
    for (int i = 0; i < f->count; i++) {
        const struct safetensor *t = &f->tensors[i];
        FUZZ_CHECK(f->data_start + t->begin == end && t->bytes <= size);
        FUZZ_CHECK(safetensors_find(f, t->name) == t);
        void *data = xmalloc(t->bytes + 1);
        FUZZ_CHECK(safetensors_read(f, t, data) == ERR_OK);
        free(data);
        end += t->bytes;
    }
    FUZZ_CHECK(end == size);
}

static void try_file(size_t size) {
    struct safetensors f;
    if (safetensors_open("input", &f))
        return;
    check_tensors(&f, size);
    safetensors_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_write("input", bytes, size);
    try_file(size);
    if (size < 2)
        return 0;
    uint64_t length = MIN((size_t)(bytes[0] | bytes[1] << 8), size - 2);
    uint8_t *file = xmalloc(size + 6);
    memcpy(file, &length, 8);
    memcpy(file + 8, bytes + 2, size - 2);
    fuzz_write("input", file, size + 6);
    try_file(size + 6);
    free(file);
    return 0;
}

// One as a file is, and one as the target makes a file of it.
void fuzz_seeds(void) {
    float weights[6] = {1, 2, 3, 4, 5, 6};
    int64_t count = 7;
    const struct safetensor tensors[] = {
        {.name = "model.1.weight", .rank = 4, .dims = {1, 1, 2, 3}, .data = weights},
        {.name = "t", .type = SAFETENSORS_I64, .data = &count},
    };
    uint8_t *bytes;
    size_t size;
    FUZZ_CHECK(safetensors_write("file", tensors, COUNT(tensors)) == ERR_OK);
    FUZZ_CHECK(fs_read("file", SIZE_MAX, &bytes, &size) == ERR_OK);
    bytes[6] = bytes[0];
    bytes[7] = bytes[1];
    fuzz_write("header", bytes + 6, size - 6);
    free(bytes);
}
