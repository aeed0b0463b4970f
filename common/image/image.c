// image - pixels in memory: conversions with Pillow's rounding, crops and mirrors.
#include "image/image.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

const struct image_limits image_default_limits = {.max_pixels = 64 << 20,
                                                  .max_pixels_per_byte = 2000};

void image_init(struct image *ret_image, int w, int h, int c) {
    if (w < 1 || h < 1 || (c != 1 && c != 3))
        BUG("image of %dx%dx%d", w, h, c);
    // Zeroed: image_crop leaves what is outside black.
    *ret_image = (struct image){w, h, c, xcalloc((size_t)w * (size_t)h, (size_t)c)};
}

void image_fini(struct image *im) {
    if (!im)
        return;
    free(im->pixels);
    *im = (struct image){0};
}

void image_gray(const struct image *im, struct image *ret_image) {
    struct image gray;
    image_init(&gray, im->w, im->h, 1);
    size_t n = (size_t)im->w * (size_t)im->h;
    if (im->c == 1)
        memcpy(gray.pixels, im->pixels, n);
    else
        for (size_t i = 0; i < n; i++) {
            const uint8_t *p = im->pixels + 3 * i;
            // Pillow's 16-bit weights; the last term rounds.
            gray.pixels[i] = (uint8_t)((19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) >> 16);
        }
    *ret_image = gray;
}

void image_rgb(const struct image *im, struct image *ret_image) {
    struct image rgb;
    image_init(&rgb, im->w, im->h, 3);
    size_t n = (size_t)im->w * (size_t)im->h;
    if (im->c == 3)
        memcpy(rgb.pixels, im->pixels, 3 * n);
    else
        for (size_t i = 0; i < n; i++)
            memset(rgb.pixels + 3 * i, im->pixels[i], 3);
    *ret_image = rgb;
}

void image_rgb_on_white(const uint8_t *rgba, size_t n, uint8_t *ret_rgb) {
    for (size_t i = 0; i < n; i++, rgba += 4)
        for (int k = 0; k < 3; k++) {
            int sum = rgba[3] * rgba[k] + (255 - rgba[3]) * 255 + 128;
            // (v + 128) / 255 without a division, exact for this range.
            *ret_rgb++ = (uint8_t)(((sum >> 8) + sum) >> 8);
        }
}

void image_crop(const struct image *im, int x, int y, int w, int h, struct image *ret_image) {
    struct image out;
    image_init(&out, w, h, im->c);
    size_t c = (size_t)im->c;
    // In 64 bits: x + w may exceed an int.
    int64_t left = MAX(0, x), right = MIN((int64_t)x + w, im->w);
    int64_t top = MAX(0, y), bottom = MIN((int64_t)y + h, im->h);
    for (int64_t row = top; row < bottom && left < right; row++)
        memcpy(out.pixels + (size_t)((row - y) * w + left - x) * c,
               im->pixels + (size_t)(row * im->w + left) * c, (size_t)(right - left) * c);
    *ret_image = out;
}

void image_cut_half(const struct image *im, enum image_half half, struct image *ret_image) {
    int middle = im->w / 2;
    if (half == IMAGE_LEFT)
        image_crop(im, 0, 0, middle, im->h, ret_image);
    else if (half == IMAGE_RIGHT)
        image_crop(im, middle, 0, im->w - middle, im->h, ret_image);
    else
        image_crop(im, 0, 0, im->w, im->h, ret_image);
}

void image_flip(struct image *im) {
    int c = im->c;
    for (int y = 0; y < im->h; y++) {
        uint8_t *l = im->pixels + (size_t)y * (size_t)im->w * (size_t)c;
        uint8_t *r = l + (size_t)(im->w - 1) * (size_t)c;
        // Swaps from both ends; the middle pixel of an odd width stays.
        for (; l < r; l += c, r -= c)
            for (int k = 0; k < c; k++) {
                uint8_t v = l[k];
                l[k] = r[k];
                r[k] = v;
            }
    }
}

static float to_tensor[256];

static void fill_to_tensor(void) {
    for (int v = 0; v < 256; v++)
        // In float, step by step, as torchvision does.
        to_tensor[v] = ((float)v / 255.0f - 0.5f) / 0.5f;
}

const float *image_to_tensor_table(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fill_to_tensor); // fails only for a broken control word
    return to_tensor;
}

uint8_t image_from_tensor(float x) {
    float v = (x + 1.0f) / 2.0f * 255.0f;
    // Written so that NaN takes this branch.
    if (!(v > 0.0f))
        return 0;
    return v >= 255.0f ? 255 : (uint8_t)v;
}
