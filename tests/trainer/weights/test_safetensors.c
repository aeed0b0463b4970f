

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "weights/safetensors.h"

#define PATH "tensors.safetensors"

static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
static const int64_t steps = 123456789012345;

static void write_example(void) {
    const struct safetensor tensors[] = {
        {.name = "model.1.weight", .rank = 4, .dims = {2, 3, 1, 1}, .data = weights},
        {.name = "empty", .rank = 1, .dims = {0}, .data = weights},
        {.name = "t", .type = SAFETENSORS_I64, .data = &steps},
    };

    assert_int_equal(safetensors_write(PATH, tensors, COUNT(tensors)), ERR_OK);
}

static void put(const void *bytes, size_t size) {
    FILE *f = fopen(PATH, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static int open_and_close(void) {
    struct safetensors f;
    int err = safetensors_open(PATH, &f);

    if (!err)
        safetensors_close(&f);
    return err;
}

static void what_was_written_is_read(void **state) {
    struct safetensors f;
    const struct safetensor *t;
    float back[6];
    int64_t number;

    write_example();
    assert_int_equal(safetensors_open(PATH, &f), ERR_OK);
    assert_int_equal(f.count, 3);
    assert_int_equal(f.data_start % 8, 0);
    t = safetensors_find(&f, "model.1.weight");
    assert_non_null(t);
    assert_int_equal(t->rank, 4);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->bytes, sizeof back);
    assert_int_equal(safetensors_read(&f, t, back), ERR_OK);
    assert_memory_equal(back, weights, sizeof back);
    t = safetensors_find(&f, "t");
    assert_int_equal(t->type, SAFETENSORS_I64);
    assert_int_equal(t->rank, 0);
    assert_int_equal(safetensors_read(&f, t, &number), ERR_OK);
    assert_true(number == steps);
    assert_null(safetensors_find(&f, "model.1"));
    safetensors_close(&f);
}

// Python's json and struct know nothing of our reader.
static void an_independent_reader_agrees(void **state) {
    write_example();
    assert_int_equal(system("python3 - <<'END'\n"
                            "import json, struct\n"
                            "b = open('" PATH "', 'rb').read()\n"
                            "n, = struct.unpack('<Q', b[:8])\n"
                            "h = json.loads(b[8:8 + n]); d = b[8 + n:]\n"
                            "assert n % 8 == 0 and h.pop('__metadata__') == {'format': 'pt'}\n"
                            "assert list(h) == ['model.1.weight', 'empty', 't']\n"
                            "w = h['model.1.weight']\n"
                            "assert w['dtype'] == 'F32' and w['shape'] == [2, 3, 1, 1]\n"
                            "b, e = w['data_offsets']\n"
                            "v = struct.unpack('<6f', d[b:e])\n"
                            "assert v[:4] == (1, -2, 3.5, 0) and v[5] == 7\n"
                            "b, e = h['t']['data_offsets']\n"
                            "assert h['t']['shape'] == [] and e == len(d)\n"
                            "assert struct.unpack('<q', d[b:e]) == (123456789012345,)\n"
                            "END"),
                     0);
}

static void every_truncation_and_every_surplus_is_refused(void **state) {
    uint8_t *bytes;
    size_t size;

    write_example();
    assert_int_equal(fs_read(PATH, 1 << 20, &bytes, &size), ERR_OK);
    for (size_t n = 0; n < size; n++) {
        put(bytes, n);
        assert_int_equal(open_and_close(), ERR_FORMAT);
    }
    bytes = xrealloc(bytes, size + 8);
    memset(bytes + size, ' ', 8);
    for (size_t n = 1; n <= 8; n++) {
        put(bytes, size + n);
        assert_int_equal(open_and_close(), ERR_FORMAT);
    }
    free(bytes);
}

static void read_everything(struct safetensors *f, uint64_t file_size) {
    for (int i = 0; i < f->count; i++) {
        const struct safetensor *t = &f->tensors[i];
        void *data;

        assert_true(f->data_start + t->begin + t->bytes <= file_size);
        data = xmalloc(t->bytes + 1);
        assert_int_equal(safetensors_read(f, t, data), ERR_OK);
        free(data);
    }
}

// A mutation may spell another valid header (a name with another letter); it never leads outside.
static void no_mutation_of_the_header_leads_outside_the_file(void **state) {
    uint8_t *bytes, kept;
    size_t size, header;
    int refused = 0, accepted = 0;

    write_example();
    assert_int_equal(fs_read(PATH, 1 << 20, &bytes, &size), ERR_OK);
    header = size - sizeof weights - sizeof steps;
    for (size_t i = 0; i < header; i++)
        for (int k = 0; k < 8; k++) {
            struct safetensors f;

            kept = bytes[i];
            bytes[i] ^= (uint8_t)(1 << k);
            put(bytes, size);
            bytes[i] = kept;
            if (safetensors_open(PATH, &f)) {
                refused++;
                continue;
            }
            accepted++;
            read_everything(&f, size);
            safetensors_close(&f);
        }
    assert_true(refused > 2 * accepted);
    free(bytes);
}

static void put_header(const char *header, size_t data_bytes) {
    uint8_t bytes[4096] = {0};
    uint64_t n = strlen(header);

    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    put(bytes, 8 + n + data_bytes);
}

#define T(shape, offsets) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void hostile_headers_are_refused(void **state) {
    static const char *const headers[] = {
        "{\"a\":" T("[2]", "[0,8]") ",\"b\":" T("[1]", "[4,8]") "}", // overlap
        "{\"a\":" T("[1]", "[4,8]") "}",                             // hole at the start
        "{\"a\":" T("[1]", "[0,4]") "}",                             // hole at the end
        "{\"a\":" T("[3]", "[0,12]") "}",                            // beyond the end
        "{\"a\":" T("[2]", "[8,0]") "}",                             // backwards
        "{\"a\":" T("[-2]", "[0,8]") "}",                            // negative
        "{\"a\":" T("[2.0]", "[0,8]") "}",                           // fraction
        "{\"a\":" T("[4611686018427387904,2]", "[0,8]") "}",         // product overflows
        "{\"a\":" T("[2]", "[0,9223372036854775808]") "}",           // number overflows
        "{\"a\":" T("[2]", "[18446744073709551608,0]") "}",          //
        "{\"a\":" T("[1,1,1,1,2]", "[0,8]") "}",                     // rank 5
        "{\"a\":" T("[[2]]", "[0,8]") "}",                           // list in list
        "{\"a\":" T("[2]", "[0,8,8]") "}",                           // three offsets
        "{\"a\":" T("[2]", "[0]") "}",                               // one
        "{\"a\":" T("[1]", "[0,4]") ",\"a\":" T("[1]", "[4,8]") "}", // same name
        "{\"a\\u0000b\":" T("[2]", "[0,8]") "}",                     // zero in a name
        "{\"\":" T("[2]", "[0,8]") "}",                              // no name
        "{\"a\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}",
        "{\"__metadata__\":{\"a\":1},\"a\":" T("[2]", "[0,8]") "}",
        "{\"__metadata__\":{},\"__metadata__\":{},\"a\":" T("[2]", "[0,8]") "}",
        "{\"__metadata__\":\"x\",\"a\":" T("[2]", "[0,8]") "}",
        "[" T("[2]", "[0,8]") "]",
        "{\"a\":" T("[2]", "[0,8]") "} x",
        "{\"a\":" T("[2]", "[0,8]") "}{}",
        "{\"a\":[" T("[2]", "[0,8]") "]}",
        "{\"a\":null}",
        "{}",
        " {\"a\":" T("[2]", "[0,8]") "}",
    };

    put_header("{\"b\":" T("[1]", "[4,8]") ",\"a\":" T("[1]", "[0,4]") "}  ", 8);
    assert_int_equal(open_and_close(), ERR_OK);
    for (size_t i = 0; i < COUNT(headers); i++) {
        put_header(headers[i], 8);
        if (open_and_close() != ERR_FORMAT)
            fail_msg("accepted: %s", headers[i]);
    }
}

