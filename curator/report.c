#include "report.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "curation.h"
#include "digest.h"
#include "err.h"
#include "util.h"

// ---- counting ----

static int by_count(const void *a, const void *b) {
    const struct tally *p = a, *q = b;
    if (p->count != q->count)
        return p->count > q->count ? -1 : 1;
    return strcmp(p->reason, q->reason);
}

struct tally *report_reasons(const struct curation *c, size_t *ret_count) {
    struct tally *reasons = NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        size_t k = 0;
        if (p->verdict != VERDICT_REJECT)
            continue;
        while (k < n && strcmp(reasons[k].reason, p->reason))
            k++;
        if (k == n) {
            reasons = xrealloc(reasons, (n + 1) * sizeof *reasons);
            reasons[n++] = (struct tally){p->reason, 0, p};
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

static FILE *text_open(char **ret_text, size_t *ret_size) {
    FILE *out = open_memstream(ret_text, ret_size);
    if (!out)
        BUG("open_memstream: %s", strerror(errno)); // memory is gone
    return out;
}

static void text_close(FILE *out) {
    if (fclose(out))
        BUG("open_memstream: %s", strerror(errno)); // memory is gone
}

static void write_reasons(FILE *out, const struct curation *c) {
    size_t n;
    struct tally *reasons = report_reasons(c, &n);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(out, "%s%zu %s", i ? ", " : "", reasons[i].count, reasons[i].reason);
    free(reasons);
}

char *report_line(const struct curation *c) {
    char *text;
    size_t size, rejected = count_verdict(c, VERDICT_REJECT);
    FILE *out = text_open(&text, &size);
    (void)fprintf(out, "%s: %zu files, %zu kept, %zu rejected", c->curator->name,
                  c->walk.found.count, c->walk.found.count - rejected, rejected);
    if (rejected) {
        (void)fputs(" (", out);
        write_reasons(out, c);
        (void)fputc(')', out);
    }
    (void)fprintf(out, ", %zu held out", count_verdict(c, VERDICT_HOLD_OUT));
    text_close(out);
    return text;
}

// ---- distributions ----

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

// The sorted values that `value` (NaN: none) takes on all pictures; malloc'ed.
static double *distribution(const struct curation *c, double (*value)(const struct picture *),
                            size_t *ret_count) {
    double *values = xcalloc(c->walk.found.count, sizeof *values);
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        double v = value(&c->walk.found.items[i]);
        if (!isnan(v))
            values[n++] = v;
    }
    qsort(values, n, sizeof *values, by_value);
    *ret_count = n;
    return values;
}

static double quantile(const double *values, size_t n, double q) {
    return values[(size_t)(q * (double)(n - 1))];
}

static double kept_side(const struct picture *p) {
    return p->verdict == VERDICT_KEEP ? picture_shorter(p) : NAN;
}

static double small_side(const struct picture *p) {
    return p->verdict == VERDICT_REJECT && !strcmp(p->reason, "small") ? p->score : NAN;
}

static double large_side(const struct picture *p) {
    return p->verdict == VERDICT_REJECT && !strcmp(p->reason, "large") ? p->score : NAN;
}

static double wrong_year(const struct picture *p) {
    return p->verdict == VERDICT_REJECT && !strcmp(p->reason, "year") ? p->score : NAN;
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
    size_t n;
    double *sides = distribution(c, kept_side, &n);
    sum_looks(c, &m, &s);
    char *text = xasprintf("mean %.1f %.1f %.1f, std %.1f %.1f %.1f, luma %.1f, contrast %.1f, "
                           "sharpness %.1f, shorter sides %.0f to %.0f, median %.0f",
                           m.mean[0], m.mean[1], m.mean[2], m.std[0], m.std[1], m.std[2], m.luma,
                           m.contrast, m.sharpness, n ? sides[0] : 0, n ? sides[n - 1] : 0,
                           n ? quantile(sides, n, 0.5) : 0);
    free(sides);
    return text;
}

// ---- refusals ----

int report_no_files(const struct curation *c) {
    char *others = c->walk.others
                       ? xasprintf("; %zu files of other kinds (%s%s)", c->walk.others,
                                   c->walk.example, c->walk.others > 1 ? ", ..." : "")
                       : xstrdup("");
    char *links = c->walk.linked_folders
                      ? xasprintf("; %zu links to folders were not followed", c->walk.linked_folders)
                      : xstrdup("");
    (void)err_set(ERR_DATA, "no pictures (.jpg .jpeg .png .webp) under '%s'%s%s",
                  c->settings->root, others, links);
    free(others);
    free(links);
    return ERR_DATA;
}

static void write_sides(FILE *out, const struct curation *c, const char *which, const char *setting,
                        double (*value)(const struct picture *)) {
    size_t n;
    double *v = distribution(c, value, &n);
    if (n)
        (void)fprintf(out,
                      ". %s sides: %.0f to %.0f pixels, 10 %% below %.0f, half below %.0f, 90 %% "
                      "below %.0f; curator.%s.%s = %.0f would keep half of them",
                      which, v[0], v[n - 1], quantile(v, n, 0.1), quantile(v, n, 0.5),
                      quantile(v, n, 0.9), c->domain, setting, quantile(v, n, 0.5));
    free(v);
}

static void write_years(FILE *out, const struct curation *c) {
    size_t n, most = 0, run = 0;
    double *v = distribution(c, wrong_year, &n), frequent = 0;
    for (size_t i = 0; i < n; i++) {
        run = i && v[i] == v[i - 1] ? run + 1 : 1;
        if (run > most) {
            most = run;
            frequent = v[i];
        }
    }
    if (n)
        (void)fprintf(out,
                      ". Years: %.0f to %.0f, most often %.0f (%zu); curator.%s.years = [%.0f, "
                      "%.0f] would keep them all",
                      v[0], v[n - 1], frequent, most, c->domain, v[0], v[n - 1]);
    free(v);
}

// Reasons whose remedy is not a number: what the first picture of that kind has.
static void write_examples(FILE *out, const struct curation *c) {
    static const char *const told[] = {"small", "large", "year"};
    size_t n;
    struct tally *reasons = report_reasons(c, &n);
    for (size_t i = 0; i < MIN(n, 3); i++) {
        bool is_told = false;
        for (size_t k = 0; k < COUNT(told); k++)
            is_told |= strcmp(reasons[i].reason, told[k]) == 0;
        const struct picture *p = reasons[i].example;
        if (!is_told)
            (void)fprintf(out, ". %s: e.g. '%.80s': %.160s", reasons[i].reason, p->path,
                          p->detail ? p->detail : "no more is known");
        if (strcmp(reasons[i].reason, "too_large") == 0)
            (void)fprintf(out, " (curator.%s.max_pixels)", c->domain);
    }
    free(reasons);
}

int report_nothing_left(const struct curation *c) {
    char *text;
    size_t size;
    FILE *out = text_open(&text, &size);
    (void)fprintf(out, "curator.%s (%s): none of %zu files under '%.200s' is left to train on: ",
                  c->domain, c->curator->name, c->walk.found.count, c->settings->root);
    write_reasons(out, c);
    write_years(out, c);
    write_sides(out, c, "Shorter", "min_side", small_side);
    write_sides(out, c, "Longer", "max_side", large_side);
    write_examples(out, c);
    text_close(out);
    (void)err_set(ERR_DATA, "%s", text);
    free(text);
    return ERR_DATA;
}

void report_few(const struct curation *c) {
    size_t kept = count_verdict(c, VERDICT_KEEP);
    if (kept < CURATION_FEW)
        curation_say(c, "warn", "few_pictures",
                     "domain %s has only %zu pictures to train on; below %d the nets tend to learn "
                     "them by heart",
                     c->domain, kept, CURATION_FEW);
}

// ---- database ----

void report_verdicts(const struct curation *c, struct points *points) {
    struct msg m = {.type = MSG_verdicts_begin};
    (void)text_copy(m.verdicts_begin.domain, sizeof m.verdicts_begin.domain, c->domain); // 1 letter
    points_put(points, &m);
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        m = (struct msg){.type = MSG_verdict};
        struct msg_verdict *v = &m.verdict;
        // All of these may be cut; only paths of more than 1024 bytes are.
        (void)text_copy(v->domain, sizeof v->domain, c->domain);
        (void)text_copy(v->path, sizeof v->path, p->path);
        (void)text_copy(v->verdict, sizeof v->verdict, verdict_name(p->verdict));
        (void)text_copy(v->reason, sizeof v->reason, p->reason);
        (void)text_copy(v->detail, sizeof v->detail, p->detail ? p->detail : "");
        v->score = p->score;
        points_put(points, &m);
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
    struct image_stats mean, std;
    size_t n;
    double *sides = distribution(c, kept_side, &n);
    sum_looks(c, &mean, &std);
    put_number(c, p, "files", (double)c->walk.found.count);
    put_number(c, p, "kept", (double)count_verdict(c, VERDICT_KEEP));
    put_number(c, p, "held_out", (double)count_verdict(c, VERDICT_HOLD_OUT));
    put_number(c, p, "rejected", (double)count_verdict(c, VERDICT_REJECT));
    put_triple(c, p, "mean", mean.mean);
    put_triple(c, p, "std", mean.std);
    put_triple(c, p, "mean_spread", std.mean); // over the pictures
    put_number(c, p, "luma", mean.luma);
    put_number(c, p, "luma_spread", std.luma);
    put_number(c, p, "contrast", mean.contrast);
    put_number(c, p, "sharpness", mean.sharpness);
    put_number(c, p, "side_min", n ? sides[0] : 0);
    put_number(c, p, "side_median", n ? quantile(sides, n, 0.5) : 0);
    put_number(c, p, "side_max", n ? sides[n - 1] : 0);
    free(sides);
}

// ---- explain ----

// The part of an absolute file behind the root; all of it if it is not there.
static const char *behind(const char *root, const char *file) {
    size_t n = strlen(root);
    if (*file != '/' || strncmp(file, root, n))
        return file;
    return n == 1 ? file + 1 : file[n] == '/' ? file + n + 1 : file;
}

static const struct picture *find_named(const struct curation *c, const char *file) {
    char *real = realpath(c->root, NULL);
    file = behind(c->root, file);
    if (real)
        file = behind(real, file); // a root that is reached through a link
    free(real);
    const struct picture *p = pictures_find(&c->walk.found, file);
    char *inside = xasprintf("%s/%s", c->folder, file);
    if (!p)
        p = pictures_find(&c->walk.found, inside);
    free(inside);
    for (size_t i = 0; !p && i < c->walk.found.count; i++)
        if (strcmp(picture_name(c->walk.found.items[i].path), picture_name(file)) == 0)
            p = &c->walk.found.items[i];
    return p;
}

int report_explain(const struct curation *c, const char *file, FILE *out) {
    const struct picture *p = find_named(c, file);
    if (!p)
        return err_set(ERR_USAGE,
                       "'%s' was no candidate of domain %s: it is not under '%s', hidden, behind a "
                       "link to a folder, or not named *.jpg .jpeg .png .webp",
                       file, c->domain, c->settings->root);
    char hex[65];
    digest_hex(p->sha256, hex);
    (void)fprintf(out, "%s/%s\n  verdict   %s (%s)\n", c->root, p->path, verdict_name(p->verdict),
                  p->reason); // a closed stdout is the reader's wish
    if (p->detail)
        (void)fprintf(out, "  because   %s\n", p->detail);
    if (!isnan(p->score))
        (void)fprintf(out, "  score     %.10g\n", p->score);
    if (p->rank)
        (void)fprintf(out, "  rank      %zu of %zu\n", p->rank, c->ranked);
    if (p->rank && !isnan(c->cut))
        (void)fprintf(out, "  cut-off   %.10g, the score of rank %zu (%s)\n", c->cut,
                      c->curator->keep(c->settings), c->curator->keep_name);
    if (p->known)
        (void)fprintf(out, "  picture   %dx%d, luma %.1f, contrast %.1f\n  file      %llu bytes, "
                           "sha256 %s\n",
                      p->w, p->h, p->stats.luma, p->stats.contrast, (unsigned long long)p->size,
                      hex);
    return ERR_OK;
}
