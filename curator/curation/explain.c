// explain - the answer to "why was this picture kept or not". It reads verdicts and decides nothing
// itself.
#include "curation/explain.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/util.h"
#include "curation/duplicates.h"
#include "pictures/check.h"

// ---- borderline ----

enum { RANKS = 8 }; // on each side of the cut

static const char *near_rank(const struct curation *c, const struct picture *p) {
    size_t keep = c->curator->rank ? c->curator->keep(c->settings) : 0;
    // Without a cut there is no border; rank 0 is a picture that was not ranked.
    if (!keep || keep >= c->ranked || !p->rank)
        return "";
    // Sums instead of differences: both numbers are unsigned.
    return p->rank + RANKS > keep && p->rank <= keep + RANKS ? c->curator->keep_name : "";
}

static bool near_twin(const struct curation *c, const struct picture *p) {
    int bits = (int)c->settings->near_duplicates;
    return bits && p->twin && abs(p->twin_bits - bits) <= DUPLICATES_BORDER;
}

const char *explain_border(const struct curation *c, const struct picture *p) {
    double margin;
    // A picture that was not read has no values to compare.
    if (!p->known)
        return "";
    const struct check *nearest = check_nearest(c->settings, p, &margin);
    bool close = nearest && margin <= CHECK_BORDER;
    // Of a kept picture every bound holds, so any close one counts.
    if (p->verdict != VERDICT_REJECT && close)
        return nearest->setting;
    // Of a rejected one, only the bound that rejected it.
    if (p->verdict == VERDICT_REJECT && close && strcmp(p->reason, nearest->reason) == 0)
        return nearest->setting;
    if ((p->verdict != VERDICT_REJECT || strcmp(p->reason, "near_duplicate") == 0) &&
        near_twin(c, p))
        return "near_duplicates";
    return p->verdict != VERDICT_REJECT || strcmp(p->reason, "rank") == 0 ? near_rank(c, p) : "";
}

// ---- which picture is meant ----

// The part of an absolute path below root; the whole path if it is elsewhere.
static const char *behind(const char *root, const char *file) {
    size_t n = strlen(root);
    if (*file != '/' || strncmp(file, root, n) != 0)
        return file;
    // A root of one byte is "/" itself. A longer one has to end at a slash, or "/data2" is below
    // "/data".
    return n == 1 ? file + 1 : file[n] == '/' ? file + n + 1 : file;
}

// Finds by a path relative to the manifest's or the curator's root, or absolute.
// The manifest's root may be above the curator's folder, so both readings are tried.
static const struct picture *find_path(const struct curation *c, const char *root,
                                       const char *file) {
    file = behind(root, file);
    const struct picture *p = pictures_find(&c->walk.found, file);
    char *inside = xasprintf("%s/%s", c->folder, file);
    if (!p)
        p = pictures_find(&c->walk.found, inside);
    free(inside);
    return p;
}

static const struct picture *find_name(const struct curation *c, const char *file) {
    // The first by path: names alone may be ambiguous in sets with folders.
    for (size_t i = 0; i < c->walk.found.count; i++)
        if (strcmp(picture_name(c->walk.found.items[i].path), picture_name(file)) == 0)
            return &c->walk.found.items[i];
    return NULL;
}

// A file that exists is found through any link; otherwise a file's name alone is looked for.
static const struct picture *find_picture(const struct curation *c, const char *file) {
    char *real_root = realpath(c->root, NULL), *real = realpath(file, NULL);
    const struct picture *p = find_path(c, c->root, file);
    if (!p && real && real_root)
        p = find_path(c, real_root, real);
    // Not for a file that exists elsewhere: an equal name would explain the wrong picture.
    if (!p && !real)
        p = find_name(c, file);
    free(real_root);
    free(real);
    return p;
}

// ---- printing ----

static void print_check(const struct check *k, const struct config_curator *settings,
                        const struct picture *p, const struct image_stats *stats, FILE *out) {
    double value = k->value(p, stats), bound = k->bound(settings);
    // A bound of 0 is none, as in check.c.
    bool holds = bound == 0 || (k->is_max ? value <= bound : value >= bound);
    (void)fprintf(out, "    %-13s %10.5g   %-13s ", k->value_name, value, k->setting);
    if (bound == 0)
        (void)fprintf(out, "no bound\n");
    else
        (void)fprintf(out, "%-8g %s, %.3g %% from it\n", bound, holds ? "holds" : "FAILS",
                      100 * fabs(value - bound) / bound);
}

// Every measured value beside its bound.
static void print_known(const struct curation *c, const struct picture *p, FILE *out) {
    char hex[65];
    digest_hex(p->sha256, hex);
    (void)fprintf(out, "  picture   %dx%d, luma %.1f, contrast %.1f\n", p->w, p->h, p->stats.luma,
                  p->stats.contrast);
    (void)fprintf(out, "  file      %llu bytes, sha256 %s\n", (unsigned long long)p->size, hex);
    (void)fprintf(out, "  hash      %016" PRIx64 "%016" PRIx64 "\n", p->hash.rows, p->hash.columns);
    if (p->twin)
        (void)fprintf(out, "  twin      %s, %d bits differ, near_duplicates is %lld\n",
                      p->twin->path, p->twin_bits, (long long)c->settings->near_duplicates);
    (void)fprintf(out, "  checks\n");
    for (int i = 0; i < check_count; i++)
        print_check(&checks[i], c->settings, p, &p->stats, out);
    if (c->half)
        (void)fprintf(out, "  checks of the other half\n");
    for (int i = 0; c->half && i < check_count; i++)
        print_check(&checks[i], c->other, p, &p->opposite, out);
    if (*explain_border(c, p))
        (void)fprintf(out, "  borderline: %s\n", explain_border(c, p));
}

int explain(const struct curation *c, const char *file, FILE *out) {
    const struct picture *p = find_picture(c, file);
    if (!p)
        // All causes that leave a file out of the candidates, because no verdict says which it was.
        return err_set(ERR_USAGE,
                       "'%s' was no candidate of domain %s: it is not under '%s', hidden, behind a "
                       "link to a folder, or no picture by its name or its first bytes",
                       file, c->domain, c->settings->root);
    (void)fprintf(out, "%s/%s\n  verdict   %s (%s)\n", c->root, p->path, verdict_name(p->verdict),
                  p->reason); // the reader may close stdout
    if (p->detail)
        (void)fprintf(out, "  because   %s\n", p->detail);
    if (!isnan(p->score))
        (void)fprintf(out, "  score     %.10g\n", p->score);
    if (p->rank)
        (void)fprintf(out, "  rank      %zu of %zu\n", p->rank, c->ranked);
    if (p->rank && !isnan(c->cut))
        // The cut is a number only where something was cut; keep_name is set then.
        (void)fprintf(out, "  cut-off   %.10g, the score of rank %zu (%s)\n", c->cut,
                      c->curator->keep(c->settings), c->curator->keep_name);
    if (p->partner)
        (void)fprintf(out, "  partner   %s/%s\n", c->partner->root, p->partner->path);
    if (p->later)
        // Such a picture has a rank, but no values from its bytes.
        (void)fprintf(out, "  picture   not read: better ranks sufficed\n");
    if (p->known)
        print_known(c, p, out);
    return ERR_OK;
}
