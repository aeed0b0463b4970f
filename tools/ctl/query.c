// query - reads the database by the queries of queries.def, or by SQL. It never writes.
#include <dirent.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "ctl/ctl.h"

#define BUSY_MS 5000
#define TAIL_ROWS 50 // rows that a growing table shows

static const struct query {
    const char *name, *words, *help, *sql;
    bool grows;
} queries[] = {
#define QUERY(name, words, help, sql) {#name, words, help, sql, false},
#define TAIL(name, words, help, sql) {#name, words, help, sql, true},
#include "ctl/queries.def"
#undef QUERY
#undef TAIL
};

static int sql_error(sqlite3 *db, const char *what) {
    return err_set(ERR_USAGE, "%s: %s", what, sqlite3_errmsg(db));
}

// kept(run, dir) of SQL: whether a checkpoint is whole, has only weights or is removed. Retention
// removes the optimizer's file first and the folder last.
static void sql_kept(sqlite3_context *context, int n, sqlite3_value **values) {
    const char *run = (const char *)sqlite3_value_text(values[0]);
    const char *dir = (const char *)sqlite3_value_text(values[1]);
    if (!run || !dir)
        // NULL results in SQL's null.
        return; // null
    char *folder = xasprintf("%s/%s/%s", (const char *)sqlite3_user_data(context), run, dir);
    char *moments = xasprintf("%s/optimizer.safetensors", folder);
    const char *left = fs_exists(moments) ? "whole" : fs_is_dir(folder) ? "weights" : "removed";
    // STATIC: the three words are constants.
    sqlite3_result_text(context, left, -1, SQLITE_STATIC);
    free(folder);
    free(moments);
}

static int open_database(const char *runs, int flags, sqlite3 **ret_db) {
    char *path = xasprintf("%s/metrics.sqlite", runs);
    sqlite3 *db = NULL;
    int err = ERR_OK;
    if (!fs_exists(path))
        err = err_set(ERR_NOT_RUNNING, "there is no database yet: %s", path);
    else if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
        err = err_set(ERR_IO, "open '%s': %s", path, db ? sqlite3_errmsg(db) : "no memory");
    // The path was needed for the messages.
    free(path);
    if (err) {
        // sqlite3_open_v2 leaves a handle even after a failure.
        sqlite3_close(db);
        return err;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    if (sqlite3_create_function(db, "kept", 2, SQLITE_UTF8, (void *)runs, sql_kept, NULL, NULL))
        BUG("kept: %s", sqlite3_errmsg(db));
    *ret_db = db;
    return ERR_OK;
}

int database_rename_run(const char *runs, const char *from, const char *to) {
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int err = open_database(runs, SQLITE_OPEN_READWRITE, &db);
    if (err)
        // Without a database no run has a row to rename.
        return err == ERR_NOT_RUNNING ? ERR_OK : err;
    if (sqlite3_prepare_v2(db, "update run set name = ?2 where name = ?1", -1, &s, NULL) ||
        sqlite3_bind_text(s, 1, from, -1, SQLITE_STATIC) ||
        sqlite3_bind_text(s, 2, to, -1, SQLITE_STATIC) || sqlite3_step(s) != SQLITE_DONE)
        err = err_set(ERR_IO, "rename run %s in the database: %s", from, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    sqlite3_close(db);
    return err;
}

// ---- running ----

static bool is_imported(const char *runs, const char *name) {
    char *mark = xasprintf("%s/%s/imported", runs, name);
    bool there = fs_exists(mark);
    free(mark);
    return there;
}

// Without this check a misspelt name would give an empty table.
static int check_run(sqlite3 *db, const char *runs, const char *name) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "select 1 from run where name = ?1", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    sqlite3_finalize(s);
    // Such a run has a folder, but no monitor has ever written a row.
    if (rc == SQLITE_DONE && is_imported(runs, name))
        return err_set(ERR_NOT_RUNNING,
                       "query: run '%s' was imported, nothing of it is in the database", name);
    if (rc == SQLITE_DONE)
        return err_set(ERR_NOT_RUNNING, "query: there is no run '%s'; see pipeline runs", name);
    return rc == SQLITE_ROW ? ERR_OK : sql_error(db, "query");
}

static int bind_words(sqlite3 *db, sqlite3_stmt *s, const struct ctl_options *o) {
    // The queries' words are the parameters of their SQL, in order.
    int wanted = sqlite3_bind_parameter_count(s);
    if (o->n_words - 1 > wanted)
        return err_set(ERR_USAGE, "query: '%s' is one word too many", o->words[1 + wanted]);
    if (wanted > 1 && o->n_words - 1 < wanted)
        return err_set(ERR_USAGE, "query %s wants %d runs", o->words[0], wanted);
    for (int i = 0; i < wanted && i + 1 < o->n_words; i++) {
        int err = check_run(db, o->runs, o->words[i + 1]);
        if (err)
            return err;
        if (sqlite3_bind_text(s, i + 1, o->words[i + 1], -1, SQLITE_STATIC))
            return sql_error(db, "query");
    }
    // Without a name, the newest run is meant.
    if (wanted == 0 || o->n_words > 1)
        return ERR_OK;
    sqlite3_stmt *newest = NULL;
    int rc = sqlite3_prepare_v2(db, "select name from run order by started_us desc limit 1", -1,
                                &newest, NULL);
    if (rc == SQLITE_OK && sqlite3_step(newest) == SQLITE_ROW)
        rc = sqlite3_bind_text(s, 1, (const char *)sqlite3_column_text(newest, 0), -1,
                               // TRANSIENT: the text ends with the other statement.
                               SQLITE_TRANSIENT);
    sqlite3_finalize(newest);
    return rc ? sql_error(db, "query") : ERR_OK;
}

// `rows` bounds a table; 0: all rows.
static int run_sql(sqlite3 *db, const char *sql, int rows, const struct ctl_options *o) {
    sqlite3_stmt *s = NULL;
    const char *rest = "";
    int rc, err = ERR_OK;
    if (sqlite3_prepare_v2(db, sql, -1, &s, &rest))
        err = sql_error(db, "query");
    // Only blanks may follow the first statement.
    else if (!s || rest[strspn(rest, " ;\t\r\n")])
        err = err_set(ERR_USAGE, "query: more than one statement");
    // The database is opened read-only as well; this gives the better message.
    else if (!sqlite3_stmt_readonly(s))
        err = err_set(ERR_USAGE, "query: this would write; queries only read");
    else
        err = bind_words(db, s, o);
    if (!err) {
        rc = rows_print(s, o, rows);
        if (rc != SQLITE_DONE)
            err = sql_error(db, "query");
    }
    sqlite3_finalize(s);
    return err;
}

static void print_names(FILE *out) {
    for (size_t i = 0; i < COUNT(queries); i++)
        fprintf(out, "  %-12s %-8s %s\n", queries[i].name, queries[i].words, queries[i].help);
}

// Where a judge of the user's failed, or none was asked, `best` has no row: the reason is said.
static void explain_no_best(sqlite3 *db, const char *name) {
    static const char sql[] =
        "select (select p.value from param p where p.run_id = r.run_id and "
        "p.key = 'trainer.best_metric'), (select e.message from event e where e.run_id = r.run_id "
        "and e.code in ('judge_command', 'not_judged') order by e.event_id desc limit 1), "
        "exists (select 1 from metric m join metric_key k using (key_id) where "
        "m.run_id = r.run_id and k.name = 'judge/best') from run r "
        "where r.name = ?1 or ?1 is null order by started_us desc limit 1";
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
        (!name || sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC) == SQLITE_OK) &&
        sqlite3_step(s) == SQLITE_ROW && !sqlite3_column_int(s, 2)) {
        const char *metric = (const char *)sqlite3_column_text(s, 0);
        const char *failure = (const char *)sqlite3_column_text(s, 1);
        fprintf(stderr, "no checkpoint has a score by trainer.best_metric = \"%s\"%s%s\n",
                metric ? metric : "", failure ? "; the last failure: " : " yet",
                failure ? failure : "");
    }
    sqlite3_finalize(s);
}

