// What becomes of picture files of every kind: coding variants, orientation, transparency, damage,
// and the difficult files of ../shared/data/nasty, whose outcomes docs/pictures.md lists.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <webp/encode.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/util.h"
#include "check.h"
#include "image/image.h"

#define NASTY "../shared/data/nasty"

static const struct image_how plain = {.limits = {64 << 20, 2000}};

struct bytes {
    uint8_t *bytes;
    size_t size;
};

static size_t bytes_of(const struct image *im) {
    return (size_t)im->w * (size_t)im->h * (size_t)im->c;
}

static struct image drawn(int w, int h, int c) {
    struct image im;
    image_init(&im, w, h, c);
    for (size_t i = 0; i < bytes_of(&im); i++)
        im.pixels[i] = (uint8_t)(i * 3 / (size_t)w + (rng_block(1, RNG_TEST, i, 7).v[0] & 63));
    return im;
}

static struct image decoded(struct bytes file, const struct image_how *how, int channels) {
    struct image im;
    int err = image_decode_how("x", file.bytes, file.size, how, channels, &im);
    if (err)
        fail_msg("%s", err_text());
    return im;
}

static void assert_refused(struct bytes file, const struct image_how *how, const char *text) {
    struct image im;
    assert_int_equal(image_decode_how("x", file.bytes, file.size, how, 3, &im), ERR_FORMAT);
    if (!strstr(err_text(), text))
        fail_msg("%s", err_text());
}

static void assert_same(const struct image *a, const struct image *b) {
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->h, b->h);
    assert_int_equal(a->c, b->c);
    assert_memory_equal(a->pixels, b->pixels, bytes_of(a));
}

// ---- JPEG ----

struct coding {
    bool progressive, arithmetic, optimised;
    unsigned restart;
};

static struct bytes jpeg(const struct image *im, struct coding how) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    struct bytes file = {0};
    unsigned long size = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &file.bytes, &size);
    c.image_width = (JDIMENSION)im->w;
    c.image_height = (JDIMENSION)im->h;
    c.input_components = im->c;
    c.in_color_space = im->c == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 85, TRUE);
    if (how.progressive)
        jpeg_simple_progression(&c);
    c.arith_code = how.arithmetic;
    c.optimize_coding = how.optimised;
    c.restart_interval = how.restart;
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < im->h; y++) {
        JSAMPROW row = im->pixels + (size_t)y * (size_t)im->w * (size_t)im->c;
        (void)jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    file.size = size;
    return file;
}

// The coefficients are the same, so the pixels are.
static void every_coding_of_a_jpeg_gives_the_same_pixels(void **state) {
    static const struct coding codings[] = {
        {.progressive = true},
        {.arithmetic = true},
        {.optimised = true},
        {.restart = 3},
        {.progressive = true, .arithmetic = true},
    };
    for (int c = 1; c <= 3; c += 2) {
        struct image im = drawn(67, 45, c);
        struct bytes baseline = jpeg(&im, (struct coding){0});
        struct image want = decoded(baseline, &plain, c);
        for (size_t i = 0; i < COUNT(codings); i++) {
            struct bytes file = jpeg(&im, codings[i]);
            struct image got = decoded(file, &plain, c);
            assert_same(&want, &got);
            image_fini(&got);
            free(file.bytes);
        }
        image_fini(&want);
        image_fini(&im);
        free(baseline.bytes);
    }
}

static double mean_difference(const struct image *a, const struct image *b) {
    int64_t sum = 0;
    assert_int_equal(bytes_of(a), bytes_of(b));
    for (size_t i = 0; i < bytes_of(a); i++)
        sum += abs(a->pixels[i] - b->pixels[i]);
    return (double)sum / (double)bytes_of(a);
}

static void a_jpeg_is_decoded_just_large_enough(void **state) {
    static const struct {
        int fit_w, fit_h, w, h;
    } rows[] = {{0, 0, 160, 120},   {160, 120, 160, 120}, {161, 1, 160, 120}, {80, 60, 80, 60},
                {81, 60, 160, 120}, {80, 61, 160, 120},   {1, 1, 20, 15},     {20, 16, 40, 30}};
    struct image small, im;
    small = drawn(20, 15, 3);
    image_resize(&small, 160, 120, &im); // smooth: of a noise, sizes have little in common
    struct bytes file = jpeg(&im, (struct coding){0});
    struct image full = decoded(file, &plain, 3);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct image_how how = plain;
        how.fit_w = rows[i].fit_w;
        how.fit_h = rows[i].fit_h;
        struct image got = decoded(file, &how, 3), want;
        assert_int_equal(got.w, rows[i].w);
        assert_int_equal(got.h, rows[i].h);
        image_resize(&full, got.w, got.h, &want);
        assert_true(mean_difference(&got, &want) < 4); // another filter, not another picture
        image_fini(&want);
        image_fini(&got);
    }
    image_fini(&full);
    image_fini(&im);
    image_fini(&small);
    free(file.bytes);
}

