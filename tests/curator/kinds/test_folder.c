// Which files of a folder are candidates, by patterns and depth; and a limit that is drawn.
#include "curator/curator_test.h"

#include <sys/stat.h>

static void draw_tree(void) {
    draw("a.jpg", 16, 16);
    draw("b.png.jpg", 16, 16);
    draw("2019/a.jpg", 16, 16);
    draw("2019/x/c.jpg", 16, 16);
    draw("2020/d.jpg", 16, 16);
}

static void patterns_choose_by_name_and_by_path(void **state) {
    draw_tree();
    settings.include = "2019/*\n[bz]*\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "not_included");
    assert_reason("b.png.jpg", "ok");
    assert_reason("2019/a.jpg", "ok");
    assert_reason("2019/x/c.jpg", "ok");
    assert_reason("2020/d.jpg", "not_included");
    settings.include = "";
    settings.exclude = "a.jpg\n*/x/*\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "excluded");
    assert_reason("2019/a.jpg", "excluded");
    assert_reason("2019/x/c.jpg", "excluded");
    assert_string_equal(picture("2019/x/c.jpg")->detail, "its name fits '*/x/*' of exclude");
    assert_reason("2020/d.jpg", "ok");
}

static void exclude_is_stronger_than_include(void **state) {
    draw_tree();
    settings.include = "*.jpg\n";
    settings.exclude = "d.*\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("2020/d.jpg", "excluded");
    assert_reason("a.jpg", "ok");
}

// Below root, not below the folder that holds root and held_out.
static void patterns_are_relative_to_root(void **state) {
    draw("train/in/a.jpg", 16, 16);
    draw("train/b.jpg", 16, 16);
    draw("test/c.jpg", 16, 16);
    free(settings.root);
    settings.root = xstrdup(in_folder("data/train"));
    settings.held_out = in_folder("data/test");
    settings.include = "in/*\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("train/in/a.jpg", "ok");
    assert_reason("train/b.jpg", "not_included");
    assert_int_equal(picture("test/c.jpg")->verdict, VERDICT_HOLD_OUT);
}

static void a_pattern_that_fits_nothing_is_warned_of(void **state) {
    draw_tree();
    settings.include = "*.jpg\n*.jpgg\n";
    settings.exclude = "2021/*\n";
    assert_int_equal(judged(), ERR_OK);
    assert_non_null(heard_with("warn idle_pattern A: '*.jpgg' of include fits no file"));
    assert_non_null(heard_with("'2021/*' of exclude fits no file"));
    assert_null(heard_with("'*.jpg' of include"));
}

static void folders_below_can_be_left_out(void **state) {
    draw_tree();
    settings.recursive = false;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "ok");
    assert_reason("2019/a.jpg", "subfolder");
    assert_int_equal(count_of(VERDICT_REJECT), 3);
}

static void exec_is_asked_about_what_is_left_only(void **state) {
    draw_tree();
    settings.use = "exec";
    settings.command = in_folder("script");
    settings.exclude = "2019/*\n";
    write_text(settings.command, "#!/bin/sh\ntee ../seen | sed 's/^{/{\"keep\":true,/'\n");
    assert_int_equal(chmod(settings.command, 0755), 0);
    assert_int_equal(judged(), ERR_OK);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read("../seen", 4096, &bytes, &size), ERR_OK);
    assert_non_null(strstr((char *)bytes, "2020"));
    assert_null(strstr((char *)bytes, "2019"));
    free(bytes);
}

// ---- a drawn limit ----

// Which of 30 are kept, as a word of bits.
static unsigned kept(void) {
    unsigned bits = 0;
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < curation.walk.found.count; i++)
        bits |= (unsigned)(curation.walk.found.items[i].verdict != VERDICT_REJECT) << i;
    return bits;
}

