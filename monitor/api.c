// api - SQL that makes JSON by itself, so that rows are not copied into structs first.
#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "base/util.h"
#include "live.h"
#include "schema.h"

#define POINTS_MAX 4000
#define QUERY_MAX_US 1000000 // queries run in the monitor's only loop, so they are bounded

// ---- one query, one value ----

// Called by SQLite every 10000 instructions; anything but 0 interrupts the query.
static int is_late(void *deadline_us) {
    return now_us() > *(int64_t *)deadline_us;
}

static int step_once(sqlite3 *db, sqlite3_stmt *s) {
    int64_t deadline_us = now_us() + QUERY_MAX_US;
    // The handler is removed afterwards: it points to a variable of this function.
    sqlite3_progress_handler(db, 10000, is_late, &deadline_us);
    int rc = sqlite3_step(s);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return rc;
}

static int write_value(const struct api *api, sqlite3_stmt *s, FILE *out) {
    int rc = step_once(api->db, s);
    if (rc == SQLITE_INTERRUPT)
        return err_set(ERR_TIMEOUT, "the query took too long");
    if (rc != SQLITE_ROW)
        return schema_failed(api->db, "read");
    // The aggregate of no rows is "[]", so NULL does not occur in these queries.
    const char *text = (const char *)sqlite3_column_text(s, 0);
    (void)fputs(text ? text : "null", out); // into memory
    return ERR_OK;
}

static int prepare_query(const struct api *api, const char *sql, sqlite3_stmt **ret) {
    SQL(api->db, sqlite3_prepare_v2(api->db, sql, -1, ret, NULL), "read");
    return ERR_OK;
}

static void bind_text(sqlite3_stmt *s, int i, const char *text) {
    (void)sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC); // without memory it stays NULL
}

