// The rule of brightness on real pictures, beside what a person sees on them and what their labels
// say. Prints the counts.
#include "curator/curator_test.h"

#include "kinds/labels.h"
#include "kinds/table.h"

static char data_folder[256]; // absolute: the tests change the folder

struct agreement {
    int same, opposite, ambiguous, other; // other: labelled neither day nor night
};

// What the rule says of a picture: "day", "night", "" for neither.
static const char *rule_says(const struct picture *p) {
    return strcmp(p->reason, "ok_luma") == 0      ? "day"
           : strcmp(p->reason, "luma_night") == 0 ? "night"
                                                  : "";
}

static void count(struct agreement *a, const char *rule, const char *truth) {
    if (strcmp(truth, "day") != 0 && strcmp(truth, "night") != 0)
        a->other++;
    else if (!*rule)
        a->ambiguous++;
    else if (strcmp(rule, truth) == 0)
        a->same++;
    else
        a->opposite++;
}

static void print(const char *what, const struct agreement *a) {
    printf("brightness against %s: %d agree, %d opposite, %d ambiguous, %d neither day nor night\n",
           what, a->same, a->opposite, a->ambiguous, a->other);
}

// Every picture is judged by its brightness alone.
static void judge_by_brightness(void) {
    free(settings.root);
    settings.use = "bdd100k";
    settings.root = xasprintf("%s/bdd100k", data_folder);
    settings.labels = in_folder("data"); // where there are none
    settings.timeofday = "daytime\n";
    assert_int_equal(judged(), ERR_OK);
}

static void brightness_agrees_with_what_is_seen(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    struct agreement a = {0};
    struct table t;
    char *path = xasprintf("%s/bdd100k/labels/visual_timeofday.csv", data_folder);
    judge_by_brightness();
    assert_int_equal(table_open(path, &t), ERR_OK);
    assert_true(table_next(&t)); // the header
    while (table_next(&t)) {
        assert_int_equal(t.count, 2);
        count(&a, rule_says(picture(t.fields[0] + strlen("bdd100k/"))), t.fields[1]);
    }
    print("visual_timeofday.csv", &a);
    assert_int_equal(a.same + a.opposite + a.ambiguous, 15);
    assert_int_equal(a.opposite, 0);
    assert_true(a.same >= 14); // 95 % of 15
    table_close(&t);
    free(path);
}

static void brightness_agrees_with_the_labels(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    static const char *const files[] = {"det_20/det_train.json", "det_20/det_val.json",
                                        "derived_labels_images_train.json"};
    struct agreement a = {0};
    struct labels l = {0};
    judge_by_brightness();
    for (size_t i = 0; i < COUNT(files); i++) {
        char *path = xasprintf("%s/bdd100k/labels/%s", data_folder, files[i]);
        assert_int_equal(labels_read(&l, path, NULL), ERR_OK);
        free(path);
    }
    assert_int_equal(l.conflicts, 0);
    for (size_t i = 0; i < curation.walk.found.count; i++) {
        const struct picture *p = &curation.walk.found.items[i];
        const struct name_row *row = names_find(&l.names, p->path);
        const char *value = row ? labels_value(&l, row, LABEL_TIMEOFDAY) : NULL;
        if (value)
            count(&a, rule_says(p), strcmp(value, "daytime") == 0 ? "day" : value);
    }
    print("the labels", &a);
    assert_int_equal(a.same, 4);
    assert_int_equal(a.opposite + a.ambiguous, 0);
    assert_int_equal(a.other, 1); // dawn/dusk
    labels_fini(&l);
}

// As a person reads the files: three daytime, one night and one dawn/dusk by label, ten unlabelled
// of which one was taken at night; a per-image label is of a picture that is not there.
static void the_real_labels_sort_the_real_pictures(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    static const struct {
        const char *timeofday, *reason;
        size_t count;
    } rows[] = {
        {"night\n", "ok", 1},        {"night\n", "timeofday", 4},
        {"night\n", "ok_luma", 1},   {"night\n", "luma_daytime", 9},
        {"daytime\n", "ok", 3},      {"daytime\n", "timeofday", 2},
        {"daytime\n", "ok_luma", 9}, {"daytime\n", "luma_night", 1},
    };
    free(settings.root);
    settings.use = "bdd100k";
    settings.root = xasprintf("%s/bdd100k", data_folder);
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t n = 0;
        settings.timeofday = (char *)rows[i].timeofday;
        assert_int_equal(judged(), ERR_OK);
        for (size_t k = 0; k < curation.walk.found.count; k++)
            n += strcmp(curation.walk.found.items[k].reason, rows[i].reason) == 0;
        if (n != rows[i].count)
            fail_msg("%s%s: %zu, not %zu", rows[i].timeofday, rows[i].reason, n, rows[i].count);
        assert_non_null(heard_with("5 have a label and 10 have none; 1 labels are of pictures"));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(brightness_agrees_with_what_is_seen),
        CASE(brightness_agrees_with_the_labels),
        CASE(the_real_labels_sort_the_real_pictures),
    };
    char cwd[200];
    if (!getcwd(cwd, sizeof cwd))
        return 1;
    (void)snprintf(data_folder, sizeof data_folder, "%s/../shared/data", cwd);
    if (!fs_is_dir(data_folder))
        printf("SKIP real pictures: no %s\n", data_folder);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
