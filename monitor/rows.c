// rows - one prepared statement for each kind of record. Preparing them once makes a row cost a few
// binds and a step.
#include "rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "base/util.h"
#include "schema.h"

// ?1 is the run in every statement, also where it is not needed, so that rows_init can bind it.
static const char *const texts[ROWS_STATEMENTS] = {
    [ROWS_METRIC] = "INSERT INTO metric VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET "
                    "ts_us = excluded.ts_us, value = excluded.value, special = excluded.special",
    [ROWS_KEY] = "INSERT INTO metric_key (name, replayable) SELECT ?2, ?3 WHERE ?1 ON CONFLICT DO "
                 "UPDATE SET replayable = excluded.replayable",
    [ROWS_KEY_ID] = "SELECT key_id FROM metric_key WHERE name = ?2 AND ?1",
    [ROWS_SAMPLE] = "INSERT OR IGNORE INTO sample VALUES (?1, ?2, ?3, ?4)",
    [ROWS_VERDICT] = "INSERT OR REPLACE INTO curation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [ROWS_VERDICTS_BEGIN] = "DELETE FROM curation WHERE run_id = ?1 AND domain = ?2",
    [ROWS_LOOKS] = "INSERT OR REPLACE INTO looks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
                   "?11, ?12, ?13)",
    [ROWS_LOOKS_BEGIN] = "DELETE FROM looks WHERE run_id = ?1 AND domain = ?2",
    [ROWS_EVENT] = "INSERT INTO event VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [ROWS_CHECKPOINT] = "INSERT OR REPLACE INTO checkpoint VALUES (?1, ?2, ?3, ?4)",
    [ROWS_PROCESS_START] =
        "INSERT INTO process (run_id, process, instance, incarnation, pid, started_us) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET pid = excluded.pid, "
        "started_us = excluded.started_us",
    [ROWS_PROCESS_END] =
        "INSERT INTO process (run_id, process, instance, incarnation, ended_us, exit_code, "
        "peak_rss_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET "
        "ended_us = excluded.ended_us, exit_code = excluded.exit_code, "
        "peak_rss_bytes = coalesce(excluded.peak_rss_bytes, peak_rss_bytes)",
    [ROWS_RUN_STATE] = "UPDATE run SET status = ?2, ended_us = CASE ?2 WHEN 'running' THEN NULL "
                       "ELSE ?3 END, device = coalesce(nullif(?4, ''), device) WHERE run_id = ?1",
    [ROWS_PARAM] = "INSERT OR REPLACE INTO param VALUES (?1, ?2, ?3)",
    [ROWS_CURSOR] = "INSERT OR REPLACE INTO ingest_cursor VALUES (?1, ?2, ?3, ?4)",
};

int rows_init(sqlite3 *db, int64_t run_id, struct rows *ret_rows) {
    // The copy is handed out only when all statements are ready.
    struct rows r = {.db = db, .run_id = run_id};
    for (int i = 0; i < ROWS_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &r.statements[i],
                               NULL)) {
            int err = schema_failed(db, texts[i]);
            rows_fini(&r);
            return err;
        }
        (void)sqlite3_bind_int64(r.statements[i], 1, run_id); // ?1 is in every text
    }
    *ret_rows = r;
    return ERR_OK;
}

void rows_fini(struct rows *r) {
    for (int i = 0; i < ROWS_STATEMENTS; i++)
        (void)sqlite3_finalize(r->statements[i]); // returns the last step's error again
    free(r->keys);
    *r = (struct rows){0};
}

void rows_forget_keys(struct rows *r) {
    // The memory of the names is kept for the next ones.
    r->n_keys = r->next_key = 0;
}

// ---- binding ----

// A bind fails only for lack of memory. The value stays NULL then, and a NOT NULL column makes the
// step report it.
static void text(sqlite3_stmt *s, int i, const char *value) {
    schema_bind_text(s, i, value);
}

static void number(sqlite3_stmt *s, int i, uint64_t value) {
    // SQLite's integers are signed; larger numbers are cut.
    (void)sqlite3_bind_int64(s, i, (int64_t)MIN(value, (uint64_t)INT64_MAX));
}

static int run_statement(struct rows *r, int which) {
    sqlite3_stmt *s = r->statements[which];
    int rc = sqlite3_step(s);
    // A reset statement keeps its bindings; all of them are set again for the next row.
    (void)sqlite3_reset(s); // returns the step's error again
    return rc == SQLITE_DONE ? ERR_OK : schema_failed(r->db, "write a row");
}

