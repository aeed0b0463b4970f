// The reader of label files: beside another reader, and what is no label file. And names.
#include "curator_test.h"

#include "labels.h"
#include "made_data.h"
#include "text.h"

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
    assert_null(names_find(&n, "00000000-0.gif"));
    assert_null(names_find(&n, ""));
    assert_null(names_add(&n, "x/", 2, &is_new));
    names_fini(&n);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_large_file_says_what_python_reads_in_it),
        CASE(what_is_no_label_file_is_refused_with_its_line),
        CASE(nesting_and_endless_texts_are_limited),
        CASE(an_attribute_has_a_limit_of_values_and_bytes),
        CASE(names_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
