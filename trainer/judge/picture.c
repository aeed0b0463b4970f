#include "judge/picture.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

#define SIDE_MIN 16

void picture_to_floats(const uint8_t *bytes, size_t count, float *ret) {
    const float *table = image_to_tensor_table();
    for (size_t i = 0; i < count; i++)
        ret[i] = table[bytes[i]];
}

static void row_to_bytes(const float *x, int w, int c, int shown, uint8_t *ret) {
    for (int i = 0; i < w; i++, x += c)
        for (int k = 0; k < shown; k++)
            *ret++ = image_from_tensor(x[k]);
}

void picture_from_floats(const float *x, int h, int w, int c, struct image *ret_image) {
    image_init(ret_image, w, h, c == 3 ? 3 : 1);
    picture_put_rows(x, 0, h, w, c, ret_image);
}

void picture_put_rows(const float *x, int first, int end, int w, int c, struct image *im) {
    for (int y = first; y < MIN(end, im->h); y++, x += (size_t)w * (size_t)c)
        row_to_bytes(x, im->w, c, im->c, im->pixels + (size_t)y * (size_t)im->w * (size_t)im->c);
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

void picture_rows(const struct image *im, int first, int end, int w, float *ret) {
    const float *table = image_to_tensor_table();
    for (int y = first; y < end; y++)
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
    picture_rows(im, 0, h, w, x);
    int err = model_translate(m, net, 1, h, w, x, y);
    if (!err) {
        image_init(ret_image, im->w, im->h, channels == 3 ? 3 : 1);
        picture_put_rows(y, 0, h, w, channels, ret_image);
    }
    free(x);
    free(y);
    return err;
}
