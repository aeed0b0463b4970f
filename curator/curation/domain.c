// domain - sums one domain up after its curation and compares two such sums. The file lets the
// second curator compare without reading the first one's pictures.
#include "curation/domain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "pictures/checksum.h"

// Far above any file that domain_save writes; it bounds what a damaged file can cost.
#define FILE_MAX_BYTES 65536
#define N_STATS (sizeof(struct image_stats) / sizeof(double))
#define LEVELS 256

// ---- spread ----

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

void spread_init(struct spread *ret, const struct curation *c,
                 double (*value)(const struct picture *)) {
    *ret = (struct spread){.values = xcalloc(c->walk.found.count, sizeof(double))};
    for (size_t i = 0; i < c->walk.found.count; i++) {
        double v = value(&c->walk.found.items[i]);
        if (!isnan(v))
            ret->values[ret->count++] = v;
    }
    qsort(ret->values, ret->count, sizeof(double), by_value);
}

void spread_fini(struct spread *s) {
    free(s->values);
    *s = (struct spread){0};
}

// The nearest rank below, without interpolation: the result is a value that occurs.
double spread_quantile(const struct spread *s, double q) {
    return s->count ? s->values[(size_t)(q * (double)(s->count - 1))] : 0;
}

// ---- summing up ----

// NaN leaves a picture out of the spread (spread_init).
static double kept_side(const struct picture *p) {
    return p->verdict == VERDICT_KEEP ? picture_shorter(p) : NAN;
}

static double kept_aspect(const struct picture *p) {
    return p->verdict == VERDICT_KEEP ? picture_aspect(p) : NAN;
}

static void quantiles_of(const struct curation *c, double (*value)(const struct picture *),
                         double ret[3]) {
    struct spread s;
    spread_init(&s, c, value);
    for (int i = 0; i < 3; i++)
        // q = 0, 1/2 and 1: least, median and largest.
        ret[i] = spread_quantile(&s, i / 2.0);
    spread_fini(&s);
}

static void add_shares(const struct image_histogram *h, double shares[STATS_CHANNELS][STATS_BINS]) {
    for (int k = 0; k < STATS_CHANNELS; k++)
        for (int b = 0; b < STATS_BINS; b++)
            shares[k][b] += h->bins[k][b];
}

// Bins were rounded one by one. Makes their sum 1 again.
static void normalise(double shares[STATS_BINS]) {
    double sum = 0;
    for (int b = 0; b < STATS_BINS; b++)
        sum += shares[b];
    for (int b = 0; b < STATS_BINS && sum > 0; b++)
        shares[b] /= sum;
}

void domain_of(const struct curation *c, const char *manifest, struct domain *ret_domain) {
    struct domain d = {0};
    struct stats_sum sum = {0};
    (void)text_copy(d.manifest, sizeof d.manifest, manifest); // as long
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        if (p->verdict != VERDICT_KEEP)
            continue;
        // Only these are in the sums; held-out pictures must not influence what training is
        // compared with.
        d.pictures++;
        stats_add(&sum, &p->stats);
        // Every kept picture was read, so it has a histogram.
        add_shares(p->histogram, d.shares);
    }
    stats_mean(&sum, &d.mean, &d.spread);
    for (int k = 0; k < STATS_CHANNELS; k++)
        normalise(d.shares[k]);
    quantiles_of(c, kept_side, d.sides);
    quantiles_of(c, kept_aspect, d.aspects);
    *ret_domain = d;
}

// ---- the file ----

static void add_numbers(struct text *t, const char *key, const double *numbers, size_t n) {
    text_add(t, "%s", key);
    for (size_t i = 0; i < n; i++)
        // Hexadecimal floats come back bit by bit, so equal domains give equal files.
        text_add(t, " %a", numbers[i]);
    text_add(t, "\n");
}

static struct text text_of(const struct domain *d) {
    struct text t = {0};
    // The number after the name is the format's version.
    text_add(&t, "cyclegan-domain 1\nmanifest %s\npictures %zu\n", d->manifest, d->pictures);
    add_numbers(&t, "mean", (const double *)&d->mean, N_STATS);
    add_numbers(&t, "spread", (const double *)&d->spread, N_STATS);
    add_numbers(&t, "sides", d->sides, COUNT(d->sides));
    add_numbers(&t, "aspects", d->aspects, COUNT(d->aspects));
    for (int k = 0; k < STATS_CHANNELS; k++)
        add_numbers(&t, "shares", d->shares[k], STATS_BINS);
    checksum_seal(&t);
    return t;
}

