// preprocess - the sizes and crops that the reference's `preprocess` modes make of an image.
//
// Source: the PyTorch repository pytorch-CycleGAN-and-pix2pix, data/base_dataset.py
// (get_transform, __make_power_2, __scale_width, __crop).
#ifndef PREPROCESS_H
#define PREPROCESS_H

#include "image/image.h"

enum preprocess {
    PREPROCESS_RESIZE_AND_CROP,
    PREPROCESS_RESIZE,
    PREPROCESS_CROP,
    PREPROCESS_SCALE_WIDTH,
    PREPROCESS_SCALE_WIDTH_AND_CROP,
    PREPROCESS_NONE,
};

// "resize_and_crop" and so on; false if the name is none of them.
bool preprocess_from_name(const char *name, enum preprocess *ret_preprocess);
const char *preprocess_name(enum preprocess p);

// x rounded to a multiple of `base`, ties to the even multiple: 6 -> 8, 10 -> 8 for base 4.
int preprocess_make_power(int x, int base);

// w, h if w is load_size and h >= crop_size; else load_size wide and
// int(max(load_size * h / w, crop_size)) high.
void preprocess_scale_width(int w, int h, int load_size, int crop_size, int *ret_w, int *ret_h);

// The size before the crop. `none` rounds both sides to multiples of 4, ties to even, but to at
// least 4: the reference fails on sides of 1 and 2.
void preprocess_scaled_size(enum preprocess p, int w, int h, int load_size, int crop_size,
                            int *ret_w, int *ret_h);

// ERR_SHAPE if the scaled image would have more than image_default_limits.max_pixels, as a very
// tall image under scale_width; the text names both sizes. Call it before the image is scaled.
int preprocess_check(enum preprocess p, int w, int h, int load_size, int crop_size);

// The largest valid crop offsets; 0 where the mode does not crop, or the side is short enough.
void preprocess_crop_range(enum preprocess p, int scaled_w, int scaled_h, int crop_size, int *ret_x,
                           int *ret_y);

// The whole chain without its random draws: scale, crop at (crop_x, crop_y), flip. The crop happens
// if the mode crops and one side is longer than crop_size. An oracle: tests compare it with the
// reference's bytes; the loader does the same in steps, with a cache between them (source.c).
void preprocess_apply(enum preprocess p, const struct image *im, int load_size, int crop_size,
                      int crop_x, int crop_y, bool flip, struct image *ret_image);

#endif
