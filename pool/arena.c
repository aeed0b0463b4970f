// The file layout is drawn in arena.h. In memory each table has two records on the heap: `now` is
// the committed state, `next` is prepared and then committed by one copy into the file.
#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "replay_rule.h"

// The file's header takes one page, so tables begin page-aligned.
#define PAGE 4096
#define LINE 64 // slots and records begin at multiples of it
#define MAGIC "CGARENA"
#define VERSION 1
// Bounds on what a message may ask for, so that no product below overflows 64 bits.
#define CAPACITY_MAX 1000000
#define BATCH_MAX 65536
#define SLOT_MAX (1ull << 31)

struct header {
    char magic[8];
    uint64_t version;
    struct arena_shape shape;
    uint64_t checksum; // of all above
};

struct record {
    uint64_t checksum; // of the rest, to the end of the record
    uint64_t number;   // 0: never written
    struct arena_state state;
    uint64_t born[]; // [capacity], then uint32_t slot[capacity], reply[batch]
};

struct table {
    size_t slot_bytes, stride;
    uint8_t *copies[2];  // the two records in the file; even and odd numbers
    uint8_t *slots;      // the images in the file
    struct record *now;  // on the heap: equal to the newer copy
    struct record *next; // on the heap: the state after the exchange
    uint8_t *used;       // [capacity + 2 * batch]; scratch of mark_used
};

struct arena {
    struct arena_shape shape;
    size_t bytes;
    uint8_t *map;
    // ZeroMQ's thread reads images after the owner has gone on; the last holder unmaps.
    atomic_uint holders; // 1 for the owner, 1 for each reader of its images
    struct table tables[ARENA_TABLES];
};

// ---- sizes ----

static uint64_t round_up(uint64_t n, uint64_t unit) {
    return (n + unit - 1) / unit * unit;
}

// Per position 8 bytes born and 4 bytes slot; per image of a batch 4 bytes reply.
static size_t record_bytes(const struct arena_shape *s) {
    return round_up(sizeof(struct record) + s->capacity * 12 + s->batch * 4, LINE);
}

// Stored images, those being exchanged, and those of the last reply.
static uint64_t slots_of(const struct arena_shape *s) {
    return s->capacity + 2 * s->batch;
}

static uint64_t slots_offset(const struct arena_shape *s) {
    return round_up(PAGE + 2 * s->n_tables * record_bytes(s), PAGE);
}

uint64_t arena_bytes(const struct arena_shape *s) {
    uint64_t bytes = slots_offset(s);
    for (uint64_t t = 0; t < s->n_tables; t++)
        bytes += slots_of(s) * round_up(s->slot_bytes[t], LINE);
    return round_up(bytes, PAGE);
}

static int check_range(const char *field, uint64_t value, uint64_t max) {
    if (value >= 1 && value <= max)
        return ERR_OK;
    return err_set(ERR_LIMIT, "pool %s is %" PRIu64 ", not 1 to %" PRIu64, field, value, max);
}

int arena_check(const struct arena_shape *s) {
    int err = check_range("capacity", s->capacity, CAPACITY_MAX);
    if (!err)
        err = check_range("batch", s->batch, BATCH_MAX);
    if (!err)
        err = check_range("tables", s->n_tables, ARENA_TABLES);
    for (uint64_t t = 0; !err && t < s->n_tables; t++)
        err = check_range("slot_bytes", s->slot_bytes[t], SLOT_MAX);
    return err;
}

// ---- records ----

static uint32_t *slots_at(const struct arena *a, struct record *r) {
    return (uint32_t *)(r->born + a->shape.capacity);
}

static uint32_t *reply_at(const struct arena *a, struct record *r) {
    return slots_at(a, r) + a->shape.capacity;
}

// CRC-32 finds torn writes; nobody forges this file.
static uint64_t checksum(const struct record *r, size_t bytes) {
    const size_t skip = sizeof r->checksum;
    return crc32_z(0, (const uint8_t *)r + skip, bytes - skip);
}

static bool record_holds(const struct arena *a, struct record *r) {
    const struct arena_state *s = &r->state;
    // Number 0 and zeroed memory are a record that was never written.
    if (r->number == 0 || r->checksum != checksum(r, record_bytes(&a->shape)))
        return false;
    // The checksum may hold by accident after damage, so each index is checked too.
    if (s->filled > a->shape.capacity || s->count > a->shape.batch)
        return false;
    for (uint64_t i = 0; i < a->shape.capacity + a->shape.batch; i++)
        if (slots_at(a, r)[i] >= slots_of(&a->shape)) // reply[] lies behind slot[]
            return false;
    return true;
}

