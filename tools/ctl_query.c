// The database for readers: names or SQL, never writing.
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "err.h"
#include "fs.h"
#include "util.h"

#define BUSY_MS 5000

static const struct query {
    const char *name, *words, *help, *sql;
} queries[] = {
#define QUERY(name, words, help, sql) {#name, words, help, sql},
#include "queries.def"
#undef QUERY
};

static int sql_error(sqlite3 *db, const char *what) {
    return err_set(ERR_USAGE, "%s: %s", what, sqlite3_errmsg(db));
}

static int open_database(const char *runs, int flags, sqlite3 **ret_db) {
    char *path = xasprintf("%s/metrics.sqlite", runs);
    sqlite3 *db = NULL;
    int err = ERR_OK;
    if (!fs_exists(path))
        err = err_set(ERR_NOT_RUNNING, "there is no database yet: %s", path);
    else if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
        err = err_set(ERR_IO, "open '%s': %s", path, db ? sqlite3_errmsg(db) : "no memory");
    free(path);
    if (err) {
        sqlite3_close(db);
        return err;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    *ret_db = db;
    return ERR_OK;
}

int database_rename_run(const char *runs, const char *from, const char *to) {
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int err = open_database(runs, SQLITE_OPEN_READWRITE, &db);
    if (err)
        return err == ERR_NOT_RUNNING ? ERR_OK : err;
    if (sqlite3_prepare_v2(db, "update run set name = ?2 where name = ?1", -1, &s, NULL) ||
        sqlite3_bind_text(s, 1, from, -1, SQLITE_STATIC) ||
        sqlite3_bind_text(s, 2, to, -1, SQLITE_STATIC) || sqlite3_step(s) != SQLITE_DONE)
        err = err_set(ERR_IO, "rename run %s in the database: %s", from, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    sqlite3_close(db);
    return err;
}

// ---- printing ----

static void print_json_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

// As many digits as bring the same number back.
static void print_real(double real) {
    char text[32];
    snprintf(text, sizeof text, "%.15g", real);
    printf(strtod(text, NULL) == real ? "%.15g" : "%.17g", real);
}

static void print_json_value(sqlite3_stmt *s, int column) {
    double real;
    switch (sqlite3_column_type(s, column)) {
    case SQLITE_INTEGER:
        printf("%lld", (long long)sqlite3_column_int64(s, column));
        break;
    case SQLITE_FLOAT:
        real = sqlite3_column_double(s, column);
        if (isfinite(real))
            print_real(real);
        else
            print_json_text(real > 0 ? "Infinity" : "-Infinity");
        break;
    case SQLITE_NULL:
        printf("null");
        break;
    default:
        print_json_text((const char *)sqlite3_column_text(s, column));
    }
}

static int print_json(sqlite3_stmt *s) {
    int rc, rows = 0;
    printf("[");
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        printf("%s\n {", rows++ ? "," : "");
        for (int i = 0; i < sqlite3_column_count(s); i++) {
            printf("%s", i ? ", " : "");
            print_json_text(sqlite3_column_name(s, i));
            printf(": ");
            print_json_value(s, i);
        }
        printf("}");
    }
    printf("%s]\n", rows ? "\n" : "");
    return rc;
}

static void print_csv_text(const char *text) {
    bool quoted = text[strcspn(text, ",\"\r\n")] != 0;
    if (quoted)
        putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    if (quoted)
        putchar('"');
}

static int print_csv(sqlite3_stmt *s) {
    int rc, columns = sqlite3_column_count(s);
    for (int i = 0; i < columns; i++) {
        printf("%s", i ? "," : "");
        print_csv_text(sqlite3_column_name(s, i));
    }
    printf("\n");
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++) {
            const char *text = (const char *)sqlite3_column_text(s, i);
            printf("%s", i ? "," : "");
            if (sqlite3_column_type(s, i) == SQLITE_FLOAT)
                print_real(sqlite3_column_double(s, i));
            else
                print_csv_text(text ? text : "");
        }
        printf("\n");
    }
    return rc;
}

// Cells of a table, row by row, the first row the names.
struct table {
    char **cells;
    int columns, count;
};

static void table_add(struct table *t, char *cell) {
    if ((t->count & (t->count - 1)) == 0) // a power of two: full
        t->cells = xrealloc(t->cells, (size_t)MAX(1, 2 * t->count) * sizeof *t->cells);
    t->cells[t->count++] = cell;
}

static char *table_cell(sqlite3_stmt *s, int column) {
    if (sqlite3_column_type(s, column) == SQLITE_FLOAT)
        return xasprintf("%.6g", sqlite3_column_double(s, column));
    const char *text = (const char *)sqlite3_column_text(s, column);
    return xstrdup(text ? text : "");
}

