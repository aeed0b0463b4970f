// cpu_wino_simd - the body of one cpu_wino_<instruction set>.c; included there, once each.
//
//   LANES          floats of a vector           ROWS            tiles of a product kernel
//   TARGET         function attribute           OUTER_ROWS      rows and vectors of an outer
//   kernel, FMA(x, y, z)   x * y + z                    OUTER_VECTORS     OUTER_ROWS divides LANES
//   KERNELS, NAME  the table made here
//
// Vector types are compiled for the target of the function that uses them, so every function has
// TARGET, and helpers must be inlined.
#include <string.h>

#include "cpu_wino_kernels.h"
#include "util.h"

typedef float vec __attribute__((vector_size(LANES * 4), may_alias));
typedef float vec_anywhere __attribute__((vector_size(LANES * 4), may_alias, aligned(4)));

#define INLINE TARGET static inline __attribute__((always_inline))
enum { POINTS_MAX = 36, PANEL = 2 * LANES };

// gcc folds a load into each FMA that uses it, which loads the value several times over.
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

// In all lanes; subtracting +0 changes no value.
#define BROADCAST(x) ((x) - (vec){0})

// The first `count` lanes from memory, the rest 0.
INLINE void load_some(const float *x, int count, vec *ret) {
    if (count >= LANES) {
        *ret = *(const vec_anywhere *)x;
        return;
    }
    float lanes[LANES] = {0};
    for (int i = 0; i < count; i++)
        lanes[i] = x[i];
    memcpy(ret, lanes, sizeof lanes);
}

INLINE void store_some(const vec *v, int count, float *x) {
    if (count >= LANES) {
        *(vec_anywhere *)x = *v;
        return;
    }
    float lanes[LANES];
    memcpy(lanes, v, sizeof lanes);
    for (int i = 0; i < count; i++)
        x[i] = lanes[i];
}

// One-dimensional transforms of the paper's B, A, G for m = 2 (equation 10 and before) and m = 4
// (section 4.3); x and y are columns or rows, sx and sy apart. y may not be x.

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
    vec even = X(0) + X(2), odd = X(1) + X(3);
    vec even2 = X(0) + 4 * X(2), odd2 = 2 * X(1) + 8 * X(3);
    Y(0) = X(0);
    Y(1) = even + odd;
    Y(2) = even - odd;
    Y(3) = even2 + odd2;
    Y(4) = even2 - odd2;
    Y(5) = X(3);
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
    vec even = (-1 / 6.f) * (X(0) + X(2)), odd = (1 / 6.f) * X(1);
    vec even2 = (1 / 24.f) * X(0) + (1 / 6.f) * X(2), odd2 = (1 / 12.f) * X(1);
    Y(0) = 0.25f * X(0);
    Y(1) = even - odd;
    Y(2) = even + odd;
    Y(3) = even2 + odd2;
    Y(4) = even2 - odd2;
    Y(5) = X(2);
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
    Y(2) = (1 / 6.f) * (u - s) + X(5);
}

#undef X
#undef Y

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
            if (r < p->rows && q < p->cols)
                load_some(p->data + r * p->row + q * p->c + c0, p->c - c0, in + r * side + q);
            else
                in[r * side + q] = (vec){0};
}

INLINE void load_points(int count, const struct cpu_wino_points *p, int block, vec *in) {
    const float *data = p->data + block * p->block;

#pragma GCC unroll 36
    for (int i = 0; i < count; i++)
        in[i] = *(const vec *)(data + i * p->point);
}

INLINE void store_points(int count, const vec *out, const struct cpu_wino_points *p, int block) {
    float *data = p->data + block * p->block;

#pragma GCC unroll 36
    for (int i = 0; i < count; i++)
        *(vec *)(data + i * p->point) = out[i];
}

INLINE void input_tile(int m, const struct cpu_wino_patch *d, const struct cpu_wino_points *v) {
    int a = m + 2;

    for (int c0 = 0, b = 0; c0 < d->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_patch(a, d, c0, in);
        BOTH(times_bt, m, a, a, in, out);
        store_points(a * a, out, v, b);
    }
}

INLINE void grad_tile(int m, const struct cpu_wino_patch *dy, const struct cpu_wino_points *z) {
    int a = m + 2;

    for (int c0 = 0, b = 0; c0 < dy->c; c0 += LANES, b++) {
        vec in[POINTS_MAX], out[POINTS_MAX];
        load_patch(m, dy, c0, in);
        BOTH(times_a, m, m, a, in, out);
        store_points(a * a, out, z, b);
    }
}

INLINE void output_tile(int m, const struct cpu_wino_points *products,
                        const struct cpu_wino_patch *y) {
    int a = m + 2;

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
    int a = m + 2;

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
                if (r >= dx->rows || q >= dx->cols)
                    continue;
                if ((q < 2 && written.left) || (r < 2 && written.above) ||
                    (r >= m && written.below)) {
                    load_some(to, dx->c - c0, &old);
                    sum += old;
                }
                store_some(&sum, dx->c - c0, to);
            }
    }
}

// Filters

