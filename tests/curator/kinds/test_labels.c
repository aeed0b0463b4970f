// The reader of label files: beside another reader, and what is no label file; what is kept of
// them. And names.
#include "curator/curator_test.h"

#include "base/text.h"
#include "curator/made_data.h"
#include "kinds/label_cache.h"
#include "kinds/labels.h"
#include "pictures/checksum.h"

// Python's json reads the same file as a tree: how many frames there are of each weather and time.
static void a_large_file_says_what_python_reads_in_it(void **state) {
    static const char judge[] =
        "/usr/bin/python3 -c 'import collections, json, sys\n"
        "frames = json.load(open(sys.argv[1]))\n"
        "a = [f[\"attributes\"] for f in frames]\n"
        "n = collections.Counter((x[\"weather\"], x[\"timeofday\"]) for x in a)\n"
        "for (w, t), k in n.items(): print(k, w + \"|\" + t)' %s";
    struct labels l = {0};
    char *path = in_folder("made.json"), *command = xasprintf(judge, path), line[128];
    uint64_t frames = made_labels(path, 3000000);
    assert_int_equal(labels_read(&l, path, NULL), ERR_OK);
    assert_int_equal(l.names.count, frames);
    FILE *in = popen(command, "r");
    size_t seen = 0;
    while (fgets(line, sizeof line, in)) {
        size_t n = 0, wanted = strtoul(line, NULL, 10);
        line[strcspn(line, "\n")] = 0;
        for (size_t i = 0; i < l.names.count; i++) {
            char text[128];
            const struct name_row *row = &l.names.rows[i];
            (void)snprintf(text, sizeof text, "%s|%s", labels_value(&l, row, LABEL_WEATHER),
                           labels_value(&l, row, LABEL_TIMEOFDAY));
            n += strcmp(text, strchr(line, ' ') + 1) == 0;
        }
        assert_int_equal(n, wanted);
        seen += n;
    }
    assert_int_equal(pclose(in), 0);
    assert_int_equal(seen, frames);
    labels_fini(&l);
    free(command);
}

static void assert_refused(const char *text, int line, const char *part) {
    struct labels l = {0};
    char *where = xasprintf("x.json:%d: ", line);
    write_text(in_folder("x.json"), text);
    int err = labels_read(&l, in_folder("x.json"), NULL);
    if (err != ERR_DATA || !strstr(err_text(), where) || !strstr(err_text(), part))
        fail_msg("%.60s: err %d '%s', expected %s%s", text, err, err_text(), where, part);
    labels_fini(&l);
    free(where);
}

static void what_is_no_label_file_is_refused_with_its_line(void **state) {
    assert_refused("", 1, "the file ends too early");
    assert_refused("[\n{\"name\":\"a\"},\n", 3, "the file ends too early");
    assert_refused("[\n{\"name\":\"a\"}\n{}]", 3, "parse error");
    assert_refused("[\n{\"name\":\"a\",\n\n\"b\":nope}]", 4, "lexical error");
    assert_refused("[{\"name\":\"a\xff\"}]", 1, "invalid bytes in UTF8");
    assert_refused("\n\"text\"", 2, "a list of frames or one frame");
    assert_refused("[\n1]", 2, "a frame, { ... }");
    assert_refused("[\n[{\"name\":\"a\"}]]", 2, "a frame, { ... }");
    assert_refused("[\n{}]", 2, "without a name");
    assert_refused("{\n\"images\":[{\"name\":\"a\"}]}", 2, "no name of a picture");
    assert_refused("{\"frames\":[\n{}]\n}", 3, "no name of a picture");
    assert_refused("[{\"name\":\n7}]", 2, "name of a frame is no text");
    assert_refused("[{\"name\":\n{\"x\":1}}]", 2, "name of a frame is no text");
    assert_refused("[{\"name\":\"\"}]", 1, "1 to 255 bytes");
    assert_refused("[{\"name\":\"a\\u0000b\"}]", 1, "1 to 255 bytes");
    assert_refused("[{\"name\":\"a\",\"attributes\":[]}]", 1,
                   "attributes of a frame are no object");
    assert_refused("[{\"name\":\"a\",\"attributes\":\"x\"}]", 1, "are no object");
    assert_refused("[{\"name\":\"a\",\"attributes\":{\"timeofday\":\n1}}]", 2, "is no text");
    assert_refused("[{\"name\":\"a\",\"attributes\":{\"scene\":\n{}}}]", 2, "is no text");
    assert_refused("[] []", 1, "trailing garbage");
}

