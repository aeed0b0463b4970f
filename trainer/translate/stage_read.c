// Reading what the level before gives.
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "judge/picture.h"
#include "translate/stage_parts.h"

static struct rows_norm norm_of(const struct level *l) {
    struct rows_norm norm = {.act = l->layer.act};

    if (l->layer.norm != NORM_NONE) {
        norm.mean = l->mean;
        norm.rstd = l->rstd;
    }
    if (l->layer.norm_weight) {
        norm.weight = l->layer.norm_weight->w;
        norm.bias = l->layer.norm_bias->w;
    }
    return norm;
}

// Rows [first, end) of the z before.
static int read_z(struct stage *s, int first, int end, const float **ret) {
    const struct level *from = stage_level(s) - 1;

    if (s->source)
        return stage_rows(s->source, first, end, ret);
    *ret = s->z;
    return scratch_read(from->z, first, end - first, s->z);
}

// Rows [first, end) of act(norm(z)) + skip of the level before; row i at i * stride floats of ret.
static int read_values(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *from = stage_level(s) - 1;
    struct rows_norm norm = norm_of(from);
    const float *z;
    int n = end - first, err = read_z(s, first, end, &z);

    if (!err && from->layer.skip == NET_SKIP_ADD)
        err = scratch_read(s->bands->remembered, first, n, s->skip);
    if (err)
        return err;
    rows_norm(&norm, n, from->w, from->layer.conv.k, z,
              from->layer.skip == NET_SKIP_ADD ? s->skip : NULL, ret, stride);
    return ERR_OK;
}

static int read_joined(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *from = stage_level(s) - 1, *with = &s->bands->levels[from->joins];
    struct rows_norm norm = norm_of(with);
    int n = end - first;
    float *own = s->value, *other = own + (size_t)n * stage_out_row(from);
    int err = read_values(s, first, end, own, stage_out_row(from));

    if (!err)
        err = scratch_read(with->z, first, n, s->skip);
    if (err)
        return err;
    rows_norm(&norm, n, with->w, with->layer.conv.k, s->skip, NULL, other, stage_out_row(with));
    rows_join(n, from->w, with->layer.conv.k, from->layer.conv.k, other, own, ret, stride);
    return ERR_OK;
}

static void copy_rows(int n, size_t row, const float *from, float *to, size_t stride) {
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * stride, from + (size_t)i * row, row * sizeof *to);
}

// Rows [first, end) of the halved map before.
static int read_blurred(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *from = stage_level(s) - 1;
    int c = from->layer.conv.k, low = 2 * first - 1, high = 2 * end;
    size_t row = (size_t)(from->w + 2) * (size_t)c;
    int top = MAX(low, 0), bottom = MIN(high, from->h);
    float *v = s->value, *inside = v + (size_t)(top - low) * row;
    int err = read_values(s, top, bottom, inside + c, row);

    if (err)
        return err;
    rows_reflect(bottom - top, from->w, c, 1, inside);
    if (top > low)
        memcpy(v, v + 2 * row, row * sizeof *v);
    if (bottom < high) {
        float *last = inside + (size_t)(bottom - top - 1) * row;
        memcpy(last + row, last - row, row * sizeof *v);
    }
    int rows = 2 * (end - first) + 1; // one less than were read if the height is even
    float *half = v + (size_t)(high - low) * row;
    struct resample_shape shape = {.kind = RESAMPLE_BLUR,
                                   .n = 1,
                                   .h = rows,
                                   .w = from->w + 2,
                                   .to_h = end - first,
                                   .to_w = from->out_w,
                                   .c = c};
    err = s->bands->device->backend->resample(s->bands->device, &shape, v, half);
    if (!err)
        copy_rows(end - first, (size_t)from->out_w * (size_t)c, half, ret, stride);
    return err;
}

// Rows [first, end) of what the level before gives, or of the picture.
static int read_output(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *l = stage_level(s);

    if (s->level == 0) {
#pragma omp parallel for
        for (int y = first; y < end; y++)
            picture_rows(s->bands->picture, y, y + 1, l->in_w, ret + (size_t)(y - first) * stride);
        return ERR_OK;
    }
    if (l[-1].layer.blur)
        return read_blurred(s, first, end, ret, stride);
    if (l[-1].joins >= 0)
        return read_joined(s, first, end, ret, stride);
    return read_values(s, first, end, ret, stride);
}

// Rows [first, end) of it doubled both ways.
static int read_doubled(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *l = stage_level(s);
    int c = l->layer.c, w = l->in_w / 2;
    int low = MAX(first / 2 - 1, 0), high = MIN((end - 1) / 2 + 2, l->in_h / 2);
    size_t row = (size_t)w * (size_t)c;
    float *doubled = s->value + (size_t)(high - low) * row;
    struct resample_shape shape = {.kind = RESAMPLE_UP,
                                   .n = 1,
                                   .h = high - low,
                                   .w = w,
                                   .to_h = 2 * (high - low),
                                   .to_w = 2 * w,
                                   .c = c};
    int err = read_output(s, low, high, s->value, row);

    if (!err)
        err = s->bands->device->backend->resample(s->bands->device, &shape, s->value, doubled);
    if (!err)
        copy_rows(end - first, 2 * row, doubled + (size_t)(first - 2 * low) * 2 * row, ret, stride);
    return err;
}

// Keeps the block's input.
static int remember(struct stage *s, int first, int end, const float *rows, size_t stride) {
    int err = ERR_OK;

    for (int y = first; y < end && !err; y++)
        err = scratch_write(s->bands->remembered, y, 1, rows + (size_t)(y - first) * stride);
    return err;
}

int stage_read(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct net_layer *l = &stage_level(s)->layer;
    int err =
        l->up ? read_doubled(s, first, end, ret, stride) : read_output(s, first, end, ret, stride);

    return err || l->skip != NET_SKIP_REMEMBER ? err : remember(s, first, end, ret, stride);
}
