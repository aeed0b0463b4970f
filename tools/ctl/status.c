// Status from the rings' pages and /proc: no process has to answer for it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "points/points.h"

struct row {
    char run[128];
    struct points_page page;
    bool alive;
    int64_t rss_bytes, peak_rss_bytes, limit_bytes;
};
struct rows {
    struct row *items;
    int count;
};

static int64_t proc_kib(const char *text, const char *name) {
    const char *at = strstr(text, name);
    // /proc gives KiB.
    return at ? strtoll(at + strlen(name), NULL, 10) * 1024 : 0;
}

// Our processes live in their run's folder: that tells a pid that was given away again.
static bool lives_in(uint64_t pid, const char *run_dir) {
    char link[64], cwd[PATH_MAX], dir[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%llu/cwd", (unsigned long long)pid);
    ssize_t n = readlink(link, cwd, sizeof cwd - 1);
    if (n < 0 || !realpath(run_dir, dir))
        return false;
    cwd[n] = 0;
    return strcmp(cwd, dir) == 0;
}

static void read_memory(struct row *row) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%llu/status", (unsigned long long)row->page.pid);
    // A process that has ended meanwhile has no file; its row stays without memory.
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f); // read only
    row->rss_bytes = proc_kib(text, "VmRSS:");
    row->peak_rss_bytes = proc_kib(text, "VmHWM:");
    // A zombie has a pid but no memory: it waits for its parent only.
    if (strstr(text, "State:\tZ"))
        row->alive = false;
}

static int64_t limit_of(const char *process, const struct config *c) {
    return strcmp(process, "pool") == 0      ? c->pool.memory
           : strcmp(process, "loader") == 0  ? c->loader.cache
           : strcmp(process, "trainer") == 0 ? c->trainer.memory
                                             : 0;
}