static void a_limit_by_seed_is_another_part_for_each_seed(void **state) {
    draw_many("%02d.jpg", 30);
    settings.limit = 10;
    unsigned first = kept();
    assert_int_equal(first, 0x3ff);
    settings.limit_by = "seed";
    unsigned drawn = kept();
    assert_int_equal(__builtin_popcount(drawn), 10);
    assert_int_not_equal(drawn, first);
    assert_int_equal(kept(), drawn);
    for (size_t i = 0; i < 30; i++)
        if (!(drawn >> i & 1))
            assert_non_null(strstr(curation.walk.found.items[i].detail, "of 30, limit is 10"));
    begin();
    curation.seed = 43;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
    unsigned other = 0;
    for (size_t i = 0; i < 30; i++)
        other |= (unsigned)(curation.walk.found.items[i].verdict != VERDICT_REJECT) << i;
    assert_int_equal(__builtin_popcount(other), 10);
    assert_int_not_equal(other, drawn);
}

// A name that comes first changes nothing; a new picture takes the place of one at most.
static void a_drawn_picture_stays_when_others_come_or_are_renamed(void **state) {
    draw_many("%02d.jpg", 29);
    settings.limit = 10;
    settings.limit_by = "seed";
    unsigned before = kept();
    assert_int_equal(rename(in_folder("data/28.jpg"), in_folder("data/99.jpg")), 0);
    assert_int_equal(kept(), before);
    draw("zz.jpg", 16, 16);
    unsigned after = kept();
    assert_true(__builtin_popcount(before & after) >= 9);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// ---- what is a picture ----

static void content_decides_and_not_the_name(void **state) {
    static const char *const names[] = {"1.jfif", "2.Jpg", "3.jpe", "no_ending", "5.txt", "6.2019"};
    char from[64], to[64];
    for (size_t i = 0; i < COUNT(names); i++) {
        draw("a.jpg", 16, 16);
        (void)snprintf(from, sizeof from, "data/%s", "a.jpg");
        (void)snprintf(to, sizeof to, "data/%s", names[i]);
        assert_int_equal(rename(in_folder(from), in_folder(to)), 0);
    }
    write_text(in_folder("data/notes"), "BM: no picture, but two letters of one\n");
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_reason(names[i], "ok");
    assert_int_equal(curation.walk.found.count, COUNT(names));
    assert_int_equal(curation.walk.others, 1);
}

static void what_is_not_read_has_a_row_and_a_warning(void **state) {
    struct manifest *m = NULL;
    draw("a.jpg", 16, 16);
    write_text(in_folder("data/b.GIF"), "GIF89a and so on");
    write_text(in_folder("data/c.heic"), "1234ftypheic and so on");
    write_text(in_folder("data/d"), "GIF89a and so on");
    assert_int_equal(fs_mkdirs(in_folder("far"), 0755), ERR_OK);
    assert_int_equal(symlink(in_folder("far"), in_folder("data/link")), 0);
    begin();
    assert_int_equal(curate(&curation, NULL, &m), ERR_OK);
    manifest_free(m);
    assert_reason("a.jpg", "ok");
    assert_reason("b.GIF", "not_a_picture");
    assert_non_null(strstr(picture("b.GIF")->detail, "GIF is not read; convert it"));
    assert_reason("c.heic", "not_a_picture");
    assert_reason("d", "not_a_picture");
    assert_reason("link", "linked_folder");
    assert_non_null(heard_with("warn unread domain A: 4 of 5 files cannot be used: 3 not_a_picture "
                               "('b.GIF': GIF is not read"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(patterns_choose_by_name_and_by_path),
        CASE(exclude_is_stronger_than_include),
        CASE(patterns_are_relative_to_root),
        CASE(a_pattern_that_fits_nothing_is_warned_of),
        CASE(folders_below_can_be_left_out),
        CASE(exec_is_asked_about_what_is_left_only),
        CASE(a_limit_by_seed_is_another_part_for_each_seed),
        CASE(content_decides_and_not_the_name),
        CASE(what_is_not_read_has_a_row_and_a_warning),
        CASE(a_drawn_picture_stays_when_others_come_or_are_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
