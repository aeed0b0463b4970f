// fs - files as whole things: read, written or removed in one call, with the error text made here.
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

int fs_failed(const char *what, const char *path) {
    // A full disk is a kind of its own: callers wait for room instead of giving up.
    int err = errno == ENOSPC || errno == EDQUOT ? ERR_SPACE : ERR_IO;
    return err_set(err, "%s '%s': %s", what, path, strerror(errno));
}

bool fs_exists(const char *path) {
    // lstat: a link without a target exists too.
    struct stat st;
    return lstat(path, &st) == 0;
}

bool fs_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int fs_mkdirs(const char *path, unsigned mode) {
    char part[PATH_MAX];
    if (!*path || !text_copy(part, sizeof part, path))
        return err_set(ERR_IO, "make folder '%s': the name is empty or too long", path);

    // Starts behind the first byte, so that a leading '/' is no part to be made.
    for (char *at = part + 1;; at++) {
        char was = *at;
        if (was && was != '/')
            continue;
        *at = 0;
        // Another process may make the same folder at the same time.
        if (mkdir(part, mode) && errno != EEXIST)
            return fs_failed("make folder", part);
        if (!fs_is_dir(part))
            return err_set(ERR_IO, "make folder '%s': '%s' is in the way", path, part);
        if (!was)
            return ERR_OK;
        *at = was;
    }
}

static int read_all(int fd, const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size) {
    struct stat st;
    if (fstat(fd, &st))
        return fs_failed("read", path);
    // A device or pipe has no size and may never end.
    if (!S_ISREG(st.st_mode))
        return err_set(ERR_IO, "read '%s': not a regular file", path);
    if ((uint64_t)st.st_size > max)
        return err_set(ERR_LIMIT, "read '%s': %lld bytes, more than %zu", path,
                       (long long)st.st_size, max);

    // The size is fixed here: bytes that are appended meanwhile are not read.
    size_t size = 0, capacity = (size_t)st.st_size;
    uint8_t *bytes = xmalloc(capacity + 1);
    while (size < capacity) {
        ssize_t n = read(fd, bytes + size, capacity - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(bytes);
            return fs_failed("read", path);
        }
        if (n == 0)
            break; // the file became shorter meanwhile
        size += (size_t)n;
    }
    // One byte more than asked for, so that texts can be used as C strings.
    bytes[size] = 0;
    *ret_bytes = bytes;
    *ret_size = size;
    return ERR_OK;
}

int fs_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size) {
    // O_NONBLOCK: a pipe in the place of a file is refused, not waited for.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fs_failed("open", path);
    int err = read_all(fd, path, max, ret_bytes, ret_size);
    (void)close(fd); // it was only read
    return err;
}

// write may take a part only, above all on a nearly full disk.
int fs_write_all(int fd, const char *path, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fs_failed("write", path);
        at += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

// Without it a power loss may undo the rename.
static int sync_parent(const char *path) {
    char *parent = xstrdup(path);
    char *slash = strrchr(parent, '/');
    if (slash)
        // The parent of "/name" is "/", which keeps its slash.
        slash[slash == parent] = 0;
    int err = fs_sync_dir(slash ? parent : ".");
    free(parent);
    return err;
}

// PATH.tmp, or if that name were too long a shorter one, by a hash of the whole name (FNV-1a).
static char *temporary_beside(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uint64_t hash = 0xcbf29ce484222325;
    if (strlen(name) + strlen(".tmp") <= NAME_MAX)
        return xasprintf("%s.tmp", path);
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    // Equal names give equal temporary names: a leftover is overwritten, not collected.
    return xasprintf("%.*s.%016llx.tmp", (int)(name - path) + 200, path, (unsigned long long)hash);
}

int fs_write_atomic(const char *path, const void *bytes, size_t size) {
    char *beside = temporary_beside(path);
    int err;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        err = fs_failed("open", beside);
        goto done;
    }
    err = fs_write_all(fd, beside, bytes, size);
    // Before the rename: otherwise a power loss may leave the new name with old blocks.
    if (!err && fsync(fd))
        err = fs_failed("sync", beside);
    // Some file systems report a full disk only here.
    if (close(fd) && !err)
        err = fs_failed("close", beside);
    if (!err && rename(beside, path))
        err = fs_failed("rename to", path);
    if (err)
        (void)unlink(beside); // the first failure is reported
    else
        err = sync_parent(path);

done:
    free(beside);
    return err;
}

int fs_sync_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fs_failed("open folder", path);
    // EINVAL: this file system cannot sync folders, and nothing else would do it.
    int err = fsync(fd) && errno != EINVAL ? fs_failed("sync folder", path) : ERR_OK;
    (void)close(fd); // only read from
    return err;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    return remove(path) && errno != ENOENT ? fs_failed("remove", path) : 0;
}

int fs_remove_tree(const char *path) {
    // Depth first: folders are empty when their turn comes. Links are removed, not followed.
    int err = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return err == -1 && errno != ENOENT ? fs_failed("remove", path) : err == -1 ? ERR_OK : err;
}

int fs_free_bytes(const char *path, uint64_t *ret_bytes) {
    struct statvfs st;
    if (statvfs(path, &st))
        return fs_failed("free space of", path);
    // f_bavail, since the reserve for root does not help us.
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return ERR_OK;
}