static void table_print(const struct table *t) {
    size_t *width = xcalloc((size_t)t->columns, sizeof *width);
    for (int i = 0; i < t->count; i++)
        width[i % t->columns] = MAX(width[i % t->columns], strlen(t->cells[i]));
    for (int i = 0; i < t->count; i++) {
        bool last = (i + 1) % t->columns == 0;
        printf("%-*s%s", last ? 0 : (int)width[i % t->columns], t->cells[i], last ? "\n" : "  ");
    }
    free(width);
}

static int print_table(sqlite3_stmt *s) {
    struct table t = {.columns = sqlite3_column_count(s)};
    int rc;
    for (int i = 0; i < t.columns; i++)
        table_add(&t, xstrdup(sqlite3_column_name(s, i)));
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        for (int i = 0; i < t.columns; i++)
            table_add(&t, table_cell(s, i));
    if (rc == SQLITE_DONE)
        table_print(&t);
    for (int i = 0; i < t.count; i++)
        free(t.cells[i]);
    free(t.cells);
    return rc;
}

// ---- running ----

// A misspelt name would get an empty table.
static int check_run(sqlite3 *db, const char *name) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "select 1 from run where name = ?1", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    sqlite3_finalize(s);
    if (rc == SQLITE_DONE)
        return err_set(ERR_NOT_RUNNING, "query: there is no run '%s'; see pipeline runs", name);
    return rc == SQLITE_ROW ? ERR_OK : sql_error(db, "query");
}

static int bind_words(sqlite3 *db, sqlite3_stmt *s, const struct ctl_options *o) {
    int wanted = sqlite3_bind_parameter_count(s);
    if (o->n_words - 1 > wanted)
        return err_set(ERR_USAGE, "query: '%s' is one word too many", o->words[1 + wanted]);
    if (wanted > 1 && o->n_words - 1 < wanted)
        return err_set(ERR_USAGE, "query %s wants %d runs", o->words[0], wanted);
    for (int i = 0; i < wanted && i + 1 < o->n_words; i++) {
        int err = check_run(db, o->words[i + 1]);
        if (err)
            return err;
        if (sqlite3_bind_text(s, i + 1, o->words[i + 1], -1, SQLITE_STATIC))
            return sql_error(db, "query");
    }
    if (wanted == 0 || o->n_words > 1)
        return ERR_OK;
    sqlite3_stmt *newest = NULL;
    int rc = sqlite3_prepare_v2(db, "select name from run order by started_us desc limit 1", -1,
                                &newest, NULL);
    if (rc == SQLITE_OK && sqlite3_step(newest) == SQLITE_ROW)
        rc = sqlite3_bind_text(s, 1, (const char *)sqlite3_column_text(newest, 0), -1,
                               SQLITE_TRANSIENT);
    sqlite3_finalize(newest);
    return rc ? sql_error(db, "query") : ERR_OK;
}

static int run_sql(sqlite3 *db, const char *sql, const struct ctl_options *o) {
    sqlite3_stmt *s = NULL;
    const char *rest = "";
    int rc, err = ERR_OK;
    if (sqlite3_prepare_v2(db, sql, -1, &s, &rest))
        err = sql_error(db, "query");
    else if (!s || rest[strspn(rest, " ;\t\r\n")])
        err = err_set(ERR_USAGE, "query: one statement, please");
    else if (!sqlite3_stmt_readonly(s))
        err = err_set(ERR_USAGE, "query: this would write; queries only read");
    else
        err = bind_words(db, s, o);
    if (!err) {
        rc = o->json ? print_json(s) : o->csv ? print_csv(s) : print_table(s);
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

int ctl_query(const struct ctl_options *o) {
    sqlite3 *db;
    if (o->n_words == 0) {
        print_names(stdout);
        return ERR_OK;
    }
    const char *sql = strchr(o->words[0], ' ') ? o->words[0] : NULL;
    for (size_t i = 0; !sql && i < COUNT(queries); i++)
        if (strcmp(queries[i].name, o->words[0]) == 0)
            sql = queries[i].sql;
    if (!sql) {
        fprintf(stderr, "there is no query '%s'; SQL, or one of\n", o->words[0]);
        print_names(stderr);
        return err_set(ERR_USAGE, "%s", "");
    }
    int err = open_database(o->runs, SQLITE_OPEN_READONLY, &db);
    if (err)
        return err;
    err = run_sql(db, sql, o);
    sqlite3_close(db);
    return err;
}

int ctl_runs(const struct ctl_options *o) {
    struct ctl_options none = *o;
    const char *words[] = {"runs"};
    sqlite3 *db;
    int err = open_database(o->runs, SQLITE_OPEN_READONLY, &db);
    if (err)
        return err;
    none.words = words;
    none.n_words = 1;
    err = run_sql(db,
                  "select name, status, datetime(started_us / 1000000, 'unixepoch') as started, "
                  "datetime(ended_us / 1000000, 'unixepoch') as ended, device, "
                  "(select max(step) from checkpoint c where c.run_id = r.run_id) as checkpoint "
                  "from run r order by started_us",
                  &none);
    sqlite3_close(db);
    return err;
}
