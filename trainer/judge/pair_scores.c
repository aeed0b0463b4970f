// The formulas of pair_scores.h, on bytes. Sums of integers are exact.
#include "judge/pair_scores.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

#define WINDOW PAIRS_SSIM_SIDE_MIN
#define DEVIATION 1.5
// (K L)^2 of Wang et al. 2004, K1 = 0.01, K2 = 0.03, L = 255.
#define C1 (0.01 * 255 * 0.01 * 255)
#define C2 (0.03 * 255 * 0.03 * 255)

static size_t bytes_of(const struct image *a, const struct image *b) {
    if (a->w != b->w || a->h != b->h || a->c != b->c)
        BUG("a pair of %dx%dx%d and %dx%dx%d", a->w, a->h, a->c, b->w, b->h, b->c);
    return (size_t)a->w * (size_t)a->h * (size_t)a->c;
}

double pairs_l1(const struct image *a, const struct image *b) {
    size_t n = bytes_of(a, b);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint64_t)abs(a->pixels[i] - b->pixels[i]);
    return (double)sum / ((double)n * 127.5);
}

double pairs_psnr(const struct image *a, const struct image *b) {
    size_t n = bytes_of(a, b);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int d = a->pixels[i] - b->pixels[i];
        sum += (uint64_t)(d * d);
    }
    // sum = 0 gives infinity, as IEEE division does.
    return 10 * log10(255.0 * 255.0 * (double)n / (double)sum);
}

// Weighted sums of a window along one line.
struct moments {
    double a, b, aa, bb, ab;
};

static void gaussian(double ret[WINDOW]) {
    double sum = 0;
    for (int i = 0; i < WINDOW; i++) {
        const int middle = WINDOW / 2;
        double x = i - middle;
        ret[i] = exp(-x * x / (2 * DEVIATION * DEVIATION));
        sum += ret[i];
    }
    for (int i = 0; i < WINDOW; i++)
        // The weights of a window sum to 1.
        ret[i] /= sum;
}

static void add(struct moments *m, double weight, const struct moments *v) {
    m->a += weight * v->a;
    m->b += weight * v->b;
    m->aa += weight * v->aa;
    m->bb += weight * v->bb;
    m->ab += weight * v->ab;
}

static double similarity(const struct moments *m) {
    // E[x^2] - E[x]^2: doubles of bytes lose no digit that matters here.
    double var_a = m->aa - m->a * m->a, var_b = m->bb - m->b * m->b, cov = m->ab - m->a * m->b;
    return (2 * m->a * m->b + C1) * (2 * cov + C2) /
           ((m->a * m->a + m->b * m->b + C1) * (var_a + var_b + C2));
}

// Horizontal sums of every row of a channel, [h][w - WINDOW + 1].
// The Gaussian is separable: rows first, then columns, 22 instead of 121 products a pixel.
static void sum_rows(const struct image *a, const struct image *b, int channel,
                     const double weight[WINDOW], struct moments *ret) {
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x + WINDOW <= a->w; x++, ret++) {
            *ret = (struct moments){0};
            for (int i = 0; i < WINDOW; i++) {
                int at = (y * a->w + x + i) * a->c + channel;
                double u = a->pixels[at], v = b->pixels[at];
                add(ret, weight[i], &(struct moments){u, v, u * u, v * v, u * v});
            }
        }
}

double pairs_ssim(const struct image *a, const struct image *b) {
    (void)bytes_of(a, b); // checks
    int w = a->w - WINDOW + 1, h = a->h - WINDOW + 1;
    if (w < 1 || h < 1)
        BUG("similarity of %dx%d", a->w, a->h);
    double weight[WINDOW], sum = 0;
    struct moments *rows = xmalloc((size_t)a->h * (size_t)w * sizeof *rows);
    gaussian(weight);
    for (int channel = 0; channel < a->c; channel++) {
        sum_rows(a, b, channel, weight, rows);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                struct moments m = {0};
                for (int i = 0; i < WINDOW; i++)
                    add(&m, weight[i], &rows[(y + i) * w + x]);
                // Equation 13 for one window.
                sum += similarity(&m);
            }
    }
    free(rows);
    return sum / ((double)w * h * a->c);
}
