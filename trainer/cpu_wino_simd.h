// cpu_wino_simd - the tile and filter transforms of cpu_wino. See cpu_vector.h.
#include "cpu_vector.h"

enum { POINTS_MAX = 36, TAPS_MAX = 16 };

// One-dimensional transforms by the paper's B, A, G for m = 2 (its equation 10 and before) and m =
// 4 (section 4.3). m = 3 is F(3 x 3, 4 x 4), made from the same points 0, 1, -1, 2, -2 as m = 4: B
// is the same, A has the powers 0 to 2 of the points and G those from 0 to 3. x and y are columns
// or rows, sx and sy apart. y may not be x.

#define X(i) x[(i)*sx]
#define Y(i) y[(i)*sy]

INLINE void times_bt(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0) - X(2);
        Y(1) = X(1) + X(2);
        Y(2) = X(2) - X(1);
        Y(3) = X(1) - X(3);
        return;
    }
    vec p = X(4) - 4 * X(2), q = X(3) - 4 * X(1), r = X(4) - X(2), s = 2 * (X(3) - X(1));
    Y(0) = 4 * X(0) - 5 * X(2) + X(4);
    Y(1) = p + q;
    Y(2) = p - q;
    Y(3) = r + s;
    Y(4) = r - s;
    Y(5) = 4 * X(1) - 5 * X(3) + X(5);
}

INLINE void times_b(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0);
        Y(1) = X(1) - X(2) + X(3);
        Y(2) = X(1) + X(2) - X(0);
        Y(3) = -X(3);
        return;
    }
    vec s = X(1) + X(2), q = X(1) - X(2), u = X(3) + X(4), w = 2 * (X(3) - X(4));
    Y(0) = 4 * X(0);
    Y(1) = 4 * (X(5) - q) - w;
    Y(2) = -5 * X(0) - 4 * s - u;
    Y(3) = q + w - 5 * X(5);
    Y(4) = X(0) + s + u;
    Y(5) = X(5);
}

INLINE void times_at(int m, const vec *x, int sx, vec *y, int sy) {
    vec s = X(1) + X(2), q = X(1) - X(2);
    if (m == 2) {
        Y(0) = X(0) + s;
        Y(1) = q - X(3);
        return;
    }
    vec u = X(3) + X(4), w = X(3) - X(4);
    Y(0) = X(0) + s + u;
    Y(1) = q + 2 * w;
    Y(2) = s + 4 * u;
    if (m == 3)
        Y(2) += X(5);
    else
        Y(3) = q + 8 * w + X(5);
}

INLINE void times_a(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0);
        Y(1) = X(0) + X(1);
        Y(2) = X(0) - X(1);
        Y(3) = -X(1);
        return;
    }
    vec even = X(0) + X(2), odd = X(1), even2 = X(0) + 4 * X(2), odd2 = 2 * X(1);
    if (m == 4) {
        odd += X(3);
        odd2 += 8 * X(3);
    }
    Y(0) = X(0);
    Y(1) = even + odd;
    Y(2) = even - odd;
    Y(3) = even2 + odd2;
    Y(4) = even2 - odd2;
    Y(5) = X(m - 1);
}

INLINE void times_g(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        vec even = 0.5f * (X(0) + X(2)), odd = 0.5f * X(1);
        Y(0) = X(0);
        Y(1) = even + odd;
        Y(2) = even - odd;
        Y(3) = X(2);
        return;
    }
    vec even = (-1 / 6.f) * (X(0) + X(2)), even2 = (1 / 24.f) * X(0) + (1 / 6.f) * X(2);
    vec odd = (1 / 6.f) * X(1), odd2 = (1 / 12.f) * X(1);
    if (m == 3) {
        odd += (1 / 6.f) * X(3);
        odd2 += (1 / 3.f) * X(3);
    }
    Y(0) = 0.25f * X(0);
    Y(1) = even - odd;
    Y(2) = even + odd;
    Y(3) = even2 + odd2;
    Y(4) = even2 - odd2;
    Y(5) = X(m == 3 ? 3 : 2);
}

