// label_files - where BDD100K's labels may be. The set was packed in several ways over the years,
// so places and layouts are two tables.
#include "kinds/label_files.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

#define LEVELS 6  // parents to search; the data set's archives need four
#define NESTED 16 // folders below a folder; a bound for links that form a loop

// Seen from each level; the empty one is the level itself.
static const char *const places[] = {
    "labels",
    "bdd100k/labels",
    "bdd100k_labels_release/bdd100k/labels",
    "",
};

struct layout {
    const char *folder, *pattern;
    bool below;      // in its folders too
    bool any_folder; // also in one that is not called labels
};

// Specific names first: they are safe in any folder, while *.json is not.
static const struct layout layouts[] = {
    {"", "bdd100k_labels_images_*.json", false, true},
    {"det_20", "det_*.json", false, true},
    {"", "det_v2_*_release.json", false, true},
    {"100k", "*.json", true, false},
    {"", "*.json", false, false},
};

static bool has_path(const struct label_files *f, const char *path) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->paths[i], path) == 0)
            return true;
    return false;
}

static void add_path(struct label_files *f, const char *path) {
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 16;
        f->paths = xrealloc(f->paths, f->capacity * sizeof *f->paths);
    }
    f->paths[f->count++] = xstrdup(path);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

// scandir filters hidden files and the dots.
static int shown(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int collect_files(struct label_files *f, const char *folder, const char *pattern,
                         int nested);

static int visit_entry(struct label_files *f, const char *path, const char *pattern, int nested) {
    // Paths here always contain a slash.
    const char *name = strrchr(path, '/') + 1;
    if (fs_is_dir(path))
        // At the deepest level folders are passed over, which ends loops of links.
        return nested ? collect_files(f, path, pattern, nested - 1) : ERR_OK;
    if (fnmatch(pattern, name, 0) == 0)
        add_path(f, path);
    return ERR_OK;
}

// Adds the files of a folder, sorted by name, and those of up to `nested` levels below.
static int collect_files(struct label_files *f, const char *folder, const char *pattern,
                         int nested) {
    struct dirent **entries;
    // Sorted, because the first file that names a picture wins.
    int n = scandir(folder, &entries, shown, by_name), err = ERR_OK;
    if (n < 0)
        return err_set(ERR_DATA, "folder '%s' cannot be read: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
        // After an error the rest of the entries is only freed.
        if (!err)
            err = visit_entry(f, path, pattern, nested);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return err;
}

// Adds the files that the layout has at the place. A file that an earlier layout listed is skipped.
static int look_in_layout(struct label_files *f, const char *place, const struct layout *l) {
    // A list of its own, so that duplicates are found before they are added.
    struct label_files found = {0};
    char *folder = xasprintf("%s%s%s", place, *l->folder ? "/" : "", l->folder);
    int err =
        fs_is_dir(folder) ? collect_files(&found, folder, l->pattern, l->below ? NESTED : 0) : 0;
    for (size_t i = 0; !err && i < found.count; i++)
        if (*l->folder || !has_path(f, found.paths[i])) // no other layout looks in this folder
            add_path(f, found.paths[i]);
    label_files_fini(&found);
    free(folder);
    return err;
}

static int look_at(struct label_files *f, const char *level) {
    int err = ERR_OK;
    // A place with files ends the search: no mixing of packings.
    for (size_t i = 0; !err && !f->count && i < COUNT(places); i++) {
        char *place = xasprintf("%s%s%s", level, *places[i] ? "/" : "", places[i]);
        for (size_t k = 0; !err && k < COUNT(layouts) && fs_is_dir(place); k++)
            if (*places[i] || layouts[k].any_folder)
                err = look_in_layout(f, place, &layouts[k]);
        free(place);
    }
    return err;
}

static int search_upward(struct label_files *f, const char *root) {
    char *level = xstrdup(root);
    int err = ERR_OK;
    // Outward from the pictures; the first level with files wins.
    for (int i = 0; !err && !f->count && i <= LEVELS && *level; i++) {
        err = look_at(f, level);
        char *slash = strrchr(level, '/');
        // The last slash of "/a" leaves "", which ends the loop: "/" itself is not searched.
        *(slash ? slash : level) = 0;
    }
    free(level);
    return err;
}

int label_files_find(const char *labels, const char *root, struct label_files *ret) {
    struct label_files f = {0};
    int err = ERR_OK;
    // An empty setting means to search; a named file or folder is taken as it is.
    if (!*labels)
        err = search_upward(&f, root);
    else if (fs_is_dir(labels))
        err = collect_files(&f, labels, "*.json", NESTED);
    else
        add_path(&f, labels);
    if (err) {
        label_files_fini(&f);
        return err;
    }
    *ret = f;
    return ERR_OK;
}

void label_files_fini(struct label_files *f) {
    for (size_t i = 0; i < f->count; i++)
        free(f->paths[i]);
    free(f->paths);
    *f = (struct label_files){0};
}
