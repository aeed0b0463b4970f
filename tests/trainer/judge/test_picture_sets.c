// Tests of what looks at many pictures: swd, pyramid, stats, sheet.
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "image/image.h"
#include "image/sheet.h"
#include "judge/pyramid.h"
#include "judge/swd.h"
#include "pictures/stats.h"

enum { N = 24, SIZE = 32 };

// Noise blurred by `grain` pixels: sets of another grain are another domain.
static struct image textured(uint64_t index, int grain) {
    struct image small, im;
    image_init(&small, SIZE / grain, SIZE / grain, 3);
    for (int i = 0; i < small.w * small.h * 3; i++)
        small.pixels[i] = (uint8_t)rng_block(4, RNG_TEST, index, (uint32_t)i).v[0];
    image_resize(&small, SIZE, SIZE, &im);
    image_fini(&small);
    return im;
}

static void fill(struct image *set, int n, uint64_t first, int grain) {
    for (int i = 0; i < n; i++)
        set[i] = textured(first + (uint64_t)i, grain);
}

static void empty(struct image *set, int n) {
    for (int i = 0; i < n; i++)
        image_fini(&set[i]);
}

static double distance(const struct image *a, int n_a, const struct image *b, int n_b) {
    double d = -1;
    assert_int_equal(swd(a, n_a, b, n_b, 7, &d), ERR_OK);
    return d;
}

static void equal_sets_have_distance_zero(void **state) {
    struct image a[N];
    fill(a, N, 0, 2);
    assert_true(distance(a, N, a, N) == 0);
    empty(a, N);
}

static void the_same_seed_gives_the_same_distance(void **state) {
    struct image a[N], b[N];
    fill(a, N, 0, 2);
    fill(b, N, 100, 4);
    assert_true(distance(a, N, b, N) == distance(a, N, b, N));
    empty(a, N);
    empty(b, N);
}

static void another_domain_is_farther_than_another_sample(void **state) {
    struct image a[N], sample[N / 2], other[N];
    fill(a, N, 0, 2);
    fill(sample, N / 2, 100, 2); // a smaller set of the same kind
    fill(other, N, 200, 8);
    double near = distance(a, N, sample, N / 2), far = distance(a, N, other, N);
    if (far < 3 * near)
        fail_msg("%g to a sample, %g to another domain", near, far);
    empty(a, N);
    empty(sample, N / 2);
    empty(other, N);
}

static void sets_that_do_not_fit_are_refused(void **state) {
    struct image a[2] = {textured(0, 2), textured(1, 2)}, small;
    double d;
    image_resize(&a[0], 15, 32, &small);
    assert_int_equal(swd(a, 2, a, 0, 1, &d), ERR_SHAPE);
    assert_int_equal(swd(a, 2, &small, 1, 1, &d), ERR_SHAPE);
    assert_int_equal(swd(&small, 1, &small, 1, 1, &d), ERR_SHAPE);
    image_fini(&small);
    empty(a, 2);
}

static void colour_and_contrast_of_a_whole_set_count(void **state) {
    struct image a = textured(0, 2), b = textured(0, 2);
    for (int i = 0; i < SIZE * SIZE; i++)
        b.pixels[3 * i] = (uint8_t)(b.pixels[3 * i] / 2 + 100);
    assert_true(distance(&a, 1, &b, 1) > 100); // the red channel moved by more than a deviation
    image_fini(&a);
    image_fini(&b);
}

static void flat_pictures_give_a_number(void **state) {
    struct image a, b = textured(0, 2);
    image_init(&a, SIZE, SIZE, 3);
    assert_true(isfinite(distance(&a, 1, &b, 1)));
    assert_true(distance(&a, 1, &a, 1) == 0);
    image_fini(&a);
    image_fini(&b);
}

static void load_set(const char *pattern, struct image *ret_set, int n) {
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc < (size_t)n) {
        globfree(&found);
        skip();
    }
    for (int i = 0; i < n; i++) {
        struct image im;
        assert_int_equal(image_load(found.gl_pathv[i], &image_default_limits, 3, &im), ERR_OK);
        image_resize(&im, 64, 64, &ret_set[i]);
        image_fini(&im);
    }
    globfree(&found);
}

