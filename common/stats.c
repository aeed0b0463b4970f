#include "stats.h"

#include <math.h>
#include <string.h>

#include "util.h"

enum { FIELDS = sizeof(struct image_stats) / sizeof(double), LEVELS = 256, REDUCED_SIDE = 256 };
_Static_assert(sizeof(struct image_stats) == 11 * sizeof(double), "only doubles, no padding");

static double deviation(double sum, double square, double n) {
    double mean = sum / n;
    return sqrt(MAX(0, square / n - mean * mean));
}

// ---- levels ----

// How often each level occurs, of red, green, blue and luma.
struct levels {
    uint64_t n;
    uint64_t chroma; // sum of the differences of the largest and the smallest channel
    uint32_t count[STATS_CHANNELS][LEVELS];
};

static void count_levels(const struct image *im, const struct image *gray, struct levels *l) {
    l->n = (uint64_t)im->w * (uint64_t)im->h;
    for (size_t i = 0; i < l->n; i++)
        l->count[3][gray->pixels[i]]++;
    if (im->c == 1) {
        for (int k = 0; k < 3; k++)
            memcpy(l->count[k], l->count[3], sizeof l->count[k]);
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        const uint8_t *p = im->pixels + 3 * i;
        uint8_t low = MIN(p[0], p[1]), high = MAX(p[0], p[1]);
        for (int k = 0; k < 3; k++)
            l->count[k][p[k]]++;
        l->chroma += (uint64_t)(MAX(high, p[2]) - MIN(low, p[2]));
    }
}

static void mean_of_levels(const struct levels *l, int k, double *ret_mean, double *ret_std) {
    uint64_t sum = 0, square = 0; // exact: 1 Gpx of 255^2 are below 2^46
    for (uint64_t v = 0; v < LEVELS; v++) {
        sum += v * l->count[k][v];
        square += v * v * l->count[k][v];
    }
    *ret_mean = (double)sum / (double)l->n;
    *ret_std = deviation((double)sum, (double)square, (double)l->n);
}

static double entropy_of_levels(const struct levels *l) {
    double bits = 0;
    for (int v = 0; v < LEVELS; v++) {
        double share = (double)l->count[3][v] / (double)l->n;
        if (share > 0)
            bits -= share * log2(share);
    }
    return MAX(0, bits);
}

static void histogram_of_levels(const struct levels *l, struct image_histogram *ret) {
    for (int k = 0; k < STATS_CHANNELS; k++)
        for (int b = 0; b < STATS_BINS; b++) {
            uint64_t n = 0;
            for (int v = 0; v < LEVELS / STATS_BINS; v++)
                n += l->count[k][b * (LEVELS / STATS_BINS) + v];
            ret->bins[k][b] = (uint16_t)((n * STATS_WHOLE + l->n / 2) / l->n);
        }
}

// ---- sharpness ----

void stats_reduce(const struct image *gray, struct image *ret_image) {
    int f = MAX(1, MIN(gray->w, gray->h) / REDUCED_SIDE);
    struct image out;
    image_init(&out, gray->w / f, gray->h / f, 1);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++) {
            const uint8_t *p = gray->pixels + (size_t)y * (size_t)f * (size_t)gray->w + x * f;
            uint32_t sum = (uint32_t)(f * f / 2);
            for (int j = 0; j < f; j++)
                for (int i = 0; i < f; i++)
                    sum += p[(size_t)j * (size_t)gray->w + (size_t)i];
            out.pixels[(size_t)y * (size_t)out.w + (size_t)x] = (uint8_t)(sum / (uint32_t)(f * f));
        }
    *ret_image = out;
}

static double laplacian_variance(const struct image *gray) {
    int w = gray->w, h = gray->h;
    if (w < 3 || h < 3)
        return 0;
    int64_t sum = 0, square = 0;
    for (int y = 1; y < h - 1; y++) {
        const uint8_t *row = gray->pixels + (size_t)y * (size_t)w;
        int32_t row_sum = 0, row_square = 0; // flushed before they could pass 2^31
        for (int x = 1; x < w - 1; x++) {
            int v = row[x - 1] + row[x + 1] + row[x - w] + row[x + w] - 4 * row[x];
            row_sum += v;
            row_square += v * v;
            if (x % 1024 == 0) {
                sum += row_sum;
                square += row_square;
                row_sum = row_square = 0;
            }
        }
        sum += row_sum;
        square += row_square;
    }
    double n = (double)(w - 2) * (h - 2), d = deviation((double)sum, (double)square, n);
    return d * d;
}

static double sharpness_of(const struct image *gray) {
    struct image reduced;
    if (MIN(gray->w, gray->h) <= STATS_SIDE_MAX)
        return laplacian_variance(gray);
    stats_reduce(gray, &reduced);
    double sharpness = laplacian_variance(&reduced);
    image_fini(&reduced);
    return sharpness;
}

void image_stats(const struct image *im, const struct image *gray, struct image_stats *ret_stats,
                 struct image_histogram *ret_histogram) {
    struct levels levels = {0};
    struct image_stats s = {0};
    count_levels(im, gray, &levels);
    for (int k = 0; k < 3; k++)
        mean_of_levels(&levels, k, &s.mean[k], &s.std[k]);
    mean_of_levels(&levels, 3, &s.luma, &s.contrast);
    s.entropy = entropy_of_levels(&levels);
    s.chroma = (double)levels.chroma / (double)levels.n;
    s.sharpness = sharpness_of(gray);
    *ret_stats = s;
    if (ret_histogram)
        histogram_of_levels(&levels, ret_histogram);
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
