// Translates with a model in training. The program `translate` has a translator without training
// state.
#include "judge/picture.h"

#include <stdlib.h>

#include "backend/pixels.h"
#include "base/err.h"
#include "base/util.h"

#define SIDE_MIN 16

static int padded(int side) {
    return MAX((side + 3) / 4 * 4, SIDE_MIN);
}

int picture_translate(struct model *m, int net, int channels, const struct image *im,
                      struct image *ret_image) {
    int h = padded(im->h), w = padded(im->w);
    size_t pixels = (size_t)h * (size_t)w;
    float *x = xaligned(pixels * (size_t)im->c * sizeof *x);
    float *y = xaligned(pixels * (size_t)channels * sizeof *y);
    pixels_from_rows(im, 0, h, w, x);
    int err = model_translate(m, net, 1, h, w, x, y);
    if (!err) {
        image_init(ret_image, im->w, im->h, channels == 3 ? 3 : 1);
        pixels_put_rows(y, 0, h, w, channels, ret_image);
    }
    free(x);
    free(y);
    return err;
}
