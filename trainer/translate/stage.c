// A stage keeps a window of input rows. It moves down, and only the rows that enter are computed.
#include "translate/stage.h"

#include <stdlib.h>
#include <string.h>

#include "backend/pixels.h"
#include "base/err.h"
#include "base/util.h"

#define STAGE_CONVS 6 // convolutions kept, one per height of a band

struct conv {
    int rows; // 0: free
    uint64_t used;
    struct device_conv *conv;
};

struct stage {
    const struct bands *bands;
    int level, rows;
    struct stage *source; // of the level before if that is not stored
    struct device_weights *weights;
    float *in; // input of the convolution: rows [low, high), with borders
    int low, high, capacity;
    float *out;              // its output
    float *z, *skip, *value; // buffers for the level before, see buffer_sizes
    struct conv convs[STAGE_CONVS];
    uint64_t clock;
    void *workspace;
    size_t workspace_bytes;
};

static const struct level *level_of(const struct stage *s) {
    return &s->bands->levels[s->level];
}

// Floats of a row of z.
static size_t out_row(const struct level *l) {
    return (size_t)l->w * (size_t)l->layer.conv.k;
}

// ---- sizes ----

// Rows and columns of border that are stored explicitly: by reflection, or the zero padding of an
// ordinary convolution.
static int border_of(const struct level *l) {
    return l->layer.border + (l->layer.conv.transposed ? 0 : l->layer.conv.pad);
}

static size_t in_row(const struct level *l) {
    return (size_t)(l->in_w + 2 * border_of(l)) * (size_t)l->layer.c;
}

// The input rows [low, high) for rows [first, end) of z. The border begins at row -border.
static void input_rows(const struct level *l, int first, int end, int *ret_low, int *ret_high) {
    int s = l->layer.conv.stride, p = l->layer.conv.pad, r = l->layer.conv.r;

    // Output row y reads input rows y s - border to y s - border + r - 1.
    if (!l->layer.conv.transposed) {
        int border = border_of(l);
        *ret_low = first * s - border;
        *ret_high = (end - 1) * s - border + r;
    } else { // input row i contributes to rows i s - p to i s - p + r - 1
        int low = first + p - r + 1;
        *ret_low = low > 0 ? (low + s - 1) / s : 0;
        *ret_high = MIN((end - 1 + p) / s + 1, l->in_h);
    }
}

// The most input rows that `rows` rows of z need.
static int in_rows(const struct level *l, int rows) {
    int s = l->layer.conv.stride, r = l->layer.conv.r;

    return l->layer.conv.transposed ? rows / s + r : (rows - 1) * s + r;
}

// Floats of the buffers for the level before: its z, its skip input, its values.
struct buffer_sizes {
    size_t z, skip, value;
};

static struct buffer_sizes buffer_sizes(const struct bands *b, int i, int rows) {
    const struct level *l = &b->levels[i], *from = i ? l - 1 : NULL;
    size_t n = (size_t)in_rows(l, rows);

    if (!from)
        return (struct buffer_sizes){0};
    if (l->layer.up)
        // Doubled rows come from half as many, and some on each side for the filter.
        n = n / 2 + 3;
    size_t out = n * (size_t)from->out_w * (size_t)from->out_c;
    if (from->layer.blur)
        // The blur reads rows 2 y - 1 to 2 y + 1.
        n = 2 * n + 1;
    struct buffer_sizes size = {.z = from->stored ? n * out_row(from) : 0};
    // Rows of the remembered input that is added.
    if (from->layer.skip == NET_SKIP_ADD)
        size.skip = out;
    if (from->joins >= 0)
        size.skip = n * out_row(&b->levels[from->joins]);
    if (from->joins >= 0)
        // Both maps after norm and activation, before they are joined.
        size.value = MAX(n * out_row(from), size.skip) * 2;
    if (from->layer.blur)
        size.value = n * (size_t)(from->w + 2) * (size_t)from->layer.conv.k + out;
    if (l->layer.up)
        size.value = 5 * out; // the map and its double in both directions
    return size;
}