static void a_header_length_that_lies_is_refused(void **state) {
    static const uint64_t lengths[] = {0, 1, 1 << 20, 1ull << 40, UINT64_MAX, UINT64_MAX - 7};

    for (size_t i = 0; i < COUNT(lengths); i++) {
        uint8_t bytes[64] = {0};

        memcpy(bytes, &lengths[i], 8);
        memcpy(bytes + 8, "{}", 2);
        put(bytes, sizeof bytes);
        assert_int_equal(open_and_close(), ERR_FORMAT);
    }
}

static void a_missing_file_and_a_folder_are_errors(void **state) {
    struct safetensors f;

    assert_int_equal(safetensors_open("not/there", &f), ERR_IO);
    assert_int_equal(safetensors_open(".", &f), ERR_FORMAT);
    assert_int_equal(safetensors_write("not/there", NULL, 0), ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(an_independent_reader_agrees),
        cmocka_unit_test(every_truncation_and_every_surplus_is_refused),
        cmocka_unit_test(no_mutation_of_the_header_leads_outside_the_file),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(a_header_length_that_lies_is_refused),
        cmocka_unit_test(a_missing_file_and_a_folder_are_errors),
    };
    char folder[] = "/tmp/test_safetensors_XXXXXX";
    int failures;

    if (!mkdtemp(folder) || chdir(folder))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fs_remove_tree(folder); // only a test's folder
    return failures;
}
