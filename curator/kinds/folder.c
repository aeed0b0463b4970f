// folder - every picture under a folder, or those whose names fit patterns.
#include "kinds/folder.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

// A pattern with a slash is compared with the path below root, and its * and ? match slashes too. A
// pattern without one is compared with the name.
static bool fits_pattern(const char *pattern, const char *path) {
    return fnmatch(pattern, strchr(pattern, '/') ? path : picture_name(path), 0) == 0;
}

// The first pattern of the list that the path fits, malloc'ed; NULL if there is none.
static char *fitting_pattern(const char *list, const char *path) {
    // Lists are walked in place; each pattern needs a 0 for fnmatch.
    const char *item;
    size_t size;
    while (config_list_next(&list, &item, &size)) {
        char *pattern = xasprintf("%.*s", (int)size, item);
        if (fits_pattern(pattern, path))
            return pattern;
        free(pattern);
    }
    return NULL;
}

static void sift_path(const struct config_curator *s, const char *path, struct picture *p) {
    // Both are computed first, since the text names the pattern that decided.
    char *in = fitting_pattern(s->include, path), *out = fitting_pattern(s->exclude, path);
    if (!s->recursive && strchr(path, '/'))
        picture_reject(p, "subfolder", NAN, "it is in a folder below root, and recursive is false");
    // exclude wins over include.
    else if (out)
        picture_reject(p, "excluded", NAN, "its name fits '%s' of exclude", out);
    else if (*s->include && !in)
        picture_reject(p, "not_included", NAN, "its name fits no pattern of include");
    free(in);
    free(out);
}

static void warn_of_idle(const struct curation *c, const char *key, const char *list) {
    const char *item;
    // Paths are relative to the manifest's root; patterns are relative to the curator's.
    size_t size, skip = strlen(c->folder) + (*c->folder != 0);
    while (config_list_next(&list, &item, &size)) {
        char *pattern = xasprintf("%.*s", (int)size, item);
        size_t i = 0;
        // One fitting file is enough; large sets end this loop early.
        while (i < c->walk.found.count &&
               !fits_pattern(pattern, c->walk.found.items[i].path + skip))
            i++;
        if (i == c->walk.found.count)
            curation_say(c, "warn", "idle_pattern", "%s: '%s' of %s fits no file", c->domain,
                         pattern, key);
        free(pattern);
    }
}

int folder_scan(struct curation *c) {
    const struct config_curator *s = c->settings;
    int err = walk_folder(c->root, c->folder, c->aside, &c->walk);
    // Without any rule no path has to be looked at.
    if (err || (!*s->include && !*s->exclude && s->recursive))
        return err;
    size_t skip = strlen(c->folder) + (*c->folder != 0);
    for (size_t i = 0; i < c->walk.found.count; i++)
        sift_path(s, c->walk.found.items[i].path + skip, &c->walk.found.items[i]);
    warn_of_idle(c, "include", s->include);
    warn_of_idle(c, "exclude", s->exclude);
    return ERR_OK;
}

const struct curator curator_folder = {
    .name = "folder",
    .help = "every picture under root and its folders, or those whose names fit patterns.\n"
            "           Settings: include, exclude, recursive, min_side, max_side, limit",
    .scan = folder_scan,
};
