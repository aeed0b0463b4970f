// ring - records in a mapped file that survives a kill at any instruction. Writers order their
// stores so that every prefix of them is a valid ring.
#include "points/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// Behind the page that other processes read.
#define PRIVATE_AT 1024
// Records begin on a page of their own.
#define DATA_AT 4096
#define CAPACITY_MIN 8192

struct header {
    uint32_t length, crc;
    uint64_t seq;
};

struct mark {
    struct ring_place place;
    uint64_t check;
};

// Only the owner of the ring reads this part.
struct private {
    uint64_t capacity, boot;
    struct mark marks[2];
    uint64_t lost_reported;
};

_Static_assert(sizeof(struct header) == RING_HEADER, "as drawn");
_Static_assert(sizeof(struct points_page) <= PRIVATE_AT, "the page ends before it");
_Static_assert(CAPACITY_MIN >= RING_SIZE(RING_BODY_MAX) + RING_HEADER, "room for one");

static struct private *private_of(const struct ring *r) {
    return (struct private *)(void *)((uint8_t *)r->page + PRIVATE_AT);
}

// ---- records ----

static uint32_t checksum(uint32_t length, uint64_t seq, const uint8_t *body, size_t size) {
    // Length and number are part of the sum: a stale record of an earlier round has another number.
    uint8_t start[12];
    memcpy(start, &length, 4);
    memcpy(start + 4, &seq, 8);
    uLong crc = crc32(0, start, sizeof start);
    return (uint32_t)(size ? crc32(crc, body, (uInt)size) : crc); // zlib resets the sum for NULL
}

static void write_header(uint8_t *at, uint32_t length, uint64_t seq, uint32_t crc) {
    struct header h = {length, crc, seq};
    memcpy(at, &h, sizeof h);
}

void ring_write(uint8_t *ret, uint64_t seq, const uint8_t *body, size_t length) {
    // The body first, then the header that makes it valid.
    memcpy(ret + RING_HEADER, body, length);
    // Padding is zeroed, so equal records give equal bytes.
    memset(ret + RING_HEADER + length, 0, RING_SIZE(length) - RING_HEADER - length);
    write_header(ret, (uint32_t)length, seq, checksum((uint32_t)length, seq, body, length));
}

bool ring_next(const uint8_t *bytes, size_t size, size_t *offset, struct ring_record *ret_record) {
    struct header h;
    size_t left = size - *offset;
    if (left < sizeof h)
        return false;
    const uint8_t *at = bytes + *offset;
    memcpy(&h, at, sizeof h);
    // All bounds are checked before the sum is computed over that many bytes.
    if (h.length > RING_BODY_MAX || RING_SIZE(h.length) > left || h.seq == UINT64_MAX ||
        h.crc != checksum(h.length, h.seq, at + RING_HEADER, h.length))
        return false;
    *offset += RING_SIZE(h.length);
    *ret_record = (struct ring_record){h.seq, at + RING_HEADER, h.length};
    return true;
}

// Moves *place over WRAP, JUMP and the end of the data to the place of the next record.
static void skip_signs(const struct ring *r, struct ring_place *place) {
    struct header h;
    for (int i = 0; i < 4; i++) { // never more than WRAP, JUMP and an end in a row
        if (place->offset + sizeof h > r->capacity) {
            place->offset = 0;
            continue;
        }
        memcpy(&h, r->data + place->offset, sizeof h);
        if ((h.length != RING_WRAP && h.length != RING_JUMP) ||
            // The sum of a sign covers its header only.
            h.crc != checksum(h.length, h.seq, NULL, 0))
            return;
        if (h.length == RING_WRAP && h.seq == place->seq) {
            place->offset = 0;
        } else if (h.length == RING_JUMP && h.seq > place->seq && h.seq < UINT64_MAX) {
            place->seq = h.seq;
            place->offset += sizeof h;
        } else {
            return; // a stale sign of an earlier round
        }
    }
}

