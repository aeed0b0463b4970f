// Pictures. What is decoded is as large as its header says and within the limits.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "image/image.h"

static const struct image_limits limits = {.max_pixels = 1 << 16, .max_pixels_per_byte = 200};

static void decode(const uint8_t *bytes, size_t size, int channels, struct image_how how,
                   const struct image_info *info) {
    struct image im;
    unsigned sum = 0;
    how.limits = limits;
    if (image_decode_how("input", bytes, size, &how, channels, &im))
        return;
    FUZZ_CHECK(info && im.c == channels);
    FUZZ_CHECK(how.fit_w || how.apply_exif || (im.w == info->w && im.h == info->h));
    FUZZ_CHECK(im.w <= MAX(info->w, info->h) && im.h <= MAX(info->w, info->h));
    FUZZ_CHECK((int64_t)im.w * im.h <= limits.max_pixels);
    for (int i = 0; i < im.w * im.h * im.c; i++)
        sum += im.pixels[i];
    FUZZ_CHECK(sum <= 255u * (unsigned)(im.w * im.h * im.c));
    image_fini(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct image_info info;
    const struct image_info *known =
        image_probe("input", bytes, size, &limits, &info) == ERR_OK ? &info : NULL;
    decode(bytes, size, 3, (struct image_how){0}, known);
    decode(bytes, size, 1, (struct image_how){.keep_truncated = true}, known);
    decode(bytes, size, 3, (struct image_how){.apply_exif = true, .alpha_on_white = true}, known);
    decode(bytes, size, 3, (struct image_how){.fit_w = 9, .fit_h = 5, .keep_truncated = true},
           known);
    return 0;
}

static void seed(const char *name, int err, uint8_t *bytes, size_t size) {
    FUZZ_CHECK(err == ERR_OK);
    fuzz_write(name, bytes, size);
    free(bytes);
}

void fuzz_seeds(void) {
    static const uint8_t webp[] = "RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11"
                                  "\x88\x88\xfe\x07";
    uint8_t *bytes;
    size_t size;
    fuzz_write("webp", webp, sizeof webp);
    for (int c = 1; c <= 3; c += 2) {
        struct image im;
        image_init(&im, 19, 9, c);
        for (int i = 0; i < 19 * 9 * c; i++)
            im.pixels[i] = (uint8_t)(i * 7);
        int err = image_encode_png(&im, &bytes, &size);
        seed(c == 1 ? "gray.png" : "rgb.png", err, bytes, size);
        err = image_encode_jpeg(&im, 80, &bytes, &size);
        seed(c == 1 ? "gray.jpg" : "rgb.jpg", err, bytes, size);
        image_fini(&im);
    }
}
