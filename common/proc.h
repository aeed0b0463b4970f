// proc - what every process of a run does the same: command line, signals, run folder, settings,
// points, poll loop.
//
//   PROGRAM --run DIR [--instance N] [--incarnation N] [--parent PID] [--domain A|B]
//         | --help | --version
//
// --parent: ends at once unless that process is its parent. Whoever asks the kernel for a signal at
// its parent's death (setpriv --pdeathsig) may have lost it already.
//
// proc_start blocks signals before anything else starts a thread, changes into DIR, reads
// DIR/pipeline.conf, makes the ZeroMQ context, opens the points and says process_start.
#ifndef PROC_H
#define PROC_H

#include <stdbool.h>
#include <stdint.h>

#include <zmq.h>

#include "config/config.h"
#include "points/points.h"

struct proc {
    const char *name; // "trainer"; "curator-A"
    struct msg_peer self;
    struct config *config;
    void *zmq;
    struct points *points;
    int signal_fd;
    bool stop; // SIGTERM or SIGINT has come
    int argc;  // argv[0] and what proc_start did not take, for programs with more options
    char **argv;
};

// `help` is printed by --help. `name` may be changed by --domain A|B (curator): "curator-A".
// Returns ERR_STOPPED after --help and --version (main returns 0 then). ERR_USAGE, ERR_CONFIG, ...
int proc_start(int argc, char **argv, const char *name, const char *help, struct proc *ret_proc);

// Waits until one of the items is readable, a signal comes or `until_us` (now_us clock) has come.
// Beats the heart. ERR_OK also on time-out; sets p->stop on SIGTERM, SIGINT.
int proc_poll(struct proc *p, zmq_pollitem_t *items, int n, int64_t until_us);

// Takes a pending signal without waiting.
void proc_check_signals(struct proc *p);

// Prints err_text for an error, flushes the points (up to 5 s), frees everything, returns the exit
// code. ERR_STOPPED counts as 0.
int proc_end(struct proc *p, int err);

#endif
