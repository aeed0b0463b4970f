// anime - the Anime Face set: files <index>_<year>.<ext>. Keeps a range of years, then the largest.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "image/format.h"
#include "kinds/curators.h"

// The whole number between the last '_' and the extension; -1 if there is none.
static long long year_of(const char *path) {
    const char *name = picture_name(path);
    // Names such as 12345_2010.jpg; the year stands last.
    const char *digits = strrchr(name, '_'), *end = name + image_stem_length(name);
    // One to four digits after the '_'.
    if (!digits || end - digits < 2 || end - digits > 5)
        return -1;
    for (const char *p = digits + 1; p < end; p++)
        if (!isdigit((unsigned char)*p))
            return -1;
    return atoll(digits + 1);
}

static void check_year(const int64_t years[2], struct picture *p) {
    long long year = year_of(p->path);
    if (year < 0)
        picture_reject(p, "no_year", NAN, "the name is not <index>_<year>.<extension>");
    else if (year < years[0] || year > years[1])
        picture_reject(p, "year", (double)year, "%lld, years are %lld to %lld", year,
                       (long long)years[0], (long long)years[1]);
}

static int scan_years(struct curation *c) {
    int err = walk_folder(c->root, c->folder, c->aside, &c->walk);
    const int64_t *years = c->settings->years;
    bool all = years[0] <= 0 && years[1] >= 9999; // then names without a year are kept too
    // By name alone: pictures of other years are not read.
    for (size_t i = 0; !err && !all && i < c->walk.found.count; i++)
        check_year(years, &c->walk.found.items[i]);
    return err;
}

// The score of a good picture is its shorter side.
static int score_by_size(struct curation *c) {
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        // In review, since sizes are known only after reading.
        if (picture_is_good(p))
            p->score = picture_shorter(p);
    }
    return 0;
}

static int rank_by_size(const struct picture *a, const struct picture *b) {
    // Sides are below 2^31, so the difference does not overflow.
    return picture_shorter(b) - picture_shorter(a);
}

static size_t keep_largest_count(const struct config_curator *settings) {
    return (size_t)settings->keep_largest;
}

const struct curator curator_anime = {
    .name = "anime",
    .help = "faces named <index>_<year>.<ext>: a range of years, then the largest.\n"
            "           Settings: years, keep_largest, min_side, max_side, limit, limit_by",
    .scan = scan_years,
    .review = score_by_size,
    .rank = rank_by_size,
    .keep = keep_largest_count,
    .keep_name = "keep_largest",
};
