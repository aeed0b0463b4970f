// Files of weights: PyTorch's two containers and safetensors; and the pickle in the first as it is,
// without check sums around it. What is listed can be read, twice the same, unless it is damaged,
// and is no larger than what the file may inflate to.
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "weights/pickle.h"
#include "weights/weights.h"

static void read_all(struct weights *w, size_t size) {
    size_t sum = 0;
    for (int i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        FUZZ_CHECK(t->name[0] && t->rank <= WEIGHTS_RANK_MAX);
        sum += t->count;
        FUZZ_CHECK(2 * sum <= 4 * size + (64 << 10)); // an element has 2 bytes or more
        float *values = xcalloc(t->count + 1, sizeof *values);
        float *again = xcalloc(t->count + 1, sizeof *again);
        int err = weights_read(w, t, values);
        FUZZ_CHECK(weights_read(w, t, again) == err);
        FUZZ_CHECK(err || !memcmp(values, again, t->count * sizeof *values));
        free(values);
        free(again);
    }
}

static void try_file(const uint8_t *bytes, size_t size) {
    struct weights *w;
    fuzz_write("input", bytes, size);
    if (weights_open("input", &w)) {
        FUZZ_CHECK(strstr(err_text(), "input"));
        return;
    }
    read_all(w, size);
    weights_close(w);
}

// Every value that can be reached without walking in circles.
static void look(const struct pickle *p, struct pickle_value v, int depth) {
    struct pickle_entry e;
    struct pickle_tensor t;
    uint32_t cursor = 0;
    size_t size;
    if (v.kind == PICKLE_INT || v.kind == PICKLE_BOOL)
        (void)pickle_int(p, v);
    if (v.kind == PICKLE_TEXT)
        FUZZ_CHECK(pickle_text(p, v, &size) && size < PICKLE_BYTES_MAX);
    if (v.kind == PICKLE_TENSOR) {
        pickle_tensor(p, v, &t);
        FUZZ_CHECK(t.rank >= 0 && t.storage.element_bytes > 0);
    }
    if (v.kind != PICKLE_DICT && v.kind != PICKLE_LIST)
        return;
    for (int n = 0; depth < 3 && n < 100 && pickle_next(p, v, &cursor, &e); n++) {
        look(p, e.key, depth + 1);
        look(p, e.value, depth + 1);
    }
}

static void try_pickle(const uint8_t *bytes, size_t size) {
    struct pickle *p;
    size_t used;
    if (pickle_read("it", bytes, size, &p, &used))
        return;
    FUZZ_CHECK(used <= size);
    look(p, pickle_root(p), 0);
    pickle_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    try_pickle(bytes, size);
    try_file(bytes, size);
    return 0;
}

// {"a": a tensor [2,3] of "0"}
static const char pickle[] =
    "\x80\2ccollections\nOrderedDict\n)R(X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n("
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
    "0X\3\0\0\0cpuK\6tQK\0K\2K\3\x86K\3K\1\x86\211ccollections\nOrderedDict\n)RtRu.";

static void write_legacy(void) {
    static const char begin[] = "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.\x80\2}(X"
                                "\x0d\0\0\0little_endian\x88u.";
    static const char end[] = "\x80\2]X\1\0\0\0"
                              "0a.\6\0\0\0\0\0\0\0abcdabcdabcdabcdabcdabcd";
    uint8_t all[sizeof begin + sizeof pickle + sizeof end];
    memcpy(all, begin, sizeof begin - 1);
    memcpy(all + sizeof begin - 1, pickle, sizeof pickle - 1);
    memcpy(all + sizeof begin + sizeof pickle - 2, end, sizeof end - 1);
    fuzz_write("legacy", all, sizeof begin + sizeof pickle + sizeof end - 3);
}

static void write_zip(const char *name, zip_int32_t method) {
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    zip_t *zip = zip_open(name, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    FUZZ_CHECK(zip);
    zip_int64_t at[2] = {
        zip_file_add(zip, "x/data.pkl", zip_source_buffer(zip, pickle, sizeof pickle - 1, 0), 0),
        zip_file_add(zip, "x/data/0", zip_source_buffer(zip, values, sizeof values, 0), 0)};
    for (int i = 0; i < 2; i++)
        FUZZ_CHECK(zip_set_file_compression(zip, (zip_uint64_t)at[i], method, 0) == 0);
    FUZZ_CHECK(zip_close(zip) == 0);
}

void fuzz_seeds(void) {
    static const char header[] = "........{\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],"
                                 "\"data_offsets\":[0,12]}}abababababab";
    char file[sizeof header];
    uint64_t length = sizeof header - 1 - 8 - 12;
    memcpy(file, header, sizeof header);
    memcpy(file, &length, 8);
    struct weights *w;
    fuzz_write("pickle", pickle, sizeof pickle - 1);
    fuzz_write("safetensors", file, sizeof file - 1);
    write_legacy();
    write_zip("stored", ZIP_CM_STORE);
    write_zip("deflated", ZIP_CM_DEFLATE);
    const char *const files[] = {"legacy", "stored", "deflated", "safetensors"};
    for (size_t i = 0; i < COUNT(files); i++) {
        if (weights_open(files[i], &w))
            BUG("%s", err_text());
        weights_close(w);
    }
}
