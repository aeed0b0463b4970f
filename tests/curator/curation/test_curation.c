// From a folder to verdicts: what is found, why it is kept or not, and that nothing but the data
// and the settings decides it.
#include "curator/curator_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "curation/select.h"

// ---- what is found ----

static void candidates_are_found_in_the_order_of_bytes(void **state) {
    static const char *const names[] = {"10.jpg",  "2.jpg",    "B.JPG",   "a/1.jpeg",
                                        "a-1.jpg", "a/2.JPEG", "z 1.png", "é.PNG",
                                        "w.webp",  "odd.Jpg",  "jpg"};
    static const char *const sorted[] = {"10.jpg",   "2.jpg",    "B.JPG", "a-1.jpg",
                                         "a/1.jpeg", "a/2.JPEG", "jpg",   "odd.Jpg",
                                         "w.webp",   "z 1.png",  "é.PNG"};
    for (size_t i = 0; i < COUNT(names); i++)
        draw(names[i], 16, 16);
    draw(".hidden.jpg", 16, 16);
    draw(".hidden/1.jpg", 16, 16);
    write_text(in_folder("data/labels.csv"), "1,2\n");
    write_text(in_folder("data/notes"), "none\n");
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(curation.walk.found.count, COUNT(sorted));
    for (size_t i = 0; i < COUNT(sorted); i++)
        assert_string_equal(curation.walk.found.items[i].path, sorted[i]);
    assert_int_equal(curation.walk.others, 2);
}

static void linked_files_are_found_and_linked_folders_are_not(void **state) {
    draw("a.jpg", 16, 16);
    assert_int_equal(symlink("a.jpg", in_folder("data/b.jpg")), 0);
    assert_int_equal(symlink(".", in_folder("data/loop")), 0);
    assert_int_equal(symlink("nowhere", in_folder("data/c.jpg")), 0);
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(curation.walk.found.count, 4);
    assert_reason("b.jpg", "ok");
    assert_reason("c.jpg", "unreadable");
    assert_reason("loop", "linked_folder");
}

static void a_missing_folder_is_named(void **state) {
    assert_int_equal(fs_remove_tree(settings.root), ERR_OK);
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), settings.root));
    assert_non_null(strstr(err_text(), "curator.A"));
}

static void an_unreadable_folder_is_named(void **state) {
    draw("a.jpg", 16, 16);
    draw("closed/b.jpg", 16, 16);
    assert_int_equal(chmod(in_folder("data/closed"), 0), 0);
    bool all_seeing = access(in_folder("data/closed"), R_OK) == 0; // root
    int err = judged();
    assert_int_equal(chmod(in_folder("data/closed"), 0755), 0);
    if (all_seeing)
        return;
    assert_int_equal(err, ERR_DATA);
    assert_non_null(strstr(err_text(), "data/closed"));
}

static void a_folder_without_pictures_says_what_is_there(void **state) {
    write_text(in_folder("data/notes.txt"), "x");
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), "1 files of other kinds (notes.txt)"));
}

// ---- why ----

static void cut_file(const char *from, const char *to) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read(from, 1 << 20, &bytes, &size), ERR_OK);
    assert_int_equal(fs_write_atomic(to, bytes, size / 2), ERR_OK);
    free(bytes);
}

static void every_bad_file_has_its_reason(void **state) {
    draw("good.jpg", 64, 48);
    draw("large.jpg", 101, 50);
    draw("small.jpg", 64, 31);
    draw("many.jpg", 100, 100);
    draw("edge.jpg", 100, 32);
    cut_file(in_folder("data/good.jpg"), in_folder("data/cut.jpg"));
    write_text(in_folder("data/empty.jpg"), "");
    write_text(in_folder("data/text.jpg"), "this is not a picture");
    settings.min_side = 32;
    settings.max_side = 100;
    settings.max_pixels = 9999;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("good.jpg", "ok");
    assert_reason("edge.jpg", "ok");
    assert_reason("large.jpg", "large");
    assert_reason("small.jpg", "small");
    assert_reason("many.jpg", "too_large");
    assert_reason("cut.jpg", "broken");
    assert_reason("empty.jpg", "empty");
    assert_reason("text.jpg", "not_a_picture");
    assert_true(picture("small.jpg")->score == 31);
    assert_true(picture("large.jpg")->score == 101);
    for (size_t i = 0; i < curation.walk.found.count; i++) {
        const struct picture *p = &curation.walk.found.items[i];
        assert_true(p->verdict != VERDICT_OPEN);
        assert_true(p->verdict != VERDICT_REJECT || p->detail);
        assert_null(p->detail ? strstr(p->detail, p->path) : NULL); // said once, beside it
    }
}

