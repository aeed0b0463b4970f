// The program itself, in a process of its own, killed and starved.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>
#include <zmq.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "points/points.h"

#include "monitor/run_folder.h"

#define KILLS 20
#define READY_MS 20000

static char folder[64], program[PATH_MAX];
static char *run_path;
static pid_t monitor;

static int set_up(void **state) {
    static const char *const more[] = {"monitor.port=0", "monitor.ring=64 KiB"};
    strcpy(folder, "/tmp/monitor-XXXXXX");
    assert_non_null(mkdtemp(folder));
    config_free(run_folder_make(folder, "one", more, 2));
    run_path = run_folder_path(folder, "one");
    assert_int_equal(chdir(run_path), 0);
    return 0;
}

static void stop(int signal) {
    int status;
    if (!monitor)
        return;
    assert_int_equal(kill(monitor, signal), 0);
    assert_int_equal(waitpid(monitor, &status, 0), monitor);
    monitor = 0;
    if (signal == SIGTERM) {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static int tear_down(void **state) {
    stop(SIGKILL);
    free(run_path);
    assert_int_equal(chdir("/"), 0);
    return fs_remove_tree(folder);
}

static pid_t spawn(const char *option) {
    pid_t child = fork();
    if (child)
        return child;
    int log = open("monitor.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(log, 2);
    execl(program, "monitor", "--run", run_path, option, (char *)NULL);
    _exit(127);
}

static void start(void) {
    monitor = spawn(NULL);
}

static int drain(void) {
    int status;
    pid_t child = spawn("--drain");
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct points *open_points(void *zmq, const char *process) {
    struct points_options o = {.zmq = zmq,
                               .endpoint = "ipc://s/monitor",
                               .run = "one",
                               .ring_dir = "ring",
                               .self = {.incarnation = 1},
                               .ring_bytes = 65536,
                               .spill_bytes = 64 << 20};
    struct points *p = NULL;
    strcpy(o.self.process, process);
    assert_int_equal(points_open(&o, &p), ERR_OK);
    return p;
}

// One value as text; "" if there is none, or no database yet.
static const char *sql(const char *query) {
    static char result[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    result[0] = 0;
    if (sqlite3_open_v2("../metrics.sqlite", &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_busy_timeout(db, 2000) == SQLITE_OK &&
        sqlite3_prepare_v2(db, query, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        (void)text_copy(result, sizeof result, (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return result;
}

static void wait_for(const char *query, const char *value) {
    int64_t until = now_us() + READY_MS * (int64_t)1000;
    while (strcmp(sql(query), value) != 0 && now_us() < until)
        (void)usleep(20000);
    assert_string_equal(sql(query), value);
}

// ---- points ----

static void kill_9_under_load_loses_no_row(void **state) {
    void *zmq = zmq_ctx_new();
    struct points *a = open_points(zmq, "trainer"), *b = open_points(zmq, "loader");
    uint64_t step = 0;
    char expected[64];
    srand(3);
    for (int i = 0; i < KILLS; i++) {
        start();
        int64_t until = now_us() + 100000 + rand() % 250000;
        while (now_us() < until) {
            for (int k = 0; k < 40; k++) {
                points_metric(a, "loss/D_A", true, step, (double)step);
                points_metric(b, "loader/read_us", false, step++, 1);
            }
            points_event(a, "info", "tick", step, "x");
            (void)usleep(1000);
        }
        stop(SIGKILL);
    }
    start();
    if (points_flush(a, READY_MS) || points_flush(b, READY_MS))
        fail_msg("%s", err_text());
    points_close(a);
    points_close(b);
    (void)zmq_ctx_term(zmq);
    stop(SIGTERM);
    (void)snprintf(expected, sizeof expected, "%llu %llu", 2 * (unsigned long long)step,
                   (unsigned long long)step - 1);
    assert_string_equal(sql("select count(*) || ' ' || max(step) from metric"), expected);
    assert_string_equal(sql("select count(*) from metric where value <> step and value <> 1"), "0");
    (void)snprintf(expected, sizeof expected, "%llu", (unsigned long long)step / 40);
    assert_string_equal(sql("select count(*) from event where code = 'tick'"), expected);
    assert_string_equal(sql("pragma integrity_check"), "ok");
}

static void drain_takes_what_nobody_sent(void **state) {
    struct points *p = open_points(NULL, "trainer");
    for (uint64_t step = 0; step < 5000; step++) // more than a ring: the spill file too
        points_metric(p, "loss/D_A", true, step, 1);
    points_close(p);
    assert_int_equal(drain(), 0);
    assert_string_equal(sql("select count(*) from metric"), "5000");
    assert_int_equal(drain(), 0);
    assert_string_equal(sql("select count(*) from metric"), "5000");
}

static void drain_leaves_rings_that_are_in_use(void **state) {
    struct points *p = open_points(NULL, "trainer");
    points_metric(p, "loss/D_A", true, 1, 1);
    assert_int_equal(drain(), 0);
    assert_string_equal(sql("select count(*) from metric"), "0");
    points_close(p);
    assert_int_equal(drain(), 0);
    assert_string_equal(sql("select count(*) from metric"), "1");
}

static void rings_of_the_dead_are_taken(void **state) {
    pid_t child = fork();
    if (!child) {
        struct points *p = open_points(NULL, "loader");
        points_metric(p, "loader/read_us", false, 1, 1);
        _exit(9);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    start();
    wait_for("select count(*) from metric", "1");
}

static void the_monitor_reports_itself(void **state) {
    start();
    wait_for("select count(*) from process where process = 'monitor' and ended_us is null", "1");
    stop(SIGTERM);
    assert_int_equal(drain(), 0);
    assert_string_equal(sql("select exit_code from process where process = 'monitor'"), "0");
#ifdef __SANITIZE_ADDRESS__ // has memory of its own
    assert_string_equal(sql("select peak_rss_bytes > 0 from process"), "1");
#else
    assert_string_equal(sql("select peak_rss_bytes between 1 and 64 * 1048576 from process"), "1");
#endif
}

static void another_runs_point_is_not_taken(void **state) {
    void *zmq = zmq_ctx_new();
    struct points_options o = {.zmq = zmq,
                               .endpoint = "ipc://s/monitor",
                               .run = "two",
                               .ring_dir = "ring",
                               .self = {"trainer", 0, 1},
                               .ring_bytes = 65536};
    struct points *p = NULL;
    start();
    assert_int_equal(points_open(&o, &p), ERR_OK);
    points_metric(p, "loss/D_A", true, 1, 1);
    assert_int_equal(points_flush(p, 500), ERR_TIMEOUT);
    points_close(p);
    (void)zmq_ctx_term(zmq);
    stop(SIGTERM);
    assert_string_equal(sql("select count(*) from metric"), "0");
}

static void a_locked_database_is_waited_for(void **state) {
    void *zmq = zmq_ctx_new();
    sqlite3 *db = NULL;
    start();
    wait_for("select status from run", "running");
    assert_int_equal(sqlite3_open("../metrics.sqlite", &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "begin immediate", NULL, NULL, NULL), SQLITE_OK);
    struct points *p = open_points(zmq, "trainer");
    int64_t begun = now_us();
    for (uint64_t step = 0; step < 20000; step++)
        points_metric(p, "loss/D_A", true, step, 1);
    assert_true(now_us() - begun < 2000000); // the producer does not wait
    assert_int_equal(points_flush(p, 1000), ERR_TIMEOUT);
    assert_int_equal(sqlite3_exec(db, "commit", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(points_flush(p, READY_MS), ERR_OK);
    points_close(p);
    (void)zmq_ctx_term(zmq);
    assert_string_equal(sql("select count(*) from metric"), "20000");
}

static void a_removed_database_ends_the_monitor_and_loses_nothing_new(void **state) {
    void *zmq = zmq_ctx_new();
    int status;
    start();
    wait_for("select status from run", "running");
    assert_int_equal(unlink("../metrics.sqlite"), 0);
    assert_int_equal(unlink("../metrics.sqlite-wal"), 0);
    assert_int_equal(unlink("../metrics.sqlite-shm"), 0);
    struct points *p = open_points(zmq, "trainer");
    points_metric(p, "loss/D_A", true, 1, 1);
    assert_int_equal(waitpid(monitor, &status, 0), monitor);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    start(); // as the supervisor does
    wait_for("select count(*) from metric", "1");
    points_close(p);
    (void)zmq_ctx_term(zmq);
}

// ---- the dashboard ----

// The whole answer to a request, headers and all; "" if nobody answers.
static const char *ask_raw(const char *request) {
    static char answer[1 << 17];
    uint8_t *url = NULL;
    size_t size = 0, n = 0;
    int64_t until = now_us() + READY_MS * (int64_t)1000;
    while (!fs_exists("dashboard.url") && now_us() < until)
        (void)usleep(20000);
    assert_int_equal(fs_read("dashboard.url", 1000, &url, &size), ERR_OK);
    int port = atoi(strrchr((char *)url, ':') + 1), s = socket(AF_INET, SOCK_STREAM, 0);
    free(url);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 2};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof at), 0);
    (void)setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(write(s, request, strlen(request)), (ssize_t)strlen(request));
    for (ssize_t got;
         n < sizeof answer - 1 && (got = read(s, answer + n, sizeof answer - 1 - n)) > 0;)
        n += (size_t)got;
    answer[n] = 0;
    (void)close(s);
    return answer;
}

static const char *ask(const char *path) {
    char *request = xasprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    const char *answer = ask_raw(request);
    free(request);
    return answer;
}

static void expect(const char *path, int status, const char *text) {
    const char *answer = ask(path);
    if (atoi(answer + strcspn(answer, " ")) != status || !strstr(answer, text))
        fail_msg("%s: expected %d and '%s', got:\n%s", path, status, text, answer);
}

static void fill_run(void) {
    struct points *p = open_points(NULL, "trainer");
    for (uint64_t step = 1; step <= 1000; step++)
        points_metric(p, "loss/D_A", true, step, (double)step);
    points_metric(p, "loss/G_A", true, 1, 0.0 / 0.0);
    points_sample(p, 5, "sheet", "samples/step_5.png");
    points_sample(p, 6, "sheet", "samples/link.png");
    points_sample(p, 7, "sheet", "../../secret.png");
    points_event(p, "warn", "said", 3, "a \"quoted\" <word>");
    points_close(p);
    assert_int_equal(drain(), 0);
    assert_int_equal(mkdir("samples", 0700), 0);
    assert_int_equal(fs_write_atomic("samples/step_5.png", "\x89PNG-five", 9), ERR_OK);
    assert_int_equal(fs_write_atomic("samples/other.png", "\x89PNG-other", 10), ERR_OK);
    assert_int_equal(fs_write_atomic("../../secret.png", "secret", 6), ERR_OK);
    assert_int_equal(symlink("../../../secret.png", "samples/link.png"), 0);
    start();
}

static void the_dashboard_answers(void **state) {
    fill_run();
    expect("/", 200, "<title>cyclegan-pipeline");
    expect("/page.js", 200, "text/javascript");
    expect("/page.css", 200, "text/css");
    expect("/healthz", 200, "ok");
    expect("/api/runs", 200, "\"run\":\"one\"");
    expect("/api/keys", 200, "{\"key\":\"loss/G_A\",\"step\":1,\"value\":null,\"special\":1}");
    expect("/api/metrics?key=loss/D_A&max_points=2", 200,
           "[[500,1.0,250.5,500.0,0],[1000,501.0,750.5,1000.0,0]]");
    expect("/api/metrics?key=loss/D_A&from=10&to=11", 200, "[[10,10.0,10.0,10.0,0],[11,");
    expect("/api/metrics?key=none", 200, "[]");
    expect("/api/metrics?key=loss/D_A&max_points=-5&from=x", 200, "[[1000,");
    expect("/api/events?run=one", 200, "a \\\"quoted\\\" <word>");
    expect("/api/processes", 200, "\"process\":\"monitor\"");
    expect("/api/samples", 200, "samples/step_5.png");
    expect("/api/params", 200, "loader.batch_size");
    expect("/api/runs?run=none", 200, "\"own\":true");
    expect("/api/events?run=none", 200, "[]");
}

static void prometheus_text_is_well_formed(void **state) {
    fill_run();
    expect("/metrics", 200, "# TYPE cyclegan_metric gauge\n");
    expect("/metrics", 200, "cyclegan_metric{run=\"one\",key=\"loss/D_A\"} 1000\n");
    expect("/metrics", 200, "cyclegan_metric{run=\"one\",key=\"loss/G_A\"} NaN\n");
    expect("/metrics", 200,
           "cyclegan_process_up{run=\"one\",process=\"monitor\",instance=\"0\"} 1\n");
}

static void only_samples_leave_the_folder(void **state) {
    fill_run();
    expect("/files/one/samples/step_5.png", 200, "PNG-five");
    static const char *const refused[] = {"/files/one/samples/other.png",
                                          "/files/one/samples/link.png",
                                          "/files/one/../../secret.png",
                                          "/files/one/%2e%2e/%2e%2e/secret.png",
                                          "/files/../secret.png",
                                          "/files/one/pipeline.conf",
                                          "/files/one//samples/step_5.png",
                                          "/files/one",
                                          "/files/one/",
                                          "/files/",
                                          "/files/one/samples/step_5.png/",
                                          "/files/./one/samples/step_5.png",
                                          "/files/two/samples/step_5.png",
                                          "/files/one/samples/.png"};
    for (size_t i = 0; i < COUNT(refused); i++)
        expect(refused[i], 404, "no");
    expect("/etc/passwd", 404, "nothing there");
}

static void other_methods_are_refused(void **state) {
    start();
    assert_non_null(strstr(ask_raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                                   "Connection: close\r\n\r\n"),
                           "405"));
    assert_non_null(strstr(ask_raw("DELETE /api/runs HTTP/1.0\r\n\r\n"), "405"));
    (void)ask_raw("\x01\x02\x03 rubbish\r\n\r\n");
    expect("/healthz", 200, "ok");
}

static void changes_are_pushed(void **state) {
    start();
    const char *answer =
        ask("/events"); // reads for two seconds: our own ring is committed meanwhile
    assert_non_null(strstr(answer, "text/event-stream"));
    assert_non_null(strstr(answer, "event: change\ndata: "));
    stop(SIGTERM); // with a listener gone
    assert_false(fs_exists("dashboard.url"));
}

static void a_taken_port_moves_on(void **state) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s, 1), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&at, &size), 0);
    char *set = xasprintf("monitor.port=%d", ntohs(at.sin_port));
    const char *const more[] = {set};
    config_free(run_folder_make(folder, "one", more, 1));
    start();
    expect("/healthz", 200, "ok");
    uint8_t *url = NULL;
    size_t n = 0;
    assert_int_equal(fs_read("dashboard.url", 1000, &url, &n), ERR_OK);
    int port = atoi(strrchr((char *)url, ':') + 1);
    assert_true(port > ntohs(at.sin_port) && port < ntohs(at.sin_port) + 100);
    free(url);
    free(set);
    (void)close(s);
}

int main(void) {
    const char *build = getenv("BUILD");
    char *path = xasprintf("%s/bin/monitor", build ? build : "build");
    if (!realpath(path, program)) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    free(path);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(kill_9_under_load_loses_no_row),
        CASE(drain_takes_what_nobody_sent),
        CASE(drain_leaves_rings_that_are_in_use),
        CASE(rings_of_the_dead_are_taken),
        CASE(the_monitor_reports_itself),
        CASE(another_runs_point_is_not_taken),
        CASE(a_locked_database_is_waited_for),
        CASE(a_removed_database_ends_the_monitor_and_loses_nothing_new),
        CASE(the_dashboard_answers),
        CASE(prometheus_text_is_well_formed),
        CASE(only_samples_leave_the_folder),
        CASE(other_methods_are_refused),
        CASE(changes_are_pushed),
        CASE(a_taken_port_moves_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
