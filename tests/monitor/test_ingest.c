#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "ingest.h"
#include "points/ring.h"
#include "schema.h"

#include "monitor/run_folder.h"

#define DATABASE "runs/metrics.sqlite"
#define FRAME_MAX 65536

static const struct msg_peer trainer = {"trainer", 0, 1}, curator = {"curator-A", 0, 1};
static char folder[64];
static struct config *config;
static sqlite3 *db;
static struct ingest *ingest;

static int set_up(void **state) {
    strcpy(folder, "/tmp/ingest-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    config = run_folder_make(folder, "one", NULL, 0);
    assert_int_equal(schema_open(DATABASE, &db), ERR_OK);
    assert_int_equal(ingest_new(db, config, "name = \"one\"\n", &ingest), ERR_OK);
    assert_int_equal(ingest_begin_run(ingest), ERR_OK);
    return 0;
}

static int tear_down(void **state) {
    ingest_free(ingest);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    config_free(config);
    assert_int_equal(chdir("/"), 0);
    return fs_remove_tree(folder);
}

// A new process in the place of the old one.
static void start_again(void) {
    ingest_free(ingest);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(schema_open(DATABASE, &db), ERR_OK);
    assert_int_equal(ingest_new(db, config, "name = \"one\"\n", &ingest), ERR_OK);
}

// One value of a query as text; "" for NULL.
static const char *sql(const char *query) {
    static char result[256];
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, query, -1, &s, NULL) != SQLITE_OK)
        fail_msg("%s: %s", query, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(s, 0);
    (void)text_copy(result, sizeof result, text ? text : "");
    (void)sqlite3_finalize(s);
    return result;
}

// ---- making records ----

static uint8_t frame[FRAME_MAX];
static size_t frame_size;
static uint64_t frame_count;

static void frame_begin(void) {
    frame_size = frame_count = 0;
}

static void frame_put(uint64_t seq, const struct msg *m) {
    uint8_t body[RING_BODY_MAX];
    size_t size = 0;
    assert_int_equal(msg_pack_record(m, body, sizeof body, &size), ERR_OK);
    ring_write(frame + frame_size, seq, body, size);
    frame_size += RING_SIZE(size);
    frame_count++;
}

static void frame_metric(uint64_t seq, const char *key, uint64_t step, double value) {
    struct msg m = {.type = MSG_metric,
                    .metric = {.replayable = 1, .step = step, .ts_us = 5, .value = value}};
    strcpy(m.metric.key, key);
    frame_put(seq, &m);
}

static int frame_send(const struct msg_peer *from, uint64_t first) {
    return ingest_add(ingest, from, first, frame_count, frame, frame_size);
}

static void send_one(const struct msg_peer *from, uint64_t seq, const struct msg *m) {
    frame_begin();
    frame_put(seq, m);
    assert_int_equal(frame_send(from, seq), ERR_OK);
}

static void send_metric(uint64_t seq, const char *key, uint64_t step, double value) {
    frame_begin();
    frame_metric(seq, key, step, value);
    assert_int_equal(frame_send(&trainer, seq), ERR_OK);
}

static void commit(void) {
    int err = ingest_commit(ingest);
    if (err)
        print_error("%s\n", err_text());
    assert_int_equal(err, ERR_OK);
}

// ---- exactly once ----

static void a_batch_sent_twice_is_taken_once(void **state) {
    struct msg event = {.type = MSG_event, .event = {.level = "info", .code = "c", .message = "m"}};
    frame_begin();
    for (uint64_t seq = 10; seq < 20; seq++)
        frame_put(seq, &event);
    assert_int_equal(frame_send(&trainer, 10), ERR_OK);
    assert_int_equal(frame_send(&trainer, 10), ERR_OK); // before the commit
    commit();
    assert_int_equal(frame_send(&trainer, 10), ERR_OK); // and after it
    commit();
    assert_string_equal(sql("select count(*) from event"), "10");
    assert_int_equal(ingest_cursor(ingest, &trainer), 19);
    assert_int_equal(ingest_counts(ingest)->duplicates, 20);
}

static void batches_that_overlap_are_taken_once(void **state) {
    struct msg event = {.type = MSG_event, .event = {.level = "info", .code = "c", .message = "m"}};
    for (uint64_t first = 1; first < 40; first += 3) {
        frame_begin();
        for (uint64_t seq = first; seq < first + 7; seq++)
            frame_put(seq, &event);
        assert_int_equal(frame_send(&trainer, first), ERR_OK);
        if (first % 2)
            commit();
    }
    commit();
    assert_string_equal(sql("select count(*) from event"), "43");
}

