// The bdd100k curator: every layout of the labels, the rule of brightness, and what is no label
// file.
#include "curator/curator_test.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

// ---- pictures and labels of a test ----

// A picture of one gray.
static void paint(const char *name, int gray) {
    struct image im;
    draw(name, 16, 16); // makes its folder
    image_init(&im, 16, 16, 3);
    memset(im.pixels, gray, 16 * 16 * 3);
    char path[64];
    (void)snprintf(path, sizeof path, "data/%s", name);
    assert_int_equal(image_save_jpeg(in_folder(path), &im, 95), ERR_OK);
    image_fini(&im);
}

static char *label_path(const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "data/labels/%s", name);
    char *full = in_folder(path), *slash = strrchr(full, '/');
    *slash = 0;
    assert_int_equal(fs_mkdirs(full, 0755), ERR_OK);
    *slash = '/';
    return full;
}

static void write_labels(const char *name, const char *text) {
    write_text(label_path(name), text);
}

static void use_timeofday(const char *list) {
    settings.use = "bdd100k";
    settings.timeofday = (char *)list;
}

#define FRAME(name, timeofday)                                                                     \
    "{\"name\":\"" name "\",\"attributes\":{\"weather\":\"clear\",\"scene\":\"highway\","          \
    "\"timeofday\":\"" timeofday "\"},\"timestamp\":10000,\"labels\":[{\"name\":\"no\","           \
    "\"attributes\":{\"timeofday\":\"dawn/dusk\",\"occluded\":false}}]}"

// a is day, b night, by label; c and d are undefined and bright and dark, e is not labelled and
// between.
static void draw_set(void) {
    paint("a.jpg", 120);
    paint("b.jpg", 20);
    paint("c.jpg", 120);
    paint("d.jpg", 20);
    paint("e.jpg", 64);
}

static void assert_set_is_sorted(const char *what) {
    static const char *const night[] = {"timeofday", "ok", "luma_daytime", "ok_luma",
                                        "luma_ambiguous"};
    use_timeofday("night\n");
    if (judged())
        fail_msg("%s: %s", what, err_text());
    for (size_t i = 0; i < COUNT(night); i++) {
        const struct picture *p = &curation.walk.found.items[i];
        if (strcmp(p->reason, night[i]) != 0)
            fail_msg("%s: %s is %s, not %s", what, p->path, p->reason, night[i]);
    }
}

// ---- layouts ----

static void the_list_of_2018_is_read(void **state) {
    draw_set();
    write_labels("bdd100k_labels_images_train.json",
                 "[" FRAME("a.jpg", "daytime") ",\n" FRAME("c.jpg", "undefined") ",\n" FRAME(
                     "d.jpg", "undefined") "]");
    write_labels("bdd100k_labels_images_val.json", "[" FRAME("b.jpg", "night") "]");
    assert_set_is_sorted("2018");
    assert_non_null(heard_with("2 label files"));
    assert_non_null(heard_with("of 5 pictures here 4 have a label and 1 have none; 0 labels"));
}

