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
#include "base/log.h"
#include "base/util.h"
#include "base/version_text.h"
#include "base/instructions.h"

#define MONITOR "monitor" // the one process that is its own peer: see proc_start
#define FLUSH_MS 5000
#define BEAT_MS 500 // the longest nap between two beats

struct command_line {
    const char *run, *domain;
    uint64_t instance, incarnation, parent;
};

static int number(const char *option, const char *text, uint64_t *ret) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text == '-')
        return err_set(ERR_USAGE, "%s '%s' is not a number", option, text);
    *ret = n;
    return ERR_OK;
}

// Takes argv[i] and its value if they are ours: *ret_taken is 2 then, else 0.
static int take_option(char **argv, int left, struct command_line *ret, int *ret_taken) {
    static const char *const known[] = {"--run", "--instance", "--incarnation", "--parent",
                                        "--domain"};
    size_t k = 0;
    *ret_taken = 0;
    while (k < COUNT(known) && strcmp(argv[0], known[k]) != 0)
        k++;
    if (k == COUNT(known))
        return ERR_OK;
    if (left < 2)
        return err_set(ERR_USAGE, "%s needs a value", argv[0]);
    *ret_taken = 2;
    if (k == 1)
        return number(argv[0], argv[1], &ret->instance);
    if (k == 2)
        return number(argv[0], argv[1], &ret->incarnation);
    if (k == 3)
        return number(argv[0], argv[1], &ret->parent);
    *(k ? &ret->domain : &ret->run) = argv[1];
    return ERR_OK;
}

static int read_arguments(int argc, char **argv, struct proc *p, struct command_line *ret) {
    p->argv = xcalloc((size_t)argc + 1, sizeof *p->argv);
    p->argv[p->argc++] = argv[0];
    for (int i = 1, taken; i < argc; i += taken ? taken : 1) {
        int err = take_option(argv + i, argc - i, ret, &taken);
        if (err)
            return err;
        if (!taken)
            p->argv[p->argc++] = argv[i];
    }
    if (!*ret->run)
        return err_set(ERR_USAGE, "--run DIR is missing; see --help");
    if (ret->domain && strcmp(ret->domain, "A") != 0 && strcmp(ret->domain, "B") != 0)
        return err_set(ERR_USAGE, "--domain is A or B, not '%s'", ret->domain);
    if (ret->parent && ret->parent != (uint64_t)getppid())
        return err_set(ERR_NOT_RUNNING, "process %" PRIu64 ", which started this one, is gone",
                       ret->parent);
    return ERR_OK;
}

static bool wants_text(int argc, char **argv, const char *name, const char *help) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            (void)fputs(help, stdout); // a closed pipe is the reader's wish
            return true;
        }
        if (!strcmp(argv[i], "--version")) {
            (void)printf("%s %s\n", name, version_text());
            return true;
        }
    }
    return false;
}

static int watch_signals(struct proc *p) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return p->signal_fd < 0 ? err_set(ERR_IO, "signalfd: %s", strerror(errno)) : ERR_OK;
}

static void say_start(struct proc *p) {
    struct msg m = {.type = MSG_process_start};
    (void)text_copy(m.process_start.process, sizeof m.process_start.process, p->name);
    m.process_start.instance = p->self.instance;
    m.process_start.incarnation = p->self.incarnation;
    m.process_start.pid = (uint64_t)getpid();
    m.process_start.ts_us = wall_us();
    points_put(p->points, &m);
}

static int open_points(struct proc *p) {
    // The monitor has no socket to itself: it takes its own ring with points_take.
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

// Everything but the command line.
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
        say_start(p);
    return err;
}

static void free_all(struct proc *p) {
    points_close(p->points);
    if (p->zmq)
        (void)zmq_ctx_term(p->zmq); // sockets are closed, LINGER is 0
    config_free(p->config);
    if (p->signal_fd > 0)
        (void)close(p->signal_fd);
    free(p->argv);
    *p = (struct proc){.name = p->name};
}

int proc_start(int argc, char **argv, const char *name, const char *help, struct proc *ret_proc) {
    struct command_line line = {.run = "", .incarnation = 1};
    struct proc *p = ret_proc;
    *p = (struct proc){.name = name};
    (void)setvbuf(stderr, NULL, _IOLBF, 0); // lines of several processes stay whole
    log_name(name);
    if (wants_text(argc, argv, name, help))
        return ERR_STOPPED;
    int err = instructions_check();
    if (!err)
        err = read_arguments(argc, argv, p, &line);
    if (err)
        goto fail;
    if (line.domain)
        p->name = *line.domain == 'A' ? "curator-A" : "curator-B";
    log_name(p->name);
    (void)prctl(PR_SET_NAME, p->name);
    p->self = (struct msg_peer){.instance = line.instance, .incarnation = line.incarnation};
    if (!text_copy(p->self.process, sizeof p->self.process, p->name))
        BUG("a name as long as '%s'", p->name);
    err = enter_run(p, line.run);
    if (err)
        goto fail;
    points_state(p->points, STATE_RUNNING, 0);
    return ERR_OK;

fail:
    free_all(p);
    return err;
}

void proc_check_signals(struct proc *p) {
    struct signalfd_siginfo info;
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
        memcpy(all, items, (size_t)n * sizeof *all);
    // cppcheck-suppress arrayIndexOutOfBoundsCond
    all[n] = (zmq_pollitem_t){.fd = p->signal_fd, .events = ZMQ_POLLIN};
    for (;;) {
        int64_t left_ms = (until_us - now_us() + 999) / 1000;
        int ready = zmq_poll(all, n + 1, (long)MAX(MIN(left_ms, BEAT_MS), 0));
        if (ready < 0 && zmq_errno() != EINTR)
            return err_set(ERR_IO, "poll: %s", zmq_strerror(zmq_errno()));
        proc_check_signals(p);
        if (ready > 0 || p->stop || now_us() >= until_us)
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

static void say_end(struct proc *p, int exit_code) {
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

// Without a monitor nobody takes the points now, and waiting for one only delays the end.
static bool monitor_lives(void) {
    struct points_page page;
    return points_read_page("ring/monitor-0.ring", &page) == ERR_OK && page.state != STATE_ENDED &&
           kill((pid_t)page.pid, 0) == 0;
}

int proc_end(struct proc *p, int err) {
    int code = err == ERR_OK || err == ERR_STOPPED ? 0 : err_exit_code(err);
    if (code)
        log_line("%s", err_text());
    if (code && p->points)
        points_event(p->points, "error", "process_failed", 0, "%s: %s", p->name, err_text());
    if (p->points) {
        say_end(p, code);
        // What is left, the ring keeps.
        (void)points_flush(p->points, monitor_lives() ? FLUSH_MS : 0);
    }
    free_all(p);
    return code;
}
