#include "jitter.h"

#include <math.h>

#include "base/util.h"

// Pillow truncates after it limits.
static uint8_t limited(float v) {
    return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

static uint8_t blend(uint8_t degenerate, uint8_t v, float f) {
    return limited((float)degenerate + f * (float)(v - degenerate));
}

static size_t pixels_of(const struct image *im) {
    return (size_t)im->w * (size_t)im->h;
}

static void change_all(struct image *im, uint8_t degenerate, float f) {
    uint8_t table[256];
    for (int v = 0; v < 256; v++)
        table[v] = blend(degenerate, (uint8_t)v, f);
    for (size_t i = 0; i < pixels_of(im) * (size_t)im->c; i++)
        im->pixels[i] = table[im->pixels[i]];
}

static uint8_t mean_luma(const struct image *im) {
    struct image gray;
    uint64_t sum = 0;
    image_gray(im, &gray);
    for (size_t i = 0; i < pixels_of(im); i++)
        sum += gray.pixels[i];
    image_fini(&gray);
    return (uint8_t)((double)sum / (double)pixels_of(im) + 0.5);
}

static void change_saturation(struct image *im, float f) {
    struct image gray;
    image_gray(im, &gray);
    for (size_t i = 0; i < 3 * pixels_of(im); i++)
        im->pixels[i] = blend(gray.pixels[i / 3], im->pixels[i], f);
    image_fini(&gray);
}

// Pillow's 8-bit H,S,V. It mixes float and double; each step must, too, to give the same bytes.
static void hsv_from_rgb(const uint8_t *rgb, uint8_t *ret_hsv) {
    int r = rgb[0], g = rgb[1], b = rgb[2];
    int high = MAX(r, MAX(g, b)), low = MIN(r, MIN(g, b));
    float range = (float)(high - low), h;
    ret_hsv[0] = ret_hsv[1] = 0;
    ret_hsv[2] = (uint8_t)high;
    if (high == low)
        return;
    float rc = (float)(high - r) / range, gc = (float)(high - g) / range;
    float bc = (float)(high - b) / range;
    if (r == high)
        h = bc - gc;
    else if (g == high)
        h = (float)(2.0 + rc - bc);
    else
        h = (float)(4.0 + gc - rc);
    h = (float)fmod(h / 6.0 + 1.0, 1.0);
    ret_hsv[0] = (uint8_t)(h * 255.0);
    ret_hsv[1] = (uint8_t)(range / (float)high * 255.0);
}

static void rgb_from_hsv(const uint8_t *hsv, uint8_t *ret_rgb) {
    // For each sixth of the circle: which of the levels v, p, q, t is r, g and b.
    static const uint8_t parts[6][3] = {{0, 3, 1}, {2, 0, 1}, {1, 0, 3},
                                        {1, 2, 0}, {3, 1, 0}, {0, 1, 2}};
    double circle = hsv[0] * 6.0 / 255.0;
    int sixth = (int)circle;
    float f = (float)(circle - sixth), s = (float)(hsv[1] / 255.0);
    const uint8_t level[4] = {
        hsv[2],
        (uint8_t)round(hsv[2] * (1.0 - s)),
        (uint8_t)round(hsv[2] * (1.0 - s * f)),
        (uint8_t)round(hsv[2] * (1.0 - s * (1.0 - f))),
    };
    for (int k = 0; k < 3; k++)
        ret_rgb[k] = hsv[1] ? level[parts[sixth % 6][k]] : hsv[2];
}

static void turn_hue(struct image *im, double f) {
    uint8_t shift = (uint8_t)(int)(f * 255); // wraps around, as the hue does
    for (uint8_t *p = im->pixels; p < im->pixels + 3 * pixels_of(im); p += 3) {
        uint8_t hsv[3];
        hsv_from_rgb(p, hsv);
        hsv[0] = (uint8_t)(hsv[0] + shift);
        rgb_from_hsv(hsv, p);
    }
}

static void apply_one(enum jitter_kind kind, double f, struct image *im) {
    switch (kind) {
    case JITTER_BRIGHTNESS:
        change_all(im, 0, (float)f);
        return;
    case JITTER_CONTRAST:
        change_all(im, mean_luma(im), (float)f);
        return;
    case JITTER_SATURATION:
        if (im->c == 3)
            change_saturation(im, (float)f);
        return;
    case JITTER_HUE:
        if (im->c == 3)
            turn_hue(im, f);
        return;
    case JITTER_KINDS:
        return;
    }
}

void jitter_apply(const struct jitter *j, struct image *im) {
    for (int i = 0; i < JITTER_KINDS; i++)
        if (j->on[j->order[i]])
            apply_one(j->order[i], j->factor[j->order[i]], im);
}

void jitter_order(uint64_t number, enum jitter_kind ret_order[JITTER_KINDS]) {
    enum jitter_kind left[JITTER_KINDS] = {JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION,
                                           JITTER_HUE};
    // The digits of `number` in the factorial number system choose among those that are left.
    for (unsigned i = 0, n = JITTER_KINDS; n > 0; i++, n--) {
        unsigned pick = (unsigned)(number % n);
        number /= n;
        ret_order[i] = left[pick];
        for (unsigned k = pick; k + 1 < n; k++)
            left[k] = left[k + 1];
    }
}
