#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spng.h>
#include <zlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "image/image.h"
#include "preprocess.h"

static const char *program;

static size_t bytes_of(const struct image *im) {
    return (size_t)im->w * (size_t)im->h * (size_t)im->c;
}

static void assert_same(const struct image *a, const struct image *b) {
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->h, b->h);
    assert_int_equal(a->c, b->c);
    assert_memory_equal(a->pixels, b->pixels, bytes_of(a));
}

// Smooth colours with noise: an ordinary picture for a codec.
static struct image random_image(uint64_t index, int w, int h, int c) {
    struct image im;
    image_init(&im, w, h, c);
    for (size_t i = 0; i < bytes_of(&im); i++) {
        uint32_t noise = rng_block(1, RNG_TEST, index, (uint32_t)i).v[0];
        im.pixels[i] = (uint8_t)(i * 3 / (size_t)w + (noise & 63));
    }
    return im;
}

// The reference vectors' hash and patterns, written from their description.
static uint32_t hash(uint32_t j, uint32_t i) {
    uint32_t h = (i + 1) * 2654435761u + (j + 1) * 2246822519u;
    h = (h ^ h >> 15) * 2246822507u;
    h = (h ^ h >> 13) * 3266489909u;
    return h ^ h >> 16;
}

static struct image hashed(uint32_t index, int w, int h, int c, bool smooth) {
    struct image im;
    image_init(&im, w, h, c);
    for (int i = 0; i < w * h * c; i++) {
        int x = i / c % w, y = i / c / w, ch = i % c;
        uint32_t v = hash(index, (uint32_t)i);
        im.pixels[i] =
            (uint8_t)(smooth ? (uint32_t)(x * 37 / 8 + y * 61 / 8 + ch * 85) + (v >> 29) : v >> 24);
    }
    return im;
}

// Sizes and CRC-32 of what Pillow 9.4 made of them.
static void resize_equals_the_reference_vectors(void **state) {
    static const struct {
        uint32_t index;
        int w, h, c;
        bool smooth;
        int out_w, out_h;
        uint32_t crc;
    } rows[] = {
        {7200, 16, 12, 3, false, 7, 9, 3416825532},
        {7201, 16, 12, 3, true, 24, 20, 3448383730},
        {7202, 16, 12, 3, false, 16, 5, 3311582729},
        {7203, 16, 12, 3, true, 31, 12, 4208720772},
        {7205, 178, 218, 3, true, 286, 286, 2073566194},
        {7206, 320, 180, 3, false, 286, 286, 2404799938},
        {7208, 5, 3, 3, false, 40, 40, 6179163},
        {7210, 33, 47, 3, false, 33, 47, 1872430382},
        {7211, 1, 1, 3, true, 4, 4, 4023467806},
        {7230, 40, 30, 1, false, 17, 53, 1904521533},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct image im = hashed(rows[i].index, rows[i].w, rows[i].h, rows[i].c, rows[i].smooth);
        struct image out;
        image_resize(&im, rows[i].out_w, rows[i].out_h, &out);
        assert_int_equal(crc32(0, out.pixels, (uInt)bytes_of(&out)), rows[i].crc);
        image_fini(&im);
        image_fini(&out);
    }
}

static void a_box_of_a_resize_equals_the_crop_of_it(void **state) {
    for (uint64_t i = 0; i < 60; i++) {
        struct rng_block r = rng_block(2, RNG_TEST, i, 0), s = rng_block(2, RNG_TEST, i, 1);
        int w = 1 + (int)(r.v[0] % 90), h = 1 + (int)(r.v[1] % 90), c = i % 2 ? 3 : 1;
        struct image im = random_image(i, 1 + (int)(r.v[2] % 90), 1 + (int)(r.v[3] % 90), c);
        struct image_box box = {.x = (int)(s.v[0] % (uint32_t)w), .y = (int)(s.v[1] % (uint32_t)h)};
        box.w = 1 + (int)(s.v[2] % (uint32_t)(w - box.x));
        box.h = 1 + (int)(s.v[3] % (uint32_t)(h - box.y));
        struct image whole, crop, direct;
        image_resize(&im, w, h, &whole);
        image_crop(&whole, box.x, box.y, box.w, box.h, &crop);
        image_resize_box(&im, w, h, box, &direct);
        assert_same(&crop, &direct);
        image_fini(&im);
        image_fini(&whole);
        image_fini(&crop);
        image_fini(&direct);
    }
}