// Makes `next` the state of the table. Every image that it refers to is in place already.
//
// A kill tears at most the copy that is being written, and that is the older one: the other copy
// still describes the table before the exchange, and the images it refers to are untouched.
static void commit_record(struct arena *a, struct table *t) {
    size_t bytes = record_bytes(&a->shape);
    struct record *r = t->next;
    r->number = t->now->number + 1;
    r->checksum = checksum(r, bytes);
    atomic_thread_fence(memory_order_release); // after the images
    memcpy(t->copies[r->number % 2], r, bytes);
    atomic_thread_fence(memory_order_release); // before the slots that it frees are reused
    t->next = t->now;
    t->now = r;
}

// A kill may have torn one copy in the file; only a valid one comes to the heap.
static void load_newest(struct arena *a, struct table *t) {
    size_t bytes = record_bytes(&a->shape);
    for (int i = 0; i < 2; i++) {
        memcpy(t->next, t->copies[i], bytes);
        // `now` starts with number 0, so any valid copy replaces it.
        if (record_holds(a, t->next) && t->next->number > t->now->number) {
            struct record *newer = t->next;
            t->next = t->now;
            t->now = newer;
        }
    }
}

// ---- opening ----

static void set_tables(struct arena *a) {
    size_t bytes = record_bytes(&a->shape);
    uint8_t *copy = a->map + PAGE, *slots = a->map + slots_offset(&a->shape);
    for (uint64_t i = 0; i < a->shape.n_tables; i++) {
        struct table *t = &a->tables[i];
        t->slot_bytes = a->shape.slot_bytes[i];
        t->stride = round_up(t->slot_bytes, LINE);
        t->copies[0] = copy;
        t->copies[1] = copy + bytes;
        t->slots = slots;
        t->now = xcalloc(1, bytes);
        t->next = xcalloc(1, bytes);
        t->used = xcalloc(1, slots_of(&a->shape));
        copy += 2 * bytes;
        slots += slots_of(&a->shape) * t->stride;
        load_newest(a, t);
    }
}

static struct header header_of(const struct arena_shape *shape) {
    // Unused slot_bytes are zero, because headers are compared as bytes.
    struct header h = {.magic = MAGIC, .version = VERSION, .shape = *shape};
    for (uint64_t t = shape->n_tables; t < ARENA_TABLES; t++)
        h.shape.slot_bytes[t] = 0;
    h.checksum = crc32_z(0, (const uint8_t *)&h, offsetof(struct header, checksum));
    return h;
}

// Whether the file is a complete arena of this shape.
static bool fits(int fd, const struct arena_shape *shape) {
    // fstat first: a file cut short would be mapped beyond its end, and reading it would kill us.
    struct header h, wanted = header_of(shape);
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size == (off_t)arena_bytes(shape) &&
           pread(fd, &h, sizeof h, 0) == sizeof h && memcmp(&h, &wanted, sizeof h) == 0;
}

static int too_large(int err, const char *path, const struct arena_shape *s, uint64_t limit,
                     const char *of_what) {
    uint64_t pictures = 0;
    for (uint64_t t = 0; t < s->n_tables; t++)
        pictures += s->slot_bytes[t];
    return err_set(
        err,
        "'%s' needs %" PRIu64 " bytes: (%" PRIu64 " + 2 * %" PRIu64 ") pictures in each of %" PRIu64
        " tables, %" PRIu64 " bytes for one picture of every table, and the index; %s is %" PRIu64
        " bytes. Lower pool.pool_size or make room",
        path, arena_bytes(s), s->capacity, s->batch, s->n_tables, pictures, of_what, limit);
}

static int reserve(int fd, const char *path, const struct arena_shape *shape) {
    uint64_t free_bytes = 0;
    // Reserved now: writing to a mapping of a full disk ends in SIGBUS.
    int failed = posix_fallocate(fd, 0, (off_t)arena_bytes(shape));
    if (failed == 0)
        return ERR_OK;
    if (failed != ENOSPC && failed != EFBIG && failed != EDQUOT)
        return err_set(ERR_IO, "reserve '%s': %s", path, strerror(failed));
    int err = fs_free_bytes(".", &free_bytes);
    return err ? err : too_large(ERR_SPACE, path, shape, free_bytes, "what the disk has left");
}

