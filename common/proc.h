// proc - what every process of a run has in common: command line, signals, run folder, settings,
// points, poll loop.
//
//     struct proc_line line;
//     struct proc p = {0};
//     int err = proc_read(argc, argv, &flags, &line);
//     if (!err)
//         err = proc_start(&line, "loader", &p);
//     return proc_end(&p, err ? err : run(&p));
#ifndef PROC_H
#define PROC_H

#include <stdbool.h>
#include <stdint.h>

#include <zmq.h>

#include "base/flags.h"
#include "config/config.h"
#include "points/points.h"

struct proc {
    const char *name; // "trainer"; "curator-A"
    struct msg_peer self;
    struct config *config;
    void *zmq;
    struct points *points;
    int signal_fd;
    bool stop; // SIGTERM or SIGINT has arrived
};

// The options of every process.
struct proc_line {
    const char *run; // the run's folder
    int64_t instance, incarnation, parent;
};

// Reads the command line: --run DIR [--instance N] [--incarnation N] [--parent PID], and the rows
// of `flags`, which may be none. Errors as of flags_read; ERR_STOPPED after --help and --version.
int proc_read(int argc, char **argv, const struct flags *flags, struct proc_line *ret);

// Blocks signals (so call it before anything starts a thread), enters the run's folder, reads its
// pipeline.conf, makes the ZeroMQ context, opens the points and reports process_start. `name` is
// kept. After a failure *ret_proc is empty but for its name. ERR_CONFIG, ERR_IO ...;
// ERR_NOT_RUNNING if --parent is given and is not the parent: the kernel's signal at a parent's
// death (setpriv
// --pdeathsig) does not come if the parent died before it was asked for.
int proc_start(const struct proc_line *line, const char *name, struct proc *ret_proc);

// Waits until one of the items is readable, a signal arrives or now_us() reaches `until_us`.
// Renews the heartbeat in the process's ring. ERR_OK also on time-out. Sets p->stop on SIGTERM and
// SIGINT.
int proc_poll(struct proc *p, zmq_pollitem_t *items, int n, int64_t until_us);

// Reads pending signals without waiting.
void proc_check_signals(struct proc *p);

// Prints err_text for an error, flushes the points (up to 5 s), frees everything, returns the exit
// code. ERR_STOPPED counts as 0. A zeroed struct proc may be ended too.
int proc_end(struct proc *p, int err);

#endif
