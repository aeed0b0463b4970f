// layout - finds trainA and its relatives by trying each form. The disk is read anew each time: it
// is asked at the start only.
#include "config/layout.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

// Names in the message of a folder without a layout.
enum { NAMED_ENTRIES = 8 };

static const struct layout layouts[] = {
    {"train*", {"test*", "val*"}},
    {"train/*", {"test/*", "val/*"}},
    {"*/train", {"*/test", "*/val"}},
    {"*", {"test*", "val*"}},
};

static int is_shown(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

// The folder's entry of that name in letters of any case, the first by strcmp; NULL if there is
// none. Takes `path`, and gives the path of the entry.
// On case-sensitive file systems a data set may come as TrainA or traina.
static char *enter_any_case(char *path, const char *name) {
    struct dirent **entries = NULL;
    char *found = NULL;
    int n = scandir(path, &entries, is_shown, by_name);
    for (int i = 0; i < n; i++) {
        if (!found && strcasecmp(entries[i]->d_name, name) == 0)
            found = xasprintf("%s/%s", path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    free(path);
    return found;
}

char *layout_folder(const char *root, const char *form, char letter) {
    char *wanted = xstrdup(form), *star = strchr(wanted, '*'), *rest = NULL;
    if (star)
        *star = letter;
    char *path = xasprintf("%s/%s", root, wanted);
    if (!fs_is_dir(path)) { // the name as it is written goes first
        free(path);
        path = xstrdup(root);
        for (char *part = strtok_r(wanted, "/", &rest); part && path;
             part = strtok_r(NULL, "/", &rest))
            path = enter_any_case(path, part);
    }
    free(wanted);
    if (path && !fs_is_dir(path)) {
        free(path);
        path = NULL;
    }
    return path;
}

static bool has_all(const char *root, const char *form, const char *letters) {
    bool all = true;
    for (const char *letter = letters; *letter && all; letter++) {
        char *path = layout_folder(root, form, *letter);
        all = path != NULL;
        free(path);
    }
    return all;
}

const struct layout *layout_find(const char *root, const char *letters) {
    for (size_t i = 0; i < COUNT(layouts); i++)
        if (has_all(root, layouts[i].train, letters))
            return &layouts[i];
    return NULL;
}

// The first form that all letters have: test before val.
char *layout_held_out(const char *root, const struct layout *l, const char *letters) {
    for (size_t i = 0; i < COUNT(l->held); i++)
        if (has_all(root, l->held[i], letters))
            return layout_folder(root, l->held[i], *letters);
    return NULL;
}

char *layout_describe(const char *root) {
    struct text t = {0};
    struct dirent **entries = NULL;
    char *below = NULL;
    int n = scandir(root, &entries, is_shown, by_name);
    text_add(&t, n > 0 ? "it has " : "it is empty");
    for (int i = 0; i < n; i++) {
        char *path = xasprintf("%s/%s", root, entries[i]->d_name);
        bool is_folder = fs_is_dir(path);
        if (i < NAMED_ENTRIES)
            text_add(&t, "%s%s%s", i ? ", " : "", entries[i]->d_name, is_folder ? "/" : "");
        // Archives often unpack into one folder more.
        if (!below && is_folder && layout_find(path, "AB"))
            below = xstrdup(path);
        free(path);
        free(entries[i]);
    }
    if (n > NAMED_ENTRIES)
        text_add(&t, " and %d more", n - NAMED_ENTRIES);
    if (below)
        text_add(&t, "; did you mean %s?", below);
    free(entries);
    free(below);
    return t.bytes;
}