// The header is written last: a file without one is incomplete and is replaced on the next start.
static int make_file(const char *path, const struct arena_shape *shape, int *ret_fd) {
    struct header h = header_of(shape);
    // A new inode: an old mapping of another process is not changed under it.
    if (unlink(path) && errno != ENOENT)
        return err_set(ERR_IO, "remove '%s': %s", path, strerror(errno));
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(ERR_IO, "make '%s': %s", path, strerror(errno));
    int err = reserve(fd, path, shape);
    if (!err && pwrite(fd, &h, sizeof h, 0) != sizeof h)
        err = err_set(ERR_IO, "write '%s': %s", path, strerror(errno));
    if (err) {
        (void)close(fd);    // the first error counts
        (void)unlink(path); // gives the room back
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static int open_file(const char *path, const struct arena_shape *shape, int *ret_fd) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fits(fd, shape)) {
        *ret_fd = fd;
        return ERR_OK;
    }
    if (fd >= 0)
        (void)close(fd); // nothing was written
    return make_file(path, shape, ret_fd);
}

int arena_open(const char *path, const struct arena_shape *shape, uint64_t memory_bytes,
               struct arena **ret_arena) {
    int fd = -1, err = arena_check(shape);
    if (!err && arena_bytes(shape) > memory_bytes)
        err = too_large(ERR_LIMIT, path, shape, memory_bytes, "pool.memory");
    if (!err)
        err = open_file(path, shape, &fd);
    if (err)
        return err;
    size_t bytes = arena_bytes(shape);
    // MAP_SHARED: the pages belong to the file, so they outlive the process.
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        err = err_set(ERR_IO, "map '%s': %s", path, strerror(errno));
    (void)close(fd); // the mapping stays
    if (err)
        return err;
    struct arena *a = xcalloc(1, sizeof *a);
    a->shape = *shape;
    a->bytes = bytes;
    a->map = map;
    atomic_init(&a->holders, 1);
    set_tables(a);
    *ret_arena = a;
    return ERR_OK;
}

void arena_close(struct arena *a) {
    if (a)
        arena_release(a);
}

void arena_hold(struct arena *a) {
    atomic_fetch_add(&a->holders, 1);
}

void arena_release(struct arena *a) {
    // The old value above 1 says that others still hold it.
    if (atomic_fetch_sub(&a->holders, 1) > 1)
        return;
    for (int i = 0; i < ARENA_TABLES; i++) {
        free(a->tables[i].now);
        free(a->tables[i].next);
        free(a->tables[i].used);
    }
    (void)munmap(a->map, a->bytes); // cannot fail for a mapping of ours
    free(a);
}

// ---- access ----

static struct table *table_of(const struct arena *a, uint64_t table) {
    if (table >= a->shape.n_tables)
        BUG("table %" PRIu64, table);
    return (struct table *)&a->tables[table];
}

static uint8_t *slot(const struct table *t, uint32_t i) {
    return t->slots + (size_t)i * t->stride;
}

const struct arena_shape *arena_shape(const struct arena *a) {
    return &a->shape;
}

const struct arena_state *arena_state(const struct arena *a, uint64_t table) {
    return &table_of(a, table)->now->state;
}

const void *arena_reply(const struct arena *a, uint64_t table, uint64_t i) {
    const struct table *t = table_of(a, table);
    if (i >= t->now->state.count)
        BUG("picture %" PRIu64 " of the reply", i);
    return slot(t, reply_at(a, t->now)[i]);
}

const void *arena_image(const struct arena *a, uint64_t table, uint64_t position) {
    const struct table *t = table_of(a, table);
    if (position >= t->now->state.filled)
        BUG("position %" PRIu64, position);
    return slot(t, slots_at(a, t->now)[position]);
}

uint64_t arena_born(const struct arena *a, uint64_t table, uint64_t position) {
    return table_of(a, table)->now->born[position];
}

// ---- exchanging ----

static int check_request(const struct arena *a, const struct arena_request *r) {
    if (r->table >= a->shape.n_tables)
        return err_set(ERR_LIMIT, "exchange: table %" PRIu64 " of %" PRIu64, r->table,
                       a->shape.n_tables);
    if (r->count < 1 || r->count > a->shape.batch)
        return err_set(ERR_LIMIT, "exchange: %" PRIu64 " pictures, not 1 to %" PRIu64, r->count,
                       a->shape.batch);
    const struct arena_state *s = arena_state(a, r->table);
    // A restarted trainer has to restore first; an old one must not continue.
    if (s->owner != r->owner || s->owner == 0)
        return err_set(ERR_MISMATCH,
                       "exchange: incarnation %" PRIu64 " of the trainer has not restored table"
                       " %" PRIu64,
                       r->owner, r->table);
    if (r->step == s->step && r->count != s->count)
        return err_set(ERR_MISMATCH,
                       "exchange: step %" PRIu64 " of table %" PRIu64 " had %" PRIu64
                       " pictures, now %" PRIu64,
                       r->step, r->table, s->count, r->count);
    // Exactly the next step or a repetition of the last one.
    if (r->step != s->step && r->step != s->step + 1)
        return err_set(ERR_MISMATCH,
                       "exchange: step %" PRIu64 " of table %" PRIu64 ", the last was %" PRIu64,
                       r->step, r->table, s->step);
    return ERR_OK;
}

