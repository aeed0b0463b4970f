// report - turns verdicts and statistics into warnings, parameters and rows of the database. Each
// warning names the setting or the folder to change.
#include "curation/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "curation/curation.h"
#include "curation/domain.h"
#include "curation/explain.h"

// ---- counting ----

static int by_count(const void *a, const void *b) {
    const struct reason_count *p = a, *q = b;
    if (p->count != q->count)
        return p->count > q->count ? -1 : 1;
    // Ties by name, so the text is the same in every run.
    return strcmp(p->reason, q->reason);
}

struct reason_count *report_reasons(const struct curation *c, size_t *ret_count) {
    struct reason_count *reasons = NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        size_t k = 0;
        if (p->verdict != VERDICT_REJECT)
            continue;
        // A linear search: a kind has a few dozen reasons at most.
        while (k < n && strcmp(reasons[k].reason, p->reason) != 0)
            k++;
        if (k == n) {
            reasons = xrealloc(reasons, (n + 1) * sizeof *reasons);
            // The reason is lent by the picture, which outlives this list.
            reasons[n++] = (struct reason_count){p->reason, 0, p};
        }
        reasons[k].count++;
    }
    if (n)
        qsort(reasons, n, sizeof *reasons, by_count);
    *ret_count = n;
    return reasons;
}

static size_t count_verdict(const struct curation *c, enum verdict v) {
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++)
        n += c->walk.found.items[i].verdict == v;
    return n;
}

char *report_reasons_text(const struct curation *c) {
    size_t n;
    struct reason_count *reasons = report_reasons(c, &n);
    struct text t = {0};
    // An empty text rather than NULL for no reasons.
    text_add(&t, "%s", "");
    for (size_t i = 0; i < n; i++)
        text_add(&t, "%s%zu %s", i ? ", " : "", reasons[i].count, reasons[i].reason);
    free(reasons);
    return t.bytes;
}

char *report_line(const struct curation *c) {
    size_t rejected = count_verdict(c, VERDICT_REJECT);
    char *reasons = report_reasons_text(c);
    char *text = xasprintf("%s: %zu files, %zu kept, %zu rejected%s%s%s, %zu held out",
                           // Held-out pictures count as kept: neither was rejected.
                           c->curator->name, c->walk.found.count, c->walk.found.count - rejected,
                           rejected, rejected ? " (" : "", reasons, rejected ? ")" : "",
                           count_verdict(c, VERDICT_HOLD_OUT));
    free(reasons);
    return text;
}

// ---- looks ----

static double kept_side(const struct picture *p) {
    return p->verdict == VERDICT_KEEP ? picture_shorter(p) : NAN;
}

static void sum_looks(const struct curation *c, struct image_stats *ret_mean,
                      struct image_stats *ret_std) {
    struct stats_sum sum = {0};
    for (size_t i = 0; i < c->walk.found.count; i++)
        if (c->walk.found.items[i].verdict == VERDICT_KEEP)
            stats_add(&sum, &c->walk.found.items[i].stats);
    stats_mean(&sum, ret_mean, ret_std);
}

char *report_looks(const struct curation *c) {
    struct image_stats m, s;
    struct spread sides;
    spread_init(&sides, c, kept_side);
    sum_looks(c, &m, &s);
    char *text = xasprintf("mean %.1f %.1f %.1f, std %.1f %.1f %.1f, luma %.1f, contrast %.1f, "
                           "sharpness %.1f, shorter sides %.0f to %.0f, median %.0f",
                           m.mean[0], m.mean[1], m.mean[2], m.std[0], m.std[1], m.std[2], m.luma,
                           m.contrast, m.sharpness, spread_quantile(&sides, 0),
                           spread_quantile(&sides, 1), spread_quantile(&sides, 0.5));
    spread_fini(&sides);
    return text;
}

