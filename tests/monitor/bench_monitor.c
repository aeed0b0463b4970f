// Points per second, end to end: from points_metric in several processes, over ipc, to committed
// rows of metrics.sqlite.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>
#include <zmq.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "points/points.h"

#include "monitor/run_folder.h"

#define KEYS 14 // metrics of a training step
#define MAX_PRODUCERS 64

static const char help[] =
    "bench_monitor [--points N] [--producers N] [--repeat N]\n"
    "\n"
    "Each of the producers (4) records N points (250000) as fast as it can; a monitor of its own\n"
    "takes them. One JSON line per repetition (3):\n"
    "\n"
    "  producers, points     as asked; points of all producers together\n"
    "  points_per_s          from the first record to the last row committed and acknowledged\n"
    "  put_us_mean           a call of points_metric, with the ring as large as the setting\n"
    "  put_us_max            the longest one (with everything the scheduler does)\n"
    "  rows                  rows found in the database; equals points\n"
    "  lost                  points lost; 0\n"
    "  monitor_peak_mb       resident memory of the monitor, at most\n"
    "  db_bytes_per_point    size of the database by points\n";

struct options {
    uint64_t points, producers, repeat;
};

struct shared {
    double put_us_sum[MAX_PRODUCERS], put_us_max[MAX_PRODUCERS];
    uint64_t lost[MAX_PRODUCERS];
};

static char program[PATH_MAX];

static void die(const char *what) {
    (void)fprintf(stderr, "bench_monitor: %s\n", what);
    exit(1);
}

static pid_t start_monitor(const char *run_path) {
    pid_t child = fork();
    if (child)
        return child;
    int log = open("/dev/null", O_WRONLY);
    (void)dup2(log, 2);
    execl(program, "monitor", "--run", run_path, (char *)NULL);
    _exit(127);
}

// Keys of its own for each producer: rows equal points.
static void record_all(struct points *p, int which, uint64_t n, double *ret_sum, double *ret_max) {
    char keys[KEYS][32];
    for (int k = 0; k < KEYS; k++)
        (void)snprintf(keys[k], sizeof keys[k], "bench/%d_%d", which, k);
    int64_t begun = now_us();
    for (uint64_t i = 0; i < n; i++) {
        int64_t start = i % 16 ? 0 : now_us(); // the clock is a part of the cost
        points_metric(p, keys[i % KEYS], true, i / KEYS, (double)i);
        if (start)
            *ret_max = MAX(*ret_max, (double)(now_us() - start));
    }
    *ret_sum = (double)(now_us() - begun);
}

static void produce(struct shared *shared, int which, const struct options *o) {
    void *zmq = zmq_ctx_new();
    struct points_options options = {.zmq = zmq,
                                     .endpoint = "ipc://s/monitor",
                                     .run = "bench",
                                     .ring_dir = "ring",
                                     .ring_bytes = 4 << 20,
                                     .spill_bytes = 1 << 30};
    struct points *p = NULL;
    struct points_page page;
    options.self.instance = (uint64_t)which;
    options.self.incarnation = 1;
    strcpy(options.self.process, "producer");
    if (points_open(&options, &p))
        die(err_text());
    record_all(p, which, o->points, &shared->put_us_sum[which], &shared->put_us_max[which]);
    if (points_flush(p, 300000))
        die(err_text());
    char *ring = xasprintf("ring/producer-%d.ring", which);
    if (!points_read_page(ring, &page))
        shared->lost[which] = page.lost;
    free(ring);
    points_close(p);
    (void)zmq_ctx_term(zmq);
    _exit(0);
}

static uint64_t count_rows(void) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    uint64_t n = 0;
    if (sqlite3_open("../metrics.sqlite", &db) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "select count(*) from metric", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        n = (uint64_t)sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db); // the last one out folds the log into the file
    return n;
}

static double file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) ? 0 : (double)st.st_size;
}

