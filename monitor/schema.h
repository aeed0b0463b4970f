// schema - opens metrics.sqlite, and makes or migrates its tables and views (schema*.sql).
//
// SCHEMA_APPLICATION marks the file's header (PRAGMA application_id), and PRAGMA user_version is
// the version of the tables. A file of an older version is copied to PATH.bak-vN and then migrated
// in one transaction. A newer version is refused.
#ifndef SCHEMA_H
#define SCHEMA_H

#include <sqlite3.h>

#define SCHEMA_APPLICATION 0x43474e50 // "CGNP"
#define SCHEMA_VERSION 3
#define SCHEMA_BUSY_MS 200 // how long a statement waits for another monitor

// Opens the file for writing and makes what is missing. WAL with synchronous = NORMAL: a killed
// process loses no committed row, a power loss may lose the last ones. ERR_IO, ERR_FORMAT (no
// database, or of another program), ERR_MISMATCH (a newer version), ERR_BUSY, ERR_SPACE.
int schema_open(const char *path, sqlite3 **ret_db);

// Opens the file for reading, for the dashboard. ERR_IO.
int schema_open_reader(const char *path, sqlite3 **ret_db);

// ERR_FORMAT if the file was removed or replaced since it was opened: nobody would see what is
// written to it.
int schema_check_file(sqlite3 *db);

// err_set with SQLite's text. ERR_BUSY (another writer; try again), ERR_SPACE (disk full; try
// again), ERR_FORMAT (corrupt), ERR_DATA (a constraint), else ERR_IO.
int schema_failed(sqlite3 *db, const char *what);

// Binds a text that outlives the step; one that is no UTF-8 is escaped, since JSON and most readers
// of the database refuse it. Fails only for lack of memory, which the step then reports.
void schema_bind_text(sqlite3_stmt *s, int i, const char *text);

// Runs statements without results.
int schema_run(sqlite3 *db, const char *sql);

#define SQL(db, call, what)                                                                        \
    do {                                                                                           \
        int sql_rc_ = (call);                                                                      \
        if (sql_rc_ != SQLITE_OK && sql_rc_ != SQLITE_ROW && sql_rc_ != SQLITE_DONE)               \
            return schema_failed(db, what);                                                        \
    } while (0)

#endif
