// bdd100k - driving scenes of BDD100K, by what their labels say: time of day, weather, scene. Where
// the time of day is not labelled, the picture's brightness decides.
//
// Brightness is the mean over all pixels and channels. The bounds are those of the data set's
// Kaggle copy with day and night folders: above 68 day, up to 60 night.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "kinds/curators.h"
#include "kinds/label_cache.h"
#include "kinds/label_files.h"
#include "kinds/labels.h"

// Values of picture.tag: sift_by_labels sets them, review_brightness reads them.
enum { UNLABELLED = 1, LABELLED, LABELLED_NIGHT, LABELLED_DAYTIME };

static const char *wanted_values(const struct config_curator *s, enum label kind) {
    return kind == LABEL_TIMEOFDAY ? s->timeofday : kind == LABEL_WEATHER ? s->weather : s->scene;
}

static int scan_scenes(struct curation *c) {
    return walk_folder(c->root, c->folder, c->aside, &c->walk);
}

// ---- labels ----

// The order of the files matters: the first value of a frame counts.
static int read_files(struct curation *c, const struct label_files *files, struct labels *l) {
    int err = ERR_OK;
    for (size_t i = 0; !err && i < files->count; i++)
        err = labels_read(l, files->paths[i], c->cancel);
    return err;
}

// Reads the cache if it was made from these files. A broken cache is only warned of.
static int read_cached(struct curation *c, const struct label_files *files, struct labels *l) {
    char key[65];
    // The key is taken before the files are read: a file that changes meanwhile is read again next
    // time.
    int err = label_cache_key(files, key);
    if (err)
        return err;
    err = label_cache_load(c->label_cache, key, l);
    if (!err)
        return ERR_OK;
    // ERR_AGAIN is a missing or outdated cache, which needs no warning.
    if (err != ERR_AGAIN)
        curation_say(c, "warn", "label_cache", "labels are read again: %s", err_text());
    err = read_files(c, files, l);
    // The labels are here already; a cache that cannot be written costs time only.
    if (!err && label_cache_save(c->label_cache, key, l))
        curation_say(c, "warn", "label_cache", "the next start will read the labels again: %s",
                     err_text());
    return err;
}

static int read_labels(struct curation *c, struct labels *l) {
    struct label_files files;
    char digest[65];
    int err = label_files_find(c->settings->labels, c->settings->root, &files);
    if (err)
        return err;
    // Without files there is nothing to store.
    if (c->label_cache && files.count)
        err = read_cached(c, &files, l);
    else
        err = read_files(c, &files, l);
    if (!err) {
        // The digest of what was read, not of the files: another layout of equal labels changes
        // nothing.
        labels_digest(l, digest);
        curation_depends(c, "labels %s", digest);
    }
    label_files_fini(&files);
    return err;
}

static char *values_of(const struct labels *l, int kind) {
    struct text t = {0};
    text_add(&t, "%s", "");
    for (int i = 1; i <= l->value_count[kind]; i++)
        text_add(&t, "%s%s", i > 1 ? ", " : "", l->values[kind][i]);
    return t.bytes;
}

static bool value_occurs(const struct labels *l, int kind, const char *text, size_t size) {
    bool found = size == 9 && memcmp(text, "undefined", 9) == 0; // stands for a missing value too
    for (int i = 1; i <= l->value_count[kind]; i++)
        found |= strlen(l->values[kind][i]) == size && memcmp(l->values[kind][i], text, size) == 0;
    return found;
}

