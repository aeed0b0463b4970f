// The one place where bytes of an image become numbers of a net, and numbers bytes.
#include "backend/pixels.h"

#include "base/util.h"

void pixels_to_floats(const uint8_t *bytes, size_t count, float *ret_x) {
    const float *table = image_to_tensor_table();

    for (size_t i = 0; i < count; i++)
        ret_x[i] = table[bytes[i]];
}

// Tensors may have more channels than an image can show: `shown` of the c are written.
static void row_to_bytes(const float *x, int w, int c, int shown, uint8_t *ret) {
    for (int i = 0; i < w; i++, x += c)
        for (int k = 0; k < shown; k++)
            *ret++ = image_from_tensor(x[k]);
}

void pixels_to_image(const float *x, int h, int w, int c, struct image *ret_image) {
    image_init(ret_image, w, h, c == 3 ? 3 : 1);
    pixels_put_rows(x, 0, h, w, c, ret_image);
}

void pixels_put_rows(const float *x, int first, int end, int w, int c, struct image *im) {
    // x advances by its own width, which may exceed the image's where the input was extended.
    for (int y = first; y < MIN(end, im->h); y++, x += (size_t)w * (size_t)c)
        row_to_bytes(x, im->w, c, im->c, im->pixels + (size_t)y * (size_t)im->w * (size_t)im->c);
}

// Position i of a line of n pixels that is extended by reflection; its end is not repeated. A line
// of one pixel has no period of its own.
static int reflect(int i, int n) {
    int period = MAX(2 * (n - 1), 1);

    // i is never negative: images are extended to the right and below only.
    i %= period;
    return i < n ? i : period - i;
}

void pixels_from_rows(const struct image *im, int first, int end, int w, float *ret_x) {
    const float *table = image_to_tensor_table();

    for (int y = first; y < end; y++)
        for (int x = 0; x < w; x++) {
            size_t from = (size_t)reflect(y, im->h) * (size_t)im->w + (size_t)reflect(x, im->w);
            for (int k = 0; k < im->c; k++)
                *ret_x++ = table[im->pixels[from * (size_t)im->c + (size_t)k]];
        }
}
