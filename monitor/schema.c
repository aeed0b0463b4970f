// schema - the file as a whole: opening, versions, migration, and SQLite's errors as ours.
#include "schema.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/utf8.h"
#include "base/util.h"
#include "embed.h"

EMBED(schema_sql, "schema.sql");
EMBED(schema_2_sql, "schema_2.sql");
EMBED(schema_3_sql, "schema_3.sql");

// migrations[n] leads from version n to n + 1.
static const char *const migrations[SCHEMA_VERSION] = {schema_sql, schema_2_sql, schema_3_sql};

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)

int schema_failed(sqlite3 *db, const char *what) {
    // The low byte is the primary code; the rest gives details.
    int err = ERR_IO, rc = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        err = ERR_BUSY;
        break;
    case SQLITE_FULL:
        err = ERR_SPACE;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        err = ERR_FORMAT;
        break;
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
        err = ERR_DATA;
        break;
    default:
        break;
    }
    return err_set(err, "database: %s: %s", what, db ? sqlite3_errmsg(db) : "no memory");
}

void schema_bind_text(sqlite3_stmt *s, int i, const char *text) {
    // STATIC: SQLite reads the text during the step, and the caller keeps it until then.
    if (utf8_is_valid(text))
        (void)sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC);
    else
        (void)sqlite3_bind_text(s, i, utf8_escape(text), -1, free);
}

int schema_run(sqlite3 *db, const char *sql) {
    SQL(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
    return ERR_OK;
}

static int read_number(sqlite3 *db, const char *sql, int64_t *ret) {
    sqlite3_stmt *s = NULL;
    SQL(db, sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s); // returns the step's error again
    return rc == SQLITE_ROW ? ERR_OK : schema_failed(db, sql);
}

static int open_file(const char *path, int flags, sqlite3 **ret_db) {
    sqlite3 *db = NULL;
    // Even a failed open makes a handle, which has to be closed.
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int err = schema_failed(db, path);
        (void)sqlite3_close(db); // never opened
        return err;
    }
    (void)sqlite3_busy_timeout(db, SCHEMA_BUSY_MS); // fails only on misuse
    *ret_db = db;
    return ERR_OK;
}

static int version_of_copy(const char *path, int64_t *ret_version) {
    sqlite3 *copy;
    int err = open_file(path, SQLITE_OPEN_READWRITE, &copy);
    if (err)
        return err;
    err = read_number(copy, "PRAGMA user_version", ret_version);
    (void)sqlite3_close(copy); // it was only read
    return err;
}

// Copies the database before it is changed; VACUUM INTO does so while others read. A copy that a
// killed monitor has left is replaced. Another monitor may migrate at this moment; a copy of what
// it has made is no backup.
static int back_up(sqlite3 *db, const char *path, int64_t version) {
    char *copy = xasprintf("%s.bak-v%lld", path, (long long)version);
    char *beside = xasprintf("%s.%d", copy, (int)getpid());
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", beside);
    int64_t copied = 0;
    int err = fs_remove_tree(beside);
    if (!err)
        err = sql ? schema_run(db, sql) : err_set(ERR_IO, "no memory");
    if (!err)
        err = version_of_copy(beside, &copied);
    if (!err && copied == version && rename(beside, copy))
        err = fs_failed("rename", beside);
    if (err || copied != version)
        (void)unlink(beside); // at worst it stays
    sqlite3_free(sql);
    free(beside);
    free(copy);
    return err;
}

// utf8_escaped(text): the text, or where it is no UTF-8, its escaped form.
static void escaped_in_sql(sqlite3_context *context, int n, sqlite3_value **values) {
    const char *text = (const char *)sqlite3_value_text(values[0]);
    if (!text || utf8_is_valid(text))
        sqlite3_result_value(context, values[0]);
    else
        sqlite3_result_text(context, utf8_escape(text), -1, free);
}

// SQL of a migration may call utf8_escaped.
static int step_version(sqlite3 *db, int64_t version) {
    char set[64];
    (void)snprintf(set, sizeof set, "PRAGMA user_version = %lld", (long long)version + 1);
    SQL(db,
        sqlite3_create_function(db, "utf8_escaped", 1, SQLITE_UTF8, NULL, escaped_in_sql, NULL,
                                NULL),
        "migrate");
    int err = schema_run(db, migrations[version]);
    return err ? err : schema_run(db, set);
}

// Reads the version under the write lock, since another monitor may be migrating at the same time.
static int migrate(sqlite3 *db, const char *path) {
    int64_t version = 0, application = 0, tables = 0;
    // Two monitors may find an old version; the second one waits here and finds the new one.
    int err = schema_run(db, "BEGIN IMMEDIATE");
    if (err)
        return err;
    err = read_number(db, "PRAGMA user_version", &version);
    if (!err)
        err = read_number(db, "PRAGMA application_id", &application);
    if (!err)
        err = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    // A foreign database is never changed.
    if (!err && tables && application != SCHEMA_APPLICATION)
        err = err_set(ERR_FORMAT, "'%s' is a database of another program", path);
    if (!err && version > SCHEMA_VERSION)
        err = err_set(ERR_MISMATCH,
                      "'%s' has version %lld of the tables, this program knows %d: use a newer one",
                      path, (long long)version, SCHEMA_VERSION);
    for (; !err && version < SCHEMA_VERSION; version++)
        err = step_version(db, version);
    if (!err)
        err = schema_run(db, "PRAGMA application_id = " TEXT_OF(SCHEMA_APPLICATION));
    return err ? err : schema_run(db, "COMMIT");
}

static int make_current(sqlite3 *db, const char *path) {
    int64_t version = 0, application = 0;
    // WAL lets readers go on while rows are written.
    int err = schema_run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                             "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192;");
    if (!err)
        err = read_number(db, "PRAGMA user_version", &version);
    if (!err)
        err = read_number(db, "PRAGMA application_id", &application);
    bool ours = application == SCHEMA_APPLICATION;
    if (!err && ours && version == SCHEMA_VERSION)
        return ERR_OK;
    if (!err && ours && version > 0 && version < SCHEMA_VERSION)
        err = back_up(db, path, version);
    return err ? err : migrate(db, path);
}

int schema_open(const char *path, sqlite3 **ret_db) {
    sqlite3 *db = NULL;
    int err = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
    if (err)
        return err;
    // Afterwards short waits again: the monitor's loop must not block.
    (void)sqlite3_busy_timeout(db, 10000); // several monitors may start and migrate at once
    err = make_current(db, path);
    if (err) {
        (void)sqlite3_close(db); // rolls back
        return err;
    }
    (void)sqlite3_busy_timeout(db, SCHEMA_BUSY_MS);
    *ret_db = db;
    return ERR_OK;
}

int schema_open_reader(const char *path, sqlite3 **ret_db) {
    return open_file(path, SQLITE_OPEN_READONLY, ret_db);
}

int schema_check_file(sqlite3 *db) {
    int moved = 0;
    // Without an answer of the file system, the file counts as present.
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved); // not known: 0
    return moved ? err_set(ERR_FORMAT, "the database was removed or replaced while it was in use")
                 : ERR_OK;
}