INLINE void times_gt(int m, const vec *x, int sx, vec *y, int sy) {
    vec s = X(1) + X(2), q = X(1) - X(2);
    if (m == 2) {
        Y(0) = X(0) + 0.5f * s;
        Y(1) = 0.5f * q;
        Y(2) = 0.5f * s + X(3);
        return;
    }
    vec u = X(3) + X(4), w = X(3) - X(4);
    Y(0) = 0.25f * X(0) - (1 / 6.f) * s + (1 / 24.f) * u;
    Y(1) = (1 / 12.f) * w - (1 / 6.f) * q;
    Y(2) = (1 / 6.f) * (u - s);
    if (m == 4)
        Y(2) += X(5);
    else
        Y(3) = (1 / 3.f) * w - (1 / 6.f) * q + X(5);
}

#undef X
#undef Y

// Sides of the filter and of a tile of inputs.
#define FILTER_SIDE(m) ((m) == 3 ? 4 : 3)
#define TILE_SIDE(m) ((m) == 2 ? 4 : 6)

// Both dimensions: [from][from] to [to][to], columns first.
#define BOTH(times, m, from, to, in, out)                                                          \
    do {                                                                                           \
        vec half_[POINTS_MAX];                                                                     \
        _Pragma("GCC unroll 6") for (int j_ = 0; j_ < (from); j_++)                                \
            times(m, (in) + j_, from, half_ + j_, from);                                           \
        _Pragma("GCC unroll 6") for (int i_ = 0; i_ < (to); i_++)                                  \
            times(m, half_ + i_ * (from), 1, (out) + i_ * (to), 1);                                \
    } while (0)

// Tiles. Channels of a patch beyond c are 0, and so are rows and columns that do not exist.

INLINE void load_patch(int side, const struct cpu_wino_patch *p, int c0, vec *in) {
#pragma GCC unroll 6
    for (int r = 0; r < side; r++)
#pragma GCC unroll 6
        for (int q = 0; q < side; q++)
            if (r >= p->row0 && r < p->rows && q >= p->col0 && q < p->cols)
                load_some(p->data + r * p->row + q * p->c + c0, p->c - c0, in + r * side + q);
            else
                in[r * side + q] = (vec){0};
}

INLINE void load_points(int count, const struct cpu_wino_points *p, int block, vec *in) {
    const float *data = p->data + block * p->block;
    ptrdiff_t point = p->point;

#pragma GCC unroll 36
    for (int i = 0; i < count; i++)
        in[i] = *(const vec *)(data + i * point);
}

INLINE void store_points(int count, const vec *out, const struct cpu_wino_points *p, int block) {
    float *data = p->data + block * p->block;
    ptrdiff_t point = p->point;

#pragma GCC unroll 36
    for (int i = 0; i < count; i++)
        *(vec *)(data + i * point) = out[i];
}

INLINE void input_tile(int m, const struct cpu_wino_patch *d, const struct cpu_wino_points *v) {
    int a = TILE_SIDE(m);

    for (int c0 = 0, b = 0; c0 < d->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_patch(a, d, c0, in);
        BOTH(times_bt, m, a, a, in, out);
        store_points(a * a, out, v, b);
    }
}

INLINE void grad_tile(int m, const struct cpu_wino_patch *dy, const struct cpu_wino_points *z) {
    int a = TILE_SIDE(m);

    for (int c0 = 0, b = 0; c0 < dy->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_patch(m, dy, c0, in);
        BOTH(times_a, m, m, a, in, out);
        store_points(a * a, out, z, b);
    }
}

INLINE void output_tile(int m, const struct cpu_wino_points *products,
                        const struct cpu_wino_patch *y) {
    int a = TILE_SIDE(m);

    for (int c0 = 0, b = 0; c0 < y->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_points(a * a, products, b, in);
        BOTH(times_at, m, a, m, in, out);
#pragma GCC unroll 4
        for (int r = 0; r < m; r++)
#pragma GCC unroll 4
            for (int q = 0; q < m; q++)
                if (r < y->rows && q < y->cols)
                    store_some(out + r * m + q, y->c - c0, y->data + r * y->row + q * y->c + c0);
    }
}

INLINE void input_grad_tile(int m, const struct cpu_wino_points *products,
                            struct cpu_wino_overlap written, const struct cpu_wino_patch *dx) {
    int a = TILE_SIDE(m);

    for (int c0 = 0, b = 0; c0 < dx->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_points(a * a, products, b, in);
        BOTH(times_b, m, a, a, in, out);
#pragma GCC unroll 6
        for (int r = 0; r < a; r++)
#pragma GCC unroll 6
            for (int q = 0; q < a; q++) {
                float *to = dx->data + r * dx->row + q * dx->c + c0;
                vec sum = out[r * a + q], old;
                if (r < dx->row0 || r >= dx->rows || q < dx->col0 || q >= dx->cols)
                    continue;
                if ((q < a - m && written.left) || (r < a - m && written.above) ||
                    (r >= m && written.below)) {
                    load_some(to, dx->c - c0, &old);
                    sum += old;
                }
                store_some(&sum, dx->c - c0, to);
            }
    }
}