static void when_all_are_rejected_the_text_says_why_and_what_to_set(void **state) {
    draw("a.jpg", 40, 30);
    draw("b.jpg", 50, 60);
    write_text(in_folder("data/text.jpg"), "this is not a picture");
    settings.min_side = 301;
    assert_int_equal(judged(), ERR_DATA);
    assert_int_equal(err_exit_code(ERR_DATA), 78);
    assert_non_null(strstr(err_text(), "none of 3 files"));
    assert_non_null(strstr(err_text(), "2 small, 1 not_a_picture"));
    assert_non_null(strstr(err_text(), "30 to 50 pixels"));
    assert_non_null(strstr(err_text(), "curator.A.min_side = 30"));
    assert_non_null(strstr(err_text(), "'text.jpg'"));
}

static void when_no_year_fits_the_text_says_which_there_are(void **state) {
    draw("1_2001.jpg", 16, 16);
    draw("2_2005.jpg", 16, 16);
    draw("3_2005.jpg", 16, 16);
    settings.use = "anime";
    settings.years[0] = settings.years[1] = 2019;
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), "2001 to 2005, most often 2005 (2)"));
    assert_non_null(strstr(err_text(), "curator.A.years = [2001, 2005]"));
}

// ---- the same result ----

static void make_mixed_data(void) {
    char name[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "%c/%d_%d.jpg", 'a' + i % 3, i, 2000 + i % 7);
        draw(name, 10 + i % 30, 12 + i % 17);
    }
    write_text(in_folder("data/a/text_2003.jpg"), "this is not a picture");
    settings.use = "anime";
    settings.years[0] = 2001;
    settings.years[1] = 2005;
    settings.min_side = 14;
    settings.keep_largest = 60;
}

static void the_manifest_does_not_depend_on_the_threads(void **state) {
    static const int counts[] = {1, 2, 8};
    char *first = NULL;
    make_mixed_data();
    for (size_t i = 0; i < COUNT(counts); i++) {
        settings.threads = counts[i];
        assert_int_equal(judged(), ERR_OK);
        char *bytes = manifest_bytes();
        if (first) {
            assert_string_equal(bytes, first);
            free(bytes);
        } else {
            first = bytes;
        }
    }
    assert_int_equal(count_of(VERDICT_KEEP) + count_of(VERDICT_HOLD_OUT), 60);
    free(first);
}

static void the_manifest_does_not_depend_on_the_cache(void **state) {
    make_mixed_data();
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    char *cold = manifest_bytes();
    struct image_stats stats = picture("a/51_2002.jpg")->stats;
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    char *warm = manifest_bytes();
    assert_string_equal(cold, warm);
    assert_memory_equal(&stats, &picture("a/51_2002.jpg")->stats, sizeof stats);
    free(cold);
    free(warm);
}

static void a_cached_picture_is_not_read_again(void **state) {
    draw("a.jpg", 16, 16);
    draw("b.jpg", 16, 16);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    struct stat st;
    assert_int_equal(stat(in_folder("data/a.jpg"), &st), 0);
    FILE *out = fopen(in_folder("data/a.jpg"), "r+b"); // same size, same time, other bytes
    assert_non_null(out);
    assert_true(fputs("other", out) >= 0);
    assert_int_equal(fclose(out), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, in_folder("data/a.jpg"), times, 0), 0);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_reason("a.jpg", "ok");
    times[1].tv_nsec ^= 1;
    assert_int_equal(utimensat(AT_FDCWD, in_folder("data/a.jpg"), times, 0), 0);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_reason("a.jpg", "not_a_picture");
}

static void a_damaged_cache_changes_nothing(void **state) {
    uint8_t *bytes;
    size_t size;
    draw_many("%02d.jpg", 3);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    char *good = manifest_bytes();
    assert_int_equal(fs_read("A.cache", 1 << 20, &bytes, &size), ERR_OK);
    for (size_t n = 0; n < size; n += 7) {
        assert_int_equal(fs_write_atomic("A.cache", bytes, n), ERR_OK);
        assert_int_equal(judge_all_with("A.cache"), ERR_OK);
        char *again = manifest_bytes();
        assert_string_equal(again, good);
        free(again);
    }
    free(bytes);
    free(good);
}

static void a_new_max_pixels_voids_the_cache(void **state) {
    draw("a.jpg", 16, 16);
    draw("b.jpg", 100, 100);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    settings.max_pixels = 9999;
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_reason("b.jpg", "too_large");
}

// ---- held out ----