int domain_save(const struct domain *d, const char *path) {
    struct text t = text_of(d);
    int err = fs_write_atomic(path, t.bytes, t.size);
    free(t.bytes);
    return err;
}

static bool take_word(char **at, const char *word) {
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return false;
    *at += n;
    return true;
}

static bool take_numbers(char **at, const char *key, double *ret, size_t n) {
    // Every number of this file is finite and not negative; anything else was not written by us.
    if (!take_word(at, key))
        return false;
    for (size_t i = 0; i < n; i++) {
        char *begun = *at;
        if (*begun != ' ')
            // strtod would skip any white space, including a newline into the next key.
            return false;
        ret[i] = strtod(begun, at);
        if (*at == begun || !isfinite(ret[i]) || ret[i] < 0)
            return false;
    }
    return take_word(at, "\n");
}

static bool parse_domain(char *at, struct domain *d) {
    // 64 digits and the newline after them.
    if (!take_word(&at, "cyclegan-domain 1\nmanifest ") || strlen(at) < 65)
        return false;
    memcpy(d->manifest, at, 64);
    at += 64;
    if (!take_word(&at, "\npictures "))
        return false;
    d->pictures = strtoull(at, &at, 10);
    bool ok = take_word(&at, "\n") && take_numbers(&at, "mean", (double *)&d->mean, N_STATS) &&
              take_numbers(&at, "spread", (double *)&d->spread, N_STATS) &&
              take_numbers(&at, "sides", d->sides, COUNT(d->sides)) &&
              take_numbers(&at, "aspects", d->aspects, COUNT(d->aspects));
    for (int k = 0; ok && k < STATS_CHANNELS; k++)
        ok = take_numbers(&at, "shares", d->shares[k], STATS_BINS);
    return ok;
}

int domain_load(const char *path, struct domain *ret_domain) {
    uint8_t *bytes;
    size_t size;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err;
    // Writing the parsed numbers again has to give the same bytes. This checks the digest, the
    // order and the spelling at once.
    struct domain d = {0};
    bool same = parse_domain((char *)bytes, &d);
    if (same) {
        struct text t = text_of(&d);
        same = t.size == size && memcmp(t.bytes, bytes, size) == 0;
        free(t.bytes);
    }
    free(bytes);
    if (!same)
        return err_set(ERR_FORMAT, "'%s': not as it was written", path);
    *ret_domain = d;
    return ERR_OK;
}

// ---- distance ----

// Integral of |d| over `width`, where d is linear from d0 to d1.
static double area_between(double d0, double d1, double width) {
    if (d0 * d1 >= 0)
        return width * fabs(d0 + d1) / 2;
    return width * (d0 * d0 + d1 * d1) / (2 * (fabs(d0) + fabs(d1))); // d crosses 0: two triangles
}

static double earth_distance(const double a[STATS_BINS], const double b[STATS_BINS]) {
    double distance = 0, before = 0;
    for (int i = 0; i < STATS_BINS; i++) {
        double after = before + a[i] - b[i];
        distance += area_between(before, after, (double)LEVELS / STATS_BINS);
        before = after;
    }
    return distance;
}

// Mean and deviation over all pixels of all pictures: the variance within pictures plus the
// variance between them.
static void pixels_of(const struct domain *d, int k, double *ret_mean, double *ret_std) {
    double mean = k < 3 ? d->mean.mean[k] : d->mean.luma;
    double between = k < 3 ? d->spread.mean[k] : d->spread.luma;
    double within = k < 3 ? d->mean.std[k] : d->mean.contrast;
    double within_spread = k < 3 ? d->spread.std[k] : d->spread.contrast;
    *ret_mean = mean;
    *ret_std = sqrt(between * between + within * within + within_spread * within_spread);
}

void domain_distance(const struct domain *a, const struct domain *b,
                     struct domain_distance *ret_distance) {
    struct domain_distance d = {0};
    for (int k = 0; k < STATS_CHANNELS; k++) {
        double mean_a, mean_b, std_a, std_b;
        pixels_of(a, k, &mean_a, &std_a);
        pixels_of(b, k, &mean_b, &std_b);
        d.earth[k] = earth_distance(a->shares[k], b->shares[k]);
        d.frechet[k] = hypot(mean_a - mean_b, std_a - std_b);
        d.colours += k < 3 ? d.earth[k] / 3 : 0;
    }
    *ret_distance = d;
}
