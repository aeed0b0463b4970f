// proc - the frame of every process of a run. The order of starting is the reverse of ending:
// signals, folder, settings, sockets, points.
#include "proc.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/instructions.h"
#include "base/log.h"
// Compared with the name of the process, which also makes the ring's name.
#include "base/util.h"

#define MONITOR "monitor" // the one process that is its own peer: see proc_start
#define FLUSH_MS 5000
#define BEAT_MS 500 // longest time between two heartbeats

int proc_read(int argc, char **argv, const struct flags *flags, struct proc_line *ret) {
    // The name is known before the settings, for early error messages.
    enum { ROWS_MAX = 16 };
    struct proc_line line = {.incarnation = 1};
    struct flag rows[ROWS_MAX] = {
        {.name = "--run",
         .value = "DIR",
         .text = &line.run,
         .required = true,
         .help = "the run's folder"},
        {.name = "--instance",
         .value = "N",
         .whole = &line.instance,
         .help = "number among processes of one name; default 0"},
        {.name = "--incarnation",
         .value = "N",
         // The rows here come first, so that every program's help begins alike.
         .whole = &line.incarnation,
         .help = "how often it has been started, from 1"},
        {.name = "--parent",
         .value = "PID",
         .whole = &line.parent,
         .help = "ends at once unless this is its parent"},
    };
    size_t own = 4;
    if (own + flags->count > ROWS_MAX)
        BUG("%s has %zu options", flags->program, flags->count);
    if (flags->count)
        memcpy(rows + own, flags->rows, flags->count * sizeof *rows);
    struct flags all = *flags;
    all.rows = rows;
    all.count += own;
    (void)setvbuf(stderr, NULL, _IOLBF, 0); // lines of several processes stay whole
    log_name(flags->program);
    int err = flags_read(&all, argc, argv);
    if (!err)
        *ret = line;
    return err;
}

// Blocked before any thread exists, since threads inherit the mask.
static int watch_signals(struct proc *p) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    // A peer that closes a pipe must not end the process; write then returns EPIPE.
    (void)signal(SIGPIPE, SIG_IGN);
    // Signals become readable like sockets, so one poll covers both.
    p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return p->signal_fd < 0 ? err_set(ERR_IO, "signalfd: %s", strerror(errno)) : ERR_OK;
}

static void report_start(struct proc *p) {
    struct msg m = {.type = MSG_process_start};
    (void)text_copy(m.process_start.process, sizeof m.process_start.process, p->name);
    m.process_start.instance = p->self.instance;
    m.process_start.incarnation = p->self.incarnation;
    m.process_start.pid = (uint64_t)getpid();
    m.process_start.ts_us = wall_us();
    points_put(p->points, &m);
}

static int open_points(struct proc *p) {
    // The monitor sends nothing to itself: it reads its own ring with points_take.
    struct points_options o = {
        .zmq = strcmp(p->self.process, MONITOR) != 0 ? p->zmq : NULL,
        .endpoint = "ipc://s/" MONITOR,
        .run = p->config->top.name,
        .ring_dir = "ring",
        .self = p->self,
        .ring_bytes = (size_t)p->config->monitor.ring,
        .spill_bytes = (size_t)p->config->monitor.spill,
    };
    return points_open(&o, &p->points);
}

// The settings come before sockets: they name the run that peers compare.
// Signals first: threads that are started later inherit the mask.
static int enter_run(struct proc *p, const char *run) {
    int err = watch_signals(p);
    if (err)
        return err;
    if (chdir(run))
        return err_set(ERR_IO, "enter the run's folder '%s': %s", run, strerror(errno));
    err = config_load_effective("pipeline.conf", &p->config);
    if (err)
        return err_prefix(err, "%s", run);
    p->zmq = zmq_ctx_new();
    if (!p->zmq)
        return err_set(ERR_IO, "ZeroMQ: %s", zmq_strerror(zmq_errno()));
    err = open_points(p);
    if (!err)
        report_start(p);
    return err;
    // points_close stops the sender's thread, which uses the context.
}

// Waits for all sockets: one that is open here would block for ever.
static void free_all(struct proc *p) {
    points_close(p->points);
    if (p->zmq)
        (void)zmq_ctx_term(p->zmq); // sockets are closed, LINGER is 0
    config_free(p->config);
    if (p->signal_fd > 0)
        (void)close(p->signal_fd);
    *p = (struct proc){.name = p->name};
    // The parent is asked after the kernel's signal was armed (setpriv), so no death is missed.
}

