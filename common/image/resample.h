// resample - a resize that reads its input row by row, from the top: a decoder need not keep the
// whole image.
//
//   resample_open -> resample_row for y = 0, 1, .. h - 1, each filled -> resample_close
#ifndef IMAGE_RESAMPLE_H
#define IMAGE_RESAMPLE_H

#include "image/image.h"
#include "image/resample_kernels.h"

struct resample;

// What image_resize_box makes of an image of in_w x in_h x c. `kernel` NULL: the fastest.
struct resample_plan {
    int in_w, in_h, c;
    int w, h;             // of the whole result
    struct image_box box; // the part of it that is made
    const struct kernel *kernel;
};
struct resample *resample_open(const struct resample_plan *plan);

// The address for row y, lent until the next call. NULL: neither this row nor a later one is
// needed. Rows before the first one that is needed have an address, too.
uint8_t *resample_row(struct resample *r, int y);

// All rows of the image at once, without a copy, instead of resample_row.
void resample_image(struct resample *r, const struct image *im);

// Time spent in the calls so far, us.
int64_t resample_time_us(const struct resample *r);

// Makes the image from the rows. With ret_image NULL it only frees. Accepts NULL r.
void resample_close(struct resample *r, struct image *ret_image);

#endif
