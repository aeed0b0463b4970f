// rows - writes a record as a row: the prepared statements of ingest. The caller begins and ends
// the transaction.
#ifndef ROWS_H
#define ROWS_H

#include <stdint.h>

#include <sqlite3.h>

#include "link/msg.h"

enum {
    ROWS_METRIC,
    ROWS_KEY,
    ROWS_KEY_ID,
    ROWS_SAMPLE,
    ROWS_VERDICT,
    ROWS_VERDICTS_BEGIN,
    ROWS_LOOKS,
    ROWS_LOOKS_BEGIN,
    ROWS_EVENT,
    ROWS_CHECKPOINT,
    ROWS_PROCESS_START,
    ROWS_PROCESS_END,
    ROWS_RUN_STATE,
    ROWS_PARAM,
    ROWS_CURSOR,
    ROWS_STATEMENTS
};

struct rows {
    sqlite3 *db;
    int64_t run_id;
    sqlite3_stmt *statements[ROWS_STATEMENTS];
    struct rows_key {
        char name[65];
        int64_t id;
    } * keys; // a cache of metric_key
    int n_keys, next_key;
};

int rows_init(sqlite3 *db, int64_t run_id, struct rows *ret_rows);
void rows_fini(struct rows *r); // accepts a zeroed struct

// ERR_PEER for a message that is not a record; else as schema_failed.
int rows_put(struct rows *r, const struct msg_peer *from, const struct msg *record);
int rows_put_param(struct rows *r, const char *key, const char *value);
int rows_put_cursor(struct rows *r, const struct msg_peer *from, uint64_t last_seq);

// To be called after a rollback, which may have removed rows of metric_key.
void rows_forget_keys(struct rows *r);

#endif