static int start_process(const struct proc_line *line, struct proc *p) {
    if (line->parent && line->parent != getppid())
        return err_set(ERR_NOT_RUNNING, "process %" PRId64 ", which started this one, is gone",
                       line->parent);
    int err = instructions_check();
    return err ? err : enter_run(p, line->run);
}

int proc_start(const struct proc_line *line, const char *name, struct proc *ret_proc) {
    struct proc *p = ret_proc;
    *p = (struct proc){
        .name = name,
        .self = {.instance = (uint64_t)line->instance, .incarnation = (uint64_t)line->incarnation}};
    log_name(name);
    (void)prctl(PR_SET_NAME, name); // for ps and top
    if (!text_copy(p->self.process, sizeof p->self.process, name))
        BUG("a name as long as '%s'", name);
    int err = start_process(line, p);
    if (err)
        // A failed start has no points to report to; the caller prints the error.
        free_all(p);
    else
        points_state(p->points, STATE_RUNNING, 0);
    return err;
}

void proc_check_signals(struct proc *p) {
    struct signalfd_siginfo info;
    // Also counts as a sign of life: it is called in every turn of the loop.
    while (read(p->signal_fd, &info, sizeof info) == sizeof info)
        p->stop = true;
    points_beat(p->points);
}

int proc_poll(struct proc *p, zmq_pollitem_t *items, int n, int64_t until_us) {
    enum { MAX_ITEMS = 32 };
    zmq_pollitem_t all[MAX_ITEMS];
    if (n + 1 > MAX_ITEMS)
        BUG("%d items", n); // does not return
    if (n)
        // A copy with one more item, since the caller's array has no room.
        memcpy(all, items, (size_t)n * sizeof *all);
    // cppcheck-suppress arrayIndexOutOfBoundsCond
    all[n] = (zmq_pollitem_t){.fd = p->signal_fd, .events = ZMQ_POLLIN};
    for (;;) {
        int64_t left_ms = (until_us - now_us() + 999) / 1000;
        // A long sleep is cut into pieces, so that the heartbeat goes on.
        int ready = zmq_poll(all, n + 1, (long)MAX(MIN(left_ms, BEAT_MS), 0));
        // Rounded up: waking too early would spin until the time has come.
        if (ready < 0 && zmq_errno() != EINTR)
            return err_set(ERR_IO, "poll: %s", zmq_strerror(zmq_errno()));
        proc_check_signals(p);
        if (ready > 0 || p->stop || now_us() >= until_us)
            // After each piece, whatever has ended it.
            break;
    }
    if (n)
        memcpy(items, all, (size_t)n * sizeof *items);
    return ERR_OK;
}

static uint64_t peak_rss_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}
// Linux counts in KiB.

static void report_end(struct proc *p, int exit_code) {
    struct msg m = {.type = MSG_process_end};
    (void)text_copy(m.process_end.process, sizeof m.process_end.process, p->name);
    m.process_end.instance = p->self.instance;
    m.process_end.incarnation = p->self.incarnation;
    m.process_end.ts_us = wall_us();
    m.process_end.exit_code = exit_code;
    m.process_end.peak_rss_bytes = peak_rss_bytes();
    points_put(p->points, &m);
    points_state(p->points, STATE_ENDED, points_step(p->points));
}

// Without a monitor, waiting for acknowledgements would only delay the end.
static bool monitor_lives(void) {
    struct points_page page;
    return points_read_page("ring/monitor-0.ring", &page) == ERR_OK && page.state != STATE_ENDED &&
           kill((pid_t)page.pid, 0) == 0;
    // Signal 0 tests whether the process exists. Its page may be left from a killed one.
}

int proc_end(struct proc *p, int err) {
    int code = err == ERR_OK || err == ERR_STOPPED ? 0 : err_exit_code(err);
    if (code)
        // A stop that was asked for is a success.
        log_line("%s", err_text());
    if (code && p->points)
        points_event(p->points, "error", "process_failed", 0, "%s: %s", p->name, err_text());
    if (p->points) {
        // Before points_flush, so that the event is sent too.
        report_end(p, code);
        (void)points_flush(p->points, monitor_lives() ? FLUSH_MS : 0); // the ring keeps the rest
    }
    free_all(p);
    return code;
}