// A slot is free if neither the table nor the last reply refers to it: the trainer may ask for that
// reply again until it sends the next step.
static void mark_used(const struct arena *a, struct table *t) {
    memset(t->used, 0, slots_of(&a->shape));
    // Positions beyond `filled` hold no image.
    for (uint64_t i = 0; i < t->now->state.filled; i++)
        t->used[slots_at(a, t->now)[i]] = 1;
    for (uint64_t i = 0; i < t->now->state.count; i++)
        t->used[reply_at(a, t->now)[i]] = 1;
}

// Image `i` of the request lies in slot `fresh`; only the record decides where it belongs.
static void exchange_one(struct arena *a, struct table *t, uint64_t table, uint64_t i,
                         uint32_t fresh) {
    struct record *r = t->next;
    struct arena_state *s = &r->state;
    uint64_t capacity = a->shape.capacity, position = 0;
    double coin = 0;
    // `met` counts only draws, so that the numbers do not depend on how the table was filled.
    if (s->filled == capacity) {
        coin = replay_coin(a->shape.seed, (uint32_t)table, s->met);
        position = replay_position(a->shape.seed, (uint32_t)table, s->met++, capacity);
    }
    struct replay_action act = replay_rule(capacity, s->filled, coin, position);
    // A stored image is returned from its own slot: no pixel is copied.
    reply_at(a, r)[i] = act.gives ? slots_at(a, r)[act.position] : fresh;
    // Ages are measured in steps, at the time of the return.
    if (act.gives) {
        s->stored++;
        s->age += s->step - r->born[act.position];
    } else if (act.stores) {
        s->filled++;
    }
    if (act.stores) {
        slots_at(a, r)[act.position] = fresh;
        r->born[act.position] = s->step;
    }
}

int arena_exchange(struct arena *a, const struct arena_request *r) {
    int err = check_request(a, r);
    // A repetition: the reply of that step is still in its slots.
    if (err || r->step == arena_state(a, r->table)->step)
        return err;
    struct table *t = table_of(a, r->table);
    mark_used(a, t);
    // The file's copy stays as it is until the commit.
    memcpy(t->next, t->now, record_bytes(&a->shape));
    struct arena_state *s = &t->next->state;
    s->step = r->step;
    s->count = r->count;
    s->stored = s->age = 0;
    // `fresh` only grows: slots taken in this exchange are behind it.
    uint32_t fresh = 0;
    for (uint64_t i = 0; i < r->count; i++, fresh++) {
        while (t->used[fresh]) // ends: at most capacity + batch of capacity + 2 * batch are used
            fresh++;
        memcpy(slot(t, fresh), (const uint8_t *)r->images + i * t->slot_bytes, t->slot_bytes);
        exchange_one(a, t, r->table, i, fresh);
    }
    commit_record(a, t);
    return ERR_OK;
}

// ---- restoring ----

void arena_clear(struct arena *a) {
    for (uint64_t i = 0; i < a->shape.n_tables; i++) {
        // Zeros mean no owner; the slots' bytes need no clearing.
        memset(a->tables[i].next, 0, record_bytes(&a->shape));
        commit_record(a, &a->tables[i]);
    }
}

void *arena_fill(struct arena *a, uint64_t table, uint64_t position) {
    const struct table *t = table_of(a, table);
    if (t->now->state.owner || position >= a->shape.capacity)
        BUG("filling position %" PRIu64 " of a table in use", position);
    return slot(t, (uint32_t)position);
}

void arena_settle(struct arena *a, uint64_t table, const struct arena_state *state,
                  const uint64_t *born) {
    struct table *t = table_of(a, table);
    memset(t->next, 0, record_bytes(&a->shape));
    t->next->state = *state;
    t->next->state.count = t->next->state.stored = t->next->state.age = 0;
    for (uint64_t i = 0; i < state->filled; i++) {
        // A restored table uses its first slots in order.
        slots_at(a, t->next)[i] = (uint32_t)i;
        t->next->born[i] = born[i];
    }
    commit_record(a, t);
}
