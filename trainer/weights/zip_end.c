// Finds the end record of a zip archive by itself, because libzip trusts the count in it.
#include "weights/zip_end.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// Source: PKWARE, APPNOTE.TXT 4.3.14 to 4.3.16. All numbers little-endian.
//   end of central directory   "PK\5\6", ... entries u16 at 10, ... 22 bytes and a comment
//   zip64's locator            "PK\6\7", disk u32, place of the next u64, disks u32
//   zip64's own record         "PK\6\6", ... entries u64 at 32, ... 56 bytes
#define END_SIZE 22
#define LOCATOR_SIZE 20
#define END64_SIZE 56
// A comment has at most 65535 bytes. The zip64 locator stands in front of the record.
#define TAIL_MAX (END_SIZE + 0xffff + LOCATOR_SIZE)

static int too_many(const char *path, uint64_t n) {
    return err_set(ERR_LIMIT, "'%s' is an archive of %llu entries; weights have less than %d", path,
                   (unsigned long long)n, ZIP_ENTRIES_MAX);
}

// The last bytes of the file, from byte `start` on.
struct tail {
    const char *path;
    int fd;
    uint64_t start;
    size_t size;
    uint8_t *bytes;
};

static int check_record64(const struct tail *t, const uint8_t *locator) {
    uint8_t record[END64_SIZE];
    uint64_t place, n;
    memcpy(&place, locator + 8, 8);
    // A short read means that the locator points past the end.
    if (place > INT64_MAX || pread(t->fd, record, sizeof record, (off_t)place) != sizeof record ||
        memcmp(record, "PK\6\6", 4) != 0)
        return err_set(ERR_FORMAT, "'%s': the archive's end is damaged", t->path);
    memcpy(&n, record + 32, 8);
    return n > ZIP_ENTRIES_MAX ? too_many(t->path, n) : ERR_OK;
}

static int check_record(const struct tail *t, size_t at) {
    const uint8_t *record = t->bytes + at;
    uint16_t n;
    // A locator in front means that the 16-bit count may be a placeholder.
    if (at >= LOCATOR_SIZE && memcmp(record - LOCATOR_SIZE, "PK\6\7", 4) == 0)
        return check_record64(t, record - LOCATOR_SIZE);
    memcpy(&n, record + 10, 2);
    return n > ZIP_ENTRIES_MAX ? too_many(t->path, n) : ERR_OK;
}

static int check_tail(const struct tail *t) {
    int found = 0, err = ERR_OK;
    // The comment may hold the same signature, so every match is checked.
    for (size_t at = 0; at + END_SIZE <= t->size && !err; at++)
        if (memcmp(t->bytes + at, "PK\5\6", 4) == 0) {
            err = check_record(t, at);
            found++;
        }
    if (!err && !found)
        return err_set(ERR_FORMAT, "'%s' is an archive without its end: cut off?", t->path);
    return err;
}

static int read_tail(struct tail *t) {
    struct stat st;
    if (fstat(t->fd, &st))
        return fs_failed("stat", t->path);
    t->size = MIN((size_t)st.st_size, (size_t)TAIL_MAX);
    t->start = (uint64_t)st.st_size - t->size;
    t->bytes = xmalloc(t->size + 1);
    if (pread(t->fd, t->bytes, t->size, (off_t)t->start) != (ssize_t)t->size)
        return fs_failed("read", t->path);
    return check_tail(t);
}

int zip_end_check(const char *path) {
    struct tail t = {.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (t.fd < 0)
        return fs_failed("open", path);
    int err = read_tail(&t);
    free(t.bytes);
    (void)close(t.fd); // only read from
    return err;
}