// A misspelt value would reject every picture. A known value that this set lacks is no mistake.
static int check_values(const struct labels *l, enum label kind, const char *list) {
    // The values that the data set's documentation lists, one a line as in config_list.
    static const char *const known[LABELS] = {
        "daytime\nnight\ndawn/dusk\n",
        "rainy\nsnowy\nclear\novercast\npartly cloudy\nfoggy\n",
        "tunnel\nresidential\nparking lot\ncity street\ngas stations\nhighway\n",
    };
    const char *item;
    size_t size;
    while (config_list_next(&list, &item, &size)) {
        char *text = xasprintf("%.*s", (int)size, item);
        bool ok = value_occurs(l, (int)kind, item, size) || config_list_has(known[kind], text);
        free(text);
        if (ok)
            continue;
        char *values = values_of(l, (int)kind);
        int err = err_set(ERR_DATA, "%s: '%.*s' occurs in no label; there are: %s",
                          label_name(kind), (int)size, item, *values ? values : "none");
        free(values);
        return err;
    }
    return ERR_OK;
}

static int check_settings(const struct curation *c, const struct labels *l) {
    const struct config_curator *s = c->settings;
    // Brightness replaces the time of day only, never weather or scene.
    bool needs_labels = *s->weather || *s->scene || strcmp(s->unlabelled, "reject") == 0;
    if (!l->files && needs_labels)
        return err_set(ERR_DATA,
                       "no label files were found around '%s'; set labels to the file or folder "
                       "that has them",
                       s->root);
    if (!l->files)
        curation_say(c, "warn", "no_labels",
                     "%s: no label files were found around '%s': the brightness of "
                     "every picture decides (labels = \"FILE or FOLDER\" names them)",
                     c->domain, s->root);
    int err = ERR_OK;
    for (int kind = 0; !err && kind < LABELS; kind++)
        err = check_values(l, (enum label)kind, wanted_values(s, (enum label)kind));
    return err;
}

// ---- sifting by labels ----

// Weather or scene. A picture without a value counts as "undefined".
static bool sift_kind(const struct config_curator *s, enum label kind, const char *value,
                      struct picture *p) {
    const char *list = wanted_values(s, kind);
    if (!*list || config_list_has(list, value ? value : "undefined"))
        return true;
    picture_reject(p, label_name(kind), NAN, "labelled %s = %s", label_name(kind),
                   value ? value : "nothing");
    return false;
}

static uint8_t tag_of(const char *value) {
    if (strcmp(value, "night") == 0)
        return LABELLED_NIGHT;
    return strcmp(value, "daytime") == 0 ? LABELLED_DAYTIME : LABELLED;
}

// A label decides without reading the picture. An unlabelled picture has to be read.
static void sift_timeofday(const struct config_curator *s, const char *value, struct picture *p) {
    const char *word = value ? value : "undefined";
    bool defined = strcmp(word, "undefined") != 0;
    // Every picture passes an empty list.
    if (!*s->timeofday || config_list_has(s->timeofday, word)) {
        p->tag = tag_of(word);
        // The reason stays empty until the brightness is known; the detail keeps the label.
        picture_note(p, "", NAN, "labelled %s", value ? value : "nothing");
    } else if (defined) {
        picture_reject(p, "timeofday", NAN, "labelled %s", word);
    } else if (strcmp(s->unlabelled, "reject") == 0) {
        picture_reject(p, "unlabelled", NAN, "timeofday is %s", value ? value : "not labelled");
    } else {
        p->tag = UNLABELLED;
    }
}

static void sift_picture(const struct config_curator *s, const struct labels *l,
                         const struct name_row *row, struct picture *p) {
    // NULL where the picture has no row.
    const char *values[LABELS] = {0};
    for (int kind = 0; row && kind < LABELS; kind++)
        values[kind] = labels_value(l, row, (enum label)kind);
    // In the order weather, scene, time of day: the first that fails is the reason.
    if (sift_kind(s, LABEL_WEATHER, values[LABEL_WEATHER], p) &&
        sift_kind(s, LABEL_SCENE, values[LABEL_SCENE], p))
        sift_timeofday(s, values[LABEL_TIMEOFDAY], p);
}