static void a_file_for_each_picture_is_read(void **state) {
    draw_set();
    const char *form = "{\"name\":\"%s\",\"frames\":[{\"timestamp\":10000,\"objects\":[{"
                       "\"category\":\"car\",\"name\":\"x\",\"attributes\":{\"timeofday\":1}}]}],"
                       "\"attributes\":{\"timeofday\":\"%s\"}}\n";
    static const char *const rows[][2] = {
        {"a", "daytime"}, {"b", "night"}, {"c", "undefined"}, {"d", "undefined"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *name = xasprintf("100k/train/%s.json", rows[i][0]);
        char *text = xasprintf(form, rows[i][0], rows[i][1]);
        write_labels(name, text);
        free(name);
        free(text);
    }
    assert_set_is_sorted("per image");
}

static void det_20_is_read(void **state) {
    draw_set();
    write_labels("det_20/det_train.json",
                 "[{\"name\":\"a.jpg\",\"videoName\":\"v\",\"labels\":null,\"attributes\":{"
                 "\"timeofday\":\"daytime\"}},{\"attributes\":{\"timeofday\":\"night\"},"
                 "\"name\":\"b.jpg\"},{\"name\":\"c.jpg\",\"attributes\":null},{\"name\":\"d\"}]");
    assert_set_is_sorted("det_20");
}

static void frames_within_an_object_are_read(void **state) {
    draw_set();
    write_labels("det_20/det_val.json",
                 "{\"config\":{\"name\":\"x\"},\"frames\":[" FRAME("a.jpg", "daytime") "," FRAME(
                     "train/b.jpg", "night") "],\"groups\":[]}");
    assert_set_is_sorted("frames");
}

// As Kaggle packs it: root is images/100k/train, which has trainA and others inside.
static void kaggles_folders_are_read(void **state) {
    paint("bdd100k/bdd100k/images/100k/train/trainA/a.jpg", 120);
    paint("bdd100k/bdd100k/images/100k/train/trainB/b.jpg", 20);
    paint("bdd100k/bdd100k/images/100k/train/testA/x.jpg", 120);
    paint("bdd100k/bdd100k/images/100k/train/c.jpg", 120);
    free(settings.root);
    settings.root = xstrdup(in_folder("data/bdd100k/bdd100k/images/100k/train"));
    assert_int_equal(fs_mkdirs(in_folder("data/bdd100k_labels_release/bdd100k/labels"), 0755), 0);
    write_text(in_folder("data/bdd100k_labels_release/bdd100k/labels/"
                         "bdd100k_labels_images_train.json"),
               "[" FRAME("a.jpg", "daytime") "," FRAME("b.jpg", "night") "," FRAME(
                   "x.jpg", "daytime") "," FRAME("gone.jpg", "daytime") "]");
    use_timeofday("daytime\n");
    assert_int_equal(judged(), ERR_OK);
    assert_reason("trainA/a.jpg", "ok");
    assert_reason("trainB/b.jpg", "timeofday");
    assert_reason("testA/x.jpg", "ok");
    assert_reason("c.jpg", "ok_luma");
    assert_non_null(heard_with("1 labels are of pictures that are not here"));
}

static void held_out_pictures_are_sifted_too(void **state) {
    paint("train/a.jpg", 120);
    paint("val/b.jpg", 120);
    paint("val/c.jpg", 20);
    write_labels("bdd100k_labels_images_val.json",
                 "[" FRAME("b.jpg", "daytime") "," FRAME("c.jpg", "night") "]");
    free(settings.root);
    settings.root = xstrdup(in_folder("data/train"));
    settings.held_out = in_folder("data/val");
    use_timeofday("daytime\n");
    assert_int_equal(judged(), ERR_OK);
    assert_reason("val/c.jpg", "timeofday");
    assert_int_equal(picture("val/b.jpg")->verdict, VERDICT_HOLD_OUT);
    assert_reason("train/a.jpg", "ok_luma");
}

// ---- what is kept ----

static void weather_and_scene_are_lists_too(void **state) {
    draw_set();
    write_labels("x.json", "[{\"name\":\"a\",\"attributes\":{\"weather\":\"rainy\",\"scene\":"
                           "\"tunnel\"}},{\"name\":\"b\",\"attributes\":{\"weather\":\"foggy\","
                           "\"scene\":\"highway\"}},{\"name\":\"c\",\"attributes\":{\"weather\":"
                           "\"undefined\",\"scene\":\"tunnel\"}}]");
    use_timeofday("");
    settings.weather = "rainy\nundefined\n";
    settings.scene = "tunnel\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "ok");
    assert_reason("b.jpg", "weather");
    assert_reason("c.jpg", "ok");
    assert_reason("d.jpg", "scene"); // not labelled is undefined, whose scene is not wanted
}

static void undefined_can_be_wanted(void **state) {
    draw_set();
    write_labels("x.json", "[" FRAME("a.jpg", "daytime") "," FRAME("c.jpg", "undefined") "]");
    use_timeofday("undefined\n");
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "timeofday");
    assert_reason("c.jpg", "ok");
    assert_reason("d.jpg", "ok");
}

static void the_limits_of_brightness_belong_to_night_and_to_between(void **state) {
    static const struct {
        int gray;
        const char *reason;
    } rows[] = {{59, "ok_luma"},
                {60, "ok_luma"},
                {61, "luma_ambiguous"},
                {68, "luma_ambiguous"},
                {69, "luma_daytime"}};
    char name[16];
    for (size_t i = 0; i < COUNT(rows); i++) {
        (void)snprintf(name, sizeof name, "%d.jpg", rows[i].gray);
        paint(name, rows[i].gray);
    }
    use_timeofday("night\n");
    assert_int_equal(judged(), ERR_OK);
    assert_non_null(heard_with("no_labels"));
    for (size_t i = 0; i < COUNT(rows); i++) {
        (void)snprintf(name, sizeof name, "%d.jpg", rows[i].gray);
        assert_reason(name, rows[i].reason);
        assert_true(fabs(picture(name)->score - rows[i].gray) < 1e-9);
    }
    settings.night_luma = 61;
    settings.day_luma = 61;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("61.jpg", "ok_luma");
    assert_reason("68.jpg", "luma_daytime");
}

static void brightness_may_veto_a_label(void **state) {
    draw_set();
    write_labels("x.json", "[" FRAME("a.jpg", "night") "," FRAME("b.jpg", "night") "," FRAME(
                               "d.jpg", "daytime") "]");
    use_timeofday("night\ndaytime\n");
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "ok");
    assert_string_equal(picture("a.jpg")->detail,
                        "labelled night; brightness 120.00 says otherwise "
                        "(luma_veto would leave it out)");
    settings.luma_veto = true;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "luma_veto");
    assert_true(fabs(picture("a.jpg")->score - 120) < 1e-9);
    assert_string_equal(picture("a.jpg")->detail, "labelled night, but brightness is 120.00");
    assert_reason("b.jpg", "ok");
    assert_reason("d.jpg", "luma_veto");
}