static bool locked(const char *run_dir) {
    char *path = xasprintf("%s/run.lock", run_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return false;
    // A shared lock fails while the script holds its exclusive one.
    bool held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    (void)close(fd); // and the lock, if we got it
    return held;
}

static void read_ring(struct rows *rows, const char *name, const char *run_dir,
                      const struct config *c, const char *ring) {
    struct row row = {.alive = false};
    char *path = xasprintf("%s/ring/%s", run_dir, ring);
    int err = points_read_page(path, &row.page);
    free(path);
    // The supervisor's ring is written by short calls; there is no process to show.
    if (err || strcmp(row.page.process, "supervisor") == 0)
        return;
    (void)text_copy(row.run, sizeof row.run, name);
    row.limit_bytes = limit_of(row.page.process, c);
    row.alive = lives_in(row.page.pid, run_dir);
    if (row.alive)
        read_memory(&row);
    rows->items = xrealloc(rows->items, (size_t)(rows->count + 1) * sizeof row);
    rows->items[rows->count++] = row;
}

static int read_run(struct rows *rows, const char *name, const char *run_dir) {
    char *ring_dir = xasprintf("%s/ring", run_dir), *conf = xasprintf("%s/pipeline.conf", run_dir);
    struct config *c = NULL;
    struct dirent **entries = NULL;
    // The settings give the limits of memory.
    int n = -1, err = config_load_effective(conf, &c);
    if (!err)
        n = scandir(ring_dir, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *dot = strrchr(entries[i]->d_name, '.');
        if (dot && strcmp(dot, ".ring") == 0)
            read_ring(rows, name, run_dir, c, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    free(ring_dir);
    free(conf);
    config_free(c);
    return err;
}

static const char *state_name(const struct row *row) {
    static const char *const names[] = {"starting", "running", "waiting", "stopping", "ended"};
    if (!row->alive)
        return "ended";
    // The page may be of another version's process.
    return row->page.state < COUNT(names) ? names[row->page.state] : "?";
}

static void print_json(const struct rows *rows) {
    printf("[");
    for (int i = 0; i < rows->count; i++) {
        const struct row *r = &rows->items[i];
        printf("%s\n {\"run\": \"%s\", \"process\": \"%s\", \"instance\": %llu, "
               "\"incarnation\": %llu, \"pid\": %llu, \"state\": \"%s\", \"step\": %llu, "
               "\"rss_bytes\": %lld, \"peak_rss_bytes\": %lld, \"limit_bytes\": %lld}",
               i ? "," : "", r->run, r->page.process, (unsigned long long)r->page.instance,
               (unsigned long long)r->page.incarnation, (unsigned long long)r->page.pid,
               state_name(r), (unsigned long long)r->page.step, (long long)r->rss_bytes,
               (long long)r->peak_rss_bytes, (long long)r->limit_bytes);
    }
    printf("%s]\n", rows->count ? "\n" : "");
}

static void print_table(const struct rows *rows) {
    printf("%-16s %-12s %4s %5s %8s %-9s %9s %9s %9s  %s\n", "RUN", "PROCESS", "INST", "LIFE",
           "PID", "STATE", "STEP", "RSS MB", "PEAK MB", "");
    for (int i = 0; i < rows->count; i++) {
        const struct row *r = &rows->items[i];
        printf("%-16s %-12s %4llu %5llu %8llu %-9s %9llu %9.1f %9.1f  %.100s\n", r->run,
               r->page.process, (unsigned long long)r->page.instance,
               (unsigned long long)r->page.incarnation, (unsigned long long)r->page.pid,
               state_name(r), (unsigned long long)r->page.step, (double)r->rss_bytes / 1e6,
               (double)r->peak_rss_bytes / 1e6, r->alive ? r->page.line : "");
    }
}

// Past its start, every one.
static bool all_ready(const struct rows *rows) {
    bool ready = rows->count > 0;
    for (int i = 0; i < rows->count; i++)
        // A process that has ended is not ready.
        ready &= rows->items[i].alive && rows->items[i].page.state != STATE_STARTING;
    return ready;
}

static int read_all(const struct ctl_options *o, struct rows *rows) {
    struct dirent **entries = NULL;
    int n = scandir(o->runs, &entries, NULL, alphasort), err = ERR_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char *dir = xasprintf("%s/%s", o->runs, name);
        bool wanted = name[0] != '.' && (o->n_words == 0 || strcmp(o->words[0], name) == 0);
        // Only runs with a running script; others have no processes.
        if (!err && wanted && fs_is_dir(dir) && locked(dir))
            err = read_run(rows, name, dir);
        free(dir);
        free(entries[i]);
    }
    free(entries);
    return err;
}

int ctl_status(const struct ctl_options *o) {
    struct rows rows = {0};
    int err = o->run ? read_run(&rows, o->run, o->run) : read_all(o, &rows);
    if (!err && o->ready)
        err = all_ready(&rows) ? ERR_OK : ERR_NOT_RUNNING;
    else if (!err && o->json)
        print_json(&rows);
    else if (!err && rows.count > 0)
        print_table(&rows);
    if (!err && rows.count == 0)
        err = err_set(ERR_NOT_RUNNING, "%s%snothing is running", o->n_words ? o->words[0] : "",
                      o->n_words ? ": " : "");
    free(rows.items);
    return err;
}

static int read_trainer(const struct ctl_options *o, struct points_page *ret_page) {
    char *path = xasprintf("%s/ring/trainer-0.ring", o->run ? o->run : ".");
    int err = points_read_page(path, ret_page);
    free(path);
    return err;
}

int ctl_line(const struct ctl_options *o) {
    struct points_page page;
    int err = read_trainer(o, &page);
    if (!err)
        printf("%.*s\n", (int)sizeof page.line, page.line);
    return err;
}

int ctl_step(const struct ctl_options *o) {
    struct points_page page;
    int err = read_trainer(o, &page);
    if (!err)
        printf("%llu\n", (unsigned long long)page.step);
    return err;
}