static void nesting_and_endless_texts_are_limited(void **state) {
    char *deep = xmalloc(4000000);
    memset(deep, '[', 1000);
    deep[1000] = 0;
    assert_refused(deep, 1, "a frame, { ... }");
    strcpy(deep, "{\"x\":");
    memset(deep + 5, '[', 1000);
    assert_refused(deep, 1, "more than 100 deep");
    memset(deep, 'x', 4000000 - 1);
    memcpy(deep, "[\"", 2);
    deep[4000000 - 1] = 0;
    assert_refused(deep, 1, "a megabyte without a new value");
    free(deep);
}

static void an_attribute_has_a_limit_of_values_and_bytes(void **state) {
    struct text t = {0};
    text_add(&t, "[");
    for (int i = 0; i < 256; i++)
        text_add(&t, "%s{\"name\":\"%d\",\"attributes\":{\"scene\":\"s%d\"}}", i ? ",\n" : "", i,
                 i);
    text_add(&t, "]");
    assert_refused(t.bytes, 256, "a 256th value");
    free(t.bytes);
    assert_refused("[{\"name\":\"a\",\"attributes\":{\"scene\":\"0123456789012345678901234567890123"
                   "4567890123456789012345678901234567\"}}]",
                   1, "more than 64 bytes");
}

static void a_byte_order_mark_is_passed_over(void **state) {
    struct labels l = {0};
    write_text(in_folder("x.json"),
               "\xef\xbb\xbf[{\"name\":\"a.jpg\",\"attributes\":{\"weather\":\"clear\"}}]");
    assert_int_equal(labels_read(&l, in_folder("x.json"), NULL), ERR_OK);
    assert_int_equal(l.names.count, 1);
    labels_fini(&l);
}

static void names_are_told_apart(void **state) {
    struct names n = {0};
    bool is_new;
    char name[32];
    for (uint32_t i = 0; i < 20000; i++) {
        int size = snprintf(name, sizeof name, "x/%08x-%u.jpg", i * 2654435761U, i);
        struct name_row *row = names_add(&n, name, (size_t)size, &is_new);
        assert_true(row && is_new);
        row->value = i;
    }
    for (uint32_t i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "y/%08x-%u%s", i * 2654435761U, i, i % 2 ? "" : ".PNG");
        const struct name_row *row = names_find(&n, name);
        assert_true(row && row->value == i);
    }
    assert_null(names_find(&n, "00000000-0.mov"));
    assert_null(names_find(&n, ""));
    assert_null(names_add(&n, "x/", 2, &is_new));
    names_fini(&n);
}

// ---- the cache ----

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void read_odd_labels(struct labels *l) {
    write_text(in_folder("odd.json"),
               "[{\"name\":\"a.jpg.jpg\",\"attributes\":{\"timeofday\":\"night\"}},\n"
               "{\"name\":\"with\\nlines and \\u00e9\",\"attributes\":{\"scene\":\"\"}},\n"
               "{\"name\":\"no attributes\"},\n"
               "{\"name\":\"a.jpg\",\"attributes\":{\"timeofday\":\"daytime\"}},\n"
               "{\"name\":\"a.jpg.jpg\",\"attributes\":{\"timeofday\":\"daytime\"}}]");
    assert_int_equal(labels_read(l, in_folder("odd.json"), NULL), ERR_OK);
    assert_int_equal(l->names.count, 4);
    assert_int_equal(l->conflicts, 1);
}

