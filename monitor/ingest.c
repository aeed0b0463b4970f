// ingest - records wait in one buffer until a transaction writes them. Parcels keep the order of
// arrival.
#include "ingest.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "base/version_text.h"
#include "points/ring.h"
#include "rows.h"
#include "schema.h"

#define MESSAGE_MAX (128 << 10) // bytes of one message's records

// A process with the numbers of its last records.
struct source {
    struct msg_peer peer;
    uint64_t taken, committed; // last one kept in memory; last one in the database
};

// Records of one message, one behind the other in ingest.bytes.
struct parcel {
    int source;
    size_t offset, size;
};

struct ingest {
    sqlite3 *db;
    const struct config *config;
    char *conf_text;
    struct rows rows;
    struct source *sources;
    int n_sources;
    struct parcel *parcels;
    int n_parcels, max_parcels;
    uint8_t *bytes;
    size_t used;
    uint64_t pending;
    struct ingest_counts counts;
    struct msg record; // large, so not on the stack
};

// ---- the run's row ----

// A resumed run has its row already; the insert then does nothing.
static int make_run(sqlite3 *db, const struct config *c, const char *conf_text) {
    sqlite3_stmt *s = NULL;
    SQL(db,
        sqlite3_prepare_v2(db,
                           "INSERT INTO run (name, status, started_us, conf_text, code_version, "
                           "seed) VALUES (?1, 'running', ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                           -1, &s, NULL),
        "make the run");
    (void)sqlite3_bind_text(s, 1, c->top.name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 2, wall_us());
    schema_bind_text(s, 3, conf_text);
    (void)sqlite3_bind_text(s, 4, version_text(), -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 5, c->top.seed); // binding fails for lack of memory only
    int rc = sqlite3_step(s);
    int err = rc == SQLITE_DONE ? ERR_OK : schema_failed(db, "make the run");
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

// After make_run the row exists, whoever made it.
static int find_run(sqlite3 *db, const char *name, int64_t *ret_id) {
    sqlite3_stmt *s = NULL;
    SQL(db, sqlite3_prepare_v2(db, "SELECT run_id FROM run WHERE name = ?1", -1, &s, NULL),
        "find the run");
    (void)sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *ret_id = sqlite3_column_int64(s, 0);
    int err = rc == SQLITE_ROW ? ERR_OK : schema_failed(db, "find the run");
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

static int update_run(struct ingest *g) {
    sqlite3_stmt *s = NULL;
    SQL(g->db,
        sqlite3_prepare_v2(g->db,
                           "UPDATE run SET status = 'running', ended_us = NULL, conf_text = ?2, "
                           "code_version = ?3, seed = ?4 WHERE run_id = ?1",
                           -1, &s, NULL),
        "begin the run");
    (void)sqlite3_bind_int64(s, 1, g->rows.run_id);
    schema_bind_text(s, 2, g->conf_text);
    (void)sqlite3_bind_text(s, 3, version_text(), -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 4, g->config->top.seed);
    int rc = sqlite3_step(s);
    int err = rc == SQLITE_DONE ? ERR_OK : schema_failed(g->db, "begin the run");
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

struct settings {
    struct rows *rows;
    int err;
};

static void put_setting(void *context, const char *path, const char *value) {
    struct settings *s = context;
    if (!s->err)
        s->err = rows_put_param(s->rows, path, value);
}

static void roll_back(struct ingest *g) {
    // Rows of metric_key may be gone with the transaction.
    (void)sqlite3_exec(g->db, "ROLLBACK", NULL, NULL, NULL); // fails if SQLite has done it already
    rows_forget_keys(&g->rows);
}

int ingest_begin_run(struct ingest *g) {
    struct settings settings = {&g->rows, ERR_OK};
    // IMMEDIATE takes the write lock now: a later upgrade could fail half-way.
    int err = schema_run(g->db, "BEGIN IMMEDIATE");
    if (err)
        return err;
    err = update_run(g);
    if (!err)
        config_each(g->config, &settings, put_setting);
    if (!err)
        err = settings.err;
    if (!err)
        err = schema_run(g->db, "COMMIT");
    if (err)
        roll_back(g);
    return err;
}

// ---- sources ----

// Without the incarnation: numbers continue over a restart.
static int find_source(const struct ingest *g, const struct msg_peer *peer) {
    for (int i = 0; i < g->n_sources; i++)
        if (g->sources[i].peer.instance == peer->instance &&
            strcmp(g->sources[i].peer.process, peer->process) == 0)
            return i;
    return -1;
}

static int add_source(struct ingest *g, const struct msg_peer *peer, uint64_t committed) {
    g->sources = xrealloc(g->sources, (size_t)(g->n_sources + 1) * sizeof *g->sources);
    g->sources[g->n_sources] = (struct source){*peer, committed, committed};
    return g->n_sources++;
}

static int load_sources(struct ingest *g) {
    sqlite3_stmt *s = NULL;
    int rc;
    SQL(g->db,
        sqlite3_prepare_v2(
            g->db, "SELECT process, instance, last_seq FROM ingest_cursor WHERE run_id = ?1", -1,
            &s, NULL),
        "read the cursors");
    (void)sqlite3_bind_int64(s, 1, g->rows.run_id);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct msg_peer peer = {.instance = (uint64_t)sqlite3_column_int64(s, 1)};
        (void)text_copy(peer.process, sizeof peer.process, (const char *)sqlite3_column_text(s, 0));
        (void)add_source(g, &peer, (uint64_t)sqlite3_column_int64(s, 2));
    }
    int err = rc == SQLITE_DONE ? ERR_OK : schema_failed(g->db, "read the cursors");
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

uint64_t ingest_cursor(const struct ingest *g, const struct msg_peer *from) {
    int i = find_source(g, from);
    return i < 0 ? 0 : g->sources[i].committed;
}

// ---- life ----

int ingest_new(sqlite3 *db, const struct config *config, const char *conf_text,
               struct ingest **ret_ingest) {
    int64_t run_id = 0;
    int err = make_run(db, config, conf_text);
    if (!err)
        err = find_run(db, config->top.name, &run_id);
    if (err)
        return err;
    struct ingest *g = xcalloc(1, sizeof *g);
    g->db = db;
    g->config = config;
    g->conf_text = xstrdup(conf_text);
    g->bytes = xmalloc(INGEST_BYTES);
    err = rows_init(db, run_id, &g->rows);
    if (!err)
        err = load_sources(g);
    if (err) {
        ingest_free(g);
        return err;
    }
    *ret_ingest = g;
    return ERR_OK;
}

void ingest_free(struct ingest *g) {
    if (!g)
        return;
    rows_fini(&g->rows);
    free(g->conf_text);
    free(g->sources);
    free(g->parcels);
    free(g->bytes);
    free(g);
}

const struct ingest_counts *ingest_counts(const struct ingest *g) {
    return &g->counts;
}

// ---- into memory ----

// Asked before a message is taken, whose size is not known yet.
bool ingest_has_room(const struct ingest *g) {
    return g->used + MESSAGE_MAX <= INGEST_BYTES;
}

uint64_t ingest_pending(const struct ingest *g) {
    return g->pending;
}

// The whole message is checked first, so a broken one changes nothing.
static int check_records(const void *bytes, size_t size, uint64_t first, uint64_t count) {
    size_t offset = 0;
    struct ring_record record;
    for (uint64_t i = 0; i < count; i++)
        if (!ring_next(bytes, size, &offset, &record) || record.seq != first + i)
            return err_set(ERR_PEER, "points: record %llu of %llu is broken",
                           (unsigned long long)i + 1, (unsigned long long)count);
    return offset == size ? ERR_OK : err_set(ERR_PEER, "points: bytes behind the last record");
}

static void add_parcel(struct ingest *g, int source, size_t size) {
    if (g->n_parcels == g->max_parcels) {
        g->max_parcels = MAX(64, g->max_parcels * 2);
        g->parcels = xrealloc(g->parcels, (size_t)g->max_parcels * sizeof *g->parcels);
    }
    g->parcels[g->n_parcels++] = (struct parcel){source, g->used, size};
    g->used += size;
}

int ingest_add(struct ingest *g, const struct msg_peer *from, uint64_t first, uint64_t count,
               const void *bytes, size_t size) {
    if (!count || first > INT64_MAX - count || size > MESSAGE_MAX)
        return err_set(ERR_PEER, "points: first, count or size out of range");
    int err = check_records(bytes, size, first, count);
    if (err)
        return err;
    int i = find_source(g, from);
    if (i < 0)
        i = add_source(g, from, 0);
    struct source *s = &g->sources[i];
    // A message that overlaps what was taken is kept: write_parcel drops the duplicates in it.
    if (first + count - 1 <= s->taken) {
        g->counts.duplicates += count;
        return ERR_OK;
    }
    if (g->used + size > INGEST_BYTES)
        return err_set(ERR_AGAIN, "points: no room before the next commit");
    memcpy(g->bytes + g->used, bytes, size);
    add_parcel(g, i, size);
    // Before the commit these count as pending, not as stored.
    g->pending += count;
    s->taken = first + count - 1;
    return ERR_OK;
}

int ingest_add_body(struct ingest *g, const struct msg_peer *from, uint64_t seq,
                    const uint8_t *body, size_t length) {
    uint8_t bytes[RING_SIZE(RING_BODY_MAX)];
    ring_write(bytes, seq, body, length);
    return ingest_add(g, from, seq, 1, bytes, RING_SIZE(length));
}

// ---- into the database ----

// Writes one record. Counts and skips a record that cannot become a row.
static int write_record(struct ingest *g, const struct source *s, const struct ring_record *r,
                        struct ingest_counts *counts) {
    int err = msg_unpack_record(r->body, r->length, &g->record) ? ERR_PEER : ERR_OK;
    if (!err)
        err = rows_put(&g->rows, &s->peer, &g->record);
    if (err == ERR_PEER || err == ERR_DATA) {
        counts->refused++;
        return ERR_OK;
    }
    counts->records += !err;
    return err;
}

static int write_parcel(struct ingest *g, const struct parcel *p, uint64_t *reached,
                        struct ingest_counts *counts) {
    const struct source *s = &g->sources[p->source];
    struct ring_record record;
    for (size_t offset = 0; ring_next(g->bytes + p->offset, p->size, &offset, &record);) {
        // Also those that an earlier message of this transaction has brought.
        if (record.seq <= reached[p->source]) {
            counts->duplicates++;
            continue;
        }
        int err = write_record(g, s, &record, counts);
        if (err)
            return err;
        reached[p->source] = record.seq;
    }
    return ERR_OK;
}

static int write_all(struct ingest *g, uint64_t *reached, struct ingest_counts *counts) {
    int err = schema_run(g->db, "BEGIN IMMEDIATE");
    for (int i = 0; !err && i < g->n_parcels; i++)
        err = write_parcel(g, &g->parcels[i], reached, counts);
    // In the same transaction as the rows: either both are there or neither.
    for (int i = 0; !err && i < g->n_sources; i++)
        if (reached[i] != g->sources[i].committed)
            err = rows_put_cursor(&g->rows, &g->sources[i].peer, reached[i]);
    return err ? err : schema_run(g->db, "COMMIT");
}

int ingest_commit(struct ingest *g) {
    if (!g->n_parcels)
        return ERR_OK;
    // Counts and cursors change in copies, which are adopted when the transaction has succeeded.
    struct ingest_counts counts = g->counts;
    uint64_t *reached = xmalloc((size_t)g->n_sources * sizeof *reached);
    for (int i = 0; i < g->n_sources; i++)
        reached[i] = g->sources[i].committed;
    // A removed file would take rows that nobody ever sees.
    int err = schema_check_file(g->db);
    if (!err)
        err = write_all(g, reached, &counts);
    if (err) {
        roll_back(g);
        g->counts.failures++;
    } else {
        for (int i = 0; i < g->n_sources; i++)
            g->sources[i].committed = reached[i];
        g->counts = counts;
        g->counts.commits++;
        g->n_parcels = 0;
        g->used = 0;
        g->pending = 0;
    }
    free(reached);
    return err;
}