static void five_percent_are_put_aside_rounded(void **state) {
    assert_int_equal(select_hold_out_count(5, 295), 15);
    assert_int_equal(select_hold_out_count(5, 289), 14);
    assert_int_equal(select_hold_out_count(5, 290), 15); // 14.5: away from zero
    assert_int_equal(select_hold_out_count(5, 19), 1);
    assert_int_equal(select_hold_out_count(5, 9), 0);
    assert_int_equal(select_hold_out_count(1, 19), 0);
    assert_int_equal(select_hold_out_count(1, 20), 1); // at least one of twenty
    assert_int_equal(select_hold_out_count(0, 1000), 0);
    draw_many("%03d.jpg", 50);
    settings.hold_out = 10;
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(count_of(VERDICT_HOLD_OUT), 5);
    assert_int_equal(count_of(VERDICT_KEEP), 45);
}

static void what_is_put_aside_depends_on_seed_and_content_only(void **state) {
    char aside[50], again[50], other[50];
    draw_many("%03d.jpg", 50);
    settings.hold_out = 20;
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < 50; i++)
        aside[i] = curation.walk.found.items[i].verdict == VERDICT_HOLD_OUT;
    assert_int_equal(rename(in_folder("data"), in_folder("moved")), 0);
    free(settings.root);
    settings.root = xstrdup(in_folder("moved"));
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < 50; i++)
        again[i] = curation.walk.found.items[i].verdict == VERDICT_HOLD_OUT;
    assert_memory_equal(aside, again, 50);
    begin();
    curation.seed = 43;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
    for (size_t i = 0; i < 50; i++)
        other[i] = curation.walk.found.items[i].verdict == VERDICT_HOLD_OUT;
    assert_memory_not_equal(aside, other, 50);
}

static void a_held_out_folder_is_put_aside_whole(void **state) {
    draw_many("trainA/%02d.jpg", 30);
    draw_many("testA/%02d.jpg", 4);
    draw("testA/small.jpg", 8, 8);
    free(settings.root);
    settings.root = xstrdup(in_folder("data/trainA"));
    settings.held_out = xstrdup(in_folder("data//testA/"));
    settings.min_side = 16;
    settings.limit = 20; // of the training pictures
    assert_int_equal(judged(), ERR_OK);
    struct manifest *m = curation_manifest(&curation);
    assert_string_equal(m->root, in_folder("data"));
    assert_int_equal(m->count, 20);
    assert_int_equal(m->held_out, 4);
    assert_string_equal(m->records[0].path, "trainA/00.jpg");
    assert_string_equal(m->records[20].path, "testA/00.jpg");
    assert_reason("testA/small.jpg", "small");
    manifest_free(m);
    free(settings.held_out);
}

static void a_held_out_folder_inside_the_root_is_not_trained_on(void **state) {
    draw_many("%02d.jpg", 5);
    draw_many("aside/%02d.jpg", 2);
    settings.held_out = xstrdup(in_folder("data/aside"));
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(count_of(VERDICT_KEEP), 5);
    assert_int_equal(count_of(VERDICT_HOLD_OUT), 2);
    free(settings.held_out);
}

static void an_empty_held_out_folder_falls_back_with_a_warning(void **state) {
    draw_many("%02d.jpg", 40);
    assert_int_equal(fs_mkdirs(in_folder("aside"), 0755), ERR_OK);
    settings.held_out = xstrdup(in_folder("aside"));
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(count_of(VERDICT_HOLD_OUT), 2);
    assert_non_null(heard_with("warn held_out_empty"));
    free(settings.held_out);
}

static void the_limit_keeps_the_first_by_name(void **state) {
    draw_many("%02d.jpg", 12);
    settings.limit = 7;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("06.jpg", "ok");
    assert_reason("07.jpg", "limit");
    assert_int_equal(count_of(VERDICT_REJECT), 5);
}

// ---- anime ----

static void the_first_and_last_year_belong_to_the_range(void **state) {
    static const char *const kept[] = {"0_2005.jpg", "a_b_2007.jpg", "x/3_2006.jpg"};
    static const char *const cut[] = {"1_2004.jpg", "2_2008.jpg"};
    static const char *const without[] = {"2006.jpg",    "4_.jpg",     "5_2006a.jpg",
                                          "6_-2006.jpg", "7-2006.jpg", "2006_x.jpg"};
    for (size_t i = 0; i < COUNT(kept); i++)
        draw(kept[i], 16, 16);
    for (size_t i = 0; i < COUNT(cut); i++)
        draw(cut[i], 16, 16);
    for (size_t i = 0; i < COUNT(without); i++)
        draw(without[i], 16, 16);
    settings.use = "anime";
    settings.years[0] = 2005;
    settings.years[1] = 2007;
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < COUNT(kept); i++)
        assert_reason(kept[i], "ok");
    for (size_t i = 0; i < COUNT(cut); i++)
        assert_reason(cut[i], "year");
    for (size_t i = 0; i < COUNT(without); i++)
        assert_reason(without[i], "no_year");
    assert_true(picture("2_2008.jpg")->score == 2008);
}