static bool has_source(const struct bands *b, int i) {
    return i > 0 && !b->levels[i - 1].stored;
}

size_t stage_buffer_bytes(const struct bands *b, int i, int rows) {
    const struct level *l = &b->levels[i];
    struct buffer_sizes size = buffer_sizes(b, i, rows);
    size_t floats = (size_t)in_rows(l, rows) * in_row(l) + size.z + size.skip + size.value;

    // A transposed convolution computes some rows more than requested.
    floats +=
        ((size_t)rows + (l->layer.conv.transposed ? 2 * (size_t)l->layer.conv.r : 0)) * out_row(l);
    return floats * sizeof(float) +
           (has_source(b, i) ? stage_buffer_bytes(b, i - 1, in_rows(l, rows)) : 0);
}

// ---- life ----

static float *new_buffer(size_t floats) {
    return floats ? xmalloc(floats * sizeof(float)) : NULL;
}

int stage_new(const struct bands *b, int i, int rows, struct stage **ret) {
    struct stage *s = xcalloc(1, sizeof *s);
    const struct level *l = &b->levels[i];
    const struct model_param *w = l->layer.weight;
    struct buffer_sizes size = buffer_sizes(b, i, rows);

    s->bands = b;
    s->level = i;
    s->rows = rows;
    s->capacity = in_rows(l, rows);
    s->weights = b->device->backend->weights_new(b->device, w->w, w->dims);
    s->in = new_buffer((size_t)s->capacity * in_row(l));
    s->out = new_buffer(
        ((size_t)rows + (l->layer.conv.transposed ? 2 * (size_t)l->layer.conv.r : 0)) * out_row(l));
    s->z = new_buffer(size.z);
    s->skip = new_buffer(size.skip);
    s->value = new_buffer(size.value);
    // An empty window in front of the first row.
    s->low = s->high = -border_of(l);
    int err = has_source(b, i) ? stage_new(b, i - 1, s->capacity, &s->source) : ERR_OK;
    if (err) {
        stage_free(s);
        return err;
    }
    *ret = s;
    return ERR_OK;
}

void stage_free(struct stage *s) {
    if (!s)
        return;
    const struct backend *backend = s->bands->device->backend;
    for (int i = 0; i < STAGE_CONVS; i++)
        backend->conv_free(s->convs[i].conv);
    backend->weights_free(s->weights);
    stage_free(s->source);
    free(s->in);
    free(s->out);
    free(s->z);
    free(s->skip);
    free(s->value);
    free(s->workspace);
    free(s);
}

// ---- the output of the layer before ----

static struct rows_norm norm_of(const struct level *l) {
    struct rows_norm norm = {.act = l->layer.act};

    if (l->layer.norm != NORM_NONE) {
        // Complete: the level's pass has seen all its rows.
        norm.mean = l->mean;
        norm.rstd = l->rstd;
    }
    if (l->layer.norm_weight) {
        norm.weight = l->layer.norm_weight->w;
        norm.bias = l->layer.norm_bias->w;
    }
    return norm;
}

// Rows [first, end) of z of the level before.
static int read_z(struct stage *s, int first, int end, const float **ret) {
    const struct level *from = level_of(s) - 1;

    // Computed again instead of read.
    if (s->source)
        return stage_rows(s->source, first, end, ret);
    *ret = s->z;
    return scratch_read(from->z, first, end - first, s->z);
}

// Rows [first, end) of act(norm(z)) + skip of the level before; row i at i * stride floats of ret.
static int read_values(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *from = level_of(s) - 1;
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
    const struct level *from = level_of(s) - 1, *with = &s->bands->levels[from->joins];
    struct rows_norm norm = norm_of(with);
    int n = end - first;
    float *own = s->value, *other = own + (size_t)n * out_row(from);
    int err = read_values(s, first, end, own, out_row(from));

    if (!err)
        err = scratch_read(with->z, first, n, s->skip);
    if (err)
        return err;
    rows_norm(&norm, n, with->w, with->layer.conv.k, s->skip, NULL, other, out_row(with));
    rows_join(n, from->w, with->layer.conv.k, from->layer.conv.k, other, own, ret, stride);
    return ERR_OK;
}