// Filters

// Filters of LANES outputs at one input, tap by tap; the outputs from `count` on are 0.
INLINE void gather_filters(int taps, const float *w, ptrdiff_t output, int count, vec *in) {
    float *lanes = (float *)in;

    if (count < LANES)
        memset(in, 0, sizeof(vec) * taps);
    for (int l = 0; l < count; l++)
#pragma GCC unroll 16
        for (int j = 0; j < taps; j++)
            lanes[j * LANES + l] = w[l * output + j];
}

// Read much later, when the cache has long lost it: written past the cache where that is possible.
INLINE void filter_panel(int m, const struct cpu_wino_panel *p) {
    int a = TILE_SIDE(m), side = FILTER_SIDE(m), padded = (p->inputs + LANES - 1) / LANES * LANES;
    ptrdiff_t point = p->point;

    for (int i = 0; i < padded; i++)
        for (int half = 0; half < 2; half++) {
            vec in[TAPS_MAX], out[POINTS_MAX];
            float *to = p->u + (ptrdiff_t)i * PANEL + half * LANES;
            const float *w = p->w + half * LANES * p->output + i * p->input;
            int count = i < p->inputs ? p->outputs - half * LANES : 0;
            if (count >= LANES)
                gather_filters(side * side, w, p->output, LANES, in);
            else
                gather_filters(side * side, w, p->output, MAX(count, 0), in);
            BOTH(times_g, m, side, a, in, out);
#pragma GCC unroll 36
            for (int j = 0; j < a * a; j++)
                STREAM(to + j * point, out[j]);
        }
    STREAM_END();
}

INLINE void filter_grad(int m, const float *du, ptrdiff_t point, int count, bool add, float *dw) {
    int a = TILE_SIDE(m);
    int side = FILTER_SIDE(m), taps = side * side;
    vec in[POINTS_MAX], out[TAPS_MAX];
    const float *lanes = (const float *)out;

    load_points(a * a, &(struct cpu_wino_points){(float *)du, point, 0}, 0, in);
    BOTH(times_gt, m, a, side, in, out);
    for (int l = 0; l < count; l++)
#pragma GCC unroll 16
        for (int j = 0; j < taps; j++)
            dw[l * taps + j] = lanes[j * LANES + l] + (add ? dw[l * taps + j] : 0);
}

#define TRANSFORMS(m)                                                                              \
    TARGET static void input_##m(const struct cpu_wino_patch *d,                                   \
                                 const struct cpu_wino_points *ret_v) {                            \
        input_tile(m, d, ret_v);                                                                   \
    }                                                                                              \
    TARGET static void grad_##m(const struct cpu_wino_patch *dy,                                   \
                                const struct cpu_wino_points *ret_z) {                             \
        grad_tile(m, dy, ret_z);                                                                   \
    }                                                                                              \
    TARGET static void output_##m(const struct cpu_wino_points *products,                          \
                                  const struct cpu_wino_patch *ret_y) {                            \
        output_tile(m, products, ret_y);                                                           \
    }                                                                                              \
    TARGET static void input_grad_##m(const struct cpu_wino_points *products,                      \
                                      struct cpu_wino_overlap written,                             \
                                      const struct cpu_wino_patch *ret_dx) {                       \
        input_grad_tile(m, products, written, ret_dx);                                             \
    }                                                                                              \
    TARGET static void filter_##m(const struct cpu_wino_panel *p) {                                \
        filter_panel(m, p);                                                                        \
    }                                                                                              \
    TARGET static void filter_grad_##m(const float *du, ptrdiff_t point, int count, bool add,      \
                                       float *ret_dw) {                                            \
        filter_grad(m, du, point, count, add, ret_dw);                                             \
    }
TRANSFORMS(2)
TRANSFORMS(3)
TRANSFORMS(4)
#define TABLE(m)                                                                                   \
    { input_##m, grad_##m, output_##m, input_grad_##m, filter_##m, filter_grad_##m }
