// Names and moves the folders of checkpoints. A folder gets its final name when it is complete.
#include "checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/parts.h"

// ---- names ----

void checkpoint_join(char ret[CHECKPOINT_PATH], const char *folder, const char *name) {
    if (snprintf(ret, CHECKPOINT_PATH, "%s/%s", folder, name) >= CHECKPOINT_PATH)
        BUG("path too long: %s/%s", folder, name);
}

void checkpoint_step_path(const char *root, const char *form, uint64_t step,
                          char ret[CHECKPOINT_PATH]) {
    char name[64];

    (void)snprintf(name, sizeof name, form, (unsigned long long)step); // fits
    checkpoint_join(ret, root, name);
}

void checkpoint_path(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]) {
    checkpoint_step_path(root, "step_%08llu", step, ret_path);
}

// ---- moving into place ----

int checkpoint_begin(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]) {
    char path[CHECKPOINT_PATH];
    int err;

    checkpoint_step_path(root, ".step_%08llu.new", step, path);
    // A crash while saving this step may have left a partial folder.
    err = fs_remove_tree(path);
    if (!err)
        err = fs_mkdirs(path, 0755);
    if (!err)
        memcpy(ret_path, path, sizeof path);
    return err;
}

// For file systems without an atomic exchange. For an instant this step has no checkpoint.
static int replace_in_two_steps(const char *root, const char *path, const char *final,
                                uint64_t step) {
    char old[CHECKPOINT_PATH];

    checkpoint_step_path(root, ".step_%08llu.old", step, old);
    if (rename(final, old))
        return fs_failed("rename", final);
    if (rename(path, final))
        return fs_failed("rename", path);
    return fs_remove_tree(old);
}

static int move_into_place(const char *root, const char *path, uint64_t step) {
    char final[CHECKPOINT_PATH];
    int err;

    checkpoint_path(root, step, final);
    // The usual case: this step has no checkpoint yet.
    if (!renameat2(AT_FDCWD, path, AT_FDCWD, final, RENAME_NOREPLACE))
        return fs_sync_dir(root);
    // EINVAL: the file system has no RENAME_NOREPLACE.
    if (errno == EINVAL && !fs_exists(final) && !rename(path, final))
        return fs_sync_dir(root);
    // Exchanged, not replaced: rename refuses a folder that is not empty.
    if (renameat2(AT_FDCWD, path, AT_FDCWD, final, RENAME_EXCHANGE)) {
        if (errno != EINVAL && errno != ENOSYS)
            return fs_failed("exchange", final);
        return replace_in_two_steps(root, path, final, step);
    }
    // The exchange must be on disk before the old checkpoint is removed.
    err = fs_sync_dir(root);
    return err ? err : fs_remove_tree(path);
}

// Makes the link ROOT/NAME point to the folder of a step.
static int move_link(const char *root, const char *name, uint64_t step) {
    char link[CHECKPOINT_PATH], latest[CHECKPOINT_PATH], target[64];

    checkpoint_join(link, root, ".link");
    checkpoint_join(latest, root, name);
    (void)snprintf(target, sizeof target, "step_%08llu", (unsigned long long)step); // fits
    // A crash may have left the temporary link, and symlink does not replace one.
    if (unlink(link) && errno != ENOENT)
        return fs_failed("remove", link);
    if (symlink(target, link))
        return fs_failed("link", link);
    // Readers see the old or the new target at every time.
    if (rename(link, latest))
        return fs_failed("rename", latest);
    return fs_sync_dir(root);
}

int checkpoint_commit(const char *root, const char *path, uint64_t step) {
    // First the names inside of the folder, then the folder's own name, then the link.
    int err = fs_sync_dir(path);

    if (!err)
        err = move_into_place(root, path, step);
    return err ? err : move_link(root, "latest", step);
}

int checkpoint_mark_best(const char *root, uint64_t step) {
    return step ? move_link(root, "best", step) : ERR_OK;
}

// ---- listing ----

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool parse_step(const char *name, uint64_t *ret_step) {
    unsigned long long step;
    int end = 0;

    // "step_" and at least 8 digits, as checkpoint_path prints them; 20 digits hold 2^64.
    if (sscanf(name, "step_%20[0-9]%n", (char[21]){0}, &end) != 1 || name[end] || end < 13)
        return false;
    errno = 0;
    step = strtoull(name + 5, NULL, 10);
    *ret_step = step;
    // 20 digits can exceed 64 bits; strtoull reports it in errno.
    return !errno;
}

static bool is_leftover(const char *name) {
    // Not NULL where it is used: a name with the prefix ".step_" has a dot.
    const char *dot = strrchr(name, '.');

    return strncmp(name, ".step_", 6) == 0 &&
           (strcmp(dot, ".new") == 0 || strcmp(dot, ".old") == 0);
}

int checkpoint_list_steps(const char *root, bool clean, struct checkpoint_steps *ret) {
    DIR *d = opendir(root);
    struct dirent *entry;
    uint64_t step;

    *ret = (struct checkpoint_steps){0};
    if (!d)
        // Before the first checkpoint there is no folder.
        return errno == ENOENT ? ERR_OK : fs_failed("open", root);
    while ((entry = readdir(d)) != NULL) {
        if (clean && is_leftover(entry->d_name)) {
            char path[CHECKPOINT_PATH];

            checkpoint_join(path, root, entry->d_name);
            (void)fs_remove_tree(path); // tried again next time
        }
        if (!parse_step(entry->d_name, &step))
            continue;
        ret->items = xrealloc(ret->items, (size_t)(ret->n + 1) * sizeof *ret->items);
        ret->items[ret->n++] = step;
    }
    (void)closedir(d); // only read from
    if (ret->n)
        qsort(ret->items, (size_t)ret->n, sizeof *ret->items, by_value);
    return ERR_OK;
}
