// script - runs a user's executable that reads text on stdin and answers in lines on stdout.
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_LINE_MAX 65536

struct script_job {
    const char *command;     // for messages
    const char *const *argv; // the executable's path and its arguments, NULL at the end
    const char *folder;      // in which it runs; NULL: the current one
    const char *input;       // its stdin
    size_t input_size;
    int64_t timeout_us;        // it is killed after so long without a line on stdout
    const char *timeout_name;  // the setting of that time-out, for messages
    const atomic_bool *cancel; // true stops it; NULL: it cannot be stopped
    void *context;
    // Called at least every 200 ms while it runs; an error ends it and is returned. May be NULL.
    int (*meanwhile)(void *context);
    // Gets each line of its stdout, without the newline. An error ends the script and is returned.
    int (*take)(void *context, const char *line);
    // Gets each line of its stderr.
    void (*complain)(void *context, const char *line);
};

// Runs it to its end in a process group of its own. The group is killed afterwards, and also when
// this process dies. ERR_DATA if the script cannot be started, is silent for too long, dies of a
// signal, exits with a status other than 0 (the text has the status and its last line of stderr),
// or writes a line of more than SCRIPT_LINE_MAX bytes. ERR_STOPPED after `cancel`. Errors of `take`
// and `meanwhile`.
int script_run(const struct script_job *job);

#endif