static void assert_same(const struct labels *a, const struct labels *b) {
    char digests[2][65];
    assert_true(a->files == b->files && a->bytes == b->bytes && a->conflicts == b->conflicts);
    assert_string_equal(a->conflict, b->conflict);
    assert_int_equal(a->names.count, b->names.count);
    for (size_t i = 0; i < a->names.count; i++) {
        assert_string_equal(names_text(&a->names, &a->names.rows[i]),
                            names_text(&b->names, &b->names.rows[i]));
        assert_int_equal(a->names.rows[i].value, b->names.rows[i].value);
    }
    labels_digest(a, digests[0]);
    labels_digest(b, digests[1]);
    assert_string_equal(digests[0], digests[1]);
}

static void what_was_said_is_taken_from_the_cache(void **state) {
    struct labels l = {0}, again = {0};
    read_odd_labels(&l);
    assert_int_equal(label_cache_load("x.labels", KEY, &again), ERR_AGAIN);
    assert_int_equal(label_cache_save("x.labels", KEY, &l), ERR_OK);
    assert_int_equal(label_cache_load("x.labels", KEY, &again), ERR_OK);
    assert_same(&l, &again);
    labels_fini(&again);
    labels_fini(&l);
    assert_int_equal(
        labels_read(&l, (made_labels(in_folder("made.json"), 3000000), in_folder("made.json")),
                    NULL),
        ERR_OK);
    assert_int_equal(label_cache_save("x.labels", KEY, &l), ERR_OK);
    assert_int_equal(label_cache_load("x.labels", KEY, &again), ERR_OK);
    assert_same(&l, &again);
    labels_fini(&again);
    labels_fini(&l);
}

static void a_damaged_cache_is_as_good_as_none(void **state) {
    struct labels l = {0}, again = {0};
    uint8_t *bytes;
    size_t size;
    read_odd_labels(&l);
    assert_int_equal(label_cache_save("x.labels", KEY, &l), ERR_OK);
    assert_int_equal(fs_read("x.labels", 1 << 20, &bytes, &size), ERR_OK);
    for (size_t i = 0; i < 2 * size; i++) {
        if (i >= size)
            bytes[i - size] ^= 1;
        assert_int_equal(fs_write_atomic("y.labels", bytes, i < size ? i : size), ERR_OK);
        if (i >= size)
            bytes[i - size] ^= 1;
        int err = label_cache_load("y.labels", KEY, &again);
        if (err != ERR_AGAIN && err != ERR_FORMAT)
            fail_msg("damage %zu: %d", i, err);
        assert_int_equal(again.names.count + again.files, 0);
    }
    char key[] = KEY;
    key[3]++;
    assert_int_equal(label_cache_load("x.labels", key, &again), ERR_AGAIN);
    labels_fini(&l);
    free(bytes);
}

// Lines that are checksum for, but that labels_read cannot have left.
static void lines_that_contradict_each_other_are_refused(void **state) {
    static const char *const lines[] = {
        "name 010000 61\n",                 // no such value
        "name 000000 61\nname 000000 61\n", // twice
        "name 000000 612f62\n",             // a folder
        "name 000000 -\n",                  // no name
        "name 0000 61\n",
        "name 000000 6\n",
        "name 000000 6100\n",
        "value 3 61\n",
        "value 0 6\n",
        "files 1 2 3\n",
        "else\n",
        "name 000000 61",
    };
    struct labels again = {0};
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct text t = {0};
        text_add(&t, "cyclegan-labels 1 " KEY "\n%s", lines[i]);
        checksum_seal(&t);
        assert_int_equal(fs_write_atomic("x.labels", t.bytes, t.size), ERR_OK);
        if (label_cache_load("x.labels", KEY, &again) != ERR_FORMAT)
            fail_msg("taken: %s", lines[i]);
        assert_int_equal(again.names.count, 0);
        free(t.bytes);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_large_file_says_what_python_reads_in_it),
        CASE(what_is_no_label_file_is_refused_with_its_line),
        CASE(nesting_and_endless_texts_are_limited),
        CASE(an_attribute_has_a_limit_of_values_and_bytes),
        CASE(names_are_told_apart),
        CASE(a_byte_order_mark_is_passed_over),
        CASE(what_was_said_is_taken_from_the_cache),
        CASE(a_damaged_cache_is_as_good_as_none),
        CASE(lines_that_contradict_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