// Mean and deviation of luma over all pixels of the kept pictures.
static void luma_of_all(const struct curation *c, double *ret_mean, double *ret_deviation) {
    struct image_stats mean, spread;
    sum_looks(c, &mean, &spread);
    *ret_mean = mean.luma;
    // Variance within pictures plus variance between them (law of total variance). The spread of
    // contrast turns its squared mean into the mean of its square.
    *ret_deviation = sqrt(mean.contrast * mean.contrast + spread.contrast * spread.contrast +
                          spread.luma * spread.luma);
}

void report_flat(const struct curation *c) {
    double mean, deviation;
    luma_of_all(c, &mean, &deviation);
    if (deviation < CURATION_FLAT)
        curation_say(c, "warn", "no_variance",
                     "domain %s: nearly all pixels of its pictures have one brightness (mean %.1f, "
                     "deviation %.2f of 255): there is nothing to learn; look at the files",
                     c->domain, mean, deviation);
}

void report_few(const struct curation *c) {
    size_t kept = count_verdict(c, VERDICT_KEEP);
    if (kept < CURATION_FEW)
        curation_say(c, "warn", "few_pictures",
                     "domain %s has only %zu pictures to train on; below %d the nets tend to learn "
                     "them by heart",
                     c->domain, kept, CURATION_FEW);
}

void report_turned(const struct curation *c) {
    size_t turned = 0;
    const struct picture *example = NULL;
    // Without loader settings, pictures are read as the reference does: not turned.
    bool applied = c->reading && c->reading->exif && strcmp(c->reading->exif, "apply") == 0;
    for (size_t i = 0; !applied && i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        // Orientation 1 is upright and 0 is absent.
        if (p->verdict == VERDICT_REJECT || p->orientation <= 1)
            continue;
        example = example ? example : p;
        turned++;
    }
    if (turned)
        curation_say(
            c, "warn", "turned",
            "domain %s: the camera noted %zu pictures as turned or mirrored ('%s'); they are "
            "used as stored, as PyTorch CycleGAN does; loader.exif = apply turns them",
            c->domain, turned, example->path);
}

void report_held_out(const struct curation *c) {
    if (count_verdict(c, VERDICT_HOLD_OUT) == 0)
        curation_say(
            c, "warn", "nothing_held_out",
            "domain %s: nothing is held out, so the judge scores pictures that are trained "
            "on; set held_out to a folder, or hold_out to a percentage",
            c->domain);
}