static void report_labels(const struct curation *c, const struct labels *l, size_t labelled,
                          size_t used) {
    size_t count = c->walk.found.count;
    curation_say(c, "info", "labels",
                 "%s: %zu label files (%.1f MB) name %zu pictures; of %zu pictures here %zu have a "
                 "label and %zu have none; %zu labels are of pictures that are not here",
                 c->domain, l->files, (double)l->bytes / 1e6, l->names.count, count, labelled,
                 count - labelled, l->names.count - used);
    if (l->conflicts)
        curation_say(c, "warn", "label_conflict",
                     "%s: label files contradict each other %zu times, the first one counts: %s",
                     c->domain, l->conflicts, l->conflict);
    // Labels of another part of the set are an easy mistake: train instead of val.
    if (l->files && !labelled)
        curation_say(c, "warn", "labels_of_others",
                     "%s: no label names one of the pictures ('%s', ...): other label files?",
                     c->domain, c->walk.found.items[0].path);
}

static void sift_all(struct curation *c, struct labels *l) {
    size_t labelled = 0, used = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        struct name_row *row = names_find(&l->names, p->path);
        if (row) {
            labelled++;
            used += row->line == 0; // two files may have one name; their label counts once
            // `line` is free for the reader of the table (names.h): 1 marks a row that was used.
            row->line = 1;
        }
        sift_picture(c->settings, l, row, p);
    }
    report_labels(c, l, labelled, used);
}

static int sift_by_labels(struct curation *c) {
    struct labels *l = xcalloc(1, sizeof *l);
    int err = read_labels(c, l);
    if (!err)
        err = check_settings(c, l);
    if (!err)
        sift_all(c, l);
    labels_fini(l);
    free(l);
    return err;
}

// ---- judging by brightness ----

static double brightness_of(const struct picture *p) {
    return (p->stats.mean[0] + p->stats.mean[1] + p->stats.mean[2]) / 3;
}

static void decide_unlabelled(const struct config_curator *s, double brightness,
                              struct picture *p) {
    // Up to night_luma is night, above day_luma is day; between them nothing is said.
    bool night = brightness <= s->night_luma, day = brightness > s->day_luma;
    const char *name = night ? "night" : "daytime";
    if (!night && !day)
        picture_reject(p, "luma_ambiguous", brightness,
                       "not labelled; brightness %.2f is between night_luma %g and day_luma %g",
                       brightness, s->night_luma, s->day_luma);
    else if (!config_list_has(s->timeofday, name))
        picture_reject(p, night ? "luma_night" : "luma_daytime", brightness,
                       "not labelled; brightness %.2f says %s", brightness, name);
    else
        picture_note(p, "ok_luma", brightness, "not labelled; brightness %.2f says %s", brightness,
                     name);
}

static void decide_labelled(const struct config_curator *s, double brightness, struct picture *p) {
    // Only the clear contradictions: a label that brightness does not settle stays.
    bool wrong = (p->tag == LABELLED_NIGHT && brightness > s->day_luma) ||
                 (p->tag == LABELLED_DAYTIME && brightness <= s->night_luma);
    if (s->luma_veto && wrong)
        picture_reject(p, "luma_veto", brightness, "%s, but brightness is %.2f", p->detail,
                       brightness);
    else
        picture_note(p, "ok", brightness, "%s; brightness %.2f%s", p->detail, brightness,
                     wrong ? " says otherwise (luma_veto would leave it out)" : "");
}

static int review_brightness(struct curation *c) {
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        if (p->verdict == VERDICT_REJECT)
            continue;
        double brightness = brightness_of(p);
        // In review only what sift left open arrives here; its tag is one of the four.
        if (p->tag == UNLABELLED)
            decide_unlabelled(c->settings, brightness, p);
        else
            decide_labelled(c->settings, brightness, p);
    }
    return ERR_OK;
}

const struct curator curator_bdd100k = {
    .name = "bdd100k",
    .help = "driving scenes of BDD100K by the labels' time of day, weather and scene; unlabelled\n"
            "           ones by brightness. Settings: labels, timeofday, weather, scene,\n"
            "           unlabelled, night_luma, day_luma, luma_veto, min_side, max_side, limit",
    .scan = scan_scenes,
    .sift = sift_by_labels,
    .review = review_brightness,
};