static void the_cursor_outlives_the_process(void **state) {
    send_metric(7, "loss/D_A", 1, 0.5);
    commit();
    send_metric(8, "loss/D_A", 2, 0.5); // taken, but never committed
    start_again();
    assert_int_equal(ingest_cursor(ingest, &trainer), 7);
    assert_int_equal(ingest_cursor(ingest, &curator), 0);
    assert_string_equal(sql("select count(*) from metric"), "1");
    send_metric(8, "loss/D_A", 2, 0.5);
    commit();
    assert_string_equal(sql("select count(*) from metric"), "2");
}

static void instances_have_cursors_of_their_own(void **state) {
    const struct msg_peer loaders[] = {{"loader", 0, 1}, {"loader", 1, 1}, {"loader", 1, 2}};
    struct msg m = {.type = MSG_sample, .sample = {.kind = "sheet", .path = "a.png"}};
    for (uint64_t i = 0; i < COUNT(loaders); i++) {
        m.sample.step = i;
        send_one(&loaders[i], i == 2 ? 2 : 1, &m);
    }
    commit();
    assert_string_equal(sql("select count(*) from sample"), "3");
    assert_int_equal(ingest_cursor(ingest, &loaders[0]), 1);
    assert_int_equal(ingest_cursor(ingest, &loaders[1]), 2); // an incarnation counts on
}