// A progressive JPEG whose last scan is there `times` more often.
static struct bytes with_more_scans(struct bytes file, size_t times) {
    size_t scan = file.size - 2;
    while (file.bytes[scan] != 0xff || file.bytes[scan + 1] != 0xda)
        scan--;
    struct text t = {0};
    text_add_bytes(&t, file.bytes, file.size - 2);
    for (size_t i = 0; i < times; i++)
        text_add_bytes(&t, file.bytes + scan, file.size - 2 - scan);
    text_add_bytes(&t, "\xff\xd9", 2);
    return (struct bytes){(uint8_t *)t.bytes, t.size};
}

static void progressive_bombs_are_refused_whatever_is_kept(void **state) {
    struct image_how keep = plain;
    keep.keep_truncated = true;
    struct image small = drawn(24, 16, 3), large;
    image_init(&large, 3000, 2000, 3);
    struct bytes few = jpeg(&small, (struct coding){.progressive = true});
    struct bytes many = with_more_scans(few, 300);
    assert_refused(many, &plain, "scans in");
    assert_refused(many, &keep, "scans in");
    struct bytes flat = jpeg(&large, (struct coding){.progressive = true});
    struct bytes heavy = with_more_scans(flat, 150);
    int64_t begun = now_us();
    assert_refused(heavy, &keep, "a decompression bomb");
    assert_true(now_us() - begun < 5000000); // 160 scans of 6 Mpx would take longer than this limit
    free(few.bytes);
    free(many.bytes);
    free(flat.bytes);
    free(heavy.bytes);
    image_fini(&small);
    image_fini(&large);
}

// ---- what is kept of damaged files ----

static struct bytes png(const struct image *im) {
    struct bytes file;
    assert_int_equal(image_encode_png(im, &file.bytes, &file.size), ERR_OK);
    return file;
}

static struct bytes webp(const struct image *im, bool lossless) {
    struct bytes file = {0};
    uint8_t *bytes = NULL;
    file.size = lossless ? WebPEncodeLosslessRGB(im->pixels, im->w, im->h, im->w * 3, &bytes)
                         : WebPEncodeRGB(im->pixels, im->w, im->h, im->w * 3, 90, &bytes);
    file.bytes = xmalloc(file.size);
    memcpy(file.bytes, bytes, file.size);
    WebPFree(bytes);
    return file;
}

static int equal_rows(const struct image *a, const struct image *b) {
    size_t stride = (size_t)a->w * (size_t)a->c;
    int rows = 0;
    while (rows < a->h && memcmp(a->pixels + (size_t)rows * stride,
                                 b->pixels + (size_t)rows * stride, stride) == 0)
        rows++;
    return rows;
}

// The first half of a file gives at least the first fifth of the picture, and the policy is
// what decides; a prefix without a pixel is refused by both.
static void check_truncated(struct bytes file) {
    struct image_how keep = plain;
    keep.keep_truncated = true;
    struct image whole = decoded(file, &plain, 3);
    struct bytes half = {file.bytes, file.size / 2};
    struct image_info info;
    assert_int_equal(image_probe("x", half.bytes, half.size, &plain.limits, &info), ERR_OK);
    assert_refused(half, &plain, "damaged");
    struct image got = decoded(half, &keep, 3);
    assert_in_range(equal_rows(&whole, &got), whole.h / 5, whole.h - 1);
    image_fini(&got);
    int kept = 0;
    for (size_t n = 0; n < file.size; n += 7)
        if (image_decode_how("x", file.bytes, n, &keep, 3, &got) == ERR_OK) {
            kept++;
            image_fini(&got);
        } else {
            assert_int_equal(kept, 0); // more bytes never give less
        }
    assert_true(kept > 0);
    image_fini(&whole);
    free(file.bytes);
}

static void the_policy_decides_about_truncated_files(void **state) {
    struct image im = drawn(64, 96, 3);
    check_truncated(jpeg(&im, (struct coding){0}));
    check_truncated(jpeg(&im, (struct coding){.restart = 2}));
    check_truncated(png(&im));
    check_truncated(webp(&im, false));
    check_truncated(webp(&im, true));
    image_fini(&im);
}

static void a_truncated_progressive_jpeg_is_kept_whole_but_coarse(void **state) {
    struct image_how keep = plain;
    keep.keep_truncated = true;
    struct image small = drawn(8, 8, 3), im;
    image_resize(&small, 96, 96, &im);
    struct bytes file = jpeg(&im, (struct coding){.progressive = true});
    struct image whole = decoded(file, &plain, 3);
    struct bytes part = {file.bytes, file.size * 3 / 4};
    assert_refused(part, &plain, "damaged JPEG");
    struct image got = decoded(part, &keep, 3);
    assert_true(mean_difference(&whole, &got) < 16);
    image_fini(&got);
    image_fini(&whole);
    image_fini(&im);
    image_fini(&small);
    free(file.bytes);
}

// ---- orientation ----