// `sql` yields one text; ?1 is the run.
static int write_query(const struct api *api, const char *sql, const char *run, FILE *out) {
    sqlite3_stmt *s = NULL;
    int err = prepare_query(api, sql, &s);
    if (err)
        return err;
    bind_text(s, 1, run);
    err = write_value(api, s, out);
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

// ---- simple answers ----

// A run is named in URLs, numbered in tables.
#define OF_RUN "JOIN run r USING (run_id) WHERE r.name = ?1 "

static const struct {
    const char *path, *sql;
} simple[] = {
    {"/api/runs",
     "SELECT json_group_array(json_object('run', name, 'status', status, 'started_us', started_us, "
     "'ended_us', ended_us, 'device', device, 'seed', seed, 'code_version', code_version, 'note', "
     "(SELECT value FROM param p WHERE p.run_id = q.run_id AND p.key = 'note'), 'own', "
     "json(CASE name WHEN ?1 THEN 'true' ELSE 'false' END))) FROM (SELECT * FROM run ORDER BY "
     "started_us DESC) q"},
    {"/api/keys",
     "SELECT json_group_array(json_object('key', key, 'step', step, 'value', value, 'special', "
     "special)) FROM (SELECT * FROM latest WHERE run = ?1 ORDER BY key)"},
    {"/api/samples",
     "SELECT json_group_array(json_object('step', step, 'kind', kind, 'path', path)) FROM (SELECT "
     "s.* FROM sample s " OF_RUN "ORDER BY step, kind, path)"},
    {"/api/events",
     "SELECT json_group_array(json_object('ts_us', ts_us, 'level', level, 'process', process, "
     "'code', code, 'step', step, 'message', message)) FROM (SELECT e.* FROM event e " OF_RUN
     "ORDER BY e.ts_us DESC, event_id DESC LIMIT 200)"},
    {"/api/curation",
     "SELECT json_group_array(json_object('domain', domain, 'verdict', verdict, 'reason', reason, "
     "'pictures', n)) FROM (SELECT domain, verdict, reason, count(*) AS n FROM curation c " OF_RUN
     "GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC)"},
    {"/api/params",
     "SELECT json_group_array(json_object('key', key, 'value', value)) FROM (SELECT p.* FROM param "
     "p " OF_RUN "ORDER BY key)"},
    {"/api/checkpoints", "SELECT json_group_array(json_object('step', step, 'dir', dir, 'digest', "
                         "digest)) FROM (SELECT "
                         "c.* FROM checkpoint c " OF_RUN "ORDER BY step DESC)"},
};

// ---- /api/metrics ----

#define OF_KEY                                                                                     \
    "FROM metric m WHERE run_id = (SELECT run_id FROM run WHERE name = ?1) AND key_id = (SELECT "  \
    "key_id FROM metric_key WHERE name = ?2) AND step BETWEEN ?3 AND ?4 "

static void bind_series(sqlite3_stmt *s, const struct api_query *q) {
    bind_text(s, 1, q->run);
    bind_text(s, 2, q->key);
    (void)sqlite3_bind_int64(s, 3, q->from);
    (void)sqlite3_bind_int64(s, 4, q->to); // binding a number always succeeds
}

// Shrinks the query's range to the steps that exist, so that the buckets divide these.
// Without it, the default range would put all steps into one bucket.
static int narrow_range(const struct api *api, struct api_query *q) {
    sqlite3_stmt *s = NULL;
    int err = prepare_query(
        api, "SELECT (SELECT min(step) " OF_KEY "), (SELECT max(step) " OF_KEY ")", &s);
    if (err)
        return err;
    bind_series(s, q);
    int rc = step_once(api->db, s);
    if (rc == SQLITE_ROW) {
        q->from = sqlite3_column_int64(s, 0);
        q->to = sqlite3_column_int64(s, 1);
    }
    (void)sqlite3_finalize(s); // returns the step's error again
    return rc == SQLITE_ROW ? ERR_OK : schema_failed(api->db, "read");
}

static int write_series(const struct api *api, const struct api_query *query, FILE *out) {
    struct api_query q = *query;
    sqlite3_stmt *s = NULL;
    if (!q.key)
        return err_set(ERR_NOT_RUNNING, "key= is missing");
    int err = narrow_range(api, &q);
    if (err)
        return err;
    err = prepare_query(
        api,
        "SELECT json_group_array(json_array(step, lo, mean, hi, special)) FROM (SELECT "
        "max(step) AS step, min(value) AS lo, avg(value) AS mean, max(value) AS hi, "
        "max(special) AS special " OF_KEY "GROUP BY (step - ?3) / ?5 ORDER BY 1)",
        &s);
    if (err)
        return err;
    // At most POINTS_MAX, so that a request cannot ask for a huge answer.
    int64_t points = MAX(1, MIN(q.max_points, POINTS_MAX));
    bind_series(s, &q);
    // The width of a bucket: rounded up, so there are never more buckets than asked for.
    (void)sqlite3_bind_int64(s, 5, (q.to - q.from) / points + 1);
    err = write_value(api, s, out);
    (void)sqlite3_finalize(s); // returns the step's error again
    return err;
}

// ---- /api/processes ----

// A process's line may hold a file name that is not UTF-8, or end in the middle of a character.
static void write_text(const char *line, FILE *out) {
    char *escaped = utf8_is_valid(line) ? NULL : utf8_escape(line);
    const char *text = escaped ? escaped : line;
    (void)fputc('"', out); // `out` is memory; its fclose reports a failure
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        // JSON's escapes: quote, backslash and control characters.
        if (*c == '"' || *c == '\\')
            (void)fprintf(out, "\\%c", *c);
        else if (*c < 0x20)
            (void)fprintf(out, "\\u%04x", *c);
        else
            (void)fputc(*c, out);
    }
    (void)fputc('"', out);
    free(escaped);
}

