#include "stats.h"

#include <math.h>

#include "util.h"

enum { FIELDS = sizeof(struct image_stats) / sizeof(double) };
_Static_assert(sizeof(struct image_stats) == 9 * sizeof(double), "only doubles, no padding");

static double deviation(double sum, double square, double n) {
    double mean = sum / n;
    return sqrt(MAX(0, square / n - mean * mean));
}

static void channel_stats(const struct image *im, int k, double *ret_mean, double *ret_std) {
    size_t n = (size_t)im->w * (size_t)im->h, c = (size_t)im->c;
    uint64_t sum = 0, square = 0; // exact: 64 Mpx of 255^2 are below 2^43
    for (size_t i = 0; i < n; i++) {
        uint32_t v = im->pixels[i * c + (size_t)k];
        sum += v;
        square += v * v;
    }
    *ret_mean = (double)sum / (double)n;
    *ret_std = deviation((double)sum, (double)square, (double)n);
}

static double laplacian_variance(const struct image *gray) {
    int w = gray->w, h = gray->h;
    if (w < 3 || h < 3)
        return 0;
    int64_t sum = 0, square = 0;
    for (int y = 1; y < h - 1; y++) {
        const uint8_t *row = gray->pixels + (size_t)y * (size_t)w;
        for (int x = 1; x < w - 1; x++) {
            int v = row[x - 1] + row[x + 1] + row[x - w] + row[x + w] - 4 * row[x];
            sum += v;
            square += v * v;
        }
    }
    double n = (double)(w - 2) * (h - 2), d = deviation((double)sum, (double)square, n);
    return d * d;
}

void image_stats(const struct image *im, struct image_stats *ret_stats) {
    struct image_stats s;
    for (int k = 0; k < 3; k++)
        channel_stats(im, im->c == 1 ? 0 : k, &s.mean[k], &s.std[k]);
    struct image gray;
    image_gray(im, &gray);
    channel_stats(&gray, 0, &s.luma, &s.contrast);
    s.sharpness = laplacian_variance(&gray);
    image_fini(&gray);
    *ret_stats = s;
}

void stats_add(struct stats_sum *s, const struct image_stats *stats) {
    const double *v = (const double *)stats;
    double *sum = (double *)&s->sum, *square = (double *)&s->square;
    for (int i = 0; i < FIELDS; i++) {
        sum[i] += v[i];
        square[i] += v[i] * v[i];
    }
    s->n++;
}

void stats_mean(const struct stats_sum *s, struct image_stats *ret_mean,
                struct image_stats *ret_std) {
    const double *sum = (const double *)&s->sum, *square = (const double *)&s->square;
    double *mean = (double *)ret_mean, *std = (double *)ret_std, n = (double)MAX(1, s->n);
    for (int i = 0; i < FIELDS; i++) {
        mean[i] = sum[i] / n;
        std[i] = deviation(sum[i], square[i], n);
    }
}
