// Both axes have the same taps, so an output pixel sums the products of row and column taps.
#include "cpu/resample.h"

#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "base/util.h"

// The input rows (or columns) that one output row sums up.
enum { TAPS_MAX = 4 };
struct taps {
    int count, at[TAPS_MAX];
    float weight[TAPS_MAX];
};

static void add_tap(struct taps *t, int size, int at, float weight) {
    // Beyond the edge there is nothing: only adjoints come here.
    if (at < 0 || at >= size)
        return;
    t->at[t->count] = at;
    t->weight[t->count++] = weight;
}

// At the edge the pixel itself is repeated, as the reference's replication padding does.
static void add_clamped(struct taps *t, int size, int at, float weight) {
    add_tap(t, size, MIN(MAX(at, 0), size - 1), weight);
}

// Of output `to`; the input has `size` rows, the output `to_size`.
static struct taps taps_of(enum resample_kind kind, int to, int size, int to_size) {
    struct taps t = {0};

    switch (kind) {
    case RESAMPLE_BLUR:
        for (int i = 0; i < 3; i++)
            // The map carries a border of 1, so output `to` is centred at input 2 to + 1.
            add_tap(&t, size, 2 * to + i, i == 1 ? 0.5f : 0.25f);
        break;
    case RESAMPLE_BLUR_ADJOINT:
        // Odd positions of the bordered map are centres of outputs, even ones are shared by two.
        if (to % 2) {
            add_tap(&t, size, to / 2, 0.5f);
        } else {
            add_tap(&t, size, to / 2 - 1, 0.25f);
            add_tap(&t, size, to / 2, 0.25f);
        }
        break;
    case RESAMPLE_UP:
        add_tap(&t, size, to / 2, 0.75f);
        add_clamped(&t, size, to % 2 ? to / 2 + 1 : to / 2 - 1, 0.25f);
        break;
    case RESAMPLE_UP_ADJOINT: // at the edges the clamped quarter is the pixel's own
        add_tap(&t, size, 2 * to, to == 0 ? 1 : 0.75f);
        add_tap(&t, size, 2 * to + 1, to == to_size - 1 ? 1 : 0.75f);
        add_tap(&t, size, 2 * to - 1, 0.25f);
        add_tap(&t, size, 2 * to + 2, 0.25f);
        break;
    }
    return t;
}

CPU_CLONED(void, scaled, (int c, float weight, const float *restrict x, float *restrict y),
           (c, weight, x, y)) {
    for (int i = 0; i < c; i++)
        y[i] = weight * x[i];
}

CPU_CLONED(void, add_scaled, (int c, float weight, const float *restrict x, float *restrict y),
           (c, weight, x, y)) {
    for (int i = 0; i < c; i++)
        y[i] += weight * x[i];
}

int cpu_resample(struct device *d, const struct resample_shape *s, const void *x, void *ret_y) {
    size_t c = (size_t)s->c;
    const float *from = x;
    float *to = ret_y;

#pragma omp parallel for
    for (int line = 0; line < s->n * s->to_h; line++) {
        // Taps are cheap beside c channels, so no table of them is kept.
        struct taps rows = taps_of(s->kind, line % s->to_h, s->h, s->to_h);
        const float *image = from + (size_t)(line / s->to_h) * (size_t)(s->h * s->w) * c;
        for (int j = 0; j < s->to_w; j++) {
            struct taps columns = taps_of(s->kind, j, s->w, s->to_w);
            float *y = to + ((size_t)line * (size_t)s->to_w + (size_t)j) * c;
            for (int t = 0; t < rows.count * columns.count; t++) {
                int a = t / columns.count, b = t % columns.count;
                // The first product overwrites y, the others add.
                (t ? add_scaled : scaled)(s->c, rows.weight[a] * columns.weight[b],
                                          image + (size_t)(rows.at[a] * s->w + columns.at[b]) * c,
                                          y);
            }
            if (rows.count * columns.count == 0) // a border that nothing has read
                for (size_t i = 0; i < c; i++)
                    y[i] = 0;
        }
    }
    return ERR_OK;
}

int cpu_flip(struct device *d, const struct tensor_shape *s, const int *flip, const void *x,
             void *ret_y) {
    const float *from = x;
    float *to = ret_y;

    for (int row = 0; row < s->n * s->h; row++)
        for (int i = 0; i < s->w; i++)
            memcpy(to + (size_t)(row * s->w + i) * (size_t)s->c,
                   from + (size_t)(row * s->w + (*flip ? s->w - 1 - i : i)) * (size_t)s->c,
                   (size_t)s->c * sizeof *to);
    return ERR_OK;
}
