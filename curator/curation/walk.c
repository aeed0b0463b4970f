// walk - one recursion over a folder, which lists candidates without reading whole files. readdir's
// order differs by file system, so walk_folder sorts at the end.
#include "curation/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/util.h"
#include "image/format.h"

void walk_fini(struct walk *w) {
    pictures_fini(&w->found);
    pictures_fini(&w->linked);
    *w = (struct walk){0};
}

static void add_file(DIR *dir, struct walk *w, const char *path, const struct stat *st) {
    if (!image_is_candidate(dirfd(dir), picture_name(path))) {
        // One example is enough for the message; only the first path is stored.
        if (!w->others++)
            (void)text_copy(w->example, sizeof w->example, path); // may be cut
        return;
    }
    struct picture *p = pictures_add(&w->found);
    p->path = xstrdup(path);
    // For a link, st describes its target: the cache then notices a changed target.
    p->size = (uint64_t)st->st_size;
    p->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

// A link may lead back to a folder above, or to pictures that are found by their own path too.
static void add_linked_folder(struct walk *w, const char *path) {
    struct picture *p = pictures_add(&w->linked);
    p->path = xstrdup(path);
    picture_reject(p, "linked_folder", NAN, "a link to a folder is not followed; name the folder");
}

static int enter_folder(const char *root, const char *folder, const char *skip, struct walk *w);

static int visit_entry(DIR *dir, const char *root, const char *path, const char *skip,
                       struct walk *w) {
    struct stat st;
    const char *name = picture_name(path);
    // Relative to the open folder, so the kernel does not walk the whole path for each file.
    if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? ERR_OK // it was deleted meanwhile
                               : err_set(ERR_DATA, "'%s/%s': %s", root, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        // `skip` is the training folder inside held_out; each file belongs to one of the two.
        return skip && strcmp(path, skip) == 0 ? ERR_OK : enter_folder(root, path, skip, w);

    struct stat target;
    // A link with a target is judged by its target; a broken one by itself.
    if (S_ISLNK(st.st_mode) && fstatat(dirfd(dir), name, &target, 0) == 0) {
        if (S_ISDIR(target.st_mode)) {
            add_linked_folder(w, path);
            return ERR_OK;
        }
        st = target;
    }
    add_file(dir, w, path, &st); // a broken link too: inspecting rejects it as unreadable
    return ERR_OK;
}

static int unreadable(const char *folder) {
    return err_set(ERR_DATA, "folder '%s' cannot be read: %s", folder, strerror(errno));
}

static int visit_all(DIR *dir, const char *root, const char *folder, const char *skip,
                     struct walk *w) {
    const struct dirent *entry;
    int err = ERR_OK;
    // readdir returns NULL at the end and on failure. Only errno tells which, so it is cleared.
    while (!err && (errno = 0, entry = readdir(dir))) {
        // Hidden files, and "." and ".." with them.
        if (entry->d_name[0] == '.')
            continue;
        char *path = *folder ? xasprintf("%s/%s", folder, entry->d_name) : xstrdup(entry->d_name);
        // Longer paths cannot be opened, and serve.c relies on this bound.
        if (strlen(path) >= PATH_MAX)
            err = err_set(ERR_DATA, "folder '%s/%s' is nested too deeply", root, folder);
        else
            err = visit_entry(dir, root, path, skip, w);
        free(path);
    }
    return !err && errno ? unreadable(folder) : err;
}

static int enter_folder(const char *root, const char *folder, const char *skip, struct walk *w) {
    char *full = *folder ? xasprintf("%s/%s", root, folder) : xstrdup(root);
    DIR *dir = opendir(full);
    int err = dir ? visit_all(dir, root, folder, skip, w) : unreadable(full);
    if (dir)
        (void)closedir(dir); // only read from
    free(full);
    return err;
}

int walk_folder(const char *root, const char *folder, const char *skip, struct walk *w) {
    int err = enter_folder(root, folder, skip, w);
    // Sorted even after a failure: the list stays usable.
    pictures_sort(&w->found);
    return err;
}