static void a_flat_picture_stays_flat_in_every_size(void **state) {
    for (int v = 0; v < 256; v += 51)
        for (int size = 1; size < 40; size += 7) {
            struct image im, out;
            image_init(&im, 13, 9, 3);
            memset(im.pixels, v, bytes_of(&im));
            image_resize(&im, size, 41 - size, &out);
            for (size_t i = 0; i < bytes_of(&out); i++)
                assert_int_equal(out.pixels[i], v);
            image_fini(&im);
            image_fini(&out);
        }
}

static void a_crop_beyond_the_edges_is_black_there(void **state) {
    struct image im = random_image(1, 10, 6, 3), out;
    image_crop(&im, -3, 4, 20, 5, &out);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++)
            for (int k = 0; k < 3; k++) {
                int from_x = x - 3, from_y = y + 4;
                bool within = from_x >= 0 && from_x < 10 && from_y < 6;
                assert_int_equal(out.pixels[(y * out.w + x) * 3 + k],
                                 within ? im.pixels[(from_y * 10 + from_x) * 3 + k] : 0);
            }
    image_fini(&out);
    image_crop(&im, 50, 50, 2, 2, &out);
    assert_int_equal(out.pixels[0], 0);
    image_fini(&out);
    image_fini(&im);
}

static void a_flip_mirrors_and_two_flips_are_none(void **state) {
    for (int w = 1; w < 6; w++) {
        struct image im = random_image(3, w, 4, 3), flipped;
        image_crop(&im, 0, 0, w, 4, &flipped);
        image_flip(&flipped);
        for (int x = 0; x < w; x++)
            assert_memory_equal(flipped.pixels + 3 * x, im.pixels + 3 * (w - 1 - x), 3);
        image_flip(&flipped);
        assert_same(&flipped, &im);
        image_fini(&im);
        image_fini(&flipped);
    }
}

static void bytes_to_tensor_and_back_lose_one_in_63_values(void **state) {
    int differ = 0;
    const float *table = image_to_tensor_table();
    assert_true(table[0] == -1.0f && table[255] == 1.0f);
    for (int v = 0; v < 256; v++) {
        int back = image_from_tensor(table[v]);
        assert_true(back == v || back == v - 1);
        differ += back != v;
    }
    assert_int_equal(differ, 63);
}

static void tensor_values_out_of_range_are_limited(void **state) {
    assert_int_equal(image_from_tensor(-3.0f), 0);
    assert_int_equal(image_from_tensor(1.01f), 255);
    assert_int_equal(image_from_tensor(1e30f), 255);
    assert_int_equal(image_from_tensor(0.0f / 0.0f), 0);
}

static void sizes_follow_the_reference(void **state) {
    static const struct {
        enum preprocess p;
        int w, h, load, crop, to_w, to_h;
    } rows[] = {
        {PREPROCESS_RESIZE_AND_CROP, 178, 218, 286, 256, 286, 286},
        {PREPROCESS_RESIZE, 5, 9, 48, 40, 48, 48},
        {PREPROCESS_CROP, 60, 44, 286, 40, 60, 44},
        {PREPROCESS_SCALE_WIDTH, 1280, 720, 286, 256, 286, 256},
        {PREPROCESS_SCALE_WIDTH, 720, 1280, 286, 256, 286, 508},
        {PREPROCESS_SCALE_WIDTH, 72, 90, 72, 40, 72, 90},
        {PREPROCESS_SCALE_WIDTH_AND_CROP, 1280, 720, 286, 128, 286, 160},
        {PREPROCESS_NONE, 42, 30, 1, 1, 40, 32},
        {PREPROCESS_NONE, 6, 10, 1, 1, 8, 8},
        {PREPROCESS_NONE, 1, 18, 1, 1, 4, 16},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int w, h;
        preprocess_scaled_size(rows[i].p, rows[i].w, rows[i].h, rows[i].load, rows[i].crop, &w, &h);
        assert_int_equal(w, rows[i].to_w);
        assert_int_equal(h, rows[i].to_h);
    }
}

