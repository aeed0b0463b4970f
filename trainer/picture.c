#include "picture.h"

#include <stdlib.h>

#include "err.h"
#include "util.h"

#define SIDE_MIN 16

void picture_to_floats(const uint8_t *bytes, size_t count, float *ret) {
    const float *table = image_to_tensor_table();
    for (size_t i = 0; i < count; i++)
        ret[i] = table[bytes[i]];
}

void picture_from_floats(const float *x, int h, int w, int c, struct image *ret_image) {
    int shown = c == 3 ? 3 : 1;
    image_init(ret_image, w, h, shown);
    for (size_t i = 0; i < (size_t)h * (size_t)w; i++)
        for (int k = 0; k < shown; k++)
            ret_image->pixels[i * (size_t)shown + (size_t)k] =
                image_from_tensor(x[i * (size_t)c + (size_t)k]);
}

static int padded(int side) {
    return MAX((side + 3) / 4 * 4, SIDE_MIN);
}

// Position i of a line of n that goes on by reflection without repeating its end.
static int reflect(int i, int n) {
    int period = MAX(2 * (n - 1), 1);
    i %= period;
    return i < n ? i : period - i;
}

static void fill(const struct image *im, int h, int w, float *ret) {
    const float *table = image_to_tensor_table();
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t from = (size_t)reflect(y, im->h) * (size_t)im->w + (size_t)reflect(x, im->w);
            for (int k = 0; k < im->c; k++)
                *ret++ = table[im->pixels[from * (size_t)im->c + (size_t)k]];
        }
}

int picture_translate(struct model *m, int net, int channels, const struct image *im,
                      struct image *ret_image) {
    int h = padded(im->h), w = padded(im->w);
    size_t pixels = (size_t)h * (size_t)w;
    float *x = xaligned(pixels * (size_t)im->c * sizeof *x);
    float *y = xaligned(pixels * (size_t)channels * sizeof *y);
    fill(im, h, w, x);
    int err = model_translate(m, net, 1, h, w, x, y);
    if (!err) {
        struct image whole;
        picture_from_floats(y, h, w, channels, &whole);
        image_crop(&whole, 0, 0, im->w, im->h, ret_image);
        image_fini(&whole);
    }
    free(x);
    free(y);
    return err;
}
