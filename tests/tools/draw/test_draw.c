#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "draw/draw_anime.h"
#include "draw/draw_photo.h"
#include "draw/draw_set.h"

enum { CELEBA = 12, ANIME = 30, BROKEN = 3 };

static char folder[] = "/tmp/draw.XXXXXX";

static int draw_it(void **state) {
    struct draw_set set = {folder, CELEBA, ANIME, 5};
    return !mkdtemp(folder) || draw_set(&set) != ERR_OK;
}

static int remove_it(void **state) {
    return fs_remove_tree(folder);
}

// Loads all that match; *ret_refused counts those that fail.
static int load_all(const char *pattern, int (*check)(const struct image *), int *ret_refused) {
    char *whole = xasprintf("%s/%s", folder, pattern);
    glob_t found;
    int n = 0, refused = 0;
    assert_int_equal(glob(whole, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct image im;
        if (image_load(found.gl_pathv[i], &image_default_limits, 3, &im)) {
            refused++;
            continue;
        }
        assert_int_equal(check(&im), 0);
        image_fini(&im);
        n++;
    }
    globfree(&found);
    free(whole);
    *ret_refused = refused;
    return n;
}

static int not_a_photo(const struct image *im) {
    return im->w != PHOTO_W || im->h != PHOTO_H;
}

static int of_edge_size[2];

static int not_an_anime(const struct image *im) {
    of_edge_size[0] += im->w == 300;
    of_edge_size[1] += im->w == 301;
    return im->w != im->h || im->w < 90 || im->w > 301;
}

static void every_photo_but_three_decodes_in_the_real_size(void **state) {
    int refused;
    assert_int_equal(load_all("celeba/img_align_celeba/*.jpg", not_a_photo, &refused), CELEBA);
    assert_int_equal(refused, BROKEN);
}

static void every_anime_but_three_decodes_and_some_have_the_edge_sizes(void **state) {
    int refused;
    assert_int_equal(load_all("anime/images/*_20[01][0-9].jpg", not_an_anime, &refused), ANIME);
    assert_int_equal(refused, BROKEN);
    assert_true(of_edge_size[0] > 0 && of_edge_size[1] > 0);
}

static void the_landmark_table_has_a_row_for_every_file(void **state) {
    char *path = xasprintf("%s/celeba/list_landmarks_align_celeba.txt", folder), *line = NULL;
    FILE *f = fopen(path, "r");
    size_t size = 0;
    assert_non_null(f);
    assert_true(getline(&line, &size, f) > 0);
    assert_int_equal(atoi(line), CELEBA + BROKEN);
    assert_true(getline(&line, &size, f) > 0);
    assert_true(strncmp(line, "lefteye_x lefteye_y righteye_x ", 31) == 0);
    int rows = 0, v[10];
    for (; getline(&line, &size, f) > 0; rows++) {
        char name[32], want[32];
        assert_int_equal(sscanf(line, "%31s %d %d %d %d %d %d %d %d %d %d", name, v, v + 1, v + 2,
                                v + 3, v + 4, v + 5, v + 6, v + 7, v + 8, v + 9),
                         11);
        (void)snprintf(want, sizeof want, "%06d.jpg", rows + 1);
        assert_string_equal(name, want);
        assert_true(v[0] < v[2] && v[1] < v[7]); // left of right, eyes over mouth
    }
    assert_int_equal(rows, CELEBA + BROKEN);
    (void)fclose(f); // only read
    free(line);
    free(path);
}

static void pictures_are_functions_of_seed_and_index(void **state) {
    struct photo a, b, other;
    draw_photo(5, 3, &a);
    draw_photo(5, 3, &b);
    draw_photo(6, 3, &other);
    size_t size = (size_t)PHOTO_W * PHOTO_H * 3;
    assert_memory_equal(a.image.pixels, b.image.pixels, size);
    assert_memory_not_equal(a.image.pixels, other.image.pixels, size);
    image_fini(&a.image);
    image_fini(&b.image);
    image_fini(&other.image);
}

static double luma_around(const struct image *im, int x, int y) {
    double sum = 0;
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++)
            for (int k = 0; k < 3; k++)
                sum += im->pixels[((y + dy) * im->w + x + dx) * 3 + k] / 75.0;
    return sum;
}

// Pupils are dark and the cheeks below them are not.
static void the_eyes_are_where_the_table_says(void **state) {
    int right = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct photo p;
        draw_photo(5, i, &p);
        for (int eye = 0; eye < 2; eye++) {
            int x = p.points[eye][0], y = p.points[eye][1];
            right += luma_around(&p.image, x, y) < luma_around(&p.image, x, y + 18);
        }
        image_fini(&p.image);
    }
    assert_true(right >= 72); // dark skin in shadow and turned faces may fail
}

static void a_folder_that_cannot_be_made_fails(void **state) {
    struct draw_set set = {"/dev/null/x", 1, 0, 1};
    assert_int_equal(draw_set(&set), ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_photo_but_three_decodes_in_the_real_size),
        cmocka_unit_test(every_anime_but_three_decodes_and_some_have_the_edge_sizes),
        cmocka_unit_test(the_landmark_table_has_a_row_for_every_file),
        cmocka_unit_test(pictures_are_functions_of_seed_and_index),
        cmocka_unit_test(the_eyes_are_where_the_table_says),
        cmocka_unit_test(a_folder_that_cannot_be_made_fails),
    };
    return cmocka_run_group_tests_name("draw", tests, draw_it, remove_it);
}