int ctl_query(const struct ctl_options *o) {
    sqlite3 *db;
    if (o->n_words == 0) {
        print_names(stdout);
        return ERR_OK;
    }
    // A blank tells SQL from a name.
    const char *sql = strchr(o->words[0], ' ') ? o->words[0] : NULL;
    bool grows = false;
    for (size_t i = 0; !sql && i < COUNT(queries); i++)
        if (strcmp(queries[i].name, o->words[0]) == 0) {
            sql = queries[i].sql;
            grows = queries[i].grows;
        }
    if (!sql) {
        fprintf(stderr, "there is no query '%s'; SQL, or one of\n", o->words[0]);
        print_names(stderr);
        return err_set(ERR_USAGE, "%s", "");
    }
    int err = open_database(o->runs, SQLITE_OPEN_READONLY, &db);
    if (err)
        return err;
    err = run_sql(db, sql, grows ? TAIL_ROWS : 0, o);
    if (!err && strcmp(o->words[0], "best") == 0)
        explain_no_best(db, o->n_words > 1 ? o->words[1] : NULL);
    sqlite3_close(db);
    return err;
}

// ---- warnings ----

// For the console: "EVENT PROCESS: LEVEL: MESSAGE". The supervisor has printed its own already.
int ctl_warnings(const struct ctl_options *o) {
    static const char sql[] =
        "select e.event_id, e.level, e.process, e.message from event e join run r using (run_id) "
        "where r.name = ?1 and e.level in ('warn', 'error') and "
        "e.process <> 'supervisor' and e.event_id > ?2 order by 1";
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int err = open_database(o->runs, SQLITE_OPEN_READONLY, &db);
    if (err)
        return err;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) ||
        sqlite3_bind_text(s, 1, o->words[0], -1, SQLITE_STATIC) ||
        sqlite3_bind_int64(s, 2, strtoll(o->words[1], NULL, 10)))
        err = sql_error(db, "warnings");
    while (!err && sqlite3_step(s) == SQLITE_ROW)
        printf("%lld %s: %s: %s\n", (long long)sqlite3_column_int64(s, 0),
               sqlite3_column_text(s, 2), sqlite3_column_text(s, 1), sqlite3_column_text(s, 3));
    sqlite3_finalize(s);
    sqlite3_close(db);
    return err;
}

