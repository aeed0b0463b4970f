// spill - an append-only file behind the ring. It is emptied at once when the last record was
// moved.
#include "points/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "points/ring.h"

#define CHUNK 65536

// Walks the valid records with growing numbers. s->taken ends before the first one with a number of
// at least `from`, s->size behind the last valid one.
static void find_ends(struct spill *s, size_t file_size, uint64_t from) {
    uint8_t *chunk = xmalloc(CHUNK);
    struct spill view = {.fd = s->fd, .size = file_size};
    // Any offset but 0 starts the loop; it ends when a chunk has no record.
    for (size_t offset = 1; offset;) {
        size_t n = spill_read(&view, chunk, CHUNK);
        struct ring_record record;
        offset = 0;
        // A smaller number is left over from an earlier use of the file.
        while (ring_next(chunk, n, &offset, &record) && record.seq >= view.next) {
            s->size = view.taken + offset;
            if (record.seq < from)
                s->taken = s->size;
            else
                s->next = record.seq + 1;
            view.next = record.seq + 1;
        }
        view.taken = s->size;
        if (view.taken + offset == 0 || n < CHUNK)
            break;
    }
    free(chunk);
}

int spill_open(const char *path, size_t limit, uint64_t from, struct spill *ret_spill) {
    struct spill s = {.limit = limit};
    s.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    off_t size = s.fd < 0 ? -1 : lseek(s.fd, 0, SEEK_END);
    if (size < 0)
        goto fail;
    find_ends(&s, (size_t)size, from);
    if (spill_is_empty(&s))
        s.size = s.taken = 0;
    // Cuts off a torn record at the end.
    if (ftruncate(s.fd, (off_t)s.size))
        goto fail;
    *ret_spill = s;
    return ERR_OK;

fail:
    (void)fs_failed("open", path);
    spill_close(&s);
    return ERR_IO;
}

void spill_close(struct spill *s) {
    if (s->fd > 0)
        (void)close(s->fd); // every write was checked
    *s = (struct spill){0};
}

bool spill_is_empty(const struct spill *s) {
    return s->taken == s->size;
}

bool spill_append(struct spill *s, uint64_t seq, const uint8_t *body, size_t length) {
    uint8_t bytes[RING_SIZE(RING_BODY_MAX)];
    size_t size = RING_SIZE(length);
    // Beyond the limit records are lost on purpose: a full disk would stop the run.
    if (s->size + size > s->limit)
        return false;
    ring_write(bytes, seq, body, length);
    ssize_t n;
    do
        // At an explicit offset: a failed write leaves nothing to seek back.
        n = pwrite(s->fd, bytes, size, (off_t)s->size);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)size)
        return false; // a partial record is overwritten by the next one, or found torn
    s->size += size;
    s->next = seq + 1;
    return true;
}

size_t spill_read(const struct spill *s, uint8_t *ret, size_t n) {
    ssize_t got;
    do
        got = pread(s->fd, ret, MIN(n, s->size - s->taken), (off_t)s->taken);
    while (got < 0 && errno == EINTR);
    // A read error looks like an empty file; the records stay in it.
    return got < 0 ? 0 : (size_t)got;
}

void spill_take(struct spill *s, size_t bytes) {
    s->taken += bytes;
    if (!spill_is_empty(s))
        return;
    (void)ftruncate(s->fd, 0); // if it fails, spill_open skips the old records by their numbers
    s->size = s->taken = 0;
    s->next = 0;
}
