// Burt and Adelson's REDUCE and EXPAND; each level is what the next one cannot represent.
#include "judge/pyramid.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

int pyramid_count(int w, int h) {
    int n = 1;
    while (n < PYRAMID_LEVELS_MAX && MIN(w, h) / 2 >= PYRAMID_SIDE_MIN) {
        w = (w + 1) / 2;
        h = (h + 1) / 2;
        n++;
    }
    return n;
}

static int mirror(int i, int n) {
    if (i < 0)
        i = -i;
    // A single reflection suffices: i is at most 2 outside, and n is at least 3.
    return i < n ? i : 2 * n - 2 - i;
}

// One direction over n elements of `step` floats each, times `gain`.
static void blur_line(const float *in, int n, size_t step, float gain, float *ret) {
    for (int i = 0; i < n; i++) {
        const float *a = in + (size_t)mirror(i - 2, n) * step;
        const float *b = in + (size_t)mirror(i - 1, n) * step;
        const float *c = in + (size_t)i * step;
        const float *d = in + (size_t)mirror(i + 1, n) * step;
        const float *e = in + (size_t)mirror(i + 2, n) * step;
        float *out = ret + (size_t)i * step;
        for (size_t k = 0; k < step; k++)
            // The binomial filter [1 4 6 4 1] / 16.
            out[k] = (a[k] + e[k] + 4 * (b[k] + d[k]) + 6 * c[k]) * (gain / 16);
    }
}

// In place; sides >= 3.
static void blur(float *v, int w, int h, int c, float gain) {
    size_t row = (size_t)w * (size_t)c;
    float *across = xmalloc(row * (size_t)h * sizeof *across);
    for (int y = 0; y < h; y++)
        blur_line(v + (size_t)y * row, w, (size_t)c, 1, across + (size_t)y * row);
    // A column is a line of whole rows, so the same function serves.
    blur_line(across, h, row, gain, v);
    free(across);
}

static float *copy_of(const float *v, int w, int h, int c) {
    size_t size = (size_t)w * (size_t)h * (size_t)c * sizeof *v;
    return memcpy(xmalloc(size), v, size);
}

// Every second pixel of big [h,w,c], or back with zeros between.
static void spread(float *big, int w, int h, int c, float *small, bool up) {
    int small_w = (w + 1) / 2;
    for (int y = 0; y < h; y += 2)
        for (int x = 0; x < w; x += 2) {
            float *b = big + ((size_t)y * (size_t)w + (size_t)x) * (size_t)c;
            float *s = small + ((size_t)(y / 2) * (size_t)small_w + (size_t)(x / 2)) * (size_t)c;
            memcpy(up ? b : s, up ? s : b, (size_t)c * sizeof *b);
        }
}

static float *down(const float *v, int w, int h, int c) {
    float *blurred = copy_of(v, w, h, c);
    blur(blurred, w, h, c, 1);
    float *small =
        xmalloc((size_t)((w + 1) / 2) * (size_t)((h + 1) / 2) * (size_t)c * sizeof *small);
    spread(blurred, w, h, c, small, false);
    free(blurred);
    return small;
}

static void subtract_up(float *v, int w, int h, int c, float *small) {
    size_t n = (size_t)w * (size_t)h * (size_t)c;
    float *up = xcalloc(n, sizeof *up);
    spread(up, w, h, c, small, true);
    // Three of four pixels are zero, so the filter must be 4 times larger.
    blur(up, w, h, c, 4);
    for (size_t i = 0; i < n; i++)
        v[i] -= up[i];
    free(up);
}

void pyramid_init(struct pyramid *p, const struct image *im) {
    *p = (struct pyramid){.levels = pyramid_count(im->w, im->h), .c = im->c};
    size_t n = (size_t)im->w * (size_t)im->h * (size_t)im->c;
    p->w[0] = im->w;
    p->h[0] = im->h;
    p->level[0] = xmalloc(n * sizeof *p->level[0]);
    for (size_t i = 0; i < n; i++)
        // Level 0 is the image until the next level is subtracted below.
        p->level[0][i] = im->pixels[i];
    for (int i = 1; i < p->levels; i++) {
        p->w[i] = (p->w[i - 1] + 1) / 2;
        p->h[i] = (p->h[i - 1] + 1) / 2;
        p->level[i] = down(p->level[i - 1], p->w[i - 1], p->h[i - 1], p->c);
        // After `down`, which needs the level as it was.
        subtract_up(p->level[i - 1], p->w[i - 1], p->h[i - 1], p->c, p->level[i]);
    }
}

void pyramid_fini(struct pyramid *p) {
    for (int i = 0; i < p->levels; i++)
        free(p->level[i]);
    *p = (struct pyramid){0};
}
