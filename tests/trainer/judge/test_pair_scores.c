// pairs: likeness of two pictures, against the formulas written out naively.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "check.h"
#include "image/image.h"
#include "judge/diversity.h"
#include "judge/pair_scores.h"

static struct image noisy(int w, int h, int c, uint32_t which) {
    struct image im;
    image_init(&im, w, h, c);
    for (int i = 0; i < w * h * c; i++)
        im.pixels[i] = (uint8_t)rng_block(5, RNG_TEST, (uint64_t)i, which).v[0];
    return im;
}

// One window, all sums from the definition: weighted means, then weighted central moments.
static double window(const struct image *a, const struct image *b, int x0, int y0, int c) {
    double weight[11][11], total = 0, mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
    for (int y = 0; y < 11; y++)
        for (int x = 0; x < 11; x++)
            total += weight[y][x] = exp(-((x - 5) * (x - 5) + (y - 5) * (y - 5)) / (2 * 1.5 * 1.5));
    for (int y = 0; y < 11; y++)
        for (int x = 0; x < 11; x++) {
            int at = ((y0 + y) * a->w + x0 + x) * a->c + c;
            mean_a += weight[y][x] / total * a->pixels[at];
            mean_b += weight[y][x] / total * b->pixels[at];
        }
    for (int y = 0; y < 11; y++)
        for (int x = 0; x < 11; x++) {
            int at = ((y0 + y) * a->w + x0 + x) * a->c + c;
            double u = a->pixels[at] - mean_a, v = b->pixels[at] - mean_b;
            aa += weight[y][x] / total * u * u;
            bb += weight[y][x] / total * v * v;
            ab += weight[y][x] / total * u * v;
        }
    double c1 = 2.55 * 2.55, c2 = 7.65 * 7.65;
    return (2 * mean_a * mean_b + c1) * (2 * ab + c2) /
           ((mean_a * mean_a + mean_b * mean_b + c1) * (aa + bb + c2));
}

static void similarity_equals_the_definition(void **state) {
    struct image a = noisy(17, 13, 3, 0), b = noisy(17, 13, 3, 1);
    for (int i = 0; i < 17 * 13 * 3; i++) // half alike
        b.pixels[i] = (uint8_t)((a.pixels[i] + b.pixels[i]) / 2);
    double sum = 0;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y + 11 <= 13; y++)
            for (int x = 0; x + 11 <= 17; x++)
                sum += window(&a, &b, x, y, c);
    assert_true(fabs(pairs_ssim(&a, &b) - sum / (7 * 3 * 3)) < 1e-9); // double sums of < 1e5
    image_fini(&a);
    image_fini(&b);
}

static void equal_pictures_have_similarity_one_and_difference_zero(void **state) {
    struct image a = noisy(12, 12, 1, 2);
    assert_true(fabs(pairs_ssim(&a, &a) - 1) < 1e-12);
    assert_true(pairs_l1(&a, &a) == 0);
    image_fini(&a);
}

static void difference_is_in_units_of_the_tensor(void **state) {
    struct image black, white;
    image_init(&black, 4, 3, 3);
    image_init(&white, 4, 3, 3);
    for (int i = 0; i < 36; i++) {
        black.pixels[i] = 0;
        white.pixels[i] = i < 18 ? 255 : 0;
    }
    assert_true(fabs(pairs_l1(&black, &white) - 1) < 1e-12); // half of the pixels differ by 2
    image_fini(&black);
    image_fini(&white);
}

static void signal_to_noise_is_in_decibels(void **state) {
    struct image a = noisy(5, 4, 3, 3), b = noisy(5, 4, 3, 3);
    assert_true(isinf(pairs_psnr(&a, &b)));
    for (int i = 0; i < 60; i++)
        b.pixels[i] = (uint8_t)(a.pixels[i] < 128 ? a.pixels[i] + 51 : a.pixels[i] - 51);
    assert_true(fabs(pairs_psnr(&a, &b) - 20 * log10(5)) < 1e-9); // 255 / 51
    image_fini(&a);
    image_fini(&b);
}

// Four gray levels at each position of a picture; the variance of 0, 51, 102, 153 is 4335.
static void diversity_is_the_deviation_between_pictures(void **state) {
    struct image set[4];
    for (int i = 0; i < 4; i++) {
        image_init(&set[i], 3, 2, 3);
        for (int k = 0; k < 18; k++)
            set[i].pixels[k] = (uint8_t)(51 * ((i + k) % 4));
    }
    assert_true(fabs(diversity(set, 4) - sqrt(4335.0) / 127.5) < 1e-12);
    assert_true(isnan(diversity(set, 1)));
    for (int i = 0; i < 4; i++)
        memset(set[i].pixels, 200, 18);
    assert_true(diversity(set, 4) == 0);
    for (int i = 0; i < 4; i++)
        image_fini(&set[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(similarity_equals_the_definition),
        cmocka_unit_test(equal_pictures_have_similarity_one_and_difference_zero),
        cmocka_unit_test(signal_to_noise_is_in_decibels),
        cmocka_unit_test(diversity_is_the_deviation_between_pictures),
        cmocka_unit_test(difference_is_in_units_of_the_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
