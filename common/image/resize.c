// Pillow's resize of a picture in memory.
#include "image/resample.h"

void image_resize_box(const struct image *im, int w, int h, struct image_box box,
                      struct image *ret_image) {
    struct resample_plan plan = {im->w, im->h, im->c, w, h, box, NULL};
    struct resample *r = resample_open(&plan);
    resample_image(r, im);
    resample_close(r, ret_image);
}

void image_resize(const struct image *im, int w, int h, struct image *ret_image) {
    if (w == im->w && h == im->h)
        image_crop(im, 0, 0, w, h, ret_image);
    else
        image_resize_box(im, w, h, (struct image_box){0, 0, w, h}, ret_image);
}