static void wait_ready(void) {
    int64_t until = now_us() + 10000000;
    while (!fs_exists("s/monitor") && now_us() < until)
        (void)usleep(5000);
}

static void report(const struct shared *s, const struct options *o, double seconds,
                   double peak_mb) {
    double sum = 0, longest = 0, all = (double)(o->points * o->producers);
    uint64_t lost = 0, rows = count_rows();
    for (uint64_t i = 0; i < o->producers; i++) {
        sum += s->put_us_sum[i];
        longest = MAX(longest, s->put_us_max[i]);
        lost += s->lost[i];
    }
    (void)printf("{\"producers\": %llu, \"points\": %.0f, \"points_per_s\": %.0f, "
                 "\"put_us_mean\": %.3f, \"put_us_max\": %.0f, \"rows\": %llu, \"lost\": %llu, "
                 "\"monitor_peak_mb\": %.1f, \"db_bytes_per_point\": %.1f}\n",
                 (unsigned long long)o->producers, all, all / seconds, sum / all, longest,
                 (unsigned long long)rows, (unsigned long long)lost, peak_mb,
                 file_bytes("../metrics.sqlite") / all);
    (void)fflush(stdout);
}

static void run_once(const char *folder, const struct options *o) {
    static const char *const more[] = {"monitor.dashboard=false"};
    pid_t children[MAX_PRODUCERS];
    struct rusage usage;
    int status;
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("no memory");
    config_free(run_folder_make(folder, "bench", more, 1));
    char *run_path = run_folder_path(folder, "bench");
    if (chdir(run_path))
        die(run_path);
    pid_t monitor = start_monitor(run_path);
    wait_ready();
    int64_t begun = now_us();
    for (uint64_t i = 0; i < o->producers; i++)
        if (!(children[i] = fork()))
            produce(shared, (int)i, o);
    for (uint64_t i = 0; i < o->producers; i++)
        if (waitpid(children[i], &status, 0) < 0 || status)
            die("a producer failed");
    double seconds = (double)(now_us() - begun) / 1e6;
    (void)kill(monitor, SIGTERM);
    if (wait4(monitor, &status, 0, &usage) < 0 || status)
        die("the monitor failed");
    report(shared, o, seconds, (double)usage.ru_maxrss / 1024);
    (void)munmap(shared, sizeof *shared); // gone with the process at the latest
    (void)chdir("/");
    free(run_path);
}

static uint64_t number(const char *text, uint64_t most) {
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (*end || end == text || !n || n > most)
        die("numbers from 1 on; see --help");
    return n;
}

static void read_options(int argc, char **argv, struct options *o) {
    for (int i = 1; i < argc; i += 2) {
        if (!strcmp(argv[i], "--help")) {
            (void)fputs(help, stdout);
            exit(0);
        }
        if (i + 1 == argc)
            die("an option without a value; see --help");
        if (!strcmp(argv[i], "--points"))
            o->points = number(argv[i + 1], 100000000);
        else if (!strcmp(argv[i], "--producers"))
            o->producers = number(argv[i + 1], MAX_PRODUCERS);
        else if (!strcmp(argv[i], "--repeat"))
            o->repeat = number(argv[i + 1], 1000);
        else
            die("an unknown option; see --help");
    }
}

int main(int argc, char **argv) {
    struct options o = {250000, 4, 3};
    char folder[] = "/tmp/bench_monitor-XXXXXX", *end = strrchr(argv[0], '/');
    read_options(argc, argv, &o);
    char *path = xasprintf("%.*s/monitor", end ? (int)(end - argv[0]) : 1, end ? argv[0] : ".");
    if (!realpath(path, program))
        die(path);
    free(path);
    for (uint64_t i = 0; i < o.repeat; i++) {
        strcpy(folder + sizeof folder - 7, "XXXXXX");
        if (!mkdtemp(folder))
            die(folder);
        run_once(folder, &o);
        if (fs_remove_tree(folder))
            die(err_text());
    }
    return 0;
}