// Reads the record at *place, behind any signs, if it is valid and has that number. Moves *place.
static bool take_next(const struct ring *r, struct ring_place *place,
                      struct ring_record *ret_record) {
    struct ring_place at = *place;
    skip_signs(r, &at);
    size_t offset = at.offset;
    if (!ring_next(r->data, r->capacity, &offset, ret_record) || ret_record->seq != at.seq)
        return false;
    *place = (struct ring_place){at.seq + 1, offset};
    return true;
}

// ---- the oldest and the newest ----

// Any mixing function will do: it tells a torn mark from a whole one.
static uint64_t mark_check(const struct ring_place *place) {
    return ~(place->seq * 0x9e3779b97f4a7c15u ^ place->offset);
}

static bool is_mark_of(const struct mark *m, const struct ring_place *place) {
    return m->place.seq == place->seq && m->place.offset == place->offset &&
           m->check == mark_check(place);
}

// Writes the mark that is not valid now, so that a kill in between leaves the other one.
static void set_tail(struct ring *r, struct ring_place tail) {
    struct mark *marks = private_of(r)->marks;
    // volatile keeps the order of the stores: invalid, new values, valid.
    volatile struct mark *m = &marks[is_mark_of(&marks[0], &r->tail)];
    m->check = 0;
    m->place.seq = tail.seq;
    m->place.offset = tail.offset;
    m->check = mark_check(&tail);
    r->tail = tail;
    r->page->tail = tail.seq;
}

static bool newest_mark(const struct ring *r, struct ring_place *ret_place) {
    const struct mark *marks = private_of(r)->marks;
    bool found = false;
    for (int i = 0; i < 2; i++) {
        const struct ring_place *p = &marks[i].place;
        if (marks[i].check != mark_check(p) || p->offset > r->capacity || p->seq == UINT64_MAX)
            continue;
        // The larger number is the newer mark: the tail never moves back.
        if (!found || p->seq > ret_place->seq)
            *ret_place = *p;
        found = true;
    }
    return found;
}

static uint64_t boot_number(void) {
    // After a reboot, pages that were not written back may be lost.
    char id[64] = "";
    FILE *in = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (in) {
        (void)fgets(id, sizeof id, in); // if it fails, all boots count as the same
        (void)fclose(in);
    }
    return crc32(0, (const Bytef *)id, (uInt)strlen(id));
}

static void find_head(struct ring *r) {
    struct ring_record record;
    size_t seen = 0;
    // Walks at most one round; the number of each record has to follow the last one.
    r->head = r->tail;
    while (seen < r->capacity && take_next(r, &r->head, &record))
        seen += RING_SIZE(record.length);
    skip_signs(r, &r->head); // a jump without a record behind it
    r->page->head = r->head.seq;
    if (!seen)
        set_tail(r, r->head); // killed within ring_jump: the ring is empty, so tail must be head
}

// ---- the file ----

static int lock_file(int fd, const char *path, int wait_ms) {
    int64_t until = now_us() + wait_ms * (int64_t)1000;
    // flock ends with the process, however it ends.
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return fs_failed("lock", path);
        if (now_us() >= until)
            return err_set(ERR_BUSY, "'%s' is used by another process", path);
        (void)poll(NULL, 0, 5); // a lock has no event to wait for
    }
    return ERR_OK;
}

