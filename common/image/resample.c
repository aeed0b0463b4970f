#include "image/resample.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

struct resample {
    struct resample_plan plan;
    const struct kernel *kernel;
    const struct taps *across, *down; // lent by this thread's table; see taps_get
    int from, end;                    // rows that are needed; `from` is a multiple of KERNEL_ROWS
    int filled;                       // rows handed out so far
    bool whole;                       // resample_image has processed all rows
    size_t stride, quad_bytes;
    uint8_t *rows, *band, *middle;
    int64_t time_us;
};

static const struct kernel *fastest(const struct taps *across, const struct taps *down) {
    int i = across->small && down->small ? kernel_count - 1 : 0;
    while (!kernels[i]->usable())
        i--;
    return kernels[i];
}

// The input rows from which the box's first and last output rows are computed.
static void find_rows(struct resample *r) {
    const struct taps *t = r->down;
    const struct image_box *box = &r->plan.box;
    int last = box->y + box->h - 1;
    r->from = t->first_quad[box->y] * 4 / KERNEL_ROWS * KERNEL_ROWS;
    r->end = MIN(r->plan.in_h, (t->first_quad[last] + t->quads) * 4);
}

struct resample *resample_open(const struct resample_plan *plan) {
    const struct image_box *box = &plan->box;
    if (box->x < 0 || box->y < 0 || box->w < 1 || box->h < 1 || box->x > plan->w - box->w ||
        box->y > plan->h - box->h)
        BUG("box %d,%d %dx%d of a picture of %dx%d", box->x, box->y, box->w, box->h, plan->w,
            plan->h);
    int64_t begun = now_us();
    struct resample *r = xcalloc(1, sizeof *r);
    r->plan = *plan;
    r->across = taps_get(plan->in_w, plan->w);
    r->down = taps_get(plan->in_h, plan->h);
    r->kernel = plan->kernel ? plan->kernel : fastest(r->across, r->down);
    find_rows(r);
    size_t bands = (size_t)(r->end - r->from + KERNEL_ROWS - 1) / KERNEL_ROWS;
    size_t lanes = (size_t)box->w * (size_t)plan->c;
    r->stride = (size_t)plan->in_w * (size_t)plan->c;
    r->quad_bytes = (lanes * 4 + KERNEL_SLACK + 63) / 64 * 64;
    r->rows = xmalloc(r->stride * KERNEL_ROWS + KERNEL_SLACK);
    r->band = xmalloc((r->stride + 48) * KERNEL_ROWS + KERNEL_SLACK);
    r->middle = xmalloc(bands * 4 * r->quad_bytes + KERNEL_SLACK);
    r->time_us = now_us() - begun;
    return r;
}

static void resize_across(struct resample *r, const uint8_t *rows, int first) {
    const struct resample_plan *p = &r->plan;
    struct kernel_rows input = {rows, r->stride, p->in_w, p->c};
    struct kernel_span span = {r->across, p->box.x, p->box.w, 0};
    r->kernel->spread(&input, r->band);
    r->kernel->across(r->band, &span, p->c, r->quad_bytes,
                      r->middle + (size_t)(first - r->from) / 4 * r->quad_bytes);
}

// Resizes the band that ends with row y - 1 horizontally, if it is needed. Missing rows of the last
// band have weight 0 and are zeroed only to be defined.
static void take_band(struct resample *r, int y) {
    int first = (y - 1) / KERNEL_ROWS * KERNEL_ROWS, n = y - first;
    if (first < r->from || first >= r->end)
        return;
    if (n < KERNEL_ROWS)
        memset(r->rows + (size_t)n * r->stride, 0, (size_t)(KERNEL_ROWS - n) * r->stride);
    resize_across(r, r->rows, first);
}

uint8_t *resample_row(struct resample *r, int y) {
    if (y > 0 && y % KERNEL_ROWS == 0) {
        int64_t begun = now_us();
        take_band(r, y);
        r->time_us += now_us() - begun;
    }
    if (y >= r->end)
        return NULL;
    r->filled = y + 1;
    return r->rows + (size_t)(y % KERNEL_ROWS) * r->stride;
}

void resample_image(struct resample *r, const struct image *im) {
    size_t band = r->stride * KERNEL_ROWS, size = r->stride * (size_t)im->h;
    for (int y = r->from; y < r->end; y += KERNEL_ROWS) {
        size_t at = (size_t)y * r->stride;
        if (at + band + KERNEL_SLACK <= size) {
            resize_across(r, im->pixels + at, y);
        } else { // a kernel reads up to KERNEL_SLACK bytes behind its rows
            memcpy(r->rows, im->pixels + at, MIN(band, size - at));
            take_band(r, MIN(y + KERNEL_ROWS, im->h));
        }
    }
    r->whole = true;
}

int64_t resample_time_us(const struct resample *r) {
    return r->time_us;
}

static void finish(struct resample *r, struct image *ret_image) {
    const struct resample_plan *p = &r->plan;
    struct kernel_span span = {r->down, p->box.y, p->box.h, r->from / 4};
    size_t lanes = (size_t)p->box.w * (size_t)p->c;
    struct image out = {p->box.w, p->box.h, p->c, xmalloc((size_t)p->box.h * lanes)};
    if (!r->whole)
        take_band(r, r->filled);
    r->kernel->down(r->middle, &span, r->quad_bytes, lanes, out.pixels);
    *ret_image = out;
}

void resample_close(struct resample *r, struct image *ret_image) {
    if (!r)
        return;
    if (ret_image)
        finish(r, ret_image);
    free(r->rows);
    free(r->band);
    free(r->middle);
    free(r);
}

// ---- a whole image ----

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