// ---- metrics ----

static int insert_key(struct rows *r, const struct msg_metric *m, int64_t *ret_id) {
    sqlite3_stmt *put = r->statements[ROWS_KEY], *get = r->statements[ROWS_KEY_ID];
    text(put, 2, m->key);
    number(put, 3, m->replayable != 0);
    // The insert gives no number for a known name, so it is read in any case.
    int err = run_statement(r, ROWS_KEY);
    if (err)
        return err;
    text(get, 2, m->key);
    int rc = sqlite3_step(get);
    if (rc == SQLITE_ROW)
        *ret_id = sqlite3_column_int64(get, 0);
    (void)sqlite3_reset(get); // returns the step's error again
    return rc == SQLITE_ROW ? ERR_OK : schema_failed(r->db, "read a key");
}

// Every step has the same keys in the same order, so the search begins behind the last hit.
static int find_key(struct rows *r, const struct msg_metric *m, int64_t *ret_id) {
    for (int i = 0; i < r->n_keys; i++) {
        int k = (r->next_key + i) % r->n_keys;
        if (strcmp(r->keys[k].name, m->key) != 0)
            continue;
        r->next_key = k + 1;
        *ret_id = r->keys[k].id;
        return ERR_OK;
    }
    int err = insert_key(r, m, ret_id);
    if (err)
        return err;
    // Metrics are a few dozen, so growing by one is cheap.
    r->keys = xrealloc(r->keys, (size_t)(r->n_keys + 1) * sizeof *r->keys);
    r->keys[r->n_keys].id = *ret_id;
    (void)text_copy(r->keys[r->n_keys].name, sizeof r->keys->name, m->key); // as long in msg.def
    r->next_key = ++r->n_keys;
    return ERR_OK;
}

static int put_metric(struct rows *r, const struct msg_metric *m) {
    sqlite3_stmt *s = r->statements[ROWS_METRIC];
    int64_t key_id = 0;
    int err = find_key(r, m, &key_id);
    if (err)
        return err;
    (void)sqlite3_bind_int64(s, 2, key_id);
    number(s, 3, m->step);
    (void)sqlite3_bind_int64(s, 4, m->ts_us);
    // SQLite stores NaN as NULL, so the kind of a value that is not finite has a column of its own.
    if (isfinite(m->value))
        (void)sqlite3_bind_double(s, 5, m->value);
    else
        (void)sqlite3_bind_null(s, 5);
    (void)sqlite3_bind_int(s, 6,
                           isnan(m->value)   ? 1
                           : isinf(m->value) ? (m->value > 0 ? 2 : 3)
                                             : 0);
    return run_statement(r, ROWS_METRIC);
}

// ---- the others ----

static int put_sample(struct rows *r, const struct msg_sample *m) {
    sqlite3_stmt *s = r->statements[ROWS_SAMPLE];
    number(s, 2, m->step);
    text(s, 3, m->kind);
    text(s, 4, m->path);
    return run_statement(r, ROWS_SAMPLE);
}

static int put_verdict(struct rows *r, const struct msg_verdict *m) {
    sqlite3_stmt *s = r->statements[ROWS_VERDICT];
    text(s, 2, m->domain);
    text(s, 3, m->path);
    text(s, 4, m->verdict);
    text(s, 5, m->reason);
    (void)sqlite3_bind_double(s, 6, m->score); // NaN becomes NULL
    text(s, 7, m->detail);
    // Usual names need no second column.
    if (utf8_is_valid(m->path))
        (void)sqlite3_bind_null(s, 8);
    else // the text column has it escaped; only the bytes open the file
        (void)sqlite3_bind_blob(s, 8, m->path, (int)strlen(m->path), SQLITE_STATIC);
    return run_statement(r, ROWS_VERDICT);
}

static int put_verdicts_begin(struct rows *r, const struct msg_verdicts_begin *m) {
    text(r->statements[ROWS_VERDICTS_BEGIN], 2, m->domain);
    text(r->statements[ROWS_LOOKS_BEGIN], 2, m->domain);
    int err = run_statement(r, ROWS_VERDICTS_BEGIN);
    return err ? err : run_statement(r, ROWS_LOOKS_BEGIN);
}

