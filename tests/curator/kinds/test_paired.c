// Pairs: which layouts are recognised, that both domains come to the same pairs in the same order,
// and that a picture without a good partner is left out on both sides.
#include "curator/curator_test.h"

static struct config_curator other;
static struct config_loader reading; // zeroed: as the reference

// Both domains of the same root; the curation of `domain` is left in `curation`.
static int judged_pairs(char domain) {
    settings.use = "paired";
    if (!other.root)
        other = settings;
    curation_fini(&curation);
    n_heard = 0;
    const struct config_curator *sides[2] = {&settings, &other};
    curation = (struct curation){.domain = {domain},
                                 .seed = 42,
                                 .settings = sides[domain == 'B'],
                                 .other = sides[domain != 'B'],
                                 .reading = &reading,
                                 .say = hear};
    curation_init(&curation, curator_find(curation.settings->use));
    int err = curation_find(&curation);
    return err ? err : curation_decide(&curation, NULL);
}

static struct manifest *manifest_of(char domain) {
    assert_int_equal(judged_pairs(domain), ERR_OK);
    return curation_manifest(&curation);
}

static int setup_pairs(void **state) {
    other = (struct config_curator){0};
    reading = (struct config_loader){0};
    return setup(state);
}

static void broken(const char *name) {
    write_text(in_folder(name), "this is not a picture");
}

// The name of a path without its extension.
static void stem(const char *path, char ret[256]) {
    (void)snprintf(ret, 256, "%s", picture_name(path));
    *strrchr(ret, '.') = 0;
}

// Record i of A and record i of B have the same name, in both parts.
static void assert_pairs(size_t count, size_t held_out) {
    struct manifest *a = manifest_of('A'), *b = manifest_of('B');
    assert_int_equal(a->count, count);
    assert_int_equal(b->count, count);
    assert_int_equal(a->held_out, held_out);
    assert_int_equal(b->held_out, held_out);
    for (size_t i = 0; i < count + held_out; i++) {
        char name_a[256], name_b[256];
        stem(a->records[i].path, name_a);
        stem(b->records[i].path, name_b);
        assert_string_equal(name_a, name_b);
    }
    manifest_free(a);
    manifest_free(b);
}

// ---- layouts ----

static void files_side_by_side_are_halved(void **state) {
    draw("train/1.jpg", 64, 32);
    draw("train/2.jpg", 65, 32);
    draw("val/3.jpg", 64, 32);
    assert_pairs(2, 1);
    assert_int_equal(picture("train/1.jpg")->w, 32);
    assert_int_equal(picture("train/2.jpg")->w, 32);
    assert_non_null(heard_with("side by side"));
    assert_null(curation.partner);
}

static void the_halves_are_looked_at_apart(void **state) {
    struct image im;
    image_init(&im, 20, 10, 3);
    for (int i = 0; i < 10 * 20 * 3; i++)
        im.pixels[i] = i / 3 % 20 < 10 ? 10 : 200;
    assert_int_equal(fs_mkdirs(in_folder("data/train"), 0755), ERR_OK);
    assert_int_equal(image_save_png(in_folder("data/train/1.png"), &im), ERR_OK);
    image_fini(&im);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_true(picture("1.png")->stats.luma == 10);
    assert_int_equal(judged_pairs('B'), ERR_OK);
    assert_true(picture("1.png")->stats.luma == 200);
}

static void loose_files_of_the_root_are_side_by_side(void **state) {
    draw_many("%d.jpg", 3);
    assert_pairs(3, 0);
    assert_non_null(heard_with("side by side"));
}

static void two_folders_are_recognised(void **state) {
    static const char *const forms[][3] = {
        {"train%c", "test%c", "val%c"},
        {"train/%c", "test/%c", "val/%c"},
        {"%c/train", "%c/test", "%c/val"},
        {"%c", "test%c", "val%c"},
    };
    for (size_t f = 0; f < COUNT(forms); f++) {
        for (int part = 0; part < 3; part++)
            for (int i = 0; i < 2 * (3 - part); i++) {
                char folder_name[32], name[64];
                (void)snprintf(folder_name, sizeof folder_name, forms[f][part], 'A' + i % 2);
                (void)snprintf(name, sizeof name, "%s/%d.jpg", folder_name, i / 2);
                draw(name, 16, 16);
            }
        assert_pairs(3, 2); // test goes before val
        assert_non_null(heard_with("two files of one name"));
        assert_int_equal(fs_remove_tree(in_folder("data")), ERR_OK);
    }
}

static void two_roots_are_two_folders(void **state) {
    draw("photos/x/1.jpg", 16, 16);
    draw("photos/2.jpg", 16, 16);
    draw("labels/x/1.png", 16, 16);
    draw("labels/2.png", 16, 16);
    settings.use = "paired";
    other = settings;
    char *root = settings.root;
    settings.root = in_folder("data/photos");
    other.root = in_folder("data/labels");
    assert_pairs(2, 0);
    settings.root = root;
}

// ---- who belongs to whom ----

static void a_picture_without_a_partner_is_unmatched(void **state) {
    draw_many("A/%d.jpg", 4);
    draw_many("B/%d.jpg", 3);
    draw("B/9.jpg", 16, 16);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_reason("3.jpg", "unmatched");
    assert_non_null(strstr(picture("3.jpg")->detail, "no picture of this name"));
    assert_false(picture("3.jpg")->known); // not even read
    assert_int_equal(judged_pairs('B'), ERR_OK);
    assert_reason("9.jpg", "unmatched");
    assert_pairs(3, 0);
}

