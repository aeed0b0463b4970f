// The celeba curator: ranking by landmarks against an independent judge (celeba_rank.awk), and the
// refusal of every file that is not a landmark file.
#include "curator/curator_test.h"

#include <math.h>

#include "kinds/landmarks.h"

#define HEADER                                                                                     \
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "             \
    "rightmouth_x rightmouth_y\n"
#define CSV_HEADER                                                                                 \
    "image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,leftmouth_x,leftmouth_y,"    \
    "rightmouth_x,rightmouth_y\n"

static char data_folder[256], awk_script[256]; // absolute: the tests change the folder

// ---- the real rows ----

static void use_real_data(const char *landmarks) {
    free(settings.root);
    settings.use = "celeba";
    settings.root = xasprintf("%s/celeba", data_folder);
    settings.landmarks = xasprintf("%s/celeba/%s", data_folder, landmarks);
}

// The line of rank i of the judge: score and name.
static int judge_ranks(const char *landmarks, char names[][32], double scores[], int max) {
    char *command = xasprintf("awk -f %s %s | sort -t' ' -k1,1g -k2,2", awk_script, landmarks);
    FILE *in = popen(command, "r");
    int n = 0;
    while (n < max && fscanf(in, "%lf %31s", &scores[n], names[n]) == 2)
        n++;
    assert_int_equal(pclose(in), 0);
    free(command);
    return n;
}

static void assert_ranks_are_the_judges(const char *landmarks) {
    static char names[64][32];
    static double scores[64];
    use_real_data(landmarks);
    settings.keep_nearest = 40;
    int n = judge_ranks(settings.landmarks, names, scores, 64);
    assert_int_equal(n, 60);
    assert_int_equal(judged(), ERR_OK);
    for (int i = 0; i < n; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "img_align_celeba/%s", names[i]);
        const struct picture *p = picture(path);
        assert_int_equal(p->rank, i + 1);
        // Both sum ten terms in double; the judge prints 12 digits.
        assert_true(fabs(p->score - scores[i]) <= 1e-9 * scores[i]);
        assert_string_equal(p->reason, i < 40 ? "ok" : "rank");
    }
    assert_true(curation.cut == picture("img_align_celeba/000018.jpg")->score);
    free(settings.landmarks);
}

static void the_official_file_ranks_as_the_judge_does(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    assert_ranks_are_the_judges("list_landmarks_align_celeba.txt");
}

static void the_kaggle_file_ranks_as_the_judge_does(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    assert_ranks_are_the_judges("list_landmarks_align_celeba.csv");
}

static void faces_that_look_aside_are_the_last_three(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    use_real_data("list_landmarks_align_celeba.csv");
    assert_int_equal(judged(), ERR_OK);
    assert_true(picture("img_align_celeba/000003.jpg")->rank >= 58);
    assert_true(picture("img_align_celeba/000036.jpg")->rank >= 58);
    assert_true(picture("img_align_celeba/000041.jpg")->rank >= 58);
    free(settings.landmarks);
}

static void the_landmark_file_is_found_under_the_root(void **state) {
    if (!fs_is_dir(data_folder))
        skip();
    use_real_data("");
    free(settings.landmarks);
    settings.landmarks = "";
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(curation.ranked, 60);
}

// ---- made rows ----

// Rows "name v v v ..." of one number each; -1 ends them.
static char *rows(const char *head, const char *format, const int values[]) {
    char *text = xstrdup(head), name[32];
    for (int i = 0; values[i] >= 0; i++) {
        int v = values[i];
        (void)snprintf(name, sizeof name, format, i);
        char *longer = xasprintf("%s%s %d %d %d %d %d %d %d %d %d %d\n", text, name, v, v, v, v, v,
                                 v, v, v, v, v);
        free(text);
        text = longer;
    }
    return text;
}

static void use_made_data(const char *head, const char *format, const int values[]) {
    char *text = rows(head, format, values);
    write_text(in_folder("data/list_landmarks_align_celeba.txt"), text);
    free(text);
    settings.use = "celeba";
}

