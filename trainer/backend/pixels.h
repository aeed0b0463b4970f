// pixels - image bytes as the numbers that nets read and write, and back.
//
// Numbers are float in [-1,1], [h,w,c] with channels innermost. A byte v is (v / 255 - 0.5) / 0.5,
// each operation rounded to float; a number x is (x + 1) / 2 * 255, truncated, as the reference
// writes its images. An image has 1 or 3 channels. Of tensors with another number of channels the
// first channel is shown.
#ifndef PIXELS_H
#define PIXELS_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

// `bytes` and `ret_x` have `count` elements.
void pixels_to_floats(const uint8_t *bytes, size_t count, float *ret_x);

// x [h,w,c] as a new image, which the caller frees with image_fini.
void pixels_to_image(const float *x, int h, int w, int c, struct image *ret_image);

// Rows [first, end) of an image, extended to w pixels by reflection to the right, and below its
// last row by reflection too: ret_x is [end - first,w,im->c].
void pixels_from_rows(const struct image *im, int first, int end, int w, float *ret_x);

// Writes x [end - first,w,c] into rows [first, end) of im. Pixels outside of im are cut off.
void pixels_put_rows(const float *x, int first, int end, int w, int c, struct image *im);

#endif
