// The first rows are in memory and the others in a file, because a pass reads from top to bottom
// once.
#include "translate/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

struct scratch {
    int rows, held; // rows [0, held) are in memory
    size_t row_bytes;
    char *memory, *folder;
    int fd; // -1: no file is needed
};

static int open_file(const char *folder, int *ret_fd) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    // Some file systems, like NFS, have no unnamed files.
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char *path = xasprintf("%s/.scratch-XXXXXX", folder);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            (void)unlink(path); // if this fails, a hidden file stays behind
        free(path);
    }
    if (fd < 0)
        return err_set(ERR_IO, "make a scratch file in '%s': %s", folder, strerror(errno));
    *ret_fd = fd;
    return ERR_OK;
}

int scratch_probe(const char *folder) {
    int fd = -1;
    if (open_file(folder, &fd))
        return err_set(ERR_IO, "the folder '%s' cannot be written: %s", folder, strerror(errno));
    (void)close(fd); // nothing was written
    return ERR_OK;
}

int scratch_new(int rows, size_t row_bytes, size_t *memory, const char *folder,
                struct scratch **ret) {
    struct scratch *s = xcalloc(1, sizeof *s);

    s->rows = rows;
    s->row_bytes = row_bytes;
    s->fd = -1;
    // Whole rows, from the first.
    s->held = (int)MIN((size_t)rows, *memory / row_bytes);
    if (folder && s->held < rows) {
        int err = open_file(folder, &s->fd);
        if (err) {
            free(s);
            return err;
        }
    }
    // Also without a folder: the dry run counts the same bytes.
    *memory -= (size_t)s->held * row_bytes;
    if (folder) {
        s->folder = xstrdup(folder);
        s->memory = xmalloc((size_t)s->held * row_bytes + 1);
    }
    *ret = s;
    return ERR_OK;
}

void scratch_free(struct scratch *s, size_t *memory) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (memory)
        *memory += (size_t)s->held * s->row_bytes;
    free(s->memory);
    free(s->folder);
    free(s);
}

size_t scratch_file_bytes(const struct scratch *s) {
    return (size_t)(s->rows - s->held) * s->row_bytes;
}

static void check_rows(const struct scratch *s, int first, int n) {
    if (first < 0 || n < 0 || first + n > s->rows)
        BUG("rows [%d, +%d) of %d", first, n, s->rows);
}

static int io_failed(const struct scratch *s, const char *what) {
    // A quota is a full disk for this user.
    if (errno == ENOSPC || errno == EDQUOT)
        return err_set(ERR_SPACE, "no room left for scratch files in '%s'", s->folder);
    return err_set(ERR_IO, "%s a scratch file in '%s': %s", what, s->folder, strerror(errno));
}

// Number of the rows [first, first + n) that are in memory. These come first.
static int in_memory(const struct scratch *s, int first, int n) {
    return MAX(0, MIN(first + n, s->held) - first);
}

int scratch_write(struct scratch *s, int first, int n, const void *data) {
    check_rows(s, first, n);
    int near = in_memory(s, first, n);
    const char *from = (const char *)data + (size_t)near * s->row_bytes;
    size_t left = (size_t)(n - near) * s->row_bytes;
    off_t at = (off_t)((size_t)(first + near - s->held) * s->row_bytes);

    memcpy(s->memory + (size_t)first * s->row_bytes * (near > 0), data,
           (size_t)near * s->row_bytes);
    while (left) {
        ssize_t done = pwrite(s->fd, from, left, at);
        if (done < 0 && errno != EINTR)
            return io_failed(s, "write to");
        done = MAX(done, 0);
        from += done;
        at += done;
        left -= (size_t)done;
    }
    return ERR_OK;
}

int scratch_read(const struct scratch *s, int first, int n, void *ret_data) {
    check_rows(s, first, n);
    int near = in_memory(s, first, n);
    char *to = (char *)ret_data + (size_t)near * s->row_bytes;
    size_t left = (size_t)(n - near) * s->row_bytes;
    off_t at = (off_t)((size_t)(first + near - s->held) * s->row_bytes);

    memcpy(ret_data, s->memory + (size_t)first * s->row_bytes * (near > 0),
           (size_t)near * s->row_bytes);
    while (left) {
        ssize_t done = pread(s->fd, to, left, at);
        if (done == 0)
            BUG("rows [%d, +%d) were never written", first, n);
        if (done < 0 && errno != EINTR)
            return io_failed(s, "read from");
        done = MAX(done, 0);
        to += done;
        at += done;
        left -= (size_t)done;
    }
    return ERR_OK;
}
