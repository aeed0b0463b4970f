// check - one table of bounds for all kinds. explain.c prints the same table, so each row has names
// for value and setting.
#include "pictures/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

// ---- the table ----

static double shorter(const struct picture *p, const struct image_stats *stats) {
    return picture_shorter(p);
}

static double longer(const struct picture *p, const struct image_stats *stats) {
    return picture_longer(p);
}

static double aspect(const struct picture *p, const struct image_stats *stats) {
    return picture_aspect(p);
}

// Functions of one signature let the table mix fields of pictures and of statistics.
#define STAT(field)                                                                                \
    static double field(const struct picture *p, const struct image_stats *stats) {                \
        return stats->field;                                                                       \
    }
STAT(chroma)
STAT(luma)
STAT(contrast)
STAT(entropy)
STAT(sharpness)

// Settings of other types become doubles; all of them are exact below 2^53.
#define BOUND(setting)                                                                             \
    static double setting(const struct config_curator *s) {                                        \
        return (double)s->setting;                                                                 \
    }
BOUND(max_side)
BOUND(min_aspect)
BOUND(max_aspect)
BOUND(min_chroma)
BOUND(min_luma)
BOUND(max_luma)
BOUND(min_contrast)
BOUND(min_entropy)
BOUND(min_sharpness)

// Every picture has a side of 1: no bound.
static double min_side(const struct config_curator *s) {
    return s->min_side > 1 ? (double)s->min_side : 0;
}

// The order is that of check.h: the first failing row is the reason.
const struct check checks[] = {
    {"small", "shorter side", "min_side", false, shorter, min_side},
    {"large", "longer side", "max_side", true, longer, max_side},
    {"narrow", "aspect", "min_aspect", false, aspect, min_aspect},
    {"wide", "aspect", "max_aspect", true, aspect, max_aspect},
    {"grayscale", "chroma", "min_chroma", false, chroma, min_chroma},
    {"dark", "luma", "min_luma", false, luma, min_luma},
    {"bright", "luma", "max_luma", true, luma, max_luma},
    {"flat", "contrast", "min_contrast", false, contrast, min_contrast},
    {"flat", "entropy", "min_entropy", false, entropy, min_entropy},
    {"blurred", "sharpness", "min_sharpness", false, sharpness, min_sharpness},
};
const int check_count = (int)COUNT(checks);

// ---- judging ----

static bool check_holds(const struct check *c, const struct config_curator *settings,
                        const struct picture *p, const struct image_stats *stats) {
    double bound = c->bound(settings), value = c->value(p, stats);
    // A value on the bound holds.
    return bound == 0 || (c->is_max ? value <= bound : value >= bound);
}

static const struct check *first_failure(const struct config_curator *settings,
                                         const struct picture *p, const struct image_stats *stats) {
    // Only the first failure becomes the reason; a list of all would repeat one cause.
    for (const struct check *c = checks; c < checks + COUNT(checks); c++)
        if (!check_holds(c, settings, p, stats))
            return c;
    return NULL;
}

static void reject_for(const struct check *c, const struct config_curator *settings,
                       bool is_partner, struct picture *p, const struct image_stats *stats) {
    char reason[32];
    double value = c->value(p, stats);
    (void)snprintf(reason, sizeof reason, "%s%s", is_partner ? "partner_" : "", c->reason); // fits
    picture_reject(p, reason, value, "%dx%d, %s %.4g, %s is %g", p->w, p->h, c->value_name, value,
                   c->setting, c->bound(settings));
}

void check_picture(const struct config_curator *settings, const struct config_curator *other,
                   struct picture *p) {
    const struct check *c = first_failure(settings, p, &p->stats);
    if (c) {
        reject_for(c, settings, false, p, &p->stats);
        return;
    }
    // The own half is judged first, so the reason is the own one where both fail.
    c = other ? first_failure(other, p, &p->opposite) : NULL;
    if (c)
        reject_for(c, other, true, p, &p->opposite);
}

void check_crop(const struct config_loader *reading, struct picture *p) {
    // Other values of preprocess resize before they crop, or do not crop.
    if (!reading || !reading->preprocess || strcmp(reading->preprocess, "crop") != 0 ||
        picture_shorter(p) >= reading->crop_size)
        return;
    picture_reject(p, "smaller_than_crop", picture_shorter(p),
                   "%dx%d, loader.preprocess = crop needs loader.crop_size = %lld on both sides",
                   p->w, p->h, (long long)reading->crop_size);
}

const struct check *check_nearest(const struct config_curator *settings, const struct picture *p,
                                  double *ret_margin) {
    const struct check *nearest = NULL;
    double least = INFINITY;
    for (const struct check *c = checks; c < checks + COUNT(checks); c++) {
        double bound = c->bound(settings);
        // Relative, because the units of the bounds differ.
        double margin = bound > 0 ? fabs(c->value(p, &p->stats) - bound) / bound : INFINITY;
        if (margin < least) {
            least = margin;
            nearest = c;
        }
    }
    *ret_margin = least;
    return nearest;
}