static void ties_are_broken_by_name(void **state) {
    use_made_data("4\n" HEADER, "%d.jpg", (int[]){12, 8, 10, 10, -1});
    for (int i = 0; i < 4; i++)
        draw((const char *[]){"0.jpg", "1.jpg", "2.jpg", "3.jpg"}[i], 16, 16);
    settings.keep_nearest = 3;
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(picture("2.jpg")->rank, 1);
    assert_int_equal(picture("3.jpg")->rank, 2);
    assert_int_equal(picture("0.jpg")->rank, 3);
    assert_int_equal(picture("1.jpg")->rank, 4);
    assert_true(picture("0.jpg")->score == picture("1.jpg")->score);
    assert_true(fabs(picture("0.jpg")->score - 20) < 1e-12); // 10 times (2 / sqrt(2))^2
}

static void coordinates_that_never_vary_count_nothing(void **state) {
    use_made_data("3\n" HEADER, "%d.jpg", (int[]){7, 7, 7, -1});
    draw("1.jpg", 16, 16);
    assert_int_equal(judged(), ERR_OK);
    assert_true(picture("1.jpg")->score == 0);
}

static void mean_and_std_are_those_of_all_rows(void **state) {
    use_made_data("3\n" HEADER, "%d.jpg", (int[]){0, 10, 20, -1});
    draw("1.jpg", 16, 16);
    draw("2.jpg", 16, 16);
    assert_int_equal(judged(), ERR_OK);
    assert_true(picture("1.jpg")->score == 0); // the mean of the three, not of the two
}

static void pictures_are_found_in_each_of_the_three_places(void **state) {
    static const char *const places[] = {"", "img_align_celeba/",
                                         "img_align_celeba/img_align_celeba/"};
    use_made_data("2\n" HEADER, "%d.jpg", (int[]){1, 3, -1});
    for (size_t i = 0; i < COUNT(places); i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s1.jpg", places[i]);
        draw(path, 16, 16);
        assert_int_equal(judged(), ERR_OK);
        assert_int_equal(curation.walk.found.count, 1);
        assert_string_equal(curation.walk.found.items[0].path, path);
    }
}

static void rows_and_pictures_meet_whatever_the_extension(void **state) {
    use_made_data("2\n" HEADER, "%06d.jpg", (int[]){1, 3, -1});
    draw("000001.png", 16, 16);
    assert_int_equal(judged(), ERR_OK);
    assert_reason("000001.png", "ok");
}

// The nearest is broken, so one more is read; the farthest is not looked at.
static void pictures_are_read_from_the_nearest_until_enough_are_good(void **state) {
    use_made_data("5\n" HEADER, "%d.jpg", (int[]){10, 11, 13, 6, 20, -1}); // mean 12
    write_text(in_folder("data/1.jpg"), "this is not a picture");
    draw("0.jpg", 16, 16);
    draw("2.jpg", 16, 16);
    draw("3.jpg", 16, 16);
    write_text(in_folder("data/4.jpg"), "this is not a picture");
    settings.keep_nearest = 2;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("1.jpg", "not_a_picture");
    assert_reason("2.jpg", "ok");
    assert_reason("0.jpg", "ok");
    assert_reason("3.jpg", "rank");
    assert_reason("4.jpg", "rank");
    assert_false(picture("3.jpg")->known);
    assert_int_equal(count_of(VERDICT_KEEP), 2);
    settings.keep_nearest = 4; // all are needed, and not enough
    assert_int_equal(judged(), ERR_OK);
    assert_reason("3.jpg", "ok");
    assert_reason("4.jpg", "not_a_picture");
    assert_int_equal(count_of(VERDICT_KEEP), 3);
}

static void a_picture_without_a_row_is_rejected(void **state) {
    use_made_data("2\n" HEADER, "%d.jpg", (int[]){1, 3, -1});
    draw("1.jpg", 16, 16);
    draw("cat.jpg", 16, 16);
    assert_int_equal(judged(), ERR_OK);
    assert_reason("cat.jpg", "no_landmarks");
}

static void rows_that_name_no_picture_are_refused_with_both_counts(void **state) {
    use_made_data("3\n" HEADER, "%d.jpg", (int[]){1, 3, 5, -1});
    draw("cat.jpg", 16, 16);
    draw("dog.jpg", 16, 16);
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), "3 rows (0.jpg"));
    assert_non_null(strstr(err_text(), "2 pictures (cat.jpg"));
}

