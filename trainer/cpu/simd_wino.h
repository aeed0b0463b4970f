// simd_wino - the tile and filter transforms of cpu_wino. See cpu/simd_vector.h.
#include "cpu/simd_vector.h"

enum { POINTS_MAX = 36, TAPS_MAX = 16 };

// One-dimensional transforms by the paper's B, A, G for m = 2 (its equation 10 and before) and,
// made by the same rule (Toom and Cook's, its section 4) from the points 0, P, -P, Q, -Q and
// infinity, for m = 4 and for m = 3, which is F(3 x 3, 4 x 4): B is the same, A has the powers 0 to
// 2 of the points and G those from 0 to 3. x and y are columns or rows, sx and sy apart. y may not
// be x.
//
// The paper's P = 1 and Q = 2 are not used: with 5/8 and 3/2, exact in binary too, the entries are
// closer to 1 and to each other, and what is rounded off is 0.4 of that, at worst 0.3 (256
// channels, normal numbers; decisions.md).

#define P 0.625
#define Q 1.5
#define P2 ((float)(P * P))
#define Q2 ((float)(Q * Q))
#define P3 ((float)(P * P * P))
#define Q3 ((float)(Q * Q * Q))
#define BOTH2 ((float)(P * P + Q * Q))
#define PRODUCT2 ((float)(P * P * Q * Q))
// One over the products of a point's distances to the others: of 0, of P and -P, of Q and -Q.
#define NORM_0 (1 / (P * P * Q * Q))
#define NORM_P (1 / (2 * P * P * (P * P - Q * Q)))
#define NORM_Q (1 / (2 * Q * Q * (Q * Q - P * P)))

#define X(i) x[(i)*sx]
#define Y(i) y[(i)*sy]
// a * x + y with a constant a
#define MUL_ADD(a, x, y) FMA(BROADCAST((float)(a)), x, y)

INLINE void times_bt(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0) - X(2);
        Y(1) = X(1) + X(2);
        Y(2) = X(2) - X(1);
        Y(3) = X(1) - X(3);
        return;
    }
    vec even = MUL_ADD(-Q2, X(2), X(4)), odd = MUL_ADD(-Q2, X(1), X(3));
    vec even2 = MUL_ADD(-P2, X(2), X(4)), odd2 = MUL_ADD(-P2, X(1), X(3));
    Y(0) = MUL_ADD(PRODUCT2, X(0), MUL_ADD(-BOTH2, X(2), X(4)));
    Y(1) = MUL_ADD(P, odd, even);
    Y(2) = MUL_ADD(-P, odd, even);
    Y(3) = MUL_ADD(Q, odd2, even2);
    Y(4) = MUL_ADD(-Q, odd2, even2);
    Y(5) = MUL_ADD(PRODUCT2, X(1), MUL_ADD(-BOTH2, X(3), X(5)));
}

INLINE void times_b(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0);
        Y(1) = X(1) - X(2) + X(3);
        Y(2) = X(1) + X(2) - X(0);
        Y(3) = -X(3);
        return;
    }
    vec s = X(1) + X(2), q = X(1) - X(2);
    vec u = X(3) + X(4), w = X(3) - X(4);
    Y(0) = PRODUCT2 * X(0);
    Y(1) = MUL_ADD(-P * Q2, q, MUL_ADD(-P2 * Q, w, PRODUCT2 * X(5)));
    Y(2) = MUL_ADD(-BOTH2, X(0), MUL_ADD(-Q2, s, -P2 * u));
    Y(3) = MUL_ADD(P, q, MUL_ADD(Q, w, -BOTH2 * X(5)));
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
    Y(1) = MUL_ADD(P, q, (float)Q * w);
    if (m == 3) {
        Y(2) = MUL_ADD(P2, s, MUL_ADD(Q2, u, X(5)));
        return;
    }
    Y(2) = MUL_ADD(P2, s, Q2 * u);
    Y(3) = MUL_ADD(P3, q, MUL_ADD(Q3, w, X(5)));
}

