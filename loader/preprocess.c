// preprocess - sizes and crop ranges as the reference computes them. No draw is made here: items.c
// gives the offsets.
#include "preprocess.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

static const char *const names[] = {
    [PREPROCESS_RESIZE_AND_CROP] = "resize_and_crop",
    [PREPROCESS_RESIZE] = "resize",
    [PREPROCESS_CROP] = "crop",
    [PREPROCESS_SCALE_WIDTH] = "scale_width",
    [PREPROCESS_SCALE_WIDTH_AND_CROP] = "scale_width_and_crop",
    [PREPROCESS_NONE] = "none",
};

bool preprocess_from_name(const char *name, enum preprocess *ret_preprocess) {
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_preprocess = (enum preprocess)i;
            return true;
        }
    return false;
}

const char *preprocess_name(enum preprocess p) {
    return names[p];
}

// resize, scale_width and none keep the whole image.
static bool crops(enum preprocess p) {
    return p == PREPROCESS_RESIZE_AND_CROP || p == PREPROCESS_CROP ||
           p == PREPROCESS_SCALE_WIDTH_AND_CROP;
}

int preprocess_make_power(int x, int base) {
    return (int)(nearbyint((double)x / base) * base); // the default rounding: ties to even
}

void preprocess_scale_width(int w, int h, int load_size, int crop_size, int *ret_w, int *ret_h) {
    double scaled = MIN((double)load_size * h / w, 1e9); // preprocess_check refuses more anyway
    // The reference returns such an image unchanged.
    bool keep = w == load_size && h >= crop_size;
    *ret_w = load_size;
    // int() in Python truncates, as this cast does.
    *ret_h = keep ? h : (int)MAX(scaled, (double)crop_size);
}

void preprocess_scaled_size(enum preprocess p, int w, int h, int load_size, int crop_size,
                            int *ret_w, int *ret_h) {
    switch (p) {
    case PREPROCESS_RESIZE_AND_CROP:
    case PREPROCESS_RESIZE:
        *ret_w = *ret_h = load_size;
        return;
    case PREPROCESS_SCALE_WIDTH:
    case PREPROCESS_SCALE_WIDTH_AND_CROP:
        preprocess_scale_width(w, h, load_size, crop_size, ret_w, ret_h);
        return;
    case PREPROCESS_CROP:
        *ret_w = w;
        *ret_h = h;
        return;
    case PREPROCESS_NONE:
        // MAX keeps a side of 1 or 2 from rounding to 0.
        *ret_w = MAX(4, preprocess_make_power(w, 4));
        *ret_h = MAX(4, preprocess_make_power(h, 4));
        return;
    }
    BUG("preprocess %d", (int)p);
}

int preprocess_check(enum preprocess p, int w, int h, int load_size, int crop_size) {
    int64_t limit = image_default_limits.max_pixels;
    int to_w, to_h;
    preprocess_scaled_size(p, w, h, load_size, crop_size, &to_w, &to_h);
    // 64 bits: two sides below 2^31 do not overflow.
    if ((int64_t)to_w * to_h > limit)
        return err_set(ERR_SHAPE, "%dx%d becomes %dx%d under %s: more than %lld pixels", w, h, to_w,
                       to_h, preprocess_name(p), (long long)limit);
    return ERR_OK;
}

void preprocess_crop_range(enum preprocess p, int scaled_w, int scaled_h, int crop_size, int *ret_x,
                           int *ret_y) {
    *ret_x = crops(p) ? MAX(0, scaled_w - crop_size) : 0;
    *ret_y = crops(p) ? MAX(0, scaled_h - crop_size) : 0;
}

static bool inside(struct image_box box, int w, int h) {
    return box.x >= 0 && box.y >= 0 && box.x <= w - box.w && box.y <= h - box.h;
}

void preprocess_apply(enum preprocess p, const struct image *im, int load_size, int crop_size,
                      int crop_x, int crop_y, bool flip, struct image *ret_image) {
    struct image out, scaled;
    int w, h;
    preprocess_scaled_size(p, im->w, im->h, load_size, crop_size, &w, &h);
    struct image_box box = {crop_x, crop_y, crop_size, crop_size};
    // The reference crops if either side is larger than crop_size.
    if (!crops(p) || (w <= crop_size && h <= crop_size)) {
        image_resize(im, w, h, &out);
        // A box inside needs only its part of the resize.
    } else if (inside(box, w, h)) {
        image_resize_box(im, w, h, box, &out);
        // A box that sticks out is padded with zeros, which only image_crop does.
    } else {
        image_resize(im, w, h, &scaled);
        image_crop(&scaled, crop_x, crop_y, crop_size, crop_size, &out);
        image_fini(&scaled);
    }
    if (flip)
        image_flip(&out);
    *ret_image = out;
}