static void a_side_of_min_side_is_large_enough(void **state) {
    draw("1_2000.jpg", 300, 400);
    draw("2_2000.jpg", 301, 301);
    draw("3_2000.jpg", 400, 300);
    settings.use = "anime";
    settings.min_side = 301;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("1_2000.jpg", "small");
    assert_reason("2_2000.jpg", "ok");
    assert_reason("3_2000.jpg", "small");
}

static void the_largest_shorter_sides_are_kept_ties_by_name(void **state) {
    draw("a_2000.jpg", 20, 90);
    draw("b_2000.jpg", 30, 31);
    draw("c_2000.jpg", 31, 30);
    draw("d_2000.jpg", 30, 30);
    draw("e_2000.jpg", 40, 50);
    settings.use = "anime";
    settings.keep_largest = 3;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("e_2000.jpg", "ok");
    assert_reason("b_2000.jpg", "ok");
    assert_reason("c_2000.jpg", "ok");
    assert_reason("d_2000.jpg", "rank");
    assert_reason("a_2000.jpg", "rank");
    assert_int_equal(picture("a_2000.jpg")->rank, 5);
    assert_true(curation.cut == 30);
}

static void without_a_range_names_need_no_year(void **state) {
    draw("face.jpg", 16, 16);
    settings.use = "anime";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("face.jpg", "ok");
}

// ---- the run's folder ----

static char *curated(void) {
    struct manifest *m;
    begin();
    assert_int_equal(curate(&curation, NULL, &m), ERR_OK);
    char *digest = xstrdup(m->digest);
    manifest_free(m);
    return digest;
}

static void an_unchanged_set_is_not_judged_again(void **state) {
    draw_many("%02d.jpg", 30);
    char *first = curated();
    assert_non_null(heard_with("info curated folder: 30 files, 30 kept, 0 rejected, 2 held out"));
    assert_non_null(heard_with("warn few_pictures"));
    assert_true(fs_exists("samples/curation_A.png"));
    char *second = curated();
    assert_string_equal(first, second);
    assert_non_null(heard_with("info unchanged folder: 30 files"));
    draw("30.jpg", 16, 16);
    char *third = curated();
    assert_string_not_equal(first, third);
    assert_non_null(heard_with("info curated folder: 31 files"));
    settings.hold_out = 50;
    char *fourth = curated();
    assert_string_not_equal(third, fourth);
    free(first);
    free(second);
    free(third);
    free(fourth);
}

static void a_lost_or_damaged_manifest_is_made_again(void **state) {
    draw_many("%02d.jpg", 5);
    char *first = curated();
    write_text("manifest/A.manifest", "cyclegan-manifest 1\ndomain A\n");
    char *second = curated();
    assert_string_equal(first, second);
    assert_non_null(heard_with("info curated"));
    assert_int_equal(unlink("manifest/A.manifest"), 0);
    char *third = curated();
    assert_string_equal(first, third);
    free(first);
    free(second);
    free(third);
}

static void a_picture_is_explained(void **state) {
    char *text = NULL;
    size_t size;
    draw("a_2000.jpg", 20, 20);
    draw("x/b_2000.jpg", 30, 30);
    settings.use = "anime";
    settings.keep_largest = 1;
    const char *const names[] = {"a_2000.jpg", in_folder("data/a_2000.jpg"), "else/a_2000.jpg"};
    for (size_t i = 0; i < COUNT(names); i++) {
        FILE *out = open_memstream(&text, &size);
        begin();
        assert_int_equal(curate_explain(&curation, names[i], out), ERR_OK);
        assert_int_equal(fclose(out), 0);
        assert_non_null(strstr(text, "reject (rank)"));
        assert_non_null(strstr(text, "rank      2 of 2"));
        assert_non_null(strstr(text, "cut-off   30, the score of rank 1 (keep_largest)"));
        free(text);
    }
    begin();
    assert_int_equal(curate_explain(&curation, "nothing.jpg", stdout), ERR_USAGE);
}

