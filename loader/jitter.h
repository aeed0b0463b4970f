// jitter - random changes of brightness, contrast, saturation and hue. Byte for byte equal to
// torchvision's ColorJitter on a Pillow image.
//
// Each change blends the image v with a degenerate one d: v' = d + f (v - d), limited to 0..255
// and truncated, in float.
//   brightness  d = 0
//   contrast    d = the mean of the image's luma, rounded
//   saturation  d = the pixel's luma
//   hue         the 8-bit hue of H,S,V is turned by f of a circle (f in -0.5 .. 0.5)
// Source: torchvision 0.14, transforms/functional_pil.py; Pillow 9.4, ImageEnhance.py, Blend.c,
// Convert.c.
#ifndef JITTER_H
#define JITTER_H

#include <stdbool.h>

#include "image/image.h"

enum jitter_kind {
    JITTER_BRIGHTNESS,
    JITTER_CONTRAST,
    JITTER_SATURATION,
    JITTER_HUE,
    JITTER_KINDS
};

struct jitter {
    bool on[JITTER_KINDS];
    double factor[JITTER_KINDS];
    enum jitter_kind order[JITTER_KINDS]; // each kind once
};

// Changes the image in place. A gray image has no saturation and no hue to change.
void jitter_apply(const struct jitter *j, struct image *im);

// The permutation of number 0..23.
void jitter_order(uint64_t number, enum jitter_kind ret_order[JITTER_KINDS]);

#endif