static void unaligned_positions_are_warned_of(void **state) {
    use_made_data("3\n" HEADER, "%d.jpg", (int[]){165, 244, 20, -1});
    draw("1.jpg", 16, 16);
    assert_int_equal(judged(), ERR_OK);
    assert_non_null(heard_with("warn landmarks_unaligned"));
}

static void the_unaligned_files_name_is_warned_of(void **state) {
    char *text = rows("2\n" HEADER, "%d.jpg", (int[]){7, 8, -1});
    write_text(in_folder("data/list_landmarks_celeba.txt"), text);
    free(text);
    draw("1.jpg", 16, 16);
    settings.use = "celeba";
    settings.landmarks = in_folder("data/list_landmarks_celeba.txt");
    assert_int_equal(judged(), ERR_OK);
    assert_non_null(heard_with("warn landmarks_unaligned"));
}

static int by_score_then_name(const void *a, const void *b) {
    const struct landmark_row *p = *(struct landmark_row *const *)a;
    const struct landmark_row *q = *(struct landmark_row *const *)b;
    return p->score < q->score ? -1 : p->score > q->score ? 1 : strcmp(p->name, q->name);
}

// Beside a sort of all rows; the few values make many ties.
static void the_nearest_rows_are_those_of_a_full_sort(void **state) {
    enum { N = 997 };
    static int values[N + 1];
    struct landmarks *l;
    struct landmark_row *sorted[N];
    for (int i = 0; i < N; i++)
        values[i] = (int)rng_below(5, RNG_TEST, (uint64_t)i, 0, i < 500 ? 20 : 1000);
    values[N] = -1;
    char *text = rows("997\n" HEADER, "%04d.jpg", values);
    write_text(in_folder("marks"), text);
    free(text);
    assert_int_equal(landmarks_load(in_folder("marks"), &l), ERR_OK);
    for (int i = 0; i < N; i++)
        sorted[i] = &l->rows[i];
    qsort(sorted, N, sizeof *sorted, by_score_then_name);
    for (size_t n = 0; n <= N + 1; n += n < 5 ? 1 : 31) {
        uint32_t *nearest = landmarks_nearest(l, n);
        for (size_t i = 0; i < MIN(n, N); i++)
            assert_ptr_equal(&l->rows[nearest[i]], sorted[i]);
        free(nearest);
    }
    landmarks_free(l);
}

static void rows_without_a_picture_are_told_of(void **state) {
    use_made_data("4\n" HEADER, "%d.jpg", (int[]){10, 11, 13, 6, -1}); // mean 10
    draw("2.jpg", 16, 16);
    draw("3.jpg", 16, 16);
    settings.keep_nearest = 3;
    assert_int_equal(judged(), ERR_OK);
    assert_non_null(heard_with("of the 3 rows nearest the mean 1 have a picture here"));
}

// ---- refusals ----

static void assert_refused(const char *text, const char *part) {
    struct landmarks *l = NULL;
    write_text(in_folder("marks"), text);
    int err = landmarks_load(in_folder("marks"), &l);
    if (err != ERR_DATA || !strstr(err_text(), part) || !strstr(err_text(), in_folder("marks")))
        fail_msg("err %d, '%s', expected '%s'", err, err_text(), part);
    assert_null(l);
}

#define ROW "000001.jpg 69 109 106 113 77 142 73 152 108 154\n"

static void malformed_files_are_refused_with_the_line(void **state) {
    assert_refused("", "empty");
    assert_refused("\n\n", "empty");
    assert_refused("1\n", "ends after the count");
    assert_refused("1\n" HEADER, "no rows");
    assert_refused("1\n" ROW, ":2: not a landmark file");
    assert_refused(ROW, ":1: not a landmark file");
    assert_refused("2\n" HEADER ROW, ":1: says 2 rows, but there are 1");
    assert_refused("1\n" HEADER ROW "\n" ROW, "says 1 rows, but there are 2");
    assert_refused("2\n" HEADER ROW ROW, ":4: '000001.jpg' has a row already, in line 3");
    assert_refused(CSV_HEADER "000001.jpg,69,109,106,113,77,142,73,152,108\n", ":2: 10 columns");
    assert_refused(CSV_HEADER "000001.jpg,69,109,106,113,77,142,73,152,108,154,1\n", ":2: 12 col");
    assert_refused(CSV_HEADER "000001.jpg,69,,106,113,77,142,73,152,108,154\n", ":2: 10 columns");
    assert_refused(CSV_HEADER "000001.jpg,69,x9,106,113,77,142,73,152,108,154\n",
                   ":2: lefteye_y is 'x9'");
    assert_refused(CSV_HEADER "000001.jpg,69,nan,106,113,77,142,73,152,108,154\n",
                   ":2: lefteye_y is 'nan'");
}

