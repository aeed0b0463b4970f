// Rows are independent here, so OpenMP divides them. CPU_CLONED compiles a function for several
// instruction sets.
#include "translate/band_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/clones.h"
#include "base/util.h"

void moments_init(struct moments *m, int c) {
    *m = (struct moments){.c = c,
                          .mean = xcalloc((size_t)c, sizeof *m->mean),
                          .squares = xcalloc((size_t)c, sizeof *m->squares)};
}

void moments_fini(struct moments *m) {
    free(m->mean);
    free(m->squares);
    *m = (struct moments){0};
}

CPU_CLONED(void, row_mean, (int w, int c, const float *x, double *restrict ret), (w, c, x, ret)) {
    memset(ret, 0, (size_t)c * sizeof *ret);
    for (int p = 0; p < w; p++, x += c)
        for (int i = 0; i < c; i++)
            // Channels are innermost, so this loop becomes vectors.
            ret[i] += x[i];
    for (int i = 0; i < c; i++)
        ret[i] /= w;
}

CPU_CLONED(void, row_squares,
           (int w, int c, const float *x, const double *restrict mean, double *restrict ret),
           (w, c, x, mean, ret)) {
    memset(ret, 0, (size_t)c * sizeof *ret);
    for (int p = 0; p < w; p++, x += c)
        for (int i = 0; i < c; i++)
            // Two passes over a row: the difference of large sums would cancel.
            ret[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
}

static void merge_moments(struct moments *m, int w, const double *mean, const double *squares) {
    double all = m->pixels + w;

    for (int i = 0; i < m->c; i++) {
        double d = mean[i] - m->mean[i];
        m->mean[i] += d * w / all;
        m->squares[i] += squares[i] + d * d * m->pixels * w / all;
    }
    m->pixels = all;
}

void moments_add(struct moments *m, int n, int w, const float *x) {
    size_t c = (size_t)m->c;
    double *part = xmalloc((size_t)n * 2 * c * sizeof *part);

#pragma omp parallel for
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)w * c;
        row_mean(w, m->c, row, part + (size_t)i * 2 * c);
        row_squares(w, m->c, row, part + (size_t)i * 2 * c, part + ((size_t)i * 2 + 1) * c);
    }
    for (int i = 0; i < n; i++)
        merge_moments(m, w, part + (size_t)i * 2 * c, part + ((size_t)i * 2 + 1) * c);
    free(part);
}

void moments_to_norm(const struct moments *m, float *ret_mean, float *ret_rstd) {
    for (int i = 0; i < m->c; i++) {
        ret_mean[i] = (float)m->mean[i];
        ret_rstd[i] = (float)(1 / sqrt(m->squares[i] / m->pixels + NORM_EPS));
    }
}

CPU_CLONED(void, row_norm,
           (const struct rows_norm *norm, int w, int c, const float *restrict x, float *restrict y),
           (norm, w, c, x, y)) {
    for (int p = 0; p < w; p++, x += c, y += c)
        if (norm->mean && norm->weight)
            for (int i = 0; i < c; i++)
                y[i] = (x[i] - norm->mean[i]) * norm->rstd[i] * norm->weight[i] + norm->bias[i];
        else if (norm->mean)
            for (int i = 0; i < c; i++)
                y[i] = (x[i] - norm->mean[i]) * norm->rstd[i];
        else
            memcpy(y, x, (size_t)c * sizeof *y);
}

CPU_CLONED(void, row_act, (size_t count, enum activation act, float *y), (count, act, y)) {
    if (act == ACT_RELU)
        for (size_t i = 0; i < count; i++)
            y[i] = y[i] > 0 ? y[i] : 0;
    else if (act == ACT_LEAKY)
        for (size_t i = 0; i < count; i++)
            y[i] = y[i] > 0 ? y[i] : (float)LEAKY_SLOPE * y[i];
}

CPU_CLONED(void, row_add, (size_t count, const float *restrict x, float *restrict y),
           (count, x, y)) {
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

void rows_norm(const struct rows_norm *norm, int n, int w, int c, const float *x, const float *skip,
               float *ret, size_t stride) {
    size_t row = (size_t)w * (size_t)c;

#pragma omp parallel for
    for (int i = 0; i < n; i++) {
        float *y = ret + (size_t)i * stride;
        row_norm(norm, w, c, x + (size_t)i * row, y);
        row_act(row, norm->act, y);
        if (skip)
            row_add(row, skip + (size_t)i * row, y);
    }
}

CPU_CLONED(void, row_join,
           (int w, int c_a, int c_b, const float *restrict a, const float *restrict b,
            float *restrict y),
           (w, c_a, c_b, a, b, y)) {
    for (int p = 0; p < w; p++, a += c_a, b += c_b) {
        for (int i = 0; i < c_a; i++)
            *y++ = a[i] > 0 ? a[i] : 0;
        for (int i = 0; i < c_b; i++)
            *y++ = b[i] > 0 ? b[i] : 0;
    }
}

void rows_join(int n, int w, int c_a, int c_b, const float *a, const float *b, float *ret,
               size_t stride) {
#pragma omp parallel for
    for (int i = 0; i < n; i++)
        row_join(w, c_a, c_b, a + (size_t)i * (size_t)w * (size_t)c_a,
                 b + (size_t)i * (size_t)w * (size_t)c_b, ret + (size_t)i * stride);
}

void rows_reflect(int n, int w, int c, int border, float *rows) {
    size_t pixel = (size_t)c, stride = (size_t)(w + 2 * border) * pixel;

    for (int i = 0; i < n; i++)
        for (int k = 1; k <= border; k++) {
            float *first = rows + (size_t)i * stride + (size_t)border * pixel;
            float *last = first + (size_t)(w - 1) * pixel;
            memcpy(first - (size_t)k * pixel, first + (size_t)k * pixel, pixel * sizeof *rows);
            memcpy(last + (size_t)k * pixel, last - (size_t)k * pixel, pixel * sizeof *rows);
        }
}

void rows_zero(int n, int w, int c, int border, float *rows) {
    size_t side = (size_t)border * (size_t)c, stride = (size_t)w * (size_t)c + 2 * side;

    for (int i = 0; i < n; i++) {
        memset(rows + (size_t)i * stride, 0, side * sizeof *rows);
        memset(rows + (size_t)(i + 1) * stride - side, 0, side * sizeof *rows);
    }
}