static void write_live_process(const struct live_process *p, FILE *out) {
    const struct points_page *page = &p->page;
    (void)fprintf(out, "{\"process\":");
    write_text(page->process, out);
    (void)fprintf(out,
                  ",\"instance\":%llu,\"incarnation\":%llu,\"pid\":%llu,\"step\":%llu,"
                  "\"rss_bytes\":%llu,\"unsent\":%llu,\"lost\":%llu,\"beat_ms\":%lld,",
                  (unsigned long long)page->instance, (unsigned long long)page->incarnation,
                  (unsigned long long)page->pid, (unsigned long long)page->step,
                  (unsigned long long)p->rss_bytes, (unsigned long long)(page->head - page->tail),
                  (unsigned long long)page->lost, (long long)(now_us() - page->beat_us) / 1000);
    (void)fprintf(out, "\"alive\":%s,\"state\":\"%s\",\"line\":", p->alive ? "true" : "false",
                  p->alive ? live_state_name(page->state) : "ended");
    write_text(page->line, out);
    (void)fputc('}', out);
}

static int write_processes(const struct api *api, const char *run, FILE *out) {
    static struct live live; // large, so not on the stack; one thread
    // Pages exist for the monitor's own run only.
    live.count = 0;
    if (strcmp(run, api->run) == 0)
        live_read(api->ring_dir, &live);
    (void)fputs("{\"live\":[", out);
    for (int i = 0; i < live.count; i++) {
        if (i)
            (void)fputc(',', out);
        write_live_process(&live.processes[i], out);
    }
    (void)fputs("],\"lives\":", out);
    int err = write_query(
        api,
        "SELECT json_group_array(json_object('process', process, 'instance', instance, "
        "'incarnation', incarnation, 'pid', pid, 'started_us', started_us, 'ended_us', ended_us, "
        "'exit_code', exit_code, 'peak_rss_bytes', peak_rss_bytes)) FROM (SELECT p.* FROM process "
        "p " OF_RUN "ORDER BY process, instance, incarnation)",
        run, out);
    (void)fputc('}', out);
    return err;
}

int api_answer(const struct api *api, const char *path, const struct api_query *query, FILE *out) {
    struct api_query q = *query;
    if (!q.run)
        q.run = api->run;
    if (strcmp(path, "/api/metrics") == 0)
        return write_series(api, &q, out);
    if (strcmp(path, "/api/processes") == 0)
        return write_processes(api, q.run, out);
    for (size_t i = 0; i < COUNT(simple); i++)
        if (strcmp(path, simple[i].path) == 0)
            // The list of runs marks the own run, whichever one is asked for.
            return write_query(api, simple[i].sql, i ? q.run : api->run, out);
    return err_set(ERR_NOT_RUNNING, "nothing at '%s'", path);
}

int api_is_sample(const struct api *api, const char *run, const char *path) {
    // Files outside this list are not served, whatever their name.
    sqlite3_stmt *s = NULL;
    int err = prepare_query(api, "SELECT 1 FROM sample s " OF_RUN "AND s.path = ?2 LIMIT 1", &s);
    if (err)
        return err;
    bind_text(s, 1, run);
    bind_text(s, 2, path);
    int rc = step_once(api->db, s);
    (void)sqlite3_finalize(s); // returns the step's error again
    return rc == SQLITE_ROW ? ERR_OK : err_set(ERR_NOT_RUNNING, "'%s' is no sample", path);
}

// ---- /metrics ----

static void write_family(FILE *out, const char *name, const char *kind, const char *help) {
    (void)fprintf(out, "# HELP cyclegan_%s %s\n# TYPE cyclegan_%s %s\n", name, help, name, kind);
}

// Label values: \, " and line ends escaped.
static void write_label(FILE *out, const char *name, const char *value) {
    (void)fprintf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n')
            (void)fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            (void)fprintf(out, "\\%c", *value);
        else
            (void)fputc(*value, out);
    }
    (void)fputc('"', out);
}

