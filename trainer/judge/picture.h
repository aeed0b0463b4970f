// picture - pictures as the nets take and give them: float [h,w,c], [-1,1], and back to bytes.
#ifndef PICTURE_H
#define PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "models/model.h"

// (v / 255 - 0.5) / 0.5; `bytes` and `ret` have `count` elements.
void picture_to_floats(const uint8_t *bytes, size_t count, float *ret);

// As the reference writes pictures: (x + 1) / 2 * 255, truncated. Of other numbers of channels
// than 1 and 3 the first is shown.
void picture_from_floats(const float *x, int h, int w, int c, struct image *ret_image);

// Rows [first, end) of a picture that goes on to the right and below by reflection, w pixels wide:
// ret is [end - first,w,im->c].
void picture_rows(const struct image *im, int first, int end, int w, float *ret);
// Rows [first, end) of x [end - first,w,c] as bytes into im; what lies beyond im is cut off. im->c
// is 3, or 1 for the first channel.
void picture_put_rows(const float *x, int first, int end, int w, int c, struct image *im);

// ret = G(im) for a picture of any size: reflected at the right and lower edge to a size that the
// nets take (a multiple of 4, at least 16), cut back afterwards. `channels` is what the generator
// gives. Fails as model_translate does.
int picture_translate(struct model *m, int net, int channels, const struct image *im,
                      struct image *ret_image);

#endif
