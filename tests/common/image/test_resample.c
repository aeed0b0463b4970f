// image_resample: every kernel against a naive twin written from the formula, for whole pictures
// and boxes, from memory and row by row.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "image/resample.h"

static struct image noise(uint64_t index, int w, int h, int c) {
    struct image im;
    image_init(&im, w, h, c);
    for (int i = 0; i < w * h * c; i++) {
        uint32_t v = rng_block(5, RNG_TEST, index, (uint32_t)i).v[0];
        im.pixels[i] = index % 3 ? (uint8_t)v : v & 1 ? 255 : 0; // extremes overshoot
    }
    return im;
}

static double cubic(double t) {
    t = fabs(t);
    if (t < 1)
        return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

// One output of a line of n bytes, `step` apart, that becomes m long: Pillow's bicubic resize, with
// the sum in 64 bits.
static uint8_t naive_sum(const uint8_t *line, int n, size_t step, int m, int i) {
    double scale = (double)n / m, stretch = fmax(scale, 1), center = (i + 0.5) * scale, sum = 0;
    int first = (int)(center - 2 * stretch + 0.5), end = (int)(center + 2 * stretch + 0.5);
    int64_t total = 1 << 21;
    first = first < 0 ? 0 : first;
    end = end > n ? n : end;
    if (n == m)
        return line[(size_t)i * step];
    for (int x = first; x < end; x++)
        sum += cubic((x - center + 0.5) * (1 / stretch));
    for (int x = first; x < end; x++) {
        double w = cubic((x - center + 0.5) * (1 / stretch)) / sum * (1 << 22);
        total += (int64_t)(w < 0 ? w - 0.5 : w + 0.5) * line[(size_t)x * step];
    }
    total >>= 22;
    return (uint8_t)(total < 0 ? 0 : total > 255 ? 255 : total);
}

static struct image naive(const struct image *im, int w, int h) {
    struct image across, out;
    size_t c = (size_t)im->c;
    image_init(&across, w, im->h, im->c);
    image_init(&out, w, h, im->c);
    for (int y = 0; y < im->h; y++)
        for (int x = 0; x < w; x++)
            for (size_t k = 0; k < c; k++)
                across.pixels[((size_t)y * (size_t)w + (size_t)x) * c + k] =
                    naive_sum(im->pixels + (size_t)y * (size_t)im->w * c + k, im->w, c, w, x);
    for (int y = 0; y < h; y++)
        for (size_t l = 0; l < (size_t)w * c; l++)
            out.pixels[(size_t)y * (size_t)w * c + l] =
                naive_sum(across.pixels + l, im->h, (size_t)w * c, h, y);
    image_fini(&across);
    return out;
}

static void assert_box(const struct image *whole, struct image_box box, const struct image *got) {
    struct image want;
    image_crop(whole, box.x, box.y, box.w, box.h, &want);
    assert_int_equal(got->w, box.w);
    assert_int_equal(got->h, box.h);
    assert_memory_equal(got->pixels, want.pixels, (size_t)(box.w * box.h * want.c));
    image_fini(&want);
}

static void by_rows(const struct resample_plan *plan, const struct image *im,
                    struct image *ret_image) {
    struct resample *r = resample_open(plan);
    size_t stride = (size_t)im->w * (size_t)im->c;
    for (int y = 0; y < im->h; y++) {
        uint8_t *row = resample_row(r, y);
        if (!row)
            break;
        memcpy(row, im->pixels + (size_t)y * stride, stride);
    }
    resample_close(r, ret_image);
}

static void check(const struct kernel *kernel, const struct image *im, int w, int h,
                  struct image_box box) {
    struct image want = naive(im, w, h), got;
    struct resample_plan plan = {im->w, im->h, im->c, w, h, box, kernel};
    struct resample *r = resample_open(&plan);
    resample_image(r, im);
    resample_close(r, &got);
    assert_box(&want, box, &got);
    image_fini(&got);
    by_rows(&plan, im, &got);
    assert_box(&want, box, &got);
    image_fini(&got);
    image_fini(&want);
}

static int below(uint32_t v, int n) {
    return (int)(v % (uint32_t)n);
}

static void every_kernel_equals_the_formula(void **state) {
    int used = 0;
    for (int k = 0; k < kernel_count; k++) {
        if (!kernels[k]->usable())
            continue;
        used++;
        for (uint64_t i = 0; i < 150; i++) {
            struct rng_block a = rng_block(6, RNG_TEST, i, 0), b = rng_block(6, RNG_TEST, i, 1);
            struct image im =
                noise(i, 1 + below(a.v[0], 150), 1 + below(a.v[1], 90), i % 4 ? 3 : 1);
            int w = i % 7 ? 1 + below(a.v[2], 120) : im.w;
            int h = i % 5 ? 1 + below(a.v[3], 120) : im.h;
            struct image_box box = {below(b.v[0], w), below(b.v[1], h), 1, 1};
            box.w += below(b.v[2], w - box.x);
            box.h += below(b.v[3], h - box.y);
            check(kernels[k], &im, w, h, i % 2 ? box : (struct image_box){0, 0, w, h});
            image_fini(&im);
        }
    }
    assert_true(used > 0);
}

// So many inputs an output that 32-bit sums of digits might overflow: the portable way is chosen.
static void a_very_long_line_becomes_a_few_pixels(void **state) {
    struct image im = noise(1, 9001, 3, 3);
    assert_false(taps_get(9001, 2)->small);
    assert_true(taps_get(1280, 286)->small);
    check(NULL, &im, 2, 3, (struct image_box){0, 0, 2, 3});
    image_fini(&im);
}

static void tables_that_a_thread_keeps_are_replaced_in_order(void **state) {
    const struct taps *first = taps_get(50, 20);
    for (int i = 0; i < 20; i++) {
        const struct taps *t = taps_get(60 + i, 20);
        assert_int_equal(t->in, 60 + i);
        assert_ptr_equal(taps_get(50, 20), first); // used all the time
        assert_int_equal(first->in, 50);
    }
}

static void nothing_is_made_of_a_resize_that_is_given_up(void **state) {
    struct resample_plan plan = {30, 30, 3, 10, 10, {0, 0, 10, 10}, NULL};
    struct resample *r = resample_open(&plan);
    assert_non_null(resample_row(r, 0));
    assert_true(resample_time_us(r) >= 0);
    resample_close(r, NULL);
    resample_close(NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_equals_the_formula),
        cmocka_unit_test(a_very_long_line_becomes_a_few_pixels),
        cmocka_unit_test(tables_that_a_thread_keeps_are_replaced_in_order),
        cmocka_unit_test(nothing_is_made_of_a_resize_that_is_given_up),
    };
    return cmocka_run_group_tests_name("image_resample", tests, NULL, NULL);
}