static void orientations_move_the_corners(void **state) {
    // Of the picture "ab / cd / ef", what the first and the last pixel become.
    static const char corners[9][3] = {"", "af", "be", "fa", "eb", "af", "eb", "fa", "be"};
    for (int o = 1; o <= 8; o++) {
        struct image im, out;
        image_init(&im, 2, 3, 1);
        memcpy(im.pixels, "abcdef", 6);
        image_orient(&im, o, &out);
        assert_int_equal(out.w, o < 5 ? 2 : 3);
        assert_int_equal(out.h, o < 5 ? 3 : 2);
        assert_int_equal(out.pixels[0], corners[o][0]);
        assert_int_equal(out.pixels[5], corners[o][1]);
        image_fini(&im);
        image_fini(&out);
    }
}

static void an_exif_block_of_any_length_notes_an_orientation_or_none(void **state) {
    uint8_t block[] = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0";
    size_t size = 26;
    assert_int_equal(image_orientation(block, size), 6);
    for (size_t n = 0; n < 20; n++)
        assert_int_equal(image_orientation(block, n), 1);
    block[18] = 9;
    assert_int_equal(image_orientation(block, size), 1);
}

// ---- the difficult files ----

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **nasty_names(size_t *ret_n) {
    char **names = NULL;
    size_t n = 0;
    DIR *folder = opendir(NASTY);
    for (struct dirent *e; folder && (e = readdir(folder));)
        if (e->d_name[0] != '.') {
            names = xrealloc(names, (n + 1) * sizeof *names);
            names[n++] = xstrdup(e->d_name);
        }
    if (folder)
        (void)closedir(folder);
    if (n)
        qsort(names, n, sizeof *names, by_name);
    *ret_n = n;
    return names;
}

// "128x96", or why not.
static char *outcome(const char *name, struct bytes file, const struct image_how *how,
                     struct image *ret_image) {
    memset(ret_image, 0, sizeof *ret_image);
    if (image_decode_how(name, file.bytes, file.size, how, 3, ret_image) == ERR_OK)
        return xasprintf("%dx%d", ret_image->w, ret_image->h);
    const char *text = err_text() + strlen(name) + 4; // behind 'name': and a blank
    return xstrdup(text);
}

static void add_choice(struct text *t, const char *name, struct bytes file, struct image_how how,
                       const char *usual, const struct image *usual_image) {
    struct image im;
    char *text = outcome(name, file, &how, &im);
    bool same = strcmp(text, usual) == 0 &&
                (!im.pixels || memcmp(im.pixels, usual_image->pixels, bytes_of(&im)) == 0);
    text_add(t, " %s |", same ? "" : im.pixels && strcmp(text, usual) == 0 ? "other pixels" : text);
    free(text);
    image_fini(&im);
}

static void add_row(struct text *t, const char *name) {
    char *path = xasprintf(NASTY "/%s", name);
    struct bytes file;
    struct image im;
    struct image_how exif = plain, white = plain, keep = plain;
    exif.apply_exif = white.alpha_on_white = keep.keep_truncated = true;
    assert_int_equal(fs_read(path, 1 << 24, &file.bytes, &file.size), ERR_OK);
    char *usual = outcome(name, file, &plain, &im);
    text_add(t, "| %s | %s |", name, usual);
    add_choice(t, name, file, exif, usual, &im);
    add_choice(t, name, file, white, usual, &im);
    add_choice(t, name, file, keep, usual, &im);
    text_add(t, "\n");
    image_fini(&im);
    free(usual);
    free(file.bytes);
    free(path);
}

// The table of docs/pictures.md.
static char *table(void) {
    size_t n;
    char **names = nasty_names(&n);
    struct text t = {0};
    text_add(&t, "| file | by default | `exif = apply` | `alpha = white` | `truncated = keep` |\n"
                 "|---|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        add_row(&t, names[i]);
        free(names[i]);
    }
    free(names);
    return t.bytes;
}

static void the_table_in_docs_is_what_happens(void **state) {
    size_t size;
    uint8_t *docs;
    if (!fs_is_dir(NASTY))
        skip();
    assert_int_equal(fs_read("docs/pictures.md", 1 << 20, &docs, &size), ERR_OK);
    char *text = xasprintf("%.*s", (int)size, (const char *)docs), *want = table();
    if (!strstr(text, want))
        fail_msg("docs/pictures.md is not current: put the output of test_image_files --table "
                 "in it");
    free(text);
    free(want);
    free(docs);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--table") == 0) {
        char *text = table();
        (void)fputs(text, stdout);
        free(text);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coding_of_a_jpeg_gives_the_same_pixels),
        cmocka_unit_test(a_jpeg_is_decoded_just_large_enough),
        cmocka_unit_test(progressive_bombs_are_refused_whatever_is_kept),
        cmocka_unit_test(the_policy_decides_about_truncated_files),
        cmocka_unit_test(a_truncated_progressive_jpeg_is_kept_whole_but_coarse),
        cmocka_unit_test(orientations_move_the_corners),
        cmocka_unit_test(an_exif_block_of_any_length_notes_an_orientation_or_none),
        cmocka_unit_test(the_table_in_docs_is_what_happens),
    };
    return cmocka_run_group_tests_name("image_files", tests, NULL, NULL);
}
