// CelebA's tables besides the landmarks: what they keep, in both layouts, and what is refused.
#include "curator/curator_test.h"

#include "base/text.h"

#include <math.h>

#include "kinds/celeba_lists.h"

#define LANDMARKS                                                                                  \
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "             \
    "rightmouth_x rightmouth_y\n"

static const char attributes_txt[] = "4\n5_o_Clock_Shadow Smiling Eyeglasses Male\n"
                                     "1.jpg -1  1 -1  1\n2.jpg -1  1  1 -1\n"
                                     "3.jpg  1 -1 -1 -1\n4.jpg  1  1 -1 -1\n";

// The same table as Kaggle has it.
static char *as_csv(const char *text) {
    char *csv = xasprintf("image_id,%s", strchr(text, '\n') + 1), *to = csv;
    for (const char *p = csv; *p; p++)
        if (*p != ' ' || p[1] != ' ')
            *to++ = *p == ' ' ? ',' : *p;
    *to = 0;
    return csv;
}

static void use_celeba(void) {
    char name[16];
    settings.use = "celeba";
    for (int i = 1; i <= 4; i++) {
        (void)snprintf(name, sizeof name, "%d.jpg", i);
        draw(name, 16, 16);
    }
}

static void write_list(const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "data/%s", name);
    write_text(in_folder(path), text);
}

// The reasons of 1.jpg to 4.jpg.
static void assert_reasons(const char *a, const char *b, const char *c, const char *d) {
    if (judged())
        fail_msg("%s", err_text());
    assert_reason("1.jpg", a);
    assert_reason("2.jpg", b);
    assert_reason("3.jpg", c);
    assert_reason("4.jpg", d);
}

// As a spreadsheet saves it: a byte order mark, quotes around every field, CRLF.
static char *as_spreadsheet(const char *csv) {
    struct text t = {0};
    text_add(&t, "\xef\xbb\xbf\"");
    for (; *csv; csv++)
        if (*csv == ',')
            text_add(&t, "\",\"");
        else if (*csv == '\n')
            text_add(&t, "\"\r\n%s", csv[1] ? "\"" : "");
        else
            text_add_bytes(&t, csv, 1);
    return t.bytes;
}

static void a_spreadsheets_marks_and_quotes_are_read(void **state) {
    use_celeba();
    settings.attributes = "Smiling=1\nEyeglasses = -1\n";
    char *csv = as_csv(attributes_txt), *sheet = as_spreadsheet(csv);
    write_list("list_attr_celeba.csv", sheet);
    assert_reasons("ok", "attributes", "attributes", "ok");
    free(sheet);
    free(csv);
    settings.attributes = "";
    settings.partition = "val\n";
    draw("a, \"b\".jpg", 16, 16);
    write_list("list_eval_partition.txt", "\xef\xbb\xbf"
                                          "1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 0\n"
                                          "\"a, \"\"b\"\".jpg\",\"1\"\n");
    assert_reasons("partition", "ok", "partition", "partition");
    assert_reason("a, \"b\".jpg", "ok");
}

static void faces_with_all_wanted_attributes_are_kept(void **state) {
    use_celeba();
    settings.attributes = "Smiling=1\nEyeglasses = -1\n";
    for (int csv = 0; csv < 2; csv++) {
        char *table = csv ? as_csv(attributes_txt) : xstrdup(attributes_txt);
        (void)unlink(in_folder("data/list_attr_celeba.txt"));
        write_list(csv ? "list_attr_celeba.csv" : "list_attr_celeba.txt", table);
        assert_reasons("ok", "attributes", "attributes", "ok");
        assert_string_equal(picture("2.jpg")->detail, "Eyeglasses is 1, -1 is wanted");
        assert_string_equal(picture("3.jpg")->detail, "Smiling is -1, 1 is wanted");
        free(table);
    }
    settings.attributes = "5_o_Clock_Shadow=+1\n";
    assert_reasons("attributes", "attributes", "ok", "ok");
}

static void a_face_without_a_row_is_rejected(void **state) {
    use_celeba();
    draw("cat.jpg", 16, 16);
    write_list("list_attr_celeba.txt", attributes_txt);
    settings.attributes = "Male=-1\n";
    assert_reasons("attributes", "ok", "ok", "ok");
    assert_reason("cat.jpg", "no_attributes");
}