static void a_picture_that_would_grow_beyond_the_limit_is_refused(void **state) {
    assert_int_equal(preprocess_check(PREPROCESS_SCALE_WIDTH, 1, 60000, 286, 256), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "scale_width"));
    assert_int_equal(preprocess_check(PREPROCESS_SCALE_WIDTH, 178, 218, 286, 256), ERR_OK);
}

static void names_of_modes_go_both_ways(void **state) {
    for (enum preprocess p = 0; p <= PREPROCESS_NONE; p++) {
        enum preprocess back;
        assert_true(preprocess_from_name(preprocess_name(p), &back));
        assert_int_equal(back, p);
    }
    enum preprocess p;
    assert_false(preprocess_from_name("resize_and_crops", &p));
}

static void a_small_picture_is_not_cropped_and_a_narrow_one_is_padded(void **state) {
    struct image im = random_image(5, 20, 50, 3), out;
    preprocess_apply(PREPROCESS_CROP, &im, 0, 64, 0, 0, false, &out);
    assert_same(&im, &out);
    image_fini(&out);
    preprocess_apply(PREPROCESS_CROP, &im, 0, 40, 0, 5, false, &out);
    assert_int_equal(out.w, 40);
    assert_int_equal(out.pixels[30 * 3], 0);
    assert_memory_equal(out.pixels, im.pixels + 5 * 20 * 3, 20 * 3);
    image_fini(&out);
    image_fini(&im);
}

static int decode(const uint8_t *bytes, size_t size, struct image *ret) {
    return image_decode("x.bin", bytes, size, &image_default_limits, 3, ret);
}

static void png_gives_back_every_byte(void **state) {
    for (int c = 1; c <= 3; c += 2) {
        struct image im = random_image(6, 31, 17, c), back;
        uint8_t *bytes;
        size_t size;
        assert_int_equal(image_encode_png(&im, &bytes, &size), ERR_OK);
        assert_int_equal(image_decode("x", bytes, size, &image_default_limits, c, &back), ERR_OK);
        assert_same(&im, &back);
        image_fini(&im);
        image_fini(&back);
        free(bytes);
    }
}

static void every_truncation_of_a_jpeg_is_refused(void **state) {
    struct image im = random_image(7, 40, 24, 3), out;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(image_encode_jpeg(&im, 90, &bytes, &size), ERR_OK);
    assert_int_equal(decode(bytes, size, &out), ERR_OK);
    image_fini(&out);
    for (size_t n = 0; n < size; n++) {
        assert_int_equal(decode(bytes, n, &out), ERR_FORMAT);
        assert_non_null(strstr(err_text(), "x.bin"));
    }
    image_fini(&im);
    free(bytes);
}

static void every_truncation_of_a_png_is_refused_or_loses_no_pixel(void **state) {
    struct image im = random_image(8, 40, 24, 3), out;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(image_encode_png(&im, &bytes, &size), ERR_OK);
    for (size_t n = 0; n < size; n++) {
        int err = decode(bytes, n, &out);
        if (err) {
            assert_int_equal(err, ERR_FORMAT);
            continue;
        }
        assert_true(n + 16 >= size); // only the end chunk and the last checksum may be missing
        assert_same(&im, &out);
        image_fini(&out);
    }
    image_fini(&im);
    free(bytes);
}

static void damage(uint8_t *bytes, size_t size, uint64_t round) {
    struct rng_block r = rng_block(3, RNG_TEST, round, 0);
    for (int i = 0; i < 1 + (int)(r.v[3] % 3); i++)
        bytes[r.v[i] % size] = (uint8_t)(r.v[i] >> 24);
}

