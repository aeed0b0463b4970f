// snapshot - tables as a file in the order of positions. Slots are left out, so the bytes do not
// show how the arena happened to use them.
#include "snapshot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

#define MAGIC "CGPOOL1\n"

struct head {
    char magic[8];
    uint64_t seed, capacity, n_tables, step;
    struct head_table {
        uint64_t slot_bytes, filled, met;
    } tables[ARENA_TABLES]; // n_tables of them are in the file
};

// Only the tables in use are written.
static size_t head_bytes(uint64_t n_tables) {
    return offsetof(struct head, tables) + n_tables * sizeof(struct head_table);
}

// ---- saving ----

struct writer {
    FILE *file;
    crypto_hash_sha256_state hash;
    uint64_t bytes;
};

// Hashed while writing: the file is not read a second time.
static bool put_bytes(struct writer *w, const void *bytes, size_t size) {
    crypto_hash_sha256_update(&w->hash, bytes, size);
    w->bytes += size;
    return fwrite(bytes, 1, size, w->file) == size;
}

static bool put_head(struct writer *w, const struct arena *a, uint64_t step) {
    const struct arena_shape *shape = arena_shape(a);
    struct head h = {.magic = MAGIC,
                     .seed = shape->seed,
                     .capacity = shape->capacity,
                     .n_tables = shape->n_tables,
                     .step = step};
    for (uint64_t t = 0; t < h.n_tables; t++) {
        const struct arena_state *s = arena_state(a, t);
        h.tables[t] = (struct head_table){shape->slot_bytes[t], s->filled, s->met};
    }
    return put_bytes(w, &h, head_bytes(h.n_tables));
}

static bool put_table(struct writer *w, const struct arena *a, uint64_t table) {
    // slot_bytes, without the padding of the arena's slots.
    size_t size = arena_shape(a)->slot_bytes[table];
    uint64_t filled = arena_state(a, table)->filled;
    for (uint64_t i = 0; i < filled; i++) {
        uint64_t born = arena_born(a, table, i);
        if (!put_bytes(w, &born, sizeof born))
            return false;
    }
    for (uint64_t i = 0; i < filled; i++)
        if (!put_bytes(w, arena_image(a, table, i), size))
            return false;
    return true;
}

static bool put_all(struct writer *w, const struct arena *a, uint64_t step) {
    if (!put_head(w, a, step))
        return false;
    for (uint64_t t = 0; t < arena_shape(a)->n_tables; t++)
        if (!put_table(w, a, t))
            return false;
    // On disk before the checkpoint names this file.
    return fflush(w->file) == 0 && fsync(fileno(w->file)) == 0;
}

static int check_steps(const struct arena *a, uint64_t step) {
    for (uint64_t t = 0; t < arena_shape(a)->n_tables; t++) {
        const struct arena_state *s = arena_state(a, t);
        // Without an owner the tables were never restored and hold nothing of this run.
        if (s->owner == 0 || s->step != step)
            return err_set(ERR_MISMATCH,
                           "snapshot of step %" PRIu64 ", but table %" PRIu64 " is at %" PRIu64,
                           step, t, s->step);
    }
    return ERR_OK;
}

// Without it the file itself may be missing after a power loss.
static int sync_folder_of(const char *path) {
    char *copy = xstrdup(path);
    int err = fs_sync_dir(dirname(copy));
    free(copy);
    return err;
}

int snapshot_save(const struct arena *a, uint64_t step, const char *path, char ret_digest[65],
                  uint64_t *ret_bytes) {
    struct writer w = {0};
    uint8_t digest[32];
    int err = check_steps(a, step);
    if (err)
        return err;
    // "e" closes the file in child processes.
    w.file = fopen(path, "wbe");
    if (!w.file)
        return fs_failed("make", path);
    crypto_hash_sha256_init(&w.hash);
    if (!put_all(&w, a, step))
        err = fs_failed("write", path);
    if (fclose(w.file) && !err) // closed also after a failed write
        err = fs_failed("write", path);
    if (!err)
        err = sync_folder_of(path);
    if (err) {
        (void)unlink(path); // the first error counts
        return err;
    }
    crypto_hash_sha256_final(&w.hash, digest);
    digest_hex(digest, ret_digest);
    *ret_bytes = w.bytes;
    return ERR_OK;
}

// ---- loading ----

