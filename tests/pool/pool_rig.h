// A pool process in a folder of its own, and a trainer that talks to it. For test_pool and
// bench_pool.
#ifndef POOL_RIG_H
#define POOL_RIG_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "link/link.h"

#define RIG_PATIENCE_US 30000000

struct pool_rig {
    char program[4096], folder[64];
    pid_t pid;
    uint64_t incarnation; // of the pool
    void *zmq;
    struct link *link;
    bool open;        // this session has sent its pool_open
    struct msg shape; // that pool_open
    struct link_in in;
    int64_t wait_us; // longest that an answer has taken
    unsigned asked_again;
};

static inline void rig_die(const char *what) {
    (void)fprintf(stderr, "%s: %s\n", what, err_text());
    exit(1);
}

static inline void rig_start(struct pool_rig *r) {
    char incarnation[32];
    (void)snprintf(incarnation, sizeof incarnation, "%llu", (unsigned long long)++r->incarnation);
    r->pid = fork();
    if (r->pid < 0)
        rig_die("fork");
    if (r->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // dies with the test
        (void)execl(r->program, "pool", "--run", ".", "--incarnation", incarnation, (char *)NULL);
        _exit(127);
    }
}

// SIGKILL or SIGTERM, and its exit status.
static inline int rig_stop(struct pool_rig *r, int signal_number) {
    int status = 0;
    if (r->pid <= 0 || kill(r->pid, signal_number) || waitpid(r->pid, &status, 0) != r->pid)
        rig_die("stop");
    r->pid = 0;
    return status;
}

static inline uint64_t rig_resident_bytes(pid_t pid) {
    char path[64], line[256];
    unsigned long long kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            break;
    if (file)
        (void)fclose(file); // it was only read
    return kib * 1024;
}

// The pool beside this program: build/bin/bench_pool or build/tests/pool/test_pool.
static inline void rig_find_program(struct pool_rig *r) {
    char exe[2048] = {0};
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
        rig_die("/proc/self/exe");
    *strrchr(exe, '/') = 0;
    (void)snprintf(r->program, sizeof r->program, "%s/pool", exe);
    if (access(r->program, X_OK))
        (void)snprintf(r->program, sizeof r->program, "%s/../../bin/pool", exe);
}

static inline void rig_connect(struct pool_rig *r, uint64_t trainer_incarnation) {
    struct link_options o = {.zmq = r->zmq,
                             .endpoint = "ipc://s/pool",
                             .run = "rig",
                             .self = {.process = "trainer", .incarnation = trainer_incarnation},
                             .hwm = 16,
                             .peer_timeout_us = 20000000,
                             .frame_max_bytes = 1 << 30};
    link_close(r->link);
    r->link = NULL;
    r->open = false;
    if (link_open(&o, &r->link))
        rig_die("link");
}

// Changes into a new folder; `more` are lines of settings.
static inline void rig_init(struct pool_rig *r, const char *more) {
    *r = (struct pool_rig){.folder = "/tmp/pool_rig.XXXXXX"};
    rig_find_program(r);
    if (!mkdtemp(r->folder) || chdir(r->folder) || mkdir("s", 0700))
        rig_die("folder");
    FILE *conf = fopen("pipeline.conf", "w");
    if (!conf || fprintf(conf, "name = \"rig\";\n%s\n", more) < 0 || fclose(conf))
        rig_die("pipeline.conf");
    r->zmq = zmq_ctx_new();
    rig_start(r);
    rig_connect(r, 1);
}

static inline void rig_fini(struct pool_rig *r) {
    link_in_fini(&r->in);
    link_close(r->link);
    zmq_ctx_term(r->zmq);
    if (r->pid > 0)
        (void)rig_stop(r, SIGKILL);
    (void)chdir("/");
    (void)fs_remove_tree(r->folder);
}

// The next event, at most RIG_PATIENCE_US later.
static inline enum link_event rig_wait(struct pool_rig *r) {
    int64_t end = now_us() + RIG_PATIENCE_US;
    do {
        link_in_fini(&r->in);
        if (link_next(r->link, &r->in))
            rig_die("link");
        if (r->in.event == LINK_DOWN || r->in.event == LINK_UP)
            r->open = false;
        if (r->in.event != LINK_NONE)
            return r->in.event;
        zmq_pollitem_t item = {.socket = link_socket(r->link), .events = ZMQ_POLLIN};
        int64_t ms = (MIN(link_due_us(r->link), end) - now_us()) / 1000 + 1;
        (void)zmq_poll(&item, 1, (long)MAX(ms, 0)); // a time-out is no failure
    } while (now_us() < end);
    (void)err_set(ERR_TIMEOUT, "no event");
    rig_die("pool");
    return LINK_NONE;
}

// Asks until there is an answer, in r->in; opens the pool first in every new session.
static inline void rig_ask(struct pool_rig *r, const struct msg *m, void *bytes, size_t size) {
    struct link_frame frame = {.bytes = bytes, .size = size};
    int64_t start = now_us();
    while (!link_is_up(r->link))
        (void)rig_wait(r);
    for (;; r->asked_again++) {
        if (!r->open && m != &r->shape) {
            r->open = true;
            rig_ask(r, &r->shape, NULL, 0);
        }
        if (link_send(r->link, m, &frame) == ERR_OK && rig_wait(r) == LINK_MSG)
            break;
        while (!link_is_up(r->link))
            (void)rig_wait(r);
    }
    r->wait_us = MAX(r->wait_us, now_us() - start);
}

#endif
