// celeba - the aligned CelebA faces whose landmarks lie nearest the mean face.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "kinds/celeba_lists.h"
#include "kinds/curators.h"
#include "kinds/landmarks.h"
#include "kinds/names.h"

// The most specific folder first, root itself last.
static const char *const picture_folders[] = {
    "img_align_celeba/img_align_celeba", // as Kaggle packs it
    "img_align_celeba",
    "",
};

static const char *const landmark_files[] = {
    "list_landmarks_align_celeba.txt",      "list_landmarks_align_celeba.csv",
    "Anno/list_landmarks_align_celeba.txt", "Anno/list_landmarks_align_celeba.csv",
    "../list_landmarks_align_celeba.txt", // root is the folder of the pictures
    "../list_landmarks_align_celeba.csv",
};

static int find_landmarks(const struct config_curator *settings, char **ret_path) {
    if (*settings->landmarks) {
        *ret_path = xstrdup(settings->landmarks);
        return ERR_OK;
    }
    for (size_t i = 0; i < COUNT(landmark_files); i++) {
        char *path = xasprintf("%s/%s", settings->root, landmark_files[i]);
        // Relative to root, which may be the set's folder or the pictures' folder.
        if (fs_exists(path)) {
            *ret_path = path;
            return ERR_OK;
        }
        free(path);
    }
    return err_set(ERR_DATA,
                   "there is no list_landmarks_align_celeba.txt or .csv in '%s' or its Anno/; set "
                   "landmarks to the file that holds the positions",
                   settings->root);
}

static char *join_path(const char *folder, const char *name) {
    return *folder && *name ? xasprintf("%s/%s", folder, name) : xstrdup(*name ? name : folder);
}

// Walks the first of the folders that exists. Pictures elsewhere under root are not the set's.
static int scan_pictures(struct curation *c) {
    // Ends at the empty name, which always counts as present.
    for (size_t i = 0;; i++) {
        char *folder = join_path(c->folder, picture_folders[i]);
        char *full = xasprintf("%s/%s", c->root, folder);
        bool there = !*picture_folders[i] || fs_is_dir(full);
        int err = there ? walk_folder(c->root, folder, c->aside, &c->walk) : ERR_OK;
        free(full);
        free(folder);
        if (there)
            return err;
    }
}

// Gives every picture the score of its row. ERR_DATA if no picture has a row.
static int apply_scores(struct curation *c, const struct landmarks *l, const char *file) {
    size_t hits = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        // By name without extension: the set exists as JPEG and PNG.
        const struct landmark_row *row = landmarks_find(l, picture_name(p->path));
        if (row)
            p->score = row->score;
        else
            picture_reject(p, "no_landmarks", NAN, "no row in the landmark file");
        hits += row != NULL;
    }
    // An empty folder is reported elsewhere, with a better text.
    if (hits || !c->walk.found.count)
        return ERR_OK;
    return err_set(ERR_DATA,
                   "'%s' has %zu rows (%s, ...) and '%s' has %zu pictures (%s, ...), but no row "
                   "names one of the pictures",
                   file, l->count, l->rows[0].name, c->settings->root, c->walk.found.count,
                   c->walk.found.items[0].path);
}

// In an incomplete copy some of the best rows have no picture, and the ranking keeps later ones.
static void tell_missing(const struct curation *c, const struct landmarks *l) {
    // More wanted than rows exist is no fault.
    size_t keep = MIN((size_t)c->settings->keep_nearest, l->count), here = 0;
    struct names names = {0};
    bool is_new;
    for (size_t i = 0; i < c->walk.found.count; i++)
        // The path is cut to its name by names_add.
        (void)names_add(&names, c->walk.found.items[i].path, strlen(c->walk.found.items[i].path),
                        &is_new); // a name that is too long has no row either
    uint32_t *nearest = landmarks_nearest(l, keep);
    for (size_t i = 0; i < keep; i++)
        here += names_find(&names, l->rows[nearest[i]].name) != NULL;
    if (here < keep)
        curation_say(c, "info", "landmarks_without_picture",
                     "%s: of the %zu rows nearest the mean %zu have a picture here; the ranking "
                     "goes on behind them",
                     c->domain, keep, here);
    free(nearest);
    names_fini(&names);
}

static void warn_of_unaligned(const struct curation *c, const struct landmarks *l,
                              const char *path) {
    // The names of the two official files differ in "align" only.
    bool named = strncmp(picture_name(path), "list_landmarks_celeba", 21) == 0;
    if (named || landmarks_are_unaligned(l))
        curation_say(c, "warn", "landmarks_unaligned",
                     "'%s' seems to hold positions in the unaligned pictures; those of the aligned "
                     "ones are in list_landmarks_align_celeba.txt or .csv",
                     path);
}

static int score_pictures(struct curation *c, const char *path) {
    struct landmarks *l = NULL;
    int err = curation_depends_on(c, path);
    if (!err)
        err = landmarks_load(path, &l);
    // landmarks_load owns nothing after a failure.
    if (err)
        return err;
    warn_of_unaligned(c, l, path);
    err = apply_scores(c, l, path);
    if (!err)
        tell_missing(c, l);
    landmarks_free(l);
    return err;
}

// Landmarks are optional where lists alone choose.
static int scan_celeba(struct curation *c) {
    char *path = NULL;
    // Without keep_nearest and without lists nothing would choose; then the landmarks must exist.
    bool needed = c->settings->keep_nearest || !celeba_lists_are_wanted(c->settings);
    int err = find_landmarks(c->settings, &path);
    if (err && needed)
        return err;
    // The error of a missing optional file is dropped here.
    err = scan_pictures(c);
    if (!err && path)
        err = score_pictures(c, path);
    free(path);
    return err;
}

static int rank_by_score(const struct picture *a, const struct picture *b) {
    // Difference of comparisons: scores are doubles, and NaN compares as equal.
    return (a->score > b->score) - (a->score < b->score);
}

static size_t keep_nearest_count(const struct config_curator *settings) {
    return (size_t)settings->keep_nearest;
}

const struct curator curator_celeba = {
    .name = "celeba",
    .help = "CelebA faces whose eyes, nose and mouth lie nearest the mean face, and of wanted\n"
            "           attributes. Settings: landmarks, keep_nearest, lists, attributes,\n"
            "           partition, min_face, per_identity, min_side, max_side, limit",
    .scan = scan_celeba,
    .sift = celeba_lists_sift,
    .rank = rank_by_score,
    .keep = keep_nearest_count,
    .keep_name = "keep_nearest",
    .ranks_unread = true,
};