// Reasons that come from the file itself. A user who sets bounds expects rejections; these are
// surprises and get a warning.
static bool is_unread(const char *reason) {
    static const char *const reasons[] = {"empty",         "unreadable",        "not_a_picture",
                                          "broken",        "too_large",         "bomb",
                                          "linked_folder", "smaller_than_crop", "pair_sizes"};
    for (size_t i = 0; i < COUNT(reasons); i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

void report_unread(const struct curation *c) {
    size_t n, total = 0;
    struct reason_count *reasons = report_reasons(c, &n);
    struct text t = {0};
    for (size_t i = 0; i < n; i++) {
        const struct picture *p = reasons[i].example;
        // One example of each is enough to find the cause.
        if (!is_unread(reasons[i].reason))
            continue;
        text_add(&t, "%s%zu %s ('%.80s': %.160s)", total ? ", " : "", reasons[i].count,
                 reasons[i].reason, p->path, p->detail ? p->detail : "");
        total += reasons[i].count;
    }
    if (total)
        curation_say(c, "warn", "unread", "domain %s: %zu of %zu files cannot be used: %s",
                     c->domain, total, c->walk.found.count, t.bytes);
    if (c->walk.others)
        curation_say(c, "info", "no_pictures", "domain %s: %zu files are no pictures ('%s'%s)",
                     c->domain, c->walk.others, c->walk.example, c->walk.others > 1 ? ", .." : "");
    free(t.bytes);
    free(reasons);
}

// ---- database ----

static void put_looks(const struct curation *c, const struct picture *p, struct points *points) {
    struct msg m = {.type = MSG_looks};
    struct msg_looks *l = &m.looks;
    (void)text_copy(l->domain, sizeof l->domain, c->domain); // fits
    (void)text_copy(l->path, sizeof l->path,
                    p->path); // cut like the verdict's path, which it is joined with
    (void)snprintf(l->hash, sizeof l->hash, "%016" PRIx64 "%016" PRIx64, p->hash.rows,
                   p->hash.columns); // fits
    l->w = (uint64_t)p->w;
    l->h = (uint64_t)p->h;
    l->luma = p->stats.luma;
    l->contrast = p->stats.contrast;
    l->entropy = p->stats.entropy;
    l->chroma = p->stats.chroma;
    l->sharpness = p->stats.sharpness;
    l->twin_bits = p->twin ? p->twin_bits : NAN;
    (void)text_copy(l->borderline, sizeof l->borderline, explain_border(c, p)); // fits
    points_put(points, &m);
}

void report_verdicts(const struct curation *c, struct points *points) {
    // This message deletes the verdicts of an earlier curation of this domain.
    struct msg m = {.type = MSG_verdicts_begin};
    (void)text_copy(m.verdicts_begin.domain, sizeof m.verdicts_begin.domain, c->domain); // 1 letter
    points_put(points, &m);
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        struct msg_verdict *v = &m.verdict;
        m.type = MSG_verdict;
        // text_copy cuts paths above 1024 bytes; all others fit.
        (void)text_copy(v->domain, sizeof v->domain, c->domain);
        (void)text_copy(v->path, sizeof v->path, p->path);
        (void)text_copy(v->verdict, sizeof v->verdict, verdict_name(p->verdict));
        (void)text_copy(v->reason, sizeof v->reason, p->reason);
        (void)text_copy(v->detail, sizeof v->detail, p->detail ? p->detail : "");
        v->score = p->score;
        // A message of looks follows its verdict: the database has the row by then.
        points_put(points, &m);
        // Pictures that were not decoded have no looks.
        if (p->known)
            put_looks(c, p, points);
    }
}

// data.DOMAIN.NAME = three numbers.
static void put_triple(const struct curation *c, struct points *p, const char *name,
                       const double v[3]) {
    char key[64];
    (void)snprintf(key, sizeof key, "data.%s.%s", c->domain, name); // short
    points_param(p, key, "%.2f %.2f %.2f", v[0], v[1], v[2]);
}

static void put_number(const struct curation *c, struct points *p, const char *name, double v) {
    char key[64];
    (void)snprintf(key, sizeof key, "data.%s.%s", c->domain, name); // short
    points_param(p, key, "%.10g", v);
}

void report_params(const struct curation *c, struct points *p) {
    put_number(c, p, "files", (double)c->walk.found.count);
    put_number(c, p, "read", (double)c->files_read);
    put_number(c, p, "kept", (double)count_verdict(c, VERDICT_KEEP));
    put_number(c, p, "held_out", (double)count_verdict(c, VERDICT_HOLD_OUT));
    put_number(c, p, "rejected", (double)count_verdict(c, VERDICT_REJECT));
}

static const char *const channels[STATS_CHANNELS] = {"red", "green", "blue", "luma"};

// data.DOMAIN.histogram_red and so on: the share of each bin.
static void put_shares(const struct curation *c, struct points *p, const struct domain *d) {
    for (int k = 0; k < STATS_CHANNELS; k++) {
        // " 1.0000" is the widest share: 7 bytes, so 8 leave room for the 0.
        char key[64], text[STATS_BINS * 8] = "";
        size_t used = 0;
        for (int b = 0; b < STATS_BINS; b++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%.4f", b ? " " : "",
                                     d->shares[k][b]); // at most 7 bytes a bin
        (void)snprintf(key, sizeof key, "data.%s.histogram_%s", c->domain, channels[k]); // short
        points_param(p, key, "%s", text);
    }
}

void report_domain(const struct curation *c, const struct domain *d, struct points *p) {
    const struct image_stats *mean = &d->mean, *spread = &d->spread;
    put_triple(c, p, "mean", mean->mean);
    put_triple(c, p, "std", mean->std);
    put_triple(c, p, "mean_spread", spread->mean); // over the pictures
    put_number(c, p, "luma", mean->luma);
    put_number(c, p, "luma_spread", spread->luma);
    put_number(c, p, "contrast", mean->contrast);
    put_number(c, p, "entropy", mean->entropy);
    put_number(c, p, "chroma", mean->chroma);
    put_number(c, p, "sharpness", mean->sharpness);
    put_number(c, p, "side_min", d->sides[0]);
    put_number(c, p, "side_median", d->sides[1]);
    put_number(c, p, "side_max", d->sides[2]);
    put_number(c, p, "aspect_min", d->aspects[0]);
    put_number(c, p, "aspect_median", d->aspects[1]);
    put_number(c, p, "aspect_max", d->aspects[2]);
    put_shares(c, p, d);
}

// ---- two domains ----

char *report_distance_text(const struct domain *a, const struct domain *b) {
    struct domain_distance d;
    domain_distance(a, b, &d);
    return xasprintf("the colours of A and B lie %.1f levels apart (earth mover's distance: red "
                     "%.1f, green %.1f, blue %.1f; luma %.1f; Frechet: red %.1f, green %.1f, blue "
                     "%.1f, luma %.1f)",
                     d.colours, d.earth[0], d.earth[1], d.earth[2], d.earth[3], d.frechet[0],
                     d.frechet[1], d.frechet[2], d.frechet[3]);
}

static void put_channels(struct points *p, const char *key, const double v[STATS_CHANNELS]) {
    points_param(p, key, "%.2f %.2f %.2f %.2f", v[0], v[1], v[2], v[3]);
}

void report_distance(const struct curation *c, const struct domain *a, const struct domain *b,
                     struct points *p) {
    struct domain_distance d;
    domain_distance(a, b, &d);
    char *text = report_distance_text(a, b);
    curation_say(c, "info", "distance", "%s", text);
    free(text);
    // 0 switches the warning off. Only colours count: luma follows from them.
    if (c->warn_distance > 0 && d.colours > c->warn_distance)
        curation_say(c, "warn", "domains_far_apart",
                     "the colours of A and B lie %.1f levels apart, warn_distance is %g: are these "
                     "the right pictures? Nets then learn to change colours first of all",
                     d.colours, c->warn_distance);
    points_param(p, "data.distance.colours", "%.2f", d.colours);
    put_channels(p, "data.distance.earth", d.earth);
    put_channels(p, "data.distance.frechet", d.frechet);
}

static int by_sha256(const void *a, const void *b) {
    const struct manifest_record *p = *(const struct manifest_record *const *)a;
    const struct manifest_record *q = *(const struct manifest_record *const *)b;
    return memcmp(p->sha256, q->sha256, sizeof p->sha256);
}

void report_shared(const struct curation *c, const struct manifest *own,
                   const struct manifest *other) {
    size_t n = own->count + own->held_out, m = other->count + other->held_out, shared = 0;
    // Sorted pointers, not records: the other manifest is not ours to change.
    const struct manifest_record **sorted = xcalloc(m, sizeof *sorted), *example = NULL;
    for (size_t i = 0; i < m; i++)
        sorted[i] = &other->records[i];
    if (m)
        qsort(sorted, m, sizeof *sorted, by_sha256);
    // Held-out records follow the others in one array, so one loop covers both.
    for (size_t i = 0; i < n; i++) {
        const struct manifest_record *r = &own->records[i];
        if (!bsearch(&r, sorted, m, sizeof *sorted, by_sha256))
            continue;
        example = example ? example : r;
        shared++;
    }
    if (shared)
        curation_say(c, "warn", "same_pictures",
                     "%zu of %zu pictures of domain %s are in domain %s too ('%s'): is one folder "
                     "set for both?",
                     shared, n, own->domain, other->domain, example->path);
    free(sorted);
}