static void a_failed_commit_is_tried_again(void **state) {
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(DATABASE, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    send_metric(1, "loss/D_A", 1, 0.5);
    assert_int_equal(ingest_commit(ingest), ERR_BUSY);
    assert_int_equal(ingest_cursor(ingest, &trainer), 0);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    commit();
    assert_string_equal(sql("select count(*) from metric"), "1");
    assert_int_equal(ingest_cursor(ingest, &trainer), 1);
}

static void a_full_disk_loses_nothing(void **state) {
    struct rlimit limit, small;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){4096, limit.rlim_max}; // no file may grow beyond: writes fail
    uint64_t seq = 1;
    for (int i = 0; i < 20; i++) {
        frame_begin();
        for (int k = 0; k < 100; k++, seq++)
            frame_metric(seq, "loss/D_A", seq, 0.25);
        assert_int_equal(frame_send(&trainer, seq - 100), ERR_OK);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = ingest_commit(ingest);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(err == ERR_SPACE || err == ERR_IO);
    commit();
    assert_string_equal(sql("select count(*) || ' ' || max(step) from metric"), "2000 2000");
    assert_string_equal(sql("pragma integrity_check"), "ok");
}

static void memory_has_a_limit(void **state) {
    uint64_t seq = 1;
    int err = ERR_OK;
    while (!err && seq < 1000000) {
        frame_begin();
        for (int k = 0; k < 500; k++, seq++)
            frame_metric(seq, "loss/D_A", seq, 0.25);
        err = frame_send(&trainer, seq - 500);
    }
    assert_int_equal(err, ERR_AGAIN);
    assert_false(ingest_has_room(ingest));
    commit();
    assert_true(ingest_has_room(ingest));
    assert_int_equal(frame_send(&trainer, seq - 500), ERR_OK); // what was refused may come again
    commit();
    assert_int_equal(ingest_cursor(ingest, &trainer), seq - 1);
}

// ---- rows ----

static void a_repeated_step_overwrites_its_row(void **state) {
    send_metric(1, "loss/D_A", 3, 0.5);
    send_metric(2, "loss/D_A", 3, 0.25);
    commit();
    send_metric(3, "loss/D_A", 3, 0.125);
    commit();
    assert_string_equal(sql("select count(*) || ' ' || value from metric"), "1 0.125");
}

static void values_that_are_not_finite_survive(void **state) {
    send_metric(1, "loss/D_A", 1, (double)NAN);
    send_metric(2, "loss/D_A", 2, (double)INFINITY);
    send_metric(3, "loss/D_A", 3, -(double)INFINITY);
    send_metric(4, "loss/D_A", 4, -0.0);
    send_metric(5, "loss/D_A", 5, 5e-324);
    commit();
    assert_string_equal(
        sql("select group_concat(special, '') from (select special from metric order "
            "by step)"),
        "12300");
    assert_string_equal(sql("select count(value) from metric"), "2");
    assert_string_equal(sql("select value = 5e-324 from metric where step = 5"), "1");
    send_metric(6, "loss/D_A", 1, 1.5); // a number again
    commit();
    assert_string_equal(sql("select special || ' ' || value from metric where step = 1"), "0 1.5");
}

static void verdict(uint64_t seq, const char *domain, const char *path, const char *reason) {
    struct msg m = {.type = MSG_verdict, .verdict = {.score = (double)NAN}};
    strcpy(m.verdict.domain, domain);
    strcpy(m.verdict.path, path);
    strcpy(m.verdict.reason, reason);
    strcpy(m.verdict.verdict, strcmp(reason, "ok") != 0 ? "reject" : "keep");
    send_one(&curator, seq, &m);
}

static void verdicts_begin_replaces_those_of_the_domain(void **state) {
    struct msg begin = {.type = MSG_verdicts_begin, .verdicts_begin = {.domain = "A"}};
    verdict(1, "A", "x.jpg", "small");
    verdict(2, "A", "y.jpg", "small");
    verdict(3, "B", "x.jpg", "ok");
    commit();
    assert_string_equal(sql("select pictures || ' ' || example from rejects where run = 'one'"),
                        "2 x.jpg");
    send_one(&curator, 4, &begin);
    verdict(5, "A", "z.jpg", "year");
    verdict(6, "A", "z.jpg", "ok"); // the last word counts
    commit();
    assert_string_equal(sql("select group_concat(domain || path || reason) from curation"),
                        "Az.jpgok,Bx.jpgok");
    assert_string_equal(sql("select count(*) from rejects"), "0");
}

static void looks_belong_to_their_verdicts(void **state) {
    struct msg begin = {.type = MSG_verdicts_begin, .verdicts_begin = {.domain = "A"}};
    struct msg looks = {.type = MSG_looks,
                        .looks = {.domain = "A",
                                  .path = "x.jpg",
                                  .w = 64,
                                  .h = 48,
                                  .luma = 59.5,
                                  .twin_bits = NAN,
                                  .borderline = "min_luma"}};
    verdict(1, "A", "x.jpg", "dark");
    send_one(&curator, 2, &looks);
    commit();
    assert_string_equal(sql("select setting || ' ' || verdict || ' ' || luma || ' ' || w || 'x' || "
                            "h || ' ' || (twin_bits is null) from borderline"),
                        "min_luma reject 59.5 64x48 1");
    send_one(&curator, 3, &begin);
    commit();
    assert_string_equal(sql("select count(*) from looks"), "0");
}

static void the_domains_stand_beside_each_other(void **state) {
    static const char *const params[][2] = {
        {"data.A.mean", "1.5 2 3"},
        {"data.A.kept", "700"},
        {"data.A.luma", "2.25"},
        {"data.A.summary", "folder: no list"},
        {"data.B.mean", "9 8 7"},
        {"data.B.side_median", "128"},
        {"data.distance.earth", "5 6 7 8"},
        {"data.distance.colours", "6"},
        {"data.B.odd", "[ no json"},
    };
    for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
        struct msg m = {.type = MSG_param};
        strcpy(m.param.key, params[i][0]);
        strcpy(m.param.value, params[i][1]);
        send_one(&curator, i + 1, &m);
    }
    commit();
    assert_string_equal(sql("select group_concat(domain || ' ' || red || ' ' || "
                            "coalesce(luma, '-') || ' ' || coalesce(pictures, '-') || ' ' || "
                            "coalesce(side_median, '-') || ' ' || coalesce(colours, '-'), ', ') "
                            "from (select * from domains where run = 'one' order by domain)"),
                        "A 1.5 2.25 700 - -, B 9 - - 128.0 -, distance 5 8 - - 6.0");
}

static void settings_and_facts_are_params(void **state) {
    struct msg m = {.type = MSG_param, .param = {.key = "data.A.mean", .value = "1 2 3"}};
    send_one(&curator, 1, &m);
    commit();
    assert_string_equal(sql("select value from param where key = 'data.A.mean'"), "1 2 3");
    assert_string_equal(sql("select value from param where key = 'loader.batch_size'"), "1");
    assert_string_equal(sql("select seed || ' ' || status from run"), "42 running");
}

static void a_run_state_changes_the_run(void **state) {
    struct msg m = {.type = MSG_run_state,
                    .run_state = {.status = "running", .ts_us = 5, .device = "cpu"}};
    send_one(&trainer, 1, &m);
    m = (struct msg){.type = MSG_run_state, .run_state = {.status = "finished", .ts_us = 77}};
    send_one(&trainer, 2, &m);
    commit();
    assert_string_equal(sql("select status || ended_us || device from run"), "finished77cpu");
    start_again(); // --drain does not begin the run again
    assert_string_equal(sql("select status from run"), "finished");
    assert_int_equal(ingest_begin_run(ingest), ERR_OK);
    assert_string_equal(sql("select status || (ended_us is null) from run"), "running1");
}