static void real_faces_and_portraits_are_far_apart(void **state) {
    static struct image photos[50], more[50], portraits[50];
    load_set("../shared/data/face2genshin/testA/*", photos, 50);
    load_set("../shared/data/face2genshin/trainA/*", more, 50);
    load_set("../shared/data/face2genshin/testB/*", portraits, 50);
    int64_t start = now_us();
    double far = distance(photos, 50, portraits, 50);
    int64_t us = now_us() - start;
    double near = distance(photos, 50, more, 50);
    print_message("photos-portraits %.1f, photos-photos %.1f, %lld ms\n", far, near,
                  (long long)us / 1000);
    assert_true(far > 1.5 * near);
    empty(photos, 50);
    empty(more, 50);
    empty(portraits, 50);
}

static void levels_go_down_to_16_pixels(void **state) {
    assert_int_equal(pyramid_count(64, 64), 3);
    assert_int_equal(pyramid_count(256, 128), 4);
    assert_int_equal(pyramid_count(31, 31), 1);
    assert_int_equal(pyramid_count(16, 500), 1);
}

// A linear ramp lies in the span of the filter: away from the edges its Laplacian is 0.
static void the_detail_of_a_ramp_is_zero(void **state) {
    struct image im;
    image_init(&im, 64, 37, 1);
    for (int i = 0; i < 64 * 37; i++)
        im.pixels[i] = (uint8_t)(i % 64 * 2 + i / 64);
    struct pyramid p;
    pyramid_init(&p, &im);
    assert_int_equal(p.levels, 2);
    for (int y = 6; y < 31; y++)
        for (int x = 6; x < 58; x++)
            assert_true(fabsf(p.level[0][y * 64 + x]) < 1e-3f); // float sums of values below 256
    pyramid_fini(&p);
    image_fini(&im);
}

static void statistics_equal_the_formulas(void **state) {
    struct image im = textured(5, 2), gray;
    struct image_stats s;
    image_gray(&im, &gray);
    image_stats(&im, &gray, &s, NULL);
    double sum = 0, square = 0, laplace = 0, laplace2 = 0;
    for (int i = 0; i < SIZE * SIZE; i++) {
        double v = im.pixels[3 * i + 1];
        sum += v;
        square += v * v;
    }
    double n = SIZE * SIZE, inner = (SIZE - 2) * (SIZE - 2);
    assert_true(fabs(s.mean[1] - sum / n) < 1e-9);
    assert_true(fabs(s.std[1] - sqrt(square / n - sum / n * (sum / n))) < 1e-9);
    for (int y = 1; y < SIZE - 1; y++)
        for (int x = 1; x < SIZE - 1; x++) {
            const uint8_t *p = gray.pixels + y * SIZE + x;
            double v = p[-1] + p[1] + p[-SIZE] + p[SIZE] - 4.0 * p[0];
            laplace += v / inner;
            laplace2 += v * v / inner;
        }
    assert_true(fabs(s.sharpness - (laplace2 - laplace * laplace)) < 1e-6);
    image_fini(&im);
    image_fini(&gray);
}

static struct image_stats stats_of(const struct image *im) {
    struct image gray;
    struct image_stats s;
    image_gray(im, &gray);
    image_stats(im, &gray, &s, NULL);
    image_fini(&gray);
    return s;
}

static void a_sharp_picture_is_sharper_than_a_soft_one(void **state) {
    struct image sharp = textured(6, 1), soft = textured(6, 8);
    assert_true(stats_of(&sharp).sharpness > 10 * stats_of(&soft).sharpness);
    image_fini(&sharp);
    image_fini(&soft);
}

static void entropy_chroma_and_shares_equal_the_formulas(void **state) {
    static const uint8_t pixels[4][3] = {{10, 10, 10}, {255, 0, 0}, {0, 90, 250}, {10, 10, 10}};
    struct image im, gray;
    struct image_stats s;
    struct image_histogram h;
    image_init(&im, 4, 1, 3);
    memcpy(im.pixels, pixels, sizeof pixels);
    image_gray(&im, &gray);
    image_stats(&im, &gray, &s, &h);
    assert_true(s.chroma == (0 + 255 + 250 + 0) / 4.0);
    assert_true(fabs(s.entropy - 1.5) < 1e-12); // shares 1/2, 1/4, 1/4
    assert_int_equal(h.bins[0][1], 32768);      // 10 / 8; half of 65535, rounded
    assert_int_equal(h.bins[0][31], 16384);
    assert_int_equal(h.bins[0][0], 16384);
    assert_int_equal(h.bins[1][11], 16384);
    assert_int_equal(h.bins[3][76 / 8], 16384); // red's luma
    image_fini(&im);
    image_fini(&gray);
}