static bool map_file(struct ring *r, size_t capacity) {
    void *file = mmap(NULL, DATA_AT + capacity, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    if (file == MAP_FAILED)
        return false;
    r->page = file;
    r->data = (uint8_t *)file + DATA_AT;
    r->capacity = capacity;
    return true;
}

static int make_file(struct ring *r, const char *path, size_t bytes) {
    size_t capacity = MAX(bytes / 4096 * 4096, CAPACITY_MIN);
    if (ftruncate(r->fd, 0))
        return fs_failed("empty", path);
    // Reserved now: a full disk would otherwise end in SIGBUS while writing.
    errno = posix_fallocate(r->fd, 0, (off_t)(DATA_AT + capacity));
    if (errno)
        return fs_failed("reserve room for", path);
    if (!map_file(r, capacity))
        return fs_failed("map", path);
    private_of(r)->capacity = capacity;
    private_of(r)->boot = boot_number();
    // Numbers start at the time, so a new ring continues above an old one's numbers.
    r->head = (struct ring_place){(uint64_t)wall_us(), 0};
    set_tail(r, r->head);
    r->page->head = r->head.seq;
    r->page->version = RING_VERSION;
    r->page->magic = RING_MAGIC; // last: without it the file is made anew
    r->made = true;
    return ERR_OK;
}

// ERR_FORMAT: not a ring of ours.
static int use_file(struct ring *r, const char *path, size_t size) {
    struct private p;
    uint64_t start[2];
    if (pread(r->fd, start, sizeof start, 0) != sizeof start ||
        pread(r->fd, &p, sizeof p, PRIVATE_AT) != sizeof p)
        return fs_failed("read", path);
    // Of another version, or cut: the file is set aside, not repaired.
    if (start[0] != RING_MAGIC || start[1] != RING_VERSION || p.capacity != size - DATA_AT)
        return err_set(ERR_FORMAT, "'%s' is not a ring of points", path);
    if (!map_file(r, p.capacity))
        return fs_failed("map", path);
    if (!newest_mark(r, &r->tail))
        return err_set(ERR_FORMAT, "'%s' has no sound mark", path);
    find_head(r);
    if (p.boot != boot_number()) {
        private_of(r)->boot = boot_number();
        // Numbers that were lost with unwritten pages may be in the database; the jump avoids them.
        (void)ring_jump(r, (uint64_t)wall_us()); // full: its numbers are all there
    }
    r->page->tail = r->tail.seq;
    return ERR_OK;
}

static int open_file(const char *path, int wait_ms, int *ret_fd) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fs_failed("open", path);
    int err = lock_file(fd, path, wait_ms);
    if (err) {
        (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static int set_aside(struct ring *r, const char *path, int wait_ms) {
    char *broken = xasprintf("%s.broken", path);
    int failure = rename(path, broken);
    // Kept for a person; the next ring starts fresh.
    free(broken);
    if (failure)
        return fs_failed("set aside", path);
    ring_close(r);
    return open_file(path, wait_ms, &r->fd);
}

int ring_open(const char *path, size_t bytes, int wait_ms, struct ring *ret_ring) {
    struct ring r = {.fd = -1};
    struct stat st;
    int err = open_file(path, wait_ms, &r.fd);
    if (err)
        return err;
    if (fstat(r.fd, &st)) {
        err = fs_failed("look at", path);
        goto fail;
    }
    err =
        // A file without data was just created, or its maker was killed.
        st.st_size > DATA_AT ? use_file(&r, path, (size_t)st.st_size) : make_file(&r, path, bytes);
    if (err == ERR_FORMAT) {
        err = set_aside(&r, path, wait_ms);
        if (!err)
            err = make_file(&r, path, bytes);
    }
    if (err)
        goto fail;
    *ret_ring = r;
    return ERR_OK;

fail:
    ring_close(&r);
    return err;
}

void ring_close(struct ring *r) {
    if (r->page)
        (void)munmap(r->page, DATA_AT + r->capacity); // what is mapped stays in the file
    if (r->page || r->fd > 0)
        (void)close(r->fd); // nothing was written through it
    *r = (struct ring){.fd = -1};
}

// ---- in and out ----

uint64_t *ring_lost_reported(const struct ring *r) {
    return &private_of(r)->lost_reported;
}

size_t ring_used(const struct ring *r) {
    if (r->head.seq == r->tail.seq)
        return 0;
    // Wrapped, or full: then both offsets may be equal.
    return r->head.offset > r->tail.offset ? r->head.offset - r->tail.offset
                                           : r->capacity - r->tail.offset + r->head.offset;
}

bool ring_is_empty(const struct ring *r) {
    return r->head.seq == r->tail.seq;
}

// Moves the head to a place where `size` bytes fit in one piece. False: there is none. It always
// leaves room for a jump, so that ring_jump works in a full ring, too.
static bool make_room(struct ring *r, size_t size) {
    // Records are never split, so that readers see them in one piece.
    size_t used = ring_used(r), end = r->capacity - r->head.offset;
    if (size <= end)
        return used + size + RING_HEADER <= r->capacity;
    if (used + end + size + RING_HEADER > r->capacity)
        return false;
    // No room for a sign: skip_signs knows that a record cannot begin there.
    if (end >= RING_HEADER)
        write_header(r->data + r->head.offset, RING_WRAP, r->head.seq,
                     checksum(RING_WRAP, r->head.seq, NULL, 0));
    r->head.offset = 0;
    return true;
}

static void move_head(struct ring *r, uint64_t seq, size_t size) {
    r->head = (struct ring_place){seq, r->head.offset + size};
    r->page->head = seq;
}

bool ring_append(struct ring *r, const uint8_t *body, size_t length) {
    if (length > RING_BODY_MAX)
        BUG("a record of %zu bytes", length);
    if (!make_room(r, RING_SIZE(length)))
        return false;
    ring_write(r->data + r->head.offset, r->head.seq, body, length);
    // A compiler barrier suffices: the kernel writes the pages of a killed process as they are.
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // the record is complete before the head moves
    move_head(r, r->head.seq + 1, RING_SIZE(length));
    return true;
}

bool ring_jump(struct ring *r, uint64_t seq) {
    // A jump backwards would reuse numbers.
    if (seq <= r->head.seq)
        return true;
    if (!make_room(r, RING_HEADER))
        return false;
    bool empty = ring_is_empty(r);
    write_header(r->data + r->head.offset, RING_JUMP, seq, checksum(RING_JUMP, seq, NULL, 0));
    move_head(r, seq, RING_HEADER);
    // An empty ring has nothing to keep, so its tail follows.
    if (empty)
        set_tail(r, r->head);
    return true;
}

void ring_free_to(struct ring *r, uint64_t last) {
    struct ring_place at = r->tail;
    struct header h;
    // Freed in order, up to `last` or to what was written.
    while (at.seq <= last && at.seq < r->head.seq) {
        struct ring_place here = at;
        skip_signs(r, &here);
        if (here.seq > last || here.seq >= r->head.seq)
            break;
        memcpy(&h, r->data + here.offset, sizeof h);
        at = (struct ring_place){here.seq + 1, here.offset + RING_SIZE(h.length)};
    }
    if (at.seq == r->tail.seq)
        return;
    struct ring_place next = at;
    skip_signs(r, &next); // a jump at the very end is freed together with the last record
    set_tail(r, next.seq == r->head.seq ? r->head : at);
}

size_t ring_copy(const struct ring *r, struct ring_place *place, struct ring_place head,
                 size_t capacity, uint64_t *ret_first, uint64_t *ret_count, uint8_t *ret) {
    size_t size = 0;
    uint64_t count = 0, limit = *ret_count;
    while (count < limit && place->seq < head.seq) {
        struct ring_place at = *place;
        struct header h;
        skip_signs(r, &at);
        // A batch ends before a jump.
        if (at.seq >= head.seq || (count && at.seq != place->seq))
            break; // a jump: one message holds consecutive numbers only
        memcpy(&h, r->data + at.offset, sizeof h);
        if (size + RING_SIZE(h.length) > capacity)
            break;
        if (!count)
            *ret_first = at.seq;
        memcpy(ret + size, r->data + at.offset, RING_SIZE(h.length));
        size += RING_SIZE(h.length);
        count++;
        *place = (struct ring_place){at.seq + 1, at.offset + RING_SIZE(h.length)};
    }
    *ret_count = count;
    return size;
}
