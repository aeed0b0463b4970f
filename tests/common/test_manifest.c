#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "manifest.h"

static const char *const names[] = {
    "a/plain.jpg", "with space.png", "사진 01 été.JPG", "100%.jpg",
    "%41.jpg",     "new\nline.jpg",  "\x01\x7f.png",    "B.jpg",
};
#define N_NAMES COUNT(names)
#define HELD 3

static char folder[64], file[96];

static int make_folder(void **state) {
    strcpy(folder, "/tmp/manifest-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/A.manifest", folder);
    return 0;
}

static int remove_folder(void **state) {
    return fs_remove_tree(folder);
}

static struct manifest *example(const char *root) {
    struct manifest *m = xcalloc(1, sizeof *m);
    strcpy(m->domain, "A");
    m->root = xstrdup(root);
    m->count = N_NAMES - HELD;
    m->held_out = HELD;
    m->records = xcalloc(N_NAMES, sizeof *m->records);
    for (size_t i = 0; i < N_NAMES; i++) {
        digest_bytes(names[i], strlen(names[i]), m->records[i].sha256);
        m->records[i].size = i * i * 1000003;
        m->records[i].w = 1 + (int)i;
        m->records[i].h = 218;
        m->records[i].path = xstrdup(names[i]);
    }
    manifest_seal(m);
    return m;
}