// Twice as large with every pixel doubled: the same sharpness, as it is measured on one scale.
static void sharpness_is_measured_on_one_scale(void **state) {
    struct image small, large;
    image_init(&small, 300, 256, 1);
    image_init(&large, 600, 512, 1);
    for (int i = 0; i < 300 * 256; i++)
        small.pixels[i] = (uint8_t)(i * 2654435761U >> 24);
    for (int i = 0; i < 600 * 512; i++)
        large.pixels[i] = small.pixels[i / 600 / 2 * 300 + i % 600 / 2];
    assert_true(stats_of(&small).sharpness == stats_of(&large).sharpness);
    image_fini(&small);
    image_fini(&large);
}

static void means_of_statistics_are_means(void **state) {
    struct image_stats a = {.luma = 10, .mean = {1, 2, 3}}, b = {.luma = 20, .mean = {3, 2, 1}};
    struct image_stats mean, std;
    struct stats_sum sum = {0};
    stats_mean(&sum, &mean, &std);
    assert_true(mean.luma == 0 && std.luma == 0);
    stats_add(&sum, &a);
    stats_add(&sum, &b);
    stats_mean(&sum, &mean, &std);
    assert_true(mean.luma == 15 && std.luma == 5 && mean.mean[0] == 2 && std.mean[1] == 0);
}

// Where `cell` lies in the sheet, -1 if nowhere.
static int find(const struct image *sheet, const struct image *cell) {
    for (int y = 0; y + cell->h <= sheet->h; y++)
        for (int x = 0; x + cell->w <= sheet->w; x++) {
            int row = 0;
            while (row < cell->h &&
                   memcmp(sheet->pixels + ((y + row) * sheet->w + x) * 3,
                          cell->pixels + row * cell->w * 3, (size_t)cell->w * 3) == 0)
                row++;
            if (row == cell->h)
                return y * sheet->w + x;
        }
    return -1;
}

static void a_sheet_shows_its_pictures_in_rows_and_columns(void **state) {
    struct image cells[4], out;
    struct sheet *s = sheet_new(2, 2, SIZE, SIZE);
    fill(cells, 4, 300, 2);
    for (int i = 0; i < 4; i++)
        sheet_put(s, i % 2, i / 2, &cells[i]);
    sheet_title(s, 0, "real_A");
    sheet_label(s, 1, "b");
    sheet_caption(s, "step 12\nsecond line");
    sheet_note(s, 1, 0, "a note much longer than its cell");
    sheet_image(s, &out);
    int at[4];
    for (int i = 0; i < 4; i++) {
        at[i] = find(&out, &cells[i]);
        assert_true(at[i] >= 0);
    }
    assert_true(at[0] % out.w < at[1] % out.w && at[0] / out.w == at[1] / out.w);
    assert_true(at[2] % out.w == at[0] % out.w && at[2] / out.w > at[0] / out.w);
    image_fini(&out);
    empty(cells, 4);
    sheet_free(s);
    sheet_free(NULL);
}

static void text_is_cut_at_the_edges(void **state) {
    struct image im;
    const uint8_t white[3] = {255, 255, 255};
    image_init(&im, 20, 8, 1);
    sheet_text(&im, -3, -2, 2, white, "long text \xc3\xa9 that leaves");
    sheet_text(&im, 0, 100, 1, white, "below");
    int lit = 0;
    for (int i = 0; i < 160; i++)
        lit += im.pixels[i] == 255;
    assert_true(lit > 10 && lit < 150);
    image_fini(&im);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_sets_have_distance_zero),
        cmocka_unit_test(the_same_seed_gives_the_same_distance),
        cmocka_unit_test(another_domain_is_farther_than_another_sample),
        cmocka_unit_test(sets_that_do_not_fit_are_refused),
        cmocka_unit_test(colour_and_contrast_of_a_whole_set_count),
        cmocka_unit_test(flat_pictures_give_a_number),
        cmocka_unit_test(real_faces_and_portraits_are_far_apart),
        cmocka_unit_test(levels_go_down_to_16_pixels),
        cmocka_unit_test(the_detail_of_a_ramp_is_zero),
        cmocka_unit_test(statistics_equal_the_formulas),
        cmocka_unit_test(a_sharp_picture_is_sharper_than_a_soft_one),
        cmocka_unit_test(entropy_chroma_and_shares_equal_the_formulas),
        cmocka_unit_test(sharpness_is_measured_on_one_scale),
        cmocka_unit_test(means_of_statistics_are_means),
        cmocka_unit_test(a_sheet_shows_its_pictures_in_rows_and_columns),
        cmocka_unit_test(text_is_cut_at_the_edges),
    };
    return cmocka_run_group_tests_name("picture_sets", tests, NULL, NULL);
}