static void a_process_has_a_row_per_life(void **state) {
    struct msg start = {
        .type = MSG_process_start,
        .process_start = {.process = "pool", .incarnation = 1, .pid = 7, .ts_us = 10}};
    struct msg end = {
        .type = MSG_process_end,
        .process_end = {.process = "pool", .incarnation = 1, .ts_us = 2000010, .exit_code = 137}};
    send_one(&trainer, 1, &start);
    send_one(&trainer, 2, &end);
    start.process_start.incarnation = 2;
    start.process_start.ts_us = 3000010;
    send_one(&trainer, 3, &start);
    end.process_end.incarnation = 2;
    end.process_end.exit_code = 0;
    end.process_end.peak_rss_bytes = 4096;
    send_one(&trainer, 4, &end);
    end.process_end.peak_rss_bytes = 0; // the supervisor does not know it
    send_one(&trainer, 5, &end);
    commit();
    assert_string_equal(sql("select count(*) || ' ' || max(peak_rss_bytes) from process"),
                        "2 4096");
    assert_string_equal(sql("select incarnation || ' ' || exit_code_before || ' ' || down_s from "
                            "restarts where run = 'one' and process = 'pool'"),
                        "2 137 1.0");
}

// ---- refusals ----

static void a_record_that_is_none_is_counted_and_passed(void **state) {
    struct msg not_a_record = {.type = MSG_ticket};
    frame_begin();
    frame_metric(1, "loss/D_A", 1, 1);
    frame_put(2, &not_a_record);
    ring_write(frame + frame_size, 3, (const uint8_t *)"rubbish", 7);
    frame_size += RING_SIZE(7);
    frame_count++;
    frame_metric(4, "loss/D_A", 2, 1);
    assert_int_equal(frame_send(&trainer, 1), ERR_OK);
    commit();
    assert_string_equal(sql("select count(*) from metric"), "2");
    assert_int_equal(ingest_counts(ingest)->refused, 2);
    assert_int_equal(ingest_cursor(ingest, &trainer), 4);
}

static void every_truncation_of_a_batch_is_refused(void **state) {
    frame_begin();
    frame_metric(1, "loss/D_A", 1, 1);
    frame_metric(2, "loss/D_A", 2, 1);
    for (size_t n = 0; n < frame_size; n++)
        assert_int_equal(ingest_add(ingest, &trainer, 1, 2, frame, n), ERR_PEER);
    for (size_t i = 0; i < frame_size; i++) {
        frame[i] ^= 0x10;
        struct ring_record record;
        size_t offset = 0;
        bool same = ring_next(frame, frame_size, &offset, &record) &&
                    ring_next(frame, frame_size, &offset, &record); // a bit of the padding
        assert_int_equal(frame_send(&trainer, 1), same ? ERR_OK : ERR_PEER);
        frame[i] ^= 0x10;
    }
    assert_int_equal(ingest_add(ingest, &trainer, 2, 2, frame, frame_size), ERR_PEER);
    assert_int_equal(ingest_add(ingest, &trainer, 1, 1, frame, frame_size), ERR_PEER);
    assert_int_equal(ingest_add(ingest, &trainer, 1, 0, frame, 0), ERR_PEER);
    assert_int_equal(ingest_add(ingest, &trainer, UINT64_MAX, 2, frame, frame_size), ERR_PEER);
}

// ---- views ----

static void put_steps(void) {
    static const char *const losses[] = {"loss/D_A", "loss/G_A", "loss/cycle_A", "loss/idt_A",
                                         "loss/D_B", "loss/G_B", "loss/cycle_B", "loss/idt_B"};
    uint64_t seq = 1;
    for (uint64_t step = 1; step <= 250; step++) {
        frame_begin();
        uint64_t first = seq;
        for (size_t i = 0; i < COUNT(losses); i++)
            frame_metric(seq++, losses[i], step, (double)(step * 10 + i));
        frame_metric(seq++, "epoch", step, (double)(1 + step / 120));
        frame_metric(seq++, "time/step_ms", step, 100);
        frame_metric(seq++, "time/wait_ms", step, step <= 100 ? 50 : 0);
        frame_metric(seq++, "rate/img_per_s", step, step < 200 ? 10 : 20);
        assert_int_equal(frame_send(&trainer, first), ERR_OK);
    }
    commit();
}