static void unlabelled_pictures_can_be_left_out(void **state) {
    draw_set();
    write_labels("x.json", "[" FRAME("a.jpg", "daytime") "," FRAME("c.jpg", "undefined") "]");
    use_timeofday("daytime\n");
    settings.unlabelled = "reject";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "ok");
    assert_reason("c.jpg", "unlabelled");
    assert_reason("e.jpg", "unlabelled");
}

static void the_first_of_contradicting_labels_counts(void **state) {
    draw_set();
    write_labels("bdd100k_labels_images_train.json",
                 "[" FRAME("a.jpg", "daytime") "," FRAME("b.jpg", "undefined") "]");
    write_labels("det_20/det_train.json",
                 "[" FRAME("a.jpg", "night") "," FRAME("b.jpg", "night") "]");
    use_timeofday("night\n");
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "timeofday");
    assert_reason("b.jpg", "ok"); // undefined is no contradiction
    assert_non_null(heard_with("contradict each other 1 times"));
    assert_non_null(heard_with("a.jpg: timeofday is daytime, then night in "));
}

static void other_labels_make_another_curation(void **state) {
    char first[65], second[65];
    draw_set();
    write_labels("x.json", "[" FRAME("a.jpg", "night") "]");
    use_timeofday("night\n");
    begin();
    assert_int_equal(curation_find(&curation), ERR_OK);
    curation_state(&curation, first);
    write_labels("x.json", "[" FRAME("a.jpg", "dawn/dusk") "]");
    begin();
    assert_int_equal(curation_find(&curation), ERR_OK);
    curation_state(&curation, second);
    assert_string_not_equal(first, second);
    settings.night_luma = 50;
    begin();
    assert_int_equal(curation_find(&curation), ERR_OK);
    curation_state(&curation, first);
    assert_string_not_equal(first, second);
}

// ---- refusals ----

static void a_value_that_does_not_occur_is_refused(void **state) {
    draw_set();
    write_labels("x.json", "[" FRAME("a.jpg", "daytime") "]");
    use_timeofday("nigth\n");
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(
        strstr(err_text(), "timeofday: 'nigth' occurs in no label; there are: daytime"));
}

static void weather_without_labels_is_refused(void **state) {
    draw_set();
    use_timeofday("");
    settings.weather = "rainy\n";
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), "no label files were found"));
}

// ---- the cache ----

static char *curated_with(const char *cache) {
    begin();
    curation.label_cache = cache;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
    return manifest_bytes();
}

static struct timespec time_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mtim;
}

static void labels_that_have_not_changed_are_not_read_again(void **state) {
    char *path = xstrdup(label_path("bdd100k_labels_images_train.json"));
    static const char other[] = "[" FRAME("a.jpg", "dawn/dusk") "," FRAME("b.jpg", "dawn/dusk") "]";
    static const char first[] = "[" FRAME("a.jpg", "daytime") ",  " FRAME("b.jpg", "night") "    ]";
    assert_int_equal(sizeof first, sizeof other);
    use_timeofday("night\n");
    draw_set();
    write_text(path, first);
    struct timespec times[2] = {time_of(path), time_of(path)};
    char *without = curated_with(NULL), *made = curated_with("A.labels");
    assert_string_equal(without, made);
    assert_true(fs_exists("A.labels"));

    // Another text of the same size and time is not seen; of another time it is.
    write_text(path, other);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    char *kept = curated_with("A.labels");
    assert_string_equal(without, kept);
    assert_non_null(heard_with("1 label files"));
    times[1].tv_nsec ^= 1;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    char *changed = curated_with("A.labels");
    assert_string_not_equal(without, changed);
    assert_int_equal(strcmp(picture("b.jpg")->reason, "timeofday"), 0);

    // A damaged one is told and made anew.
    write_text(path, first);
    free(curated_with("A.labels"));
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read("A.labels", 1 << 20, &bytes, &size), ERR_OK);
    bytes[size / 2] ^= 1;
    assert_int_equal(fs_write_atomic("A.labels", bytes, size), ERR_OK);
    char *mended = curated_with("A.labels");
    assert_non_null(heard_with("warn label_cache"));
    assert_string_equal(without, mended);
    free(curated_with("A.labels"));
    assert_null(heard_with("warn label_cache"));

    free(path);
    free(bytes);
    free(mended);
    free(changed);
    free(kept);
    free(made);
    free(without);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_list_of_2018_is_read),
        CASE(a_file_for_each_picture_is_read),
        CASE(det_20_is_read),
        CASE(frames_within_an_object_are_read),
        CASE(kaggles_folders_are_read),
        CASE(held_out_pictures_are_sifted_too),
        CASE(weather_and_scene_are_lists_too),
        CASE(undefined_can_be_wanted),
        CASE(the_limits_of_brightness_belong_to_night_and_to_between),
        CASE(brightness_may_veto_a_label),
        CASE(unlabelled_pictures_can_be_left_out),
        CASE(the_first_of_contradicting_labels_counts),
        CASE(other_labels_make_another_curation),
        CASE(a_value_that_does_not_occur_is_refused),
        CASE(weather_without_labels_is_refused),
        CASE(labels_that_have_not_changed_are_not_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
