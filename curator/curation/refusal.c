// refusal - texts for a person with an empty result: the counts, and a value that would keep some.
// They are built from verdicts, so they are called after selecting.
#include "curation/refusal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "curation/domain.h"
#include "curation/report.h"

// The score of these reasons is the value that missed the bound (check.c); the kinds set the year.
static double score_if(const struct picture *p, const char *reason) {
    // NaN leaves the picture out of the spread.
    return p->verdict == VERDICT_REJECT && strcmp(p->reason, reason) == 0 ? p->score : NAN;
}

static double small_side(const struct picture *p) {
    return score_if(p, "small");
}

static double large_side(const struct picture *p) {
    return score_if(p, "large");
}

static double wrong_year(const struct picture *p) {
    return score_if(p, "year");
}

int refusal_no_files(const struct curation *c) {
    char *others = c->walk.others ? xasprintf("; %zu files of other kinds (%s%s)", c->walk.others,
                                              c->walk.example, c->walk.others > 1 ? ", ..." : "")
                                  : xstrdup("");
    char *links = c->walk.linked.count
                      ? xasprintf("; %zu links to folders were not followed", c->walk.linked.count)
                      : xstrdup("");
    // A folder whose pictures are behind links looks empty; the count of links shows the cause.
    (void)err_set(ERR_DATA, "no pictures (JPEG, PNG, WebP) under '%s'%s%s", c->settings->root,
                  others, links);
    free(others);
    free(links);
    return ERR_DATA;
}

static void add_sides(struct text *t, const struct curation *c, const char *which,
                      const char *setting, double (*value)(const struct picture *)) {
    struct spread s;
    spread_init(&s, c, value);
    // The median of the rejected values, proposed as a bound: it keeps half by construction.
    double half = spread_quantile(&s, 0.5);
    if (s.count)
        text_add(t,
                 ". %s sides: %.0f to %.0f pixels, 10 %% up to %.0f, half up to %.0f, 90 %% up "
                 "to %.0f; curator.%s.%s = %.0f would keep half of them",
                 which, s.values[0], s.values[s.count - 1], spread_quantile(&s, 0.1), half,
                 spread_quantile(&s, 0.9), c->domain, setting, half);
    spread_fini(&s);
}

// Values are sorted, so equal ones form a run.
static double most_frequent(const struct spread *s, size_t *ret_times) {
    size_t run = 0;
    double frequent = 0;
    *ret_times = 0;
    for (size_t i = 0; i < s->count; i++) {
        run = i && s->values[i] == s->values[i - 1] ? run + 1 : 1;
        if (run > *ret_times) {
            *ret_times = run;
            frequent = s->values[i];
        }
    }
    return frequent;
}

static void add_years(struct text *t, const struct curation *c) {
    struct spread s;
    size_t times;
    spread_init(&s, c, wrong_year);
    double year = most_frequent(&s, &times), first = spread_quantile(&s, 0);
    double last = spread_quantile(&s, 1);
    if (s.count)
        text_add(t,
                 ". Years: %.0f to %.0f, most often %.0f (%zu); curator.%s.years = [%.0f, "
                 "%.0f] would keep them all",
                 first, last, year, times, c->domain, first, last);
    spread_fini(&s);
}

// For reasons that no number remedies: the detail of the first picture.
static void add_examples(struct text *t, const struct curation *c) {
    // For these reasons add_years and add_sides propose a value.
    static const char *const told[] = {"small", "large", "year"};
    size_t n;
    struct reason_count *reasons = report_reasons(c, &n);
    // Three are enough for an error message; the rest are in the database.
    for (size_t i = 0; i < MIN(n, 3); i++) {
        bool is_told = false;
        for (size_t k = 0; k < COUNT(told); k++)
            is_told |= strcmp(reasons[i].reason, told[k]) == 0;
        const struct picture *p = reasons[i].example;
        if (!is_told)
            text_add(t, ". %s: e.g. '%.80s': %.160s", reasons[i].reason, p->path,
                     p->detail ? p->detail : "no more is known");
        // The detail has the number of pixels; this names the setting that bounds it.
        if (strcmp(reasons[i].reason, "too_large") == 0)
            text_add(t, " (curator.%s.max_pixels)", c->domain);
    }
    free(reasons);
}

int refusal_nothing_left(const struct curation *c) {
    struct text t = {0};
    char *reasons = report_reasons_text(c);
    text_add(&t, "curator.%s (%s): none of %zu files under '%.200s' is left to train on: %s",
             c->domain, c->curator->name, c->walk.found.count, c->settings->root, reasons);
    add_years(&t, c);
    add_sides(&t, c, "Shorter", "min_side", small_side);
    add_sides(&t, c, "Longer", "max_side", large_side);
    add_examples(&t, c);
    (void)err_set(ERR_DATA, "%s", t.bytes);
    free(reasons);
    free(t.bytes);
    return ERR_DATA;
}