static void views_answer_with_the_right_numbers(void **state) {
    put_steps();
    assert_string_equal(sql("select count(*) from losses where run = 'one'"), "250");
    assert_string_equal(
        sql("select D_A || ' ' || G_A || ' ' || cycle_A || ' ' || idt_A || ' ' || D_B "
            "|| ' ' || G_B || ' ' || cycle_B || ' ' || idt_B from losses where run = "
            "'one' and step = 42"),
        "420.0 421.0 422.0 423.0 424.0 425.0 426.0 427.0");
    assert_string_equal(
        sql("select group_concat(step || ':' || steps || ':' || img_per_s || ':' || "
            "epoch, ' ') from throughput where run = 'one'"),
        "0:99:10.0:1.0 100:100:10.0:2.0 200:51:20.0:3.0");
    assert_string_equal(sql("select wait_share || ' ' || step_ms || ' ' || longest_wait_ms from "
                            "stalls where run = 'one'"),
                        "0.2 100.0 50.0");
    assert_string_equal(sql("select step || ' ' || value from latest where run = 'one' and key = "
                            "'loss/G_B'"),
                        "250 2505.0");
    assert_string_equal(sql("select steps || ' ' || epoch || ' ' || wait_share || ' ' || restarts "
                            "from run_summary where run = 'one'"),
                        "250 3.0 0.2 0");
    assert_string_equal(
        sql("select value from metrics where run = 'one' and key = 'epoch' and step "
            "= 1"),
        "1.0");
}

static void two_runs_share_a_file_and_are_compared(void **state) {
    static const char *const more[] = {"loader.batch_size=3", "seed=7"};
    struct config *second = run_folder_make(folder, "two", more, 2);
    struct ingest *other = NULL;
    sqlite3 *other_db = NULL;
    assert_int_equal(schema_open(DATABASE, &other_db), ERR_OK);
    assert_int_equal(ingest_new(other_db, second, "name = \"two\"\n", &other), ERR_OK);
    assert_int_equal(ingest_begin_run(other), ERR_OK);
    frame_begin();
    frame_metric(1, "loss/D_A", 1, 2);
    assert_int_equal(ingest_add(other, &trainer, 1, 1, frame, frame_size), ERR_OK);
    assert_int_equal(ingest_commit(other), ERR_OK);
    send_metric(1, "loss/D_A", 1, 1);
    commit();
    assert_string_equal(sql("select group_concat(run || D_A, ' ') from losses"), "one1.0 two2.0");
    assert_string_equal(
        sql("select group_concat(key || ' ' || value_a || ' ' || value_b, ', ') from "
            "(select * from param_diff where run_a = 'one' and run_b = 'two' and "
            "key in ('loader.batch_size', 'seed', 'loader.crop_size') order by key)"),
        "loader.batch_size 1 3, seed 42 7");
    ingest_free(other);
    assert_int_equal(sqlite3_close(other_db), SQLITE_OK);
    config_free(second);
}

// ---- the file ----