static void parts_are_kept(void **state) {
    use_celeba();
    write_list("list_eval_partition.txt", "1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 0\n");
    settings.partition = "train\n";
    assert_reasons("ok", "partition", "partition", "ok");
    settings.partition = "val\ntest\n";
    assert_reasons("partition", "ok", "ok", "partition");
    assert_string_equal(picture("1.jpg")->detail, "it is of the train part");
    (void)unlink(in_folder("data/list_eval_partition.txt"));
    write_list("list_eval_partition.csv",
               "image_id,partition\n1.jpg,2\n2.jpg,1\n3.jpg,2\n4.jpg,0\n");
    assert_reasons("ok", "ok", "ok", "partition");
}

static void small_faces_are_left_out(void **state) {
    use_celeba();
    write_list("list_bbox_celeba.txt", "4\nimage_id x_1 y_1 width height\n1.jpg 95 71 226 313\n"
                                       "2.jpg 72 94 221 306\n3.jpg 216 59 91 126\n"
                                       "4.jpg 622 257 564 90\n");
    settings.min_face = 91;
    assert_reasons("ok", "ok", "ok", "small_face");
    assert_true(picture("4.jpg")->score == 90);
}

static void the_nearest_of_a_person_are_kept(void **state) {
    use_celeba();
    write_list("identity_CelebA.txt", "1.jpg 7\n2.jpg 7\n3.jpg 8\n4.jpg 7\n");
    settings.per_identity = 1;
    assert_reasons("ok", "identity", "ok", "identity"); // without landmarks: by path
    write_list("list_landmarks_align_celeba.txt",
               "4\n" LANDMARKS "1.jpg 0 0 0 0 0 0 0 0 0 0\n2.jpg 4 4 4 4 4 4 4 4 4 4\n"
               "3.jpg 9 9 9 9 9 9 9 9 9 9\n4.jpg 5 5 5 5 5 5 5 5 5 5\n"); // mean 4.5
    assert_reasons("identity", "ok", "ok", "identity");
    settings.per_identity = 2;
    assert_reasons("identity", "ok", "ok", "ok");
    assert_string_equal(picture("1.jpg")->detail, "picture 3 of person 7, per_identity is 2");
}

static void lists_come_before_the_ranking(void **state) {
    use_celeba();
    write_list("list_attr_celeba.txt", attributes_txt);
    write_list("list_landmarks_align_celeba.txt",
               "4\n" LANDMARKS "1.jpg 0 0 0 0 0 0 0 0 0 0\n2.jpg 4 4 4 4 4 4 4 4 4 4\n"
               "3.jpg 9 9 9 9 9 9 9 9 9 9\n4.jpg 5 5 5 5 5 5 5 5 5 5\n");
    settings.attributes = "Eyeglasses=-1\n";
    settings.keep_nearest = 2;
    assert_reasons("ok", "attributes", "rank", "ok"); // 1 and 3 are equally far: by path
}

static void held_out_faces_are_sifted_too(void **state) {
    draw("train/1.jpg", 16, 16);
    draw("test/2.jpg", 16, 16);
    draw("test/3.jpg", 16, 16);
    write_list("list_attr_celeba.txt", attributes_txt);
    free(settings.root);
    settings.use = "celeba";
    settings.root = xstrdup(in_folder("data/train"));
    settings.held_out = in_folder("data/test");
    settings.attributes = "Smiling=1\n";
    assert_int_equal(judged(), ERR_OK);
    assert_reason("train/1.jpg", "ok");
    assert_int_equal(picture("test/2.jpg")->verdict, VERDICT_HOLD_OUT);
    assert_reason("test/3.jpg", "attributes");
}

static void lists_are_found_in_their_folder(void **state) {
    use_celeba();
    assert_int_equal(fs_mkdirs(in_folder("data/Eval"), 0755), ERR_OK);
    assert_int_equal(fs_mkdirs(in_folder("lists"), 0755), ERR_OK);
    write_list("Eval/list_eval_partition.txt", "1.jpg 0\n2.jpg 0\n3.jpg 2\n4.jpg 0\n");
    write_text(in_folder("lists/list_eval_partition.txt"), "1.jpg 2\n2.jpg 0\n3.jpg 0\n4.jpg 0\n");
    settings.partition = "train\n";
    assert_reasons("ok", "ok", "partition", "ok");
    settings.lists = in_folder("lists");
    assert_reasons("partition", "ok", "ok", "ok");
}