static void judging_stops_when_asked(void **state) {
    static const atomic_bool cancel = true;
    draw_many("%02d.jpg", 3);
    begin();
    curation.cancel = &cancel;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_STOPPED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// A JPEG whose EXIF block notes an orientation.
static void draw_turned(const char *name, uint8_t orientation) {
    uint8_t exif[] = "\xff\xe1\x00\x22"
                     "Exif\0\0"
                     "II*\0\x08\0\0\0" // APP1, TIFF, first directory
                     "\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0";
    uint8_t *bytes;
    size_t size;
    exif[28] = orientation;
    draw(name, 24, 16);
    char *path = xasprintf("%s/data/%s", folder, name);
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size), ERR_OK);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, 2, out), 2); // SOI
    assert_int_equal(fwrite(exif, 1, 36, out), 36);
    assert_int_equal(fwrite(bytes + 2, 1, size - 2, out), size - 2);
    assert_int_equal(fclose(out), 0);
    free(bytes);
    free(path);
}

static void turned_pictures_are_counted_and_told_once(void **state) {
    struct config_loader reading = {.exif = "ignore"};
    struct manifest *m = NULL;
    draw_turned("1.jpg", 6);
    draw_turned("2.jpg", 1);
    draw_turned("3.jpg", 3);
    draw("4.jpg", 16, 16);
    for (int again = 0; again < 2; again++) { // the second time from the cache
        begin();
        curation.reading = &reading;
        settings.limit = again;
        assert_int_equal(curate(&curation, NULL, &m), ERR_OK);
        manifest_free(m);
        assert_int_equal(picture("1.jpg")->orientation, 6);
        assert_int_equal(picture("2.jpg")->orientation, 1);
        assert_int_equal(curation.files_read, again ? 0 : 4);
        assert_non_null(heard_with(again ? "warn turned domain A: the camera noted 1 pictures"
                                         : "warn turned domain A: the camera noted 2 pictures"));
        assert_non_null(heard_with("warn nothing_held_out domain A"));
    }
    reading.exif = "apply";
    begin();
    curation.reading = &reading;
    assert_int_equal(curate(&curation, NULL, &m), ERR_OK);
    manifest_free(m);
    assert_null(heard_with("warn turned"));
    assert_int_equal(picture("1.jpg")->w, 16);
}

// Settings that were complete for an older manifest would be taken for those of a newer one.
static void settings_do_not_outlive_their_manifest(void **state) {
    struct manifest *m = NULL;
    draw("1.jpg", 16, 16);
    draw("2.jpg", 16, 16);
    begin();
    assert_int_equal(curate(&curation, NULL, &m), ERR_OK);
    manifest_free(m);
    assert_true(fs_exists("manifest/A.settings"));
    assert_int_equal(unlink("manifest/A.manifest"), 0);
    assert_int_equal(mkdir("manifest/A.manifest", 0755), 0); // no file can take this name
    begin();
    settings.limit = 1;
    assert_true(curate(&curation, NULL, &m) != ERR_OK);
    assert_false(fs_exists("manifest/A.settings"));
    assert_int_equal(rmdir("manifest/A.manifest"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(settings_do_not_outlive_their_manifest),
        CASE(candidates_are_found_in_the_order_of_bytes),
        CASE(linked_files_are_found_and_linked_folders_are_not),
        CASE(a_missing_folder_is_named),
        CASE(an_unreadable_folder_is_named),
        CASE(a_folder_without_pictures_says_what_is_there),
        CASE(every_bad_file_has_its_reason),
        CASE(when_all_are_rejected_the_text_says_why_and_what_to_set),
        CASE(when_no_year_fits_the_text_says_which_there_are),
        CASE(the_manifest_does_not_depend_on_the_threads),
        CASE(the_manifest_does_not_depend_on_the_cache),
        CASE(a_cached_picture_is_not_read_again),
        CASE(a_damaged_cache_changes_nothing),
        CASE(a_new_max_pixels_voids_the_cache),
        CASE(five_percent_are_put_aside_rounded),
        CASE(what_is_put_aside_depends_on_seed_and_content_only),
        CASE(a_held_out_folder_is_put_aside_whole),
        CASE(a_held_out_folder_inside_the_root_is_not_trained_on),
        CASE(an_empty_held_out_folder_falls_back_with_a_warning),
        CASE(the_limit_keeps_the_first_by_name),
        CASE(the_first_and_last_year_belong_to_the_range),
        CASE(a_side_of_min_side_is_large_enough),
        CASE(the_largest_shorter_sides_are_kept_ties_by_name),
        CASE(without_a_range_names_need_no_year),
        CASE(an_unchanged_set_is_not_judged_again),
        CASE(a_lost_or_damaged_manifest_is_made_again),
        CASE(a_picture_is_explained),
        CASE(judging_stops_when_asked),
        CASE(turned_pictures_are_counted_and_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