// Every truncation of a good file is refused, or is a file of fewer rows or a shorter last number.
static void truncations_are_refused_or_whole_rows(void **state) {
    static const char text[] = "2\n" HEADER ROW "000002.jpg 69 110 107 112 81 135 70 151 108 153\n";
    char part[sizeof text];
    for (size_t n = 0; n < sizeof text - 4; n++) { // "153" -> "1" is a number still
        memcpy(part, text, n);
        part[n] = 0;
        struct landmarks *l;
        write_text(in_folder("marks"), part);
        assert_int_equal(landmarks_load(in_folder("marks"), &l), ERR_DATA);
    }
}

static void an_attribute_file_names_the_file_with_positions(void **state) {
    char names[1200] = "5_o_Clock_Shadow", csv[1400], txt[1400];
    for (int i = 1; i < 40; i++)
        (void)snprintf(names + strlen(names), sizeof names - strlen(names), " Attribute_%d", i);
    (void)snprintf(txt, sizeof txt, "1\n%s\n000001.jpg -1 1\n", names);
    assert_refused(txt, ":2: this file holds attributes");
    for (char *p = names; *p; p++)
        *p = *p == ' ' ? ',' : *p;
    (void)snprintf(csv, sizeof csv, "image_id,%s\n000001.jpg,-1,1\n", names);
    assert_refused(csv, "list_landmarks_align_celeba.txt or .csv");
}

static void a_file_with_zero_bytes_inside_is_refused(void **state) {
    struct landmarks *l;
    assert_int_equal(fs_write_atomic(in_folder("marks"), "1\n\0x", 4), ERR_OK);
    assert_int_equal(landmarks_load(in_folder("marks"), &l), ERR_DATA);
}

static void without_a_landmark_file_the_text_names_it(void **state) {
    draw("1.jpg", 16, 16);
    settings.use = "celeba";
    assert_int_equal(judged(), ERR_DATA);
    assert_non_null(strstr(err_text(), "list_landmarks_align_celeba.txt"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_official_file_ranks_as_the_judge_does),
        CASE(the_kaggle_file_ranks_as_the_judge_does),
        CASE(faces_that_look_aside_are_the_last_three),
        CASE(the_landmark_file_is_found_under_the_root),
        CASE(ties_are_broken_by_name),
        CASE(coordinates_that_never_vary_count_nothing),
        CASE(mean_and_std_are_those_of_all_rows),
        CASE(pictures_are_found_in_each_of_the_three_places),
        CASE(rows_and_pictures_meet_whatever_the_extension),
        CASE(pictures_are_read_from_the_nearest_until_enough_are_good),
        CASE(a_picture_without_a_row_is_rejected),
        CASE(rows_that_name_no_picture_are_refused_with_both_counts),
        CASE(unaligned_positions_are_warned_of),
        CASE(the_unaligned_files_name_is_warned_of),
        CASE(the_nearest_rows_are_those_of_a_full_sort),
        CASE(rows_without_a_picture_are_told_of),
        CASE(malformed_files_are_refused_with_the_line),
        CASE(truncations_are_refused_or_whole_rows),
        CASE(an_attribute_file_names_the_file_with_positions),
        CASE(a_file_with_zero_bytes_inside_is_refused),
        CASE(without_a_landmark_file_the_text_names_it),
    };
    char cwd[200];
    if (!getcwd(cwd, sizeof cwd))
        return 1;
    (void)snprintf(data_folder, sizeof data_folder, "%s/../shared/data", cwd);
    (void)snprintf(awk_script, sizeof awk_script, "%s/tests/curator/kinds/celeba_rank.awk", cwd);
    if (!fs_is_dir(data_folder))
        printf("SKIP the ranking of real rows: no %s\n", data_folder);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