static void write_file(const char *bytes, size_t size) {
    FILE *out = fopen(file, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static char *saved_example(size_t *ret_size) {
    struct manifest *m = example("/data/some where");
    uint8_t *bytes;
    assert_int_equal(manifest_save(m, file), ERR_OK);
    assert_int_equal(fs_read(file, 1 << 20, &bytes, ret_size), ERR_OK);
    manifest_free(m);
    return (char *)bytes;
}

static void what_is_saved_is_loaded(void **state) {
    struct manifest *m = example("/data/some\nwhere"), *back;
    assert_int_equal(manifest_save(m, file), ERR_OK);
    assert_int_equal(manifest_load(file, &back), ERR_OK);
    assert_string_equal(back->domain, "A");
    assert_string_equal(back->root, m->root);
    assert_string_equal(back->digest, m->digest);
    assert_int_equal(back->count, m->count);
    assert_int_equal(back->held_out, m->held_out);
    for (size_t i = 0; i < N_NAMES; i++) {
        assert_string_equal(back->records[i].path, m->records[i].path);
        assert_memory_equal(back->records[i].sha256, m->records[i].sha256, 32);
        assert_int_equal(back->records[i].size, m->records[i].size);
        assert_int_equal(back->records[i].w, m->records[i].w);
        assert_int_equal(back->records[i].h, m->records[i].h);
    }
    manifest_free(back);
    manifest_free(m);
}

static void an_empty_one_is_saved_and_loaded(void **state) {
    struct manifest m = {.domain = "B", .root = "/"}, *back;
    manifest_seal(&m);
    assert_int_equal(manifest_save(&m, file), ERR_OK);
    assert_int_equal(manifest_load(file, &back), ERR_OK);
    assert_int_equal(back->count + back->held_out, 0);
    manifest_free(back);
}

static void both_parts_are_sorted_by_bytes(void **state) {
    struct manifest *m = example("/x");
    for (size_t i = 1; i < N_NAMES; i++)
        if (i != m->count)
            assert_true(strcmp(m->records[i - 1].path, m->records[i].path) < 0);
    manifest_free(m);
}

static void the_digest_is_that_of_all_lines_but_root(void **state) {
    size_t size;
    char *text = saved_example(&size);
    char *root = strstr(text, "root "), *count = strstr(text, "count ");
    char *digest = strstr(text, "\ndigest ") + 1;
    char *rest = xmalloc(size);
    size_t before = (size_t)(root - text), behind = (size_t)(digest - count);
    memcpy(rest, text, before);
    memcpy(rest + before, count, behind);
    uint8_t sum[32];
    char hex[65];
    digest_bytes(rest, before + behind, sum);
    digest_hex(sum, hex);
    assert_memory_equal(digest + 7, hex, 64);
    free(rest);
    free(text);
}

static void the_digest_does_not_depend_on_the_root(void **state) {
    struct manifest *a = example("/here"), *b = example("/there/and/further");
    assert_string_equal(a->digest, b->digest);
    b->records[2].w++;
    manifest_seal(b);
    assert_string_not_equal(a->digest, b->digest);
    manifest_free(a);
    manifest_free(b);
}

static void assert_refused_with_line(const char *what) {
    struct manifest *m = NULL;
    char place[sizeof file + 8];
    int err = manifest_load(file, &m);
    (void)snprintf(place, sizeof place, "%s:", file);
    if (err != ERR_FORMAT || strncmp(err_text(), place, strlen(place)) ||
        atoi(err_text() + strlen(place)) < 1)
        fail_msg("%s: err %d, '%s'", what, err, err_text());
    assert_null(m);
}

static void every_truncation_is_refused_with_its_line(void **state) {
    size_t size;
    char *text = saved_example(&size);
    for (size_t n = 0; n < size; n++) {
        write_file(text, n);
        assert_refused_with_line("truncated");
    }
    free(text);
}

// Every byte outside the root line is covered by the digest; a changed root is an other place.
static void every_changed_byte_is_refused_with_its_line(void **state) {
    static const char others[] = "\n %0az/\x80";
    size_t size;
    char *text = saved_example(&size);
    size_t root = (size_t)(strstr(text, "root ") - text);
    size_t behind = (size_t)(strstr(text, "count ") - text);
    for (size_t i = 0; i < size; i++) {
        char was = text[i];
        for (const char *c = others; *c; c++) {
            if (*c == was || (i >= root + 5 && i < behind - 1))
                continue;
            text[i] = *c;
            write_file(text, size);
            assert_refused_with_line("changed");
        }
        text[i] = was;
    }
    free(text);
}

static void bytes_behind_the_end_are_refused(void **state) {
    size_t size;
    char *text = saved_example(&size);
    text[size] = '\n'; // the 0 that fs_read puts there
    write_file(text, size + 1);
    assert_refused_with_line("longer");
    free(text);
}

static void a_missing_file_is_an_io_error_with_its_name(void **state) {
    struct manifest *m;
    assert_int_equal(manifest_load("/nowhere/A.manifest", &m), ERR_IO);
    assert_non_null(strstr(err_text(), "/nowhere/A.manifest"));
}

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void records_outside_the_grammar_are_refused(void **state) {
    static const char *const bad[] = {
        "",
        "\n",
        "12",
        "12 ",
        "-1 " HEX " 1 1 a",
        "01 " HEX " 1 1 a",
        "9223372036854775808 " HEX " 1 1 a",
        "99999999999999999999999999 " HEX " 1 1 a",
        "12  " HEX " 1 1 a",
        "12 " HEX "0 1 1 a",
        "12 E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 1 1 a",
        "12 g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 1 1 a",
        "12 " HEX " 0 1 a",
        "12 " HEX " 1 2147483648 a",
        "12 " HEX " 1 1",
        "12 " HEX " 1 1 ",
        "12 " HEX " 1 1 /etc/passwd",
        "12 " HEX " 1 1 ../a",
        "12 " HEX " 1 1 a/../b",
        "12 " HEX " 1 1 a/..",
        "12 " HEX " 1 1 ./a",
        "12 " HEX " 1 1 a//b",
        "12 " HEX " 1 1 a/",
        "12 " HEX " 1 1 %",
        "12 " HEX " 1 1 %2",
        "12 " HEX " 1 1 %00",
        "12 " HEX " 1 1 %41",
        "12 " HEX " 1 1 %0a",
        "12 " HEX " 1 1 a\tb",
        "12 " HEX " 1 1 a\nb",
    };
    struct manifest_record r;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (manifest_parse(bad[i], strlen(bad[i]), &r) != ERR_FORMAT)
            fail_msg("taken: '%s'", bad[i]);
    assert_int_equal(manifest_parse("1 " HEX " 1 1 a\0b", 74, &r), ERR_FORMAT);
}

static void a_record_is_parsed_with_or_without_newline(void **state) {
    static const char line[] = "12 " HEX " 3 4 %25 %0A.jpg\n";
    for (size_t cut = 0; cut < 2; cut++) {
        struct manifest_record r;
        char text[128];
        assert_int_equal(manifest_parse(line, sizeof line - 1 - cut, &r), ERR_OK);
        assert_string_equal(r.path, "% \n.jpg");
        assert_int_equal(manifest_format(&r, text, sizeof text), sizeof line - 1);
        assert_string_equal(text, line);
        free(r.path);
    }
}

static void a_small_buffer_is_refused_at_every_size(void **state) {
    struct manifest_record r = {.size = 12, .w = 3, .h = 4, .path = "a%b"};
    char text[128];
    int n = manifest_format(&r, text, sizeof text);
    for (int size = 0; size <= n; size++)
        assert_int_equal(manifest_format(&r, text, (size_t)size), ERR_LIMIT);
    assert_int_equal(manifest_format(&r, text, (size_t)n + 1), n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_is_loaded),
        cmocka_unit_test(an_empty_one_is_saved_and_loaded),
        cmocka_unit_test(both_parts_are_sorted_by_bytes),
        cmocka_unit_test(the_digest_is_that_of_all_lines_but_root),
        cmocka_unit_test(the_digest_does_not_depend_on_the_root),
        cmocka_unit_test(every_truncation_is_refused_with_its_line),
        cmocka_unit_test(every_changed_byte_is_refused_with_its_line),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(a_missing_file_is_an_io_error_with_its_name),
        cmocka_unit_test(records_outside_the_grammar_are_refused),
        cmocka_unit_test(a_record_is_parsed_with_or_without_newline),
        cmocka_unit_test(a_small_buffer_is_refused_at_every_size),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