static void a_name_that_stands_for_two_is_unmatched(void **state) {
    draw_many("A/%d.jpg", 2);
    draw_many("B/%d.jpg", 2);
    broken("data/A/1.png");
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_reason("1.jpg", "unmatched");
    assert_reason("1.png", "unmatched");
    assert_int_equal(judged_pairs('B'), ERR_OK);
    assert_reason("1.jpg", "unmatched");
    assert_pairs(1, 0);
}

static void names_that_would_change_the_order_are_left_out(void **state) {
    draw("A/a.jpg", 16, 16);
    draw("A/a.k.jpg", 16, 16); // behind a.jpg
    draw("B/a.png", 16, 16);
    draw("B/a.k.png", 16, 16); // before a.png
    assert_pairs(1, 0);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_reason("a.k.jpg", "unmatched");
    assert_int_equal(judged_pairs('B'), ERR_OK);
    assert_reason("a.k.png", "unmatched");
}

static void a_bad_picture_takes_its_partner_with_it(void **state) {
    draw_many("trainA/%d.jpg", 5);
    draw_many("trainB/%d.jpg", 5);
    broken("data/trainB/2.jpg");
    broken("data/trainA/4.jpg");
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_reason("2.jpg", "partner_not_a_picture");
    assert_non_null(strstr(picture("2.jpg")->detail, "trainB/2.jpg"));
    assert_reason("4.jpg", "not_a_picture");
    assert_int_equal(judged_pairs('B'), ERR_OK);
    assert_reason("4.jpg", "partner_not_a_picture");
    assert_reason("2.jpg", "not_a_picture");
    assert_pairs(3, 0);
}

// One crop has to fit both: the smaller one would be filled with black.
static void a_pair_of_two_sizes_is_left_out_where_nothing_is_resized(void **state) {
    static const struct {
        char *preprocess, *mode;
        const char *reasons[3];
    } rows[] = {
        {"resize_and_crop", "aligned", {"ok", "ok", "ok"}},
        {"crop", "aligned", {"ok", "pair_sizes", "pair_sizes"}},
        {"crop", "unaligned", {"ok", "ok", "ok"}},
        {"scale_width", "aligned", {"ok", "ok", "pair_sizes"}},
        {"none", "aligned", {"ok", "pair_sizes", "pair_sizes"}},
    };
    draw("trainA/0.jpg", 16, 16);
    draw("trainB/0.jpg", 16, 16);
    draw("trainA/1.jpg", 16, 16);
    draw("trainB/1.jpg", 24, 24); // another scale
    draw("trainA/2.jpg", 16, 20);
    draw("trainB/2.jpg", 16, 16); // another aspect
    for (size_t i = 0; i < COUNT(rows); i++)
        for (char domain = 'A'; domain <= 'B'; domain++) {
            reading = (struct config_loader){
                .preprocess = rows[i].preprocess, .dataset_mode = rows[i].mode, .crop_size = 16};
            assert_int_equal(judged_pairs(domain), ERR_OK);
            assert_reason("0.jpg", rows[i].reasons[0]);
            assert_reason("1.jpg", rows[i].reasons[1]);
            assert_reason("2.jpg", rows[i].reasons[2]);
        }
}

static void a_broken_held_out_picture_takes_its_partner_with_it(void **state) {
    draw_many("trainA/%d.jpg", 2);
    draw_many("trainB/%d.jpg", 2);
    draw_many("testA/%d.jpg", 3);
    draw_many("testB/%d.jpg", 3);
    broken("data/testB/1.jpg");
    assert_pairs(2, 2);
}

static void a_file_of_one_column_is_no_pair(void **state) {
    draw("train/1.jpg", 64, 32);
    draw("train/2.jpg", 1, 32);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    assert_reason("2.jpg", "not_a_pair");
    assert_pairs(1, 0);
}

static void the_drawn_held_out_pairs_are_the_same_on_both_sides(void **state) {
    draw_many("A/%d.jpg", 60);
    draw_many("B/%d.jpg", 60);
    settings.hold_out = 20;
    assert_pairs(48, 12);
}

static void a_limit_cuts_the_same_pairs(void **state) {
    draw_many("A/%d.jpg", 8);
    draw_many("B/%d.jpg", 8);
    broken("data/B/2.jpg");
    settings.limit = 4;
    assert_pairs(4, 0);
}

static void the_state_depends_on_the_other_side(void **state) {
    char before[65], after[65];
    draw_many("A/%d.jpg", 2);
    draw_many("B/%d.jpg", 2);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    curation_state(&curation, before);
    draw("B/1.jpg", 17, 16);
    assert_int_equal(judged_pairs('A'), ERR_OK);
    curation_state(&curation, after);
    assert_string_not_equal(before, after);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup_pairs, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(files_side_by_side_are_halved),
        CASE(the_halves_are_looked_at_apart),
        CASE(loose_files_of_the_root_are_side_by_side),
        CASE(two_folders_are_recognised),
        CASE(two_roots_are_two_folders),
        CASE(a_picture_without_a_partner_is_unmatched),
        CASE(a_name_that_stands_for_two_is_unmatched),
        CASE(names_that_would_change_the_order_are_left_out),
        CASE(a_bad_picture_takes_its_partner_with_it),
        CASE(a_broken_held_out_picture_takes_its_partner_with_it),
        CASE(a_pair_of_two_sizes_is_left_out_where_nothing_is_resized),
        CASE(a_file_of_one_column_is_no_pair),
        CASE(the_drawn_held_out_pairs_are_the_same_on_both_sides),
        CASE(a_limit_cuts_the_same_pairs),
        CASE(the_state_depends_on_the_other_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