INLINE void filter_panel(int m, const struct cpu_wino_panel *p) {
    int a = m + 2, padded = (p->inputs + LANES - 1) / LANES * LANES;

    for (int i = 0; i < padded; i++)
        for (int half = 0; half < 2; half++) {
            vec in[9] = {0}, out[POINTS_MAX];
            float *lanes = (float *)in, *to = p->u + (ptrdiff_t)i * PANEL + half * LANES;
            int count = i < p->inputs ? MIN(p->outputs - half * LANES, LANES) : 0;
            const float *w = p->w + half * LANES * p->output + i * p->input;
            for (int l = 0; l < count; l++)
                for (int j = 0; j < 9; j++)
                    lanes[j * LANES + l] = w[l * p->output + j];
            BOTH(times_g, m, 3, a, in, out);
#pragma GCC unroll 36
            for (int j = 0; j < a * a; j++)
                *(vec *)(to + j * p->point) = out[j];
        }
}

INLINE void filter_grad(int m, const float *du, ptrdiff_t point, int count, bool add, float *dw) {
    int a = m + 2;
    vec in[POINTS_MAX], out[9];
    const float *lanes = (const float *)out;

    load_points(a * a, &(struct cpu_wino_points){(float *)du, point, 0}, 0, in);
    BOTH(times_gt, m, a, 3, in, out);
    for (int l = 0; l < count; l++)
        for (int j = 0; j < 9; j++)
            dw[l * 9 + j] = lanes[j * LANES + l] + (add ? dw[l * 9 + j] : 0);
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
TRANSFORMS(4)
#define TABLE(m)                                                                                   \
    { input_##m, grad_##m, output_##m, input_grad_##m, filter_##m, filter_grad_##m }

// Products: `rows` tiles, broadcast, by a panel of two vectors; the sums stay in registers.

INLINE void product_rows(int rows, const struct cpu_wino_product *p, int tile) {
    const float *in = p->in + tile * LANES, *panel = p->panel;
    float *out = p->out + tile * LANES;
    vec sum[ROWS][2];

#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = (vec){0};
    for (int b = 0; b < p->blocks; b++, in += p->in_block)
#pragma GCC unroll 4
        for (int q = 0; q < LANES; q++, panel += PANEL) {
            vec left = *(const vec *)panel, right = *(const vec *)(panel + LANES);
            IN_REGISTER(left);
            IN_REGISTER(right);
#pragma GCC unroll 12
            for (int i = 0; i < rows; i++) {
                vec x = BROADCAST(in[i * LANES + q]);
                sum[i][0] = FMA(x, left, sum[i][0]);
                sum[i][1] = FMA(x, right, sum[i][1]);
            }
        }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        *(vec *)(out + i * LANES) = sum[i][0];
        *(vec *)(out + p->out_block + i * LANES) = sum[i][1];
    }
}

#define ROWS_CASE(n)                                                                               \
    case n:                                                                                        \
        product_rows(n, p, tile);                                                                  \
        break;

// Tiles in equal groups of at most ROWS.
TARGET static void product(const struct cpu_wino_product *p) {
    int groups = (p->tiles + ROWS - 1) / ROWS;

    for (int g = 0; g < groups; g++) {
        int tile = p->tiles * g / groups, rows = p->tiles * (g + 1) / groups - tile;
        switch (rows) {
            ROWS_CASE(1)
            ROWS_CASE(2)
            ROWS_CASE(3)
            ROWS_CASE(4)
            ROWS_CASE(5)
            ROWS_CASE(6)
#if ROWS > 6
            ROWS_CASE(7)
            ROWS_CASE(8)
            ROWS_CASE(9)
            ROWS_CASE(10)
            ROWS_CASE(11)
            ROWS_CASE(12)
#endif
        }
    }
}

INLINE void outer_block(int vectors, const struct cpu_wino_outer *p, int row, int vector) {
    const float *z = p->z + row / LANES * p->z_block + row % LANES;
    const float *v = p->v + vector * p->v_block;
    float *out = p->out + row * p->out_row + vector * LANES;
    vec sum[OUTER_ROWS][OUTER_VECTORS];

#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            sum[i][j] = p->add ? *(const vec *)(out + i * p->out_row + j * LANES) : (vec){0};
    for (int t = 0; t < p->tiles; t++, z += LANES, v += LANES) {
        vec column[OUTER_VECTORS];
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            column[j] = *(const vec *)(v + j * p->v_block);
            IN_REGISTER(column[j]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < OUTER_ROWS; i++) {
            vec x = BROADCAST(z[i]);
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++)
                sum[i][j] = FMA(x, column[j], sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            *(vec *)(out + i * p->out_row + j * LANES) = sum[i][j];
}

TARGET static void outer(const struct cpu_wino_outer *p) {
    for (int j = 0, vectors; j < p->vectors; j += vectors) {
        int left = p->vectors - j;
        vectors = left == 4 ? 2 : MIN(left, OUTER_VECTORS);
        for (int row = 0; row < p->rows; row += OUTER_ROWS)
            if (vectors == 1)
                outer_block(1, p, row, j);
            else if (vectors == 2)
                outer_block(2, p, row, j);
            else
                outer_block(OUTER_VECTORS, p, row, j);
    }
}

const struct cpu_wino_kernels KERNELS = {NAME, LANES, TABLE(2), TABLE(4), product, outer};