static void assert_defined_outcome(const uint8_t *good, size_t size, uint64_t rounds) {
    struct image_limits small = {1 << 20, 2000};
    uint8_t *bytes = xmalloc(size);
    for (uint64_t i = 0; i < rounds; i++) {
        struct image out;
        struct image_info info;
        memcpy(bytes, good, size);
        damage(bytes, size, i);
        int err = image_decode("x", bytes, size, &small, 3, &out);
        if (err) {
            assert_int_equal(err, ERR_FORMAT);
            continue;
        }
        assert_int_equal(image_probe("x", bytes, size, &small, &info), ERR_OK);
        assert_int_equal(info.w, out.w);
        assert_int_equal(info.h, out.h);
        image_fini(&out);
    }
    free(bytes);
}

static void damaged_bytes_never_crash(void **state) {
    struct image im = random_image(9, 48, 40, 3);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(image_encode_jpeg(&im, 80, &bytes, &size), ERR_OK);
    assert_defined_outcome(bytes, size, 3000);
    free(bytes);
    assert_int_equal(image_encode_png(&im, &bytes, &size), ERR_OK);
    assert_defined_outcome(bytes, size, 3000);
    free(bytes);
    image_fini(&im);
}

static void limits_hold_before_anything_is_allocated(void **state) {
    struct image im = random_image(10, 200, 100, 1), out;
    struct image_limits few = {19999, 2000}, dense = {1 << 20, 1};
    struct image_info info;
    uint8_t *bytes;
    size_t size;
    memset(im.pixels, 7, bytes_of(&im));
    assert_int_equal(image_encode_png(&im, &bytes, &size), ERR_OK);
    assert_int_equal(image_decode("x", bytes, size, &few, 3, &out), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "200x100"));
    assert_int_equal(image_probe("x", bytes, size, &dense, &info), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "bomb"));
    assert_int_equal(image_probe("x", bytes, size, &image_default_limits, &info), ERR_OK);
    assert_int_equal(info.format, IMAGE_PNG);
    assert_int_equal(info.channels, 1);
    free(bytes);
    image_fini(&im);
}

static void other_formats_are_named_with_a_command_that_converts(void **state) {
    static const struct {
        const char *bytes, *name, *command;
        size_t size;
    } rows[] = {
        {"BM\x36\0\0\0\0\0\0\0\x36", "a.bmp",
         "BMP is not read; convert it: convert 'bmp:a.bmp[0]' 'a.png'", 11},
        {"BM\x36\0\0\0\0\0\0\0\x36", "d.x/it's.png",
         "convert 'bmp:d.x/it'\\''s.png[0]' 'd.x/it'\\''s.converted.png'", 11},
        {"GIF89a", "d.x/b", "GIF is not read; convert it: convert 'gif:d.x/b[0]' 'd.x/b.png'", 6},
        {"II*\0abcd", "c.tif", "TIFF is not read; convert it: convert 'tiff:c.tif[0]' 'c.png'", 8},
        {"\0\0\0\x1c"
         "ftypheic",
         "d.HEIC", "HEIC is not read; convert it: heif-convert 'd.HEIC' 'd.png'", 12},
        {"P6\n1 1\n255\nabc", "e.ppm", "PPM is not read", 14},
        {"hello", "f.jpg", "'f.jpg': not a picture", 5},
        {"", "g.jpg", "'g.jpg': empty", 0},
        {"RIFF\1\0\0\0WEBP", "h.webp", "damaged WebP", 12},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct image out;
        assert_int_equal(image_decode(rows[i].name, (const uint8_t *)rows[i].bytes, rows[i].size,
                                      &image_default_limits, 3, &out),
                         ERR_FORMAT);
        if (!strstr(err_text(), rows[i].command))
            fail_msg("%s", err_text());
    }
}

static void what_is_not_a_regular_file_fails_with_its_path(void **state) {
    struct image out;
    assert_int_equal(image_load("/nonexistent.jpg", &image_default_limits, 3, &out), ERR_IO);
    assert_non_null(strstr(err_text(), "/nonexistent.jpg"));
    assert_int_equal(image_load("/", &image_default_limits, 3, &out), ERR_IO);
}