static int write_latest(const struct api *api, FILE *out) {
    // In the order of the column `special` (rows.c).
    static const char *const special[] = {"", "NaN", "+Inf", "-Inf"};
    sqlite3_stmt *s = NULL;
    int rc, err = prepare_query(
                api, "SELECT key, value, special FROM latest WHERE run = ?1 ORDER BY key", &s);
    if (err)
        return err;
    bind_text(s, 1, api->run);
    write_family(out, "metric", "gauge", "Newest value of each metric of the run.");
    while ((rc = step_once(api->db, s)) == SQLITE_ROW) {
        // Two bits: an unknown value cannot index beyond the table.
        int kind = sqlite3_column_int(s, 2) & 3;
        (void)fputs("cyclegan_metric{", out);
        write_label(out, "run", api->run);
        (void)fputc(',', out);
        write_label(out, "key", (const char *)sqlite3_column_text(s, 0));
        if (kind)
            (void)fprintf(out, "} %s\n", special[kind]);
        else
            (void)fprintf(out, "} %.17g\n", sqlite3_column_double(s, 1));
    }
    (void)sqlite3_finalize(s); // returns the step's error again
    return rc == SQLITE_DONE ? ERR_OK : schema_failed(api->db, "read");
}

enum {
    PROCESS_UP,
    PROCESS_STEP,
    PROCESS_RSS,
    PROCESS_BEAT,
    PROCESS_UNSENT,
    PROCESS_LOST,
    PROCESS_LIFE
};

static const struct {
    const char *name, *kind, *help;
} process_families[] = {
    [PROCESS_UP] = {"process_up", "gauge", "1 while the process lives."},
    [PROCESS_STEP] = {"process_step", "gauge", "Training step the process is at."},
    [PROCESS_RSS] = {"process_resident_bytes", "gauge", "Resident memory."},
    [PROCESS_BEAT] = {"process_beat_age_seconds", "gauge",
                      "Since the main loop's last sign of life."},
    [PROCESS_UNSENT] = {"process_unsent_points", "gauge", "Points not yet committed."},
    [PROCESS_LOST] = {"process_lost_points_total", "counter", "Points lost beyond every buffer."},
    [PROCESS_LIFE] = {"process_incarnation", "gauge", "1 + how often it was started again."},
};

static double process_value(const struct live_process *p, size_t family) {
    switch (family) {
    case PROCESS_UP:
        return p->alive;
    case PROCESS_STEP:
        return (double)p->page.step;
    case PROCESS_RSS:
        return (double)p->rss_bytes;
    case PROCESS_BEAT:
        return (double)(now_us() - p->page.beat_us) / 1e6;
    case PROCESS_UNSENT:
        return (double)(p->page.head - p->page.tail);
    case PROCESS_LOST:
        return (double)p->page.lost;
    default:
        return (double)p->page.incarnation;
    }
}

static void write_live(const struct api *api, FILE *out) {
    static struct live live; // large, so not on the stack; one thread
    live_read(api->ring_dir, &live);
    for (size_t f = 0; f < COUNT(process_families); f++) {
        write_family(out, process_families[f].name, process_families[f].kind,
                     process_families[f].help);
        for (int i = 0; i < live.count; i++) {
            (void)fprintf(out, "cyclegan_%s{", process_families[f].name);
            write_label(out, "run", api->run);
            (void)fputc(',', out);
            write_label(out, "process", live.processes[i].page.process);
            (void)fprintf(out, ",instance=\"%llu\"} %.17g\n",
                          (unsigned long long)live.processes[i].page.instance,
                          process_value(&live.processes[i], f));
        }
    }
}

static void write_counts(const struct ingest_counts *c, FILE *out) {
    const struct {
        const char *name, *help;
        uint64_t value;
    } families[] = {
        {"monitor_records_total", "Records written to the database.", c->records},
        {"monitor_duplicates_total", "Records that had been stored before.", c->duplicates},
        {"monitor_refused_total", "Records that could not become a row.", c->refused},
        {"monitor_commits_total", "Transactions.", c->commits},
        {"monitor_failed_commits_total", "Transactions that had to be tried again.", c->failures},
    };
    for (size_t i = 0; i < COUNT(families); i++) {
        write_family(out, families[i].name, "counter", families[i].help);
        (void)fprintf(out, "cyclegan_%s %llu\n", families[i].name,
                      (unsigned long long)families[i].value);
    }
}

int api_prometheus(const struct api *api, FILE *out) {
    write_live(api, out);
    if (api->counts)
        write_counts(api->counts, out);
    return write_latest(api, out);
}
