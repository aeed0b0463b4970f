// rows - prints the rows of a statement as JSON, CSV or a table.
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/ctl.h"

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

// The fewest digits that read back as the same number: 15 suffice for most, 17 for all.
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
        else // JSON has no infinity
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
    if ((t->count & (t->count - 1)) == 0) // full: capacity is the next power of two
        t->cells = xrealloc(t->cells, (size_t)MAX(1, 2 * t->count) * sizeof *t->cells);
    t->cells[t->count++] = cell;
}

// The table has its names and at least two rows.
static void table_drop_oldest(struct table *t) {
    size_t columns = (size_t)t->columns, rest = (size_t)t->count - 2 * columns;
    for (size_t i = 0; i < columns; i++)
        free(t->cells[columns + i]);
    memmove(t->cells + columns, t->cells + 2 * columns, rest * sizeof *t->cells);
    t->count -= t->columns;
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

// A table's columns need the widest cell, so all rows are kept first. Only the last `max` are, or
// all if that is 0.
static int print_table(sqlite3_stmt *s, int max) {
    struct table t = {.columns = sqlite3_column_count(s)};
    long long rows = 0;
    int rc;
    for (int i = 0; i < t.columns; i++)
        table_add(&t, xstrdup(sqlite3_column_name(s, i)));
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        for (int i = 0; i < t.columns; i++)
            table_add(&t, table_cell(s, i));
        if (t.cells && max && ++rows > max)
            table_drop_oldest(&t);
    }
    if (rc == SQLITE_DONE)
        table_print(&t);
    if (rc == SQLITE_DONE && max && rows > max)
        fprintf(stderr, "the newest %d of %lld rows; --csv and --json give all\n", max, rows);
    for (int i = 0; i < t.count; i++)
        free(t.cells[i]);
    free(t.cells);
    return rc;
}

int rows_print(sqlite3_stmt *s, const struct ctl_options *o, int max) {
    return o->json ? print_json(s) : o->csv ? print_csv(s) : print_table(s, max);
}