static void a_saved_picture_is_whole_or_not_there(void **state) {
    char folder[] = "/tmp/image.XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct image im = random_image(11, 16, 16, 3), back;
    char *png = xasprintf("%s/a.png", folder), *jpeg = xasprintf("%s/a.jpg", folder);
    assert_int_equal(image_save_png(png, &im), ERR_OK);
    assert_int_equal(image_load(png, &image_default_limits, 3, &back), ERR_OK);
    assert_same(&im, &back);
    image_fini(&back);
    assert_int_equal(image_save_jpeg(jpeg, &im, 100), ERR_OK);
    assert_int_equal(image_load(jpeg, &image_default_limits, 1, &back), ERR_OK);
    assert_int_equal(back.c, 1);
    assert_int_equal(image_save_png("/nonexistent/a.png", &im), ERR_IO);
    image_fini(&back);
    image_fini(&im);
    assert_int_equal(unlink(png) | unlink(jpeg), 0);
    assert_int_equal(rmdir(folder), 0); // nothing else was left in it
    free(png);
    free(jpeg);
}

static void real_and_made_pictures_equal_pillow(void **state) {
    char *command = xasprintf(
        "/usr/bin/python3 tests/common/image/pillow_parity.py '%s' ../shared/data", program);
    int status = system(command);
    free(command);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127))
        skip();
    assert_int_equal(status, 0);
}

// As a loader does it: decoded into the resize, then cropped, then mirrored.
static int load_resized(char *const field[8], struct image *ret_image) {
    struct image_info info;
    enum preprocess p;
    uint8_t *bytes;
    size_t size;
    int64_t resize_us = 0;
    int w, h, load = atoi(field[2]), crop = atoi(field[3]);
    struct image_how how = {.limits = image_default_limits};
    int err = preprocess_from_name(field[1], &p) ? ERR_OK : err_set(ERR_FORMAT, "no such mode");
    if (!err)
        err = fs_read(field[0], 1 << 28, &bytes, &size);
    if (err)
        return err;
    err = image_probe(field[0], bytes, size, &how.limits, &info);
    if (!err) {
        preprocess_scaled_size(p, info.w, info.h, load, crop, &w, &h);
        err = image_decode_resized(field[0], bytes, size, &how, 3, w, h, ret_image, &resize_us);
    }
    free(bytes);
    return err;
}

static void answer_resized(char *const field[8]) {
    struct image im, out;
    enum preprocess p;
    int x, y, crop = atoi(field[3]);
    if (load_resized(field, &im)) {
        (void)printf("error %s\n", err_text());
        return;
    }
    (void)preprocess_from_name(field[1], &p); // it is a name
    preprocess_crop_range(p, im.w, im.h, crop, &x, &y);
    if (x > 0 || y > 0)
        image_crop(&im, atoi(field[4]), atoi(field[5]), crop, crop, &out);
    else
        image_crop(&im, 0, 0, im.w, im.h, &out);
    if (atoi(field[6]))
        image_flip(&out);
    (void)printf("%d %d %d\n", out.w, out.h, out.c);
    (void)fwrite(out.pixels, 1, bytes_of(&out), stdout);
    image_fini(&im);
    image_fini(&out);
}

static void answer(char *line) {
    char *field[8];
    for (int i = 0; i < 8; i++)
        field[i] = strsep(&line, "\t");
    struct image im, out;
    enum preprocess p;
    struct image_how how = {.limits = image_default_limits};
    if (field[7]) {
        how.apply_exif = strchr(field[7], 'e') != NULL;
        how.alpha_on_white = strchr(field[7], 'w') != NULL;
        how.fit_w = how.fit_h = strchr(field[7], 'd') ? atoi(field[2]) : 0;
    }
    if (field[7] && strchr(field[7], 'r')) {
        answer_resized(field);
        return;
    }
    if (!field[7] || !preprocess_from_name(field[1], &p) ||
        image_load_how(field[0], &how, 3, &im)) {
        (void)printf("error %s\n", err_text());
        return;
    }
    preprocess_apply(p, &im, atoi(field[2]), atoi(field[3]), atoi(field[4]), atoi(field[5]),
                     atoi(field[6]) != 0, &out);
    (void)printf("%d %d %d\n", out.w, out.h, out.c);
    (void)fwrite(out.pixels, 1, bytes_of(&out), stdout);
    image_fini(&im);
    image_fini(&out);
}