// ---- refusals ----

static void assert_judging_fails(const char *part) {
    int err = judged();
    if (err != ERR_DATA || !strstr(err_text(), part))
        fail_msg("err %d '%s', expected '%s'", err, err_text(), part);
}

static void settings_that_mean_nothing_are_refused(void **state) {
    use_celeba();
    settings.attributes = "Smiling=1\n";
    assert_judging_fails("there is no list_attr_celeba.txt or .csv in '");
    write_list("list_attr_celeba.txt", attributes_txt);
    settings.attributes = "Smiling\n";
    assert_judging_fails("'Smiling' is not NAME=1 or NAME=-1");
    settings.attributes = "Smiling=0\n";
    assert_judging_fails("'Smiling=0' is not NAME=1");
    settings.attributes = "Smilling=1\n";
    assert_judging_fails(":2: there is no column 'Smilling'; there are: 5_o_Clock_Shadow, Smiling");
    settings.attributes = "";
    settings.partition = "train\ndev\n";
    write_list("list_eval_partition.txt", "1.jpg 0\n");
    assert_judging_fails("partition: 'dev' is none of train, val, test");
}

static void assert_refused(int kind, const char *text, const char *part) {
    settings.attributes = "Smiling=1\n";
    settings.partition = "train\n";
    write_text(in_folder("list"), text);
    int err = celeba_lists_check(kind, &settings, in_folder("list"));
    if (err != ERR_DATA || !strstr(err_text(), part) || !strstr(err_text(), in_folder("list")))
        fail_msg("err %d, '%s', expected '%s'", err, err_text(), part);
}

static void malformed_lists_are_refused_with_the_line(void **state) {
    enum { ATTRIBUTES, PARTITION, BOXES, IDENTITIES };
    for (int kind = 0; kind < 4; kind++)
        assert_refused(kind, "", "is empty");
    assert_refused(ATTRIBUTES, "2\nMale Smiling\n1.jpg 1 1\n", ":1: says 2 rows, but there are 1");
    assert_refused(ATTRIBUTES, "1\nMale Smiling\n1.jpg 1\n", ":3: 2 columns, but a name and 2");
    assert_refused(ATTRIBUTES, "1\nMale Smiling\n1.jpg 1 0\n", ":3: Smiling is '0', not 1 or -1");
    assert_refused(ATTRIBUTES, "2\nMale Smiling\n1.jpg 1 1\n\n1.png 1 1\n",
                   ":5: '1.png' has a row already, in line 3");
    assert_refused(PARTITION, "1.jpg 3\n", ":1: the partition is '3', not 0, 1 or 2");
    assert_refused(PARTITION, "1.jpg 0\n2.jpg 00\n", ":2: the partition is '00'");
    assert_refused(PARTITION, "1.jpg 0\n2.jpg\n", ":2: 1 columns");
    assert_refused(BOXES, "1.jpg 95 71 226 313\n", ":1: not a list of boxes");
    assert_refused(BOXES, "1\nimage_id x_1 y_1 width height\n1.jpg 95 71 -1 313\n",
                   ":3: the width is '-1', not a number of pixels");
    assert_refused(IDENTITIES, "1.jpg 2880\n2.jpg 1.5\n", ":2: the identity is '1.5'");
    assert_refused(IDENTITIES, "1.jpg 5000000000\n", ":1: the identity is '5000000000'");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(faces_with_all_wanted_attributes_are_kept),
        CASE(a_spreadsheets_marks_and_quotes_are_read),
        CASE(a_face_without_a_row_is_rejected),
        CASE(parts_are_kept),
        CASE(small_faces_are_left_out),
        CASE(the_nearest_of_a_person_are_kept),
        CASE(lists_come_before_the_ranking),
        CASE(held_out_faces_are_sifted_too),
        CASE(lists_are_found_in_their_folder),
        CASE(settings_that_mean_nothing_are_refused),
        CASE(malformed_lists_are_refused_with_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