INLINE void times_a(int m, const vec *x, int sx, vec *y, int sy) {
    if (m == 2) {
        Y(0) = X(0);
        Y(1) = X(0) + X(1);
        Y(2) = X(0) - X(1);
        Y(3) = -X(1);
        return;
    }
    vec even = MUL_ADD(P2, X(2), X(0)), odd = X(1);
    vec even2 = MUL_ADD(Q2, X(2), X(0)), odd2 = X(1);
    if (m == 4) {
        odd = MUL_ADD(P2, X(3), odd);
        odd2 = MUL_ADD(Q2, X(3), odd2);
    }
    Y(0) = X(0);
    Y(1) = MUL_ADD(P, odd, even);
    Y(2) = MUL_ADD(-P, odd, even);
    Y(3) = MUL_ADD(Q, odd2, even2);
    Y(4) = MUL_ADD(-Q, odd2, even2);
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
    vec even = (float)NORM_P * MUL_ADD(P2, X(2), X(0)), odd = X(1);
    vec even2 = (float)NORM_Q * MUL_ADD(Q2, X(2), X(0)), odd2 = X(1);
    if (m == 3) {
        odd = MUL_ADD(P2, X(3), odd);
        odd2 = MUL_ADD(Q2, X(3), odd2);
    }
    Y(0) = (float)NORM_0 * X(0);
    Y(1) = MUL_ADD(NORM_P * P, odd, even);
    Y(2) = MUL_ADD(-NORM_P * P, odd, even);
    Y(3) = MUL_ADD(NORM_Q * Q, odd2, even2);
    Y(4) = MUL_ADD(-NORM_Q * Q, odd2, even2);
    Y(5) = X(m == 3 ? 3 : 2);
}

INLINE void times_gt(int m, const vec *x, int sx, vec *y, int sy) {
    vec s = X(1) + X(2), q = X(1) - X(2);
    if (m == 2) {
        Y(0) = MUL_ADD(0.5f, s, X(0));
        Y(1) = 0.5f * q;
        Y(2) = MUL_ADD(0.5f, s, X(3));
        return;
    }
    vec u = (float)NORM_Q * (X(3) + X(4)), w = (float)(NORM_Q * Q) * (X(3) - X(4));
    s *= (float)NORM_P;
    q *= (float)(NORM_P * P);
    Y(0) = MUL_ADD(NORM_0, X(0), s + u);
    Y(1) = q + w;
    if (m == 4) {
        Y(2) = MUL_ADD(P2, s, MUL_ADD(Q2, u, X(5)));
        return;
    }
    Y(2) = MUL_ADD(P2, s, Q2 * u);
    Y(3) = MUL_ADD(P2, q, MUL_ADD(Q2, w, X(5)));
}

#undef X
#undef Y
#undef P
#undef Q
#undef P2
#undef Q2
#undef P3
#undef Q3
#undef BOTH2
#undef PRODUCT2
#undef NORM_0
#undef NORM_P
#undef NORM_Q

// Sides of the filter and of a tile of inputs.
#define FILTER_SIDE(m) ((m) == 3 ? 4 : 3)
#define TILE_SIDE(m) ((m) == 2 ? 4 : 6)

// Both dimensions: [from][from] to [to][to], columns first. Unrolled, they would keep more vectors
// alive than there are registers.
#define BOTH(times, m, from, to, in, out)                                                          \
    do {                                                                                           \
        vec half_[POINTS_MAX];                                                                     \
        _Pragma("GCC unroll 1") for (int j_ = 0; j_ < (from); j_++)                                \
            times(m, (in) + j_, from, half_ + j_, from);                                           \
        _Pragma("GCC unroll 1") for (int i_ = 0; i_ < (to); i_++)                                  \
            times(m, half_ + i_ * (from), 1, (out) + i_ * (to), 1);                                \
    } while (0)

// Tiles. Channels of a patch beyond c are 0, and so are rows and columns that do not exist.