static void copy_rows(int n, size_t row, const float *from, float *to, size_t stride) {
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * stride, from + (size_t)i * row, row * sizeof *to);
}

// Rows [first, end) of the blurred and halved map of the level before.
static int read_blurred(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *from = level_of(s) - 1;
    int c = from->layer.conv.k, low = 2 * first - 1, high = 2 * end;
    size_t row = (size_t)(from->w + 2) * (size_t)c;
    int top = MAX(low, 0), bottom = MIN(high, from->h);
    float *v = s->value, *inside = v + (size_t)(top - low) * row;
    int err = read_values(s, top, bottom, inside + c, row);

    if (err)
        return err;
    rows_reflect(bottom - top, from->w, c, 1, inside);
    // The row above the image is the mirror of row 1, which is the third in the buffer.
    if (top > low)
        memcpy(v, v + 2 * row, row * sizeof *v);
    if (bottom < high) {
        float *last = inside + (size_t)(bottom - top - 1) * row;
        // Below likewise: the mirror of the last row but one.
        memcpy(last + row, last - row, row * sizeof *v);
    }
    int rows =
        2 * (end - first) + 1; // one less than were read if the height is even, which is harmless
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

// Rows [first, end) of the output of the level before, or of the image.
static int read_output(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *l = level_of(s);

    if (s->level == 0) {
#pragma omp parallel for
        for (int y = first; y < end; y++)
            pixels_from_rows(s->bands->picture, y, y + 1, l->in_w,
                             ret + (size_t)(y - first) * stride);
        return ERR_OK;
    }
    if (l[-1].layer.blur)
        return read_blurred(s, first, end, ret, stride);
    if (l[-1].joins >= 0)
        return read_joined(s, first, end, ret, stride);
    return read_values(s, first, end, ret, stride);
}

// The same rows, doubled in both directions.
static int read_doubled(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct level *l = level_of(s);
    int c = l->layer.c, w = l->in_w / 2;
    // One row more on each side, so that the edge of the band is not the edge of the image.
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

// Keeps the input of a residual block for its addition.
static int remember_rows(struct stage *s, int first, int end, const float *rows, size_t stride) {
    int err = ERR_OK;

    for (int y = first; y < end && !err; y++)
        err = scratch_write(s->bands->remembered, y, 1, rows + (size_t)(y - first) * stride);
    return err;
}

// Rows [first, end) of what the layer's convolution reads, without the border: the output of the
// layer before, or the image, doubled if the layer doubles. Row i is at i * stride floats of ret.
// Keeps the rows if the layer remembers its input.
static int read_input(struct stage *s, int first, int end, float *ret, size_t stride) {
    const struct net_layer *l = &level_of(s)->layer;
    int err =
        l->up ? read_doubled(s, first, end, ret, stride) : read_output(s, first, end, ret, stride);

    return err || l->skip != NET_SKIP_REMEMBER ? err : remember_rows(s, first, end, ret, stride);
}

// ---- the rows that the convolution reads, with their border ----

static float *row_at(const struct stage *s, int y) {
    return s->in + (size_t)(y - s->low) * in_row(level_of(s));
}

// Fills a row of the border above or below from the rows inside.
static void fill_border_row(const struct stage *s, int y) {
    const struct level *l = level_of(s);
    size_t bytes = in_row(l) * sizeof(float);

    if (l->layer.border)
        memcpy(row_at(s, y), row_at(s, y < 0 ? -y : 2 * (l->in_h - 1) - y), bytes);
    else
        memset(row_at(s, y), 0, bytes);
}

// Reads rows [first, end), which lie inside the map.
static int fetch_rows(struct stage *s, int first, int end) {
    const struct level *l = level_of(s);
    int border = border_of(l);
    size_t stride = in_row(l);
    float *rows = row_at(s, first), *inside = rows + (size_t)border * (size_t)l->layer.c;
    int err = read_input(s, first, end, inside, stride);

    if (!err && l->layer.border)
        rows_reflect(end - first, l->in_w, l->layer.c, border, rows);
    else if (!err && border)
        rows_zero(end - first, l->in_w, l->layer.c, border, rows);
    return err;
}

// Moves the window of `in` to rows [low, high).
static int move_window(struct stage *s, int low, int high) {
    const struct level *l = level_of(s);
    int kept = MAX(s->high - low, 0), from = MAX(s->high, low);

    if (high - low > s->capacity || low < s->low)
        BUG("rows [%d, %d) behind [%d, %d)", low, high, s->low, s->high);
    // Before s->low changes: row_at counts from the old one. The parts may overlap.
    memmove(s->in, row_at(s, low), (size_t)kept * in_row(l) * sizeof(float));
    s->low = low;
    s->high = high;
    // Rows inside first: border rows are copies of them.
    int first = MAX(from, 0), end = MIN(high, l->in_h);
    int err = first < end ? fetch_rows(s, first, end) : ERR_OK;
    for (int y = from; y < 0 && !err; y++)
        fill_border_row(s, y);
    for (int y = MAX(from, l->in_h); y < high && !err; y++)
        fill_border_row(s, y);
    return err;
}

// ---- the convolution ----

static struct conv *claim_conv(struct stage *s) {
    struct conv *oldest = &s->convs[0];

    // A free slot has used = 0 and so is the oldest.
    for (int i = 1; i < STAGE_CONVS; i++)
        if (s->convs[i].used < oldest->used)
            oldest = &s->convs[i];
    s->bands->device->backend->conv_free(oldest->conv);
    *oldest = (struct conv){0};
    return oldest;
}

static void grow_workspace(struct stage *s, size_t bytes) {
    if (bytes <= s->workspace_bytes)
        return;
    free(s->workspace);
    s->workspace = xaligned(bytes);
    s->workspace_bytes = bytes;
}

static int prepare_conv(struct stage *s, int rows, struct conv *c) {
    const struct backend *backend = s->bands->device->backend;
    const struct level *l = level_of(s);
    const struct graph_conv_args *a = &l->layer.conv;
    struct conv_shape shape = {
        .n = 1,
        .c = l->layer.c,
        .h = rows,
        .w = l->in_w + 2 * border_of(l),
        .k = a->k,
        .r = a->r,
        .stride = a->stride,
        .pad = a->transposed ? a->pad : 0, // else the padding is stored in `in`
        .out_pad = a->out_pad,
        .transposed = a->transposed,
        .bias = l->layer.bias != NULL,
    };
    int err = backend->conv_new(s->weights, &shape, false, &c->conv);

    if (err)
        return err;
    c->rows = rows;
    grow_workspace(s, backend->conv_workspace_bytes(c->conv));
    // Packs the filters in the layout of the new convolution.
    return backend->weights_refresh(s->bands->device, &s->weights, 1);
}

static int conv_for(struct stage *s, int rows, struct device_conv **ret) {
    struct conv *found = NULL;

    for (int i = 0; i < STAGE_CONVS && !found; i++)
        if (s->convs[i].rows == rows)
            found = &s->convs[i];
    if (!found) {
        found = claim_conv(s);
        int err = prepare_conv(s, rows, found);
        if (err)
            return err;
    }
    found->used = ++s->clock;
    *ret = found->conv;
    return ERR_OK;
}

int stage_rows(struct stage *s, int first, int end, const float **ret_rows) {
    const struct level *l = level_of(s);
    const float *bias = l->layer.bias ? l->layer.bias->w : NULL;
    struct device_conv *conv;
    int low, high;

    if (end - first > s->rows)
        BUG("%d rows of %d", end - first, s->rows);
    input_rows(l, first, end, &low, &high);
    int err = move_window(s, low, high);
    if (!err)
        err = conv_for(s, high - low, &conv);
    if (!err)
        err = s->bands->device->backend->conv_forward(conv, s->in, bias, s->out, s->workspace);
    if (err)
        return err;
    // Input row low contributes to earlier output rows, which are skipped.
    int before = l->layer.conv.transposed ? first - low * l->layer.conv.stride : 0;
    *ret_rows = s->out + (size_t)before * out_row(l);
    return ERR_OK;
}