// Checked before anything is changed: a damaged snapshot must not destroy tables that are good.
static int check_digest(const char *path, const char *wanted, uint64_t *ret_size) {
    uint8_t digest[32];
    char hex[65];
    int err = digest_file(path, digest, ret_size);
    if (err)
        return err;
    digest_hex(digest, hex);
    if (strcmp(hex, wanted) != 0)
        return err_set(ERR_FORMAT, "'%s' (%" PRIu64 " bytes) has SHA-256 %s, not %s", path,
                       *ret_size, hex, wanted);
    return ERR_OK;
}

static int check_number(const char *path, const char *what, uint64_t value, uint64_t wanted) {
    if (value == wanted)
        return ERR_OK;
    return err_set(ERR_MISMATCH, "'%s' has %s %" PRIu64 ", not %" PRIu64, path, what, value,
                   wanted);
}

static int check_shape(const char *path, const struct head *h, const struct arena_shape *shape,
                       uint64_t step) {
    int err = check_number(path, "step", h->step, step);
    if (!err)
        err = check_number(path, "seed", h->seed, shape->seed);
    if (!err)
        err = check_number(path, "capacity", h->capacity, shape->capacity);
    if (!err)
        err = check_number(path, "tables", h->n_tables, shape->n_tables);
    for (uint64_t t = 0; !err && t < shape->n_tables; t++)
        err = check_number(path, "slot_bytes", h->tables[t].slot_bytes, shape->slot_bytes[t]);
    return err;
}

// The size of the file that the head describes; 0 if a table holds more than its capacity.
static uint64_t announced(const struct head *h) {
    uint64_t bytes = head_bytes(h->n_tables);
    for (uint64_t t = 0; t < h->n_tables; t++) {
        // Bounds each factor, so that the sum cannot overflow.
        if (h->tables[t].filled > h->capacity)
            return 0;
        bytes += h->tables[t].filled * (sizeof(uint64_t) + h->tables[t].slot_bytes);
    }
    return bytes;
}

static int read_head(FILE *file, const char *path, const struct arena *a, uint64_t step,
                     uint64_t size, struct head *ret) {
    uint64_t n = arena_shape(a)->n_tables;
    struct head h = {0};
    // The number of tables is not read from the file first: the shape is known.
    if (fread(&h, head_bytes(n), 1, file) != 1 || memcmp(h.magic, MAGIC, sizeof h.magic) != 0)
        return err_set(ERR_FORMAT, "'%s' is no snapshot of a pool", path);
    int err = check_shape(path, &h, arena_shape(a), step);
    if (err)
        return err;
    if (announced(&h) != size)
        return err_set(ERR_FORMAT, "'%s' has %" PRIu64 " bytes, not %" PRIu64, path, size,
                       announced(&h));
    *ret = h;
    return ERR_OK;
}

// Reads straight into the arena's slots: a table is too large for a second copy.
static bool read_table(FILE *file, struct arena *a, uint64_t table, uint64_t owner,
                       const struct head *h) {
    const struct head_table *t = &h->tables[table];
    struct arena_state state = {
        .owner = owner, .step = h->step, .met = t->met, .filled = t->filled};
    // One more element, because a size of 0 may give NULL.
    uint64_t *born = xcalloc(t->filled + 1, sizeof *born);
    bool good = fread(born, sizeof *born, t->filled, file) == t->filled;
    for (uint64_t i = 0; good && i < t->filled; i++)
        good = fread(arena_fill(a, table, i), t->slot_bytes, 1, file) == 1;
    if (good)
        // Only now does the table have an owner.
        arena_settle(a, table, &state, born);
    free(born);
    return good;
}

static int load_tables(FILE *file, const char *path, struct arena *a, uint64_t owner, uint64_t step,
                       uint64_t size) {
    struct head h = {0};
    int err = read_head(file, path, a, step, size, &h);
    if (err)
        return err;
    arena_clear(a); // from here on the tables have no owner until they are complete
    // A failure here leaves some tables without an owner: the trainer has to restore again.
    for (uint64_t t = 0; t < h.n_tables; t++)
        if (!read_table(file, a, t, owner, &h))
            return fs_failed("read", path);
    return ERR_OK;
}

int snapshot_load(struct arena *a, uint64_t owner, uint64_t step, const char *path,
                  const char *digest) {
    uint64_t size;
    int err = check_digest(path, digest, &size);
    if (err)
        return err;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return fs_failed("open", path);
    err = load_tables(file, path, a, owner, step, size);
    (void)fclose(file); // it was only read
    return err;
}

void snapshot_load_empty(struct arena *a, uint64_t owner, uint64_t step) {
    struct arena_state state = {.owner = owner, .step = step};
    arena_clear(a);
    for (uint64_t t = 0; t < arena_shape(a)->n_tables; t++)
        arena_settle(a, t, &state, NULL);
}