INLINE void load_patch(int side, const struct cpu_wino_patch *p, int c0, vec *in) {
    const float *data = p->data + c0;

    if (p->row0 == 0 && p->col0 == 0 && p->rows >= side && p->cols >= side && p->c - c0 >= LANES) {
#pragma GCC unroll 1
        for (int r = 0; r < side; r++, data += p->row)
#pragma GCC unroll 6
            for (int q = 0; q < side; q++)
                in[r * side + q] = *(const vec_anywhere *)(data + q * p->c);
        return;
    }
    for (int r = 0; r < side; r++, data += p->row)
        for (int q = 0; q < side; q++)
            if (r >= p->row0 && r < p->rows && q >= p->col0 && q < p->cols)
                load_some(data + q * p->c, p->c - c0, in + r * side + q);
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
#pragma GCC unroll 36
    for (int i = 0; i < count; i++)
        __builtin_prefetch(data + i * point + p->block, 1);
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

// Row i becomes column i: blocks of `apart` lanes change places, from half a vector to one lane.
#define LOW_(e, apart) ((e) & (apart) ? LANES + (e) - (apart) : (e))
#define HIGH_(e, apart) ((e) & (apart) ? LANES + (e) : (e) + (apart))
#define EXCHANGE_(rows, apart)                                                                     \
    _Pragma("GCC unroll 16") for (int i_ = 0; i_ < LANES; i_++) {                                  \
        if (i_ & (apart))                                                                          \
            continue;                                                                              \
        vec a_ = (rows)[i_], b_ = (rows)[i_ + (apart)];                                            \
        (rows)[i_] = __builtin_shufflevector(a_, b_, EACH_LANE(LOW_, apart));                      \
        (rows)[i_ + (apart)] = __builtin_shufflevector(a_, b_, EACH_LANE(HIGH_, apart));           \
    }

INLINE void transpose(vec *rows) {
#if LANES > 8
    EXCHANGE_(rows, 8);
#endif
#if LANES > 4
    EXCHANGE_(rows, 4);
#endif
    EXCHANGE_(rows, 2);
    EXCHANGE_(rows, 1);
}

#define LANE_OF_(lane, x) (x)[(lane)*output]

// Filters of LANES outputs at one input, tap by tap; the outputs from `count` on are 0.
INLINE void gather_filters(int taps, const float *w, ptrdiff_t output, int count, vec *in) {
#pragma GCC unroll 4
    for (int first = 0; first < taps; first += LANES) {
        vec rows[LANES];
        int n = MIN(taps - first, LANES);
        if (n == 1 && count == LANES) {
            in[first] = (vec){EACH_LANE(LANE_OF_, w + first)};
            continue;
        }
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++)
            if (l < count)
                LOAD_SOME(w + l * output + first, n, &rows[l]);
            else
                // cppcheck-suppress arrayIndexOutOfBoundsCond ; l < LANES, whatever count is
                rows[l] = (vec){0};
        transpose(rows);
#pragma GCC unroll 16
        for (int j = 0; j < n; j++)
            in[first + j] = rows[j];
    }
}

// So many inputs ahead memory is asked for the filters, which lie far apart for one direction, and
// for the lines that are written.
enum { AHEAD = 8, AHEAD_TO = 2 };

INLINE void filter_vector(int m, const struct cpu_wino_panel *p, int input, int first, float *u) {
    int a = TILE_SIDE(m), side = FILTER_SIDE(m);
    const float *w = p->w + first * p->output + input * p->input;
    int count = input < p->inputs ? p->outputs - first : 0;
    ptrdiff_t point = p->point;
    vec in[TAPS_MAX], out[POINTS_MAX];

    for (int l = 0; l < LANES; l++)
        __builtin_prefetch(w + l * p->output + AHEAD * p->input);
    if (count >= LANES)
        gather_filters(side * side, w, p->output, LANES, in);
    else
        gather_filters(side * side, w, p->output, MAX(count, 0), in);
    BOTH(times_g, m, side, a, in, out);
#pragma GCC unroll 36
    for (int j = 0; j < a * a; j++) {
        *(vec *)(u + j * point) = out[j];
        __builtin_prefetch(u + j * point + AHEAD_TO * PANEL, 1);
    }
}

INLINE void filter_panel(int m, const struct cpu_wino_panel *p) {
    int padded = (p->inputs + LANES - 1) / LANES * LANES;

    for (int i = 0; i < padded; i++)
        for (int half = 0; half < 2; half++)
            filter_vector(m, p, i, half * LANES, p->u + (ptrdiff_t)i * PANEL + half * LANES);
}

INLINE void filter_grad(int m, const float *du, ptrdiff_t point, int count, bool add, float *dw) {
    int a = TILE_SIDE(m);
    int side = FILTER_SIDE(m), taps = side * side;
    vec in[POINTS_MAX], out[TAPS_MAX];
    const float *lanes = (const float *)out;

    for (int j = 0; j < a * a; j++)
        __builtin_prefetch(du + j * point + 4 * LANES);
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