// ---- a run that goes ----

int ctl_remove(const struct ctl_options *o) {
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    char *dir = xasprintf("%s/%s", o->runs, o->words[0]);
    bool was_there = fs_exists(dir);
    int err = open_database(o->runs, SQLITE_OPEN_READWRITE, &db);
    if (err == ERR_NOT_RUNNING) { // no database
        err = ERR_OK;
    } else if (!err) {
        // Every table's rows of a run go with its row in `run`.
        if (sqlite3_exec(db, "pragma foreign_keys = on", NULL, NULL, NULL) ||
            sqlite3_prepare_v2(db, "delete from run where name = ?1", -1, &s, NULL) ||
            sqlite3_bind_text(s, 1, o->words[0], -1, SQLITE_STATIC) ||
            sqlite3_step(s) != SQLITE_DONE)
            err = err_set(ERR_IO, "remove run %s from the database: %s", o->words[0],
                          sqlite3_errmsg(db));
        sqlite3_finalize(s);
        was_there |= sqlite3_total_changes(db) > 0;
        sqlite3_close(db);
    }
    if (!err && fs_exists(dir))
        err = fs_remove_tree(dir);
    if (!err && !was_there)
        err = err_set(ERR_NOT_RUNNING, "there is no run '%s'", o->words[0]);
    free(dir);
    return err;
}

// ---- runs ----

// `import` makes runs without a monitor, so only their folder shows them. SQLite allows TEMP tables
// in a database that is opened read-only.
static int add_imported(sqlite3 *db, const char *name, const char *mark) {
    sqlite3_stmt *s = NULL;
    struct stat st;
    if (stat(mark, &st))
        return ERR_OK; // no such run
    if (sqlite3_prepare_v2(db, "insert into temp.imported values (?1, ?2 * 1000000)", -1, &s,
                           NULL) ||
        sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC) || sqlite3_bind_int64(s, 2, st.st_mtime) ||
        sqlite3_step(s) != SQLITE_DONE) {
        (void)sql_error(db, "runs");
        sqlite3_finalize(s);
        return ERR_IO;
    }
    sqlite3_finalize(s);
    return ERR_OK;
}

// ERR_NOT_RUNNING if there is neither an imported run nor a database.
static int find_imported(sqlite3 *db, const char *runs) {
    struct dirent *entry;
    DIR *d = opendir(runs);
    int err = ERR_OK;
    if (sqlite3_exec(db, "create temp table imported (name, started_us)", NULL, NULL, NULL))
        err = sql_error(db, "runs");
    while (!err && d && (entry = readdir(d))) {
        char *mark = xasprintf("%s/%s/imported", runs, entry->d_name);
        err = add_imported(db, entry->d_name, mark);
        free(mark);
    }
    if (d)
        (void)closedir(d); // read only
    // An empty file name is the database in memory.
    if (!err && !sqlite3_total_changes(db) && !*sqlite3_db_filename(db, "main"))
        err = err_set(ERR_NOT_RUNNING, "there is no run yet in '%s'", runs);
    return err;
}

// Imported runs may exist without a database. Then an empty one in memory takes its place.
static int open_runs(const char *runs, sqlite3 **ret_db) {
    sqlite3 *db = NULL;
    int err = open_database(runs, SQLITE_OPEN_READONLY, ret_db);
    if (err != ERR_NOT_RUNNING)
        return err;
    if (sqlite3_open(":memory:", &db) ||
        sqlite3_exec(db,
                     "create table run (run_id, name, status, started_us, ended_us, device);"
                     "create table checkpoint (run_id, step)",
                     NULL, NULL, NULL)) {
        err = sql_error(db, "runs");
        sqlite3_close(db);
        return err;
    }
    *ret_db = db;
    return ERR_OK;
}

int ctl_runs(const struct ctl_options *o) {
    // The options of `runs` have no words; the query expects its name as the first.
    struct ctl_options none = *o;
    const char *words[] = {"runs"};
    sqlite3 *db;
    int err = open_runs(o->runs, &db);
    if (err)
        return err;
    none.words = words;
    none.n_words = 1;
    err = find_imported(db, o->runs);
    if (!err)
        err = run_sql(db,
                      "select name, status, datetime(started_us / 1000000, 'unixepoch') as "
                      "started, datetime(ended_us / 1000000, 'unixepoch') as ended, device, "
                      "checkpoint from (select name, status, started_us, ended_us, device, "
                      "(select max(step) from checkpoint c where c.run_id = r.run_id) as "
                      "checkpoint from run r union all "
                      // A run with both a folder mark and rows counts as a run.
                      "select name, 'imported', started_us, null, null, 0 from imported "
                      "where name not in (select name from run)) order by started_us",
                      0, &none);
    sqlite3_close(db);
    return err;
}