static int put_looks(struct rows *r, const struct msg_looks *m) {
    const double numbers[] = {m->luma, m->contrast, m->entropy, m->chroma, m->sharpness};
    sqlite3_stmt *s = r->statements[ROWS_LOOKS];
    text(s, 2, m->domain);
    text(s, 3, m->path);
    number(s, 4, m->w);
    number(s, 5, m->h);
    for (int i = 0; i < (int)COUNT(numbers); i++)
        // NaN would become NULL; 0 stands for a value that is not known.
        (void)sqlite3_bind_double(s, 6 + i, isnan(numbers[i]) ? 0 : numbers[i]);
    text(s, 11, m->hash);
    (void)sqlite3_bind_double(s, 12, m->twin_bits); // NaN becomes NULL
    text(s, 13, m->borderline);
    return run_statement(r, ROWS_LOOKS);
}

static int put_event(struct rows *r, const struct msg_peer *from, const struct msg_event *m) {
    sqlite3_stmt *s = r->statements[ROWS_EVENT];
    (void)sqlite3_bind_int64(s, 2, m->ts_us);
    text(s, 3, m->level);
    text(s, 4, from->process);
    text(s, 5, m->code);
    number(s, 6, m->step);
    text(s, 7, m->message);
    return run_statement(r, ROWS_EVENT);
}

static int put_checkpoint(struct rows *r, const struct msg_checkpoint *m) {
    sqlite3_stmt *s = r->statements[ROWS_CHECKPOINT];
    number(s, 2, m->step);
    text(s, 3, m->dir);
    text(s, 4, m->digest);
    return run_statement(r, ROWS_CHECKPOINT);
}

static int put_process_start(struct rows *r, const struct msg_process_start *m) {
    sqlite3_stmt *s = r->statements[ROWS_PROCESS_START];
    text(s, 2, m->process);
    number(s, 3, m->instance);
    number(s, 4, m->incarnation);
    number(s, 5, m->pid);
    (void)sqlite3_bind_int64(s, 6, m->ts_us);
    return run_statement(r, ROWS_PROCESS_START);
}

static int put_process_end(struct rows *r, const struct msg_process_end *m) {
    sqlite3_stmt *s = r->statements[ROWS_PROCESS_END];
    text(s, 2, m->process);
    number(s, 3, m->instance);
    number(s, 4, m->incarnation);
    (void)sqlite3_bind_int64(s, 5, m->ts_us);
    (void)sqlite3_bind_int64(s, 6, m->exit_code);
    // 0 says that the process did not know it.
    if (m->peak_rss_bytes)
        number(s, 7, m->peak_rss_bytes);
    else
        (void)sqlite3_bind_null(s, 7);
    return run_statement(r, ROWS_PROCESS_END);
}

static int put_run_state(struct rows *r, const struct msg_run_state *m) {
    sqlite3_stmt *s = r->statements[ROWS_RUN_STATE];
    text(s, 2, m->status);
    (void)sqlite3_bind_int64(s, 3, m->ts_us);
    text(s, 4, m->device);
    return run_statement(r, ROWS_RUN_STATE);
}

int rows_put_param(struct rows *r, const char *key, const char *value) {
    sqlite3_stmt *s = r->statements[ROWS_PARAM];
    text(s, 2, key);
    text(s, 3, value);
    return run_statement(r, ROWS_PARAM);
}

int rows_put_cursor(struct rows *r, const struct msg_peer *from, uint64_t last_seq) {
    sqlite3_stmt *s = r->statements[ROWS_CURSOR];
    text(s, 2, from->process);
    number(s, 3, from->instance);
    number(s, 4, last_seq);
    return run_statement(r, ROWS_CURSOR);
}

int rows_put(struct rows *r, const struct msg_peer *from, const struct msg *m) {
    switch (m->type) {
    case MSG_metric:
        return put_metric(r, &m->metric);
    case MSG_sample:
        return put_sample(r, &m->sample);
    case MSG_verdict:
        return put_verdict(r, &m->verdict);
    case MSG_verdicts_begin:
        return put_verdicts_begin(r, &m->verdicts_begin);
    case MSG_looks:
        return put_looks(r, &m->looks);
    case MSG_event:
        return put_event(r, from, &m->event);
    case MSG_checkpoint:
        return put_checkpoint(r, &m->checkpoint);
    case MSG_process_start:
        return put_process_start(r, &m->process_start);
    case MSG_process_end:
        return put_process_end(r, &m->process_end);
    case MSG_run_state:
        return put_run_state(r, &m->run_state);
    case MSG_param:
        return rows_put_param(r, m->param.key, m->param.value);
    default:
        return err_set(ERR_PEER, "%s: not a record", msg_name(m->type));
    }
}
