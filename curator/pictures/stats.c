// stats - one pass that counts levels; mean, deviation, entropy and histogram follow from the
// counts. So each pixel is touched once for four results.
#include "pictures/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { FIELDS = sizeof(struct image_stats) / sizeof(double), LEVELS = 256, REDUCED_SIDE = 256 };
_Static_assert(sizeof(struct image_stats) == 11 * sizeof(double), "only doubles, no padding");

// The population's deviation. Rounding may make the difference slightly negative.
static double deviation(double sum, double square, double n) {
    double mean = sum / n;
    return sqrt(MAX(0, square / n - mean * mean));
}

// ---- levels ----

// Every fourth row gives chroma closely enough; luma and means use all rows.
enum { BANKS = 2, CHROMA_ROWS = 4 };

// Counts of each level of red, green, blue and luma. Neighbouring pixels count in different banks:
// incrementing one counter twice in a row stalls on the store.
struct levels {
    uint64_t n;
    double chroma;
    uint32_t count[BANKS][STATS_CHANNELS][LEVELS];
};

// Channel 3 is luma, after red, green and blue.
static void count_gray(const struct image *gray, struct levels *l) {
    for (size_t i = 0; i < l->n; i++)
        l->count[i % BANKS][3][gray->pixels[i]]++;
}

static void count_colours(const struct image *im, struct levels *l) {
    for (size_t i = 0; i < l->n; i++)
        for (int k = 0; k < 3; k++)
            l->count[i % BANKS][k][im->pixels[3 * i + (size_t)k]]++;
}

// Half the sum of the three differences is the largest minus the smallest.
static uint64_t row_chroma(const uint8_t *row, int w) {
    uint64_t sum = 0;
    for (int x = 0; x < w; x++, row += 3)
        sum += (uint32_t)(abs(row[0] - row[1]) + abs(row[1] - row[2]) + abs(row[0] - row[2])) / 2;
    return sum;
}

static double chroma_of(const struct image *im) {
    uint64_t sum = 0, rows = 0;
    for (int y = 0; y < im->h && im->c == 3; y += CHROMA_ROWS, rows++)
        sum += row_chroma(im->pixels + (size_t)y * (size_t)im->w * 3, im->w);
    return rows ? (double)sum / ((double)rows * im->w) : 0;
}

static void count_levels(const struct image *im, const struct image *gray, struct levels *l) {
    l->n = (uint64_t)im->w * (uint64_t)im->h;
    l->chroma = chroma_of(im);
    count_gray(gray, l);
    if (im->c == 3)
        count_colours(im, l);
    // Both banks are summed into the first; the rest reads only that one.
    for (int k = 0; k < STATS_CHANNELS; k++)
        for (int v = 0; v < LEVELS; v++)
            l->count[0][k][v] += l->count[1][k][v];
    // A gray picture has three equal channels, as its RGB form would.
    for (int k = 0; k < 3 && im->c == 1; k++)
        memcpy(l->count[0][k], l->count[0][3], sizeof l->count[0][k]);
}

static void mean_of_levels(const struct levels *l, int k, double *ret_mean, double *ret_std) {
    uint64_t sum = 0, square = 0; // exact: 1 Gpx of 255^2 are below 2^46
    for (uint64_t v = 0; v < LEVELS; v++) {
        sum += v * l->count[0][k][v];
        square += v * v * l->count[0][k][v];
    }
    *ret_mean = (double)sum / (double)l->n;
    *ret_std = deviation((double)sum, (double)square, (double)l->n);
}

// Shannon entropy in bits over the 256 levels of luma. 0 log 0 counts as 0.
static double entropy_of_levels(const struct levels *l) {
    double bits = 0;
    for (int v = 0; v < LEVELS; v++) {
        double share = (double)l->count[0][3][v] / (double)l->n;
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
                n += l->count[0][k][b * (LEVELS / STATS_BINS) + v];
            // Rounded to the nearest unit; 64 bits hold n * 65535 for any picture.
            ret->bins[k][b] = (uint16_t)((n * STATS_WHOLE + l->n / 2) / l->n);
        }
}

// ---- sharpness ----

void stats_reduce(const struct image *gray, struct image *ret_image) {
    // Whole factors need no interpolation. f is 1 up to a shorter side of 511.
    int f = MAX(1, MIN(gray->w, gray->h) / REDUCED_SIDE);
    struct image out;
    image_init(&out, gray->w / f, gray->h / f, 1);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++) {
            const uint8_t *p = gray->pixels + (size_t)y * (size_t)f * (size_t)gray->w + x * f;
            // Half the divisor added first rounds to nearest.
            uint32_t sum = (uint32_t)(f * f / 2);
            for (int j = 0; j < f; j++)
                for (int i = 0; i < f; i++)
                    sum += p[(size_t)j * (size_t)gray->w + (size_t)i];
            out.pixels[(size_t)y * (size_t)out.w + (size_t)x] = (uint8_t)(sum / (uint32_t)(f * f));
        }
    *ret_image = out;
}

// A value is at most 4 * 255 in size; 1024 squares of it stay below 2^31.
enum { STRIP = 1024 };

static void add_laplacian(const uint8_t *at, int w, int n, int64_t *sum, int64_t *square) {
    int32_t strip_sum = 0, strip_square = 0;
    for (int x = 0; x < n; x++) {
        // The 4-neighbour Laplacian: the sum of the neighbours minus four times the pixel.
        int v = at[x - 1] + at[x + 1] + at[x - w] + at[x + w] - 4 * at[x];
        strip_sum += v;
        strip_square += v * v;
    }
    *sum += strip_sum;
    *square += strip_square;
}

static double laplacian_variance(const struct image *gray) {
    int w = gray->w, h = gray->h;
    // Without an inner pixel there is no Laplacian.
    if (w < 3 || h < 3)
        return 0;
    int64_t sum = 0, square = 0;
    // Border pixels lack a neighbour and are left out.
    for (int y = 1; y < h - 1; y++) {
        const uint8_t *row = gray->pixels + (size_t)y * (size_t)w;
        for (int x = 1; x < w - 1; x += STRIP) // sums of a strip stay below 2^31
            add_laplacian(row + x, w, MIN(STRIP, w - 1 - x), &sum, &square);
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
    s.chroma = levels.chroma;
    s.sharpness = sharpness_of(gray);
    *ret_stats = s;
    if (ret_histogram)
        histogram_of_levels(&levels, ret_histogram);
}

void stats_add(struct stats_sum *s, const struct image_stats *stats) {
    // A struct of doubles alone is read as an array (assertion at the top).
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
    // MAX avoids 0 / 0 for no pictures: all sums are 0 then.
    double *mean = (double *)ret_mean, *std = (double *)ret_std, n = (double)MAX(1, s->n);
    for (int i = 0; i < FIELDS; i++) {
        mean[i] = sum[i] / n;
        std[i] = deviation(sum[i], square[i], n);
    }
}