// The other end of pillow_parity.py.
static int serve(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        answer(line);
        (void)fflush(stdout); // a lost reader shows in its own exit status
    }
    return 0;
}

// The bytes of a PNG of one row of deep gray, malloc'ed.
static uint8_t *encode_gray16(const uint16_t *values, uint32_t n, size_t *ret_size) {
    struct spng_ihdr header = {.width = n, .height = 1, .bit_depth = 16};
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    int code = 0;
    assert_int_equal(spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1), 0);
    assert_int_equal(spng_set_ihdr(png, &header), 0);
    assert_int_equal(spng_encode_image(png, values, 2 * n, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    uint8_t *bytes = spng_get_png_buffer(png, ret_size, &code);
    assert_int_equal(code, 0);
    spng_ctx_free(png);
    return bytes;
}

// As 16 bit colour, and as Pillow from 11 on: not saturated, which would make nearly all white.
static void gray_of_16_bits_is_scaled_by_its_depth(void **state) {
    const uint16_t values[] = {0, 255, 256, 0x7fff, 0x8000, 0xff00, 0xffff};
    const uint8_t wanted[] = {0, 0, 1, 127, 128, 255, 255};
    size_t size;
    uint8_t *bytes = encode_gray16(values, COUNT(values), &size);
    struct image im;
    assert_int_equal(image_decode("deep.png", bytes, size, &image_default_limits, 1, &im), ERR_OK);
    assert_int_equal(im.w, COUNT(values));
    assert_memory_equal(im.pixels, wanted, sizeof wanted);
    image_fini(&im);
    assert_int_equal(image_decode("deep.png", bytes, size, &image_default_limits, 3, &im), ERR_OK);
    for (size_t i = 0; i < sizeof wanted; i++)
        assert_int_equal(im.pixels[3 * i + 1], wanted[i]);
    image_fini(&im);
    free(bytes);
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 2 && strcmp(argv[1], "--serve") == 0)
        return serve();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_equals_the_reference_vectors),
        cmocka_unit_test(a_box_of_a_resize_equals_the_crop_of_it),
        cmocka_unit_test(a_flat_picture_stays_flat_in_every_size),
        cmocka_unit_test(a_crop_beyond_the_edges_is_black_there),
        cmocka_unit_test(a_flip_mirrors_and_two_flips_are_none),
        cmocka_unit_test(bytes_to_tensor_and_back_lose_one_in_63_values),
        cmocka_unit_test(tensor_values_out_of_range_are_limited),
        cmocka_unit_test(sizes_follow_the_reference),
        cmocka_unit_test(a_picture_that_would_grow_beyond_the_limit_is_refused),
        cmocka_unit_test(names_of_modes_go_both_ways),
        cmocka_unit_test(a_small_picture_is_not_cropped_and_a_narrow_one_is_padded),
        cmocka_unit_test(png_gives_back_every_byte),
        cmocka_unit_test(every_truncation_of_a_jpeg_is_refused),
        cmocka_unit_test(every_truncation_of_a_png_is_refused_or_loses_no_pixel),
        cmocka_unit_test(damaged_bytes_never_crash),
        cmocka_unit_test(limits_hold_before_anything_is_allocated),
        cmocka_unit_test(other_formats_are_named_with_a_command_that_converts),
        cmocka_unit_test(what_is_not_a_regular_file_fails_with_its_path),
        cmocka_unit_test(a_saved_picture_is_whole_or_not_there),
        cmocka_unit_test(real_and_made_pictures_equal_pillow),
        cmocka_unit_test(gray_of_16_bits_is_scaled_by_its_depth),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