static void a_file_of_another_program_is_refused(void **state) {
    sqlite3 *d = NULL;
    assert_int_equal(sqlite3_open("other.sqlite", &d), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(d, "create table t (x); pragma user_version = 1", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(schema_open("other.sqlite", &d), ERR_FORMAT);
    FILE *out = fopen("text.sqlite", "w");
    for (int i = 0; i < 1000; i++)
        fprintf(out, "no database\n");
    assert_int_equal(fclose(out), 0);
    assert_int_equal(schema_open("text.sqlite", &d), ERR_FORMAT);
}

// One byte that belongs to no character made every reader of the database fail.
static void a_name_that_is_no_utf8_is_escaped_and_kept_as_bytes(void **state) {
    verdict(1, "A", "M\xfc\xf1oz\\.jpg", "ok");
    verdict(2, "A", "M\xc3\xbcnz\\.jpg", "ok");
    commit();
    assert_string_equal(sql("select path from curation where path_bytes is not null"),
                        "M\\xfc\\xf1oz\\\\.jpg");
    assert_string_equal(sql("select hex(path_bytes) from curation where path_bytes is not null"),
                        "4DFCF16F7A5C2E6A7067");
    assert_string_equal(sql("select path from curation where path_bytes is null"),
                        "M\xc3\xbcnz\\.jpg");
}

static void a_file_of_version_2_gets_valid_texts(void **state) {
    static const char old[] =
        "alter table curation drop column path_bytes; pragma user_version = 2;"
        "insert into run (name, status, started_us, conf_text, code_version, seed)"
        " values ('was', 'finished', 1, cast(x'61fc' as text), '', 1);"
        "insert into curation values (1, 'A', 'M\\xfc.jpg', 'reject', 'like the escaped one', 0, "
        "'');"
        "insert into curation values (1, 'A', cast(x'4dfc2e6a7067' as text), 'keep', 'ok', 0, '')";
    sqlite3 *d = NULL, *mine = db;
    assert_int_equal(schema_open("old.sqlite", &d), ERR_OK);
    assert_int_equal(sqlite3_exec(d, old, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(schema_open("old.sqlite", &db), ERR_OK);
    assert_string_equal(sql("select path || ' ' || hex(path_bytes) from curation"),
                        "M\\xfc.jpg 4DFC2E6A7067");
    assert_string_equal(sql("select conf_text from run"), "a\\xfc");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    db = mine;
}

static void a_newer_file_is_refused_with_its_version(void **state) {
    sqlite3 *d = NULL;
    assert_int_equal(schema_open("newer.sqlite", &d), ERR_OK);
    assert_int_equal(sqlite3_exec(d, "pragma user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(schema_open("newer.sqlite", &d), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "99"));
}

// What version 1 had is still there, also as a copy.
static void a_file_of_version_1_is_brought_up_to_date(void **state) {
    static const char old[] =
        "drop view borderline; drop view domains; drop view data_param; drop table looks;"
        "alter table curation drop column path_bytes;"
        "insert into run (name, status, started_us, conf_text, code_version, seed)"
        " values ('was', 'finished', 1, '', '', 1); pragma user_version = 1";
    sqlite3 *d = NULL;
    char *problem = NULL;
    assert_int_equal(schema_open("old.sqlite", &d), ERR_OK);
    assert_int_equal(sqlite3_exec(d, old, NULL, NULL, &problem), SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(schema_open("old.sqlite", &d), ERR_OK);
    assert_int_equal(sqlite3_exec(d,
                                  "select run from domains; select path from looks; select 1 / "
                                  "(select count(*) from run where name = 'was')",
                                  NULL, NULL, &problem),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(access("old.sqlite.bak-v1", R_OK), 0);
}

// A monitor that is killed while it migrates leaves the copy; so does a user who goes back to it.
static void a_copy_that_is_there_already_does_not_stop_the_migration(void **state) {
    static const char old[] =
        "alter table curation drop column path_bytes; pragma user_version = 2";
    sqlite3 *d = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(schema_open("old.sqlite", &d), ERR_OK);
        assert_int_equal(sqlite3_exec(d, old, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(d), SQLITE_OK);
    }
    assert_int_equal(schema_open("old.sqlite", &d), ERR_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
    assert_int_equal(sqlite3_open("old.sqlite.bak-v2", &d), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(d, "select 1 / (user_version = 2) from pragma_user_version", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(d), SQLITE_OK);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_batch_sent_twice_is_taken_once),
        CASE(batches_that_overlap_are_taken_once),
        CASE(the_cursor_outlives_the_process),
        CASE(instances_have_cursors_of_their_own),
        CASE(a_failed_commit_is_tried_again),
        CASE(a_full_disk_loses_nothing),
        CASE(memory_has_a_limit),
        CASE(a_repeated_step_overwrites_its_row),
        CASE(values_that_are_not_finite_survive),
        CASE(verdicts_begin_replaces_those_of_the_domain),
        CASE(looks_belong_to_their_verdicts),
        CASE(the_domains_stand_beside_each_other),
        CASE(settings_and_facts_are_params),
        CASE(a_run_state_changes_the_run),
        CASE(a_process_has_a_row_per_life),
        CASE(a_record_that_is_none_is_counted_and_passed),
        CASE(every_truncation_of_a_batch_is_refused),
        CASE(views_answer_with_the_right_numbers),
        CASE(two_runs_share_a_file_and_are_compared),
        CASE(a_file_of_another_program_is_refused),
        CASE(a_name_that_is_no_utf8_is_escaped_and_kept_as_bytes),
        CASE(a_file_of_version_2_gets_valid_texts),
        CASE(a_newer_file_is_refused_with_its_version),
        CASE(a_file_of_version_1_is_brought_up_to_date),
        CASE(a_copy_that_is_there_already_does_not_stop_the_migration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
