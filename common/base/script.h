// script - an executable that is given text and answers in lines.
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_LINE_MAX 65536

struct script_job {
    const char *command;     // for messages
    const char *const *argv; // the executable's path and its arguments, NULL at the end
    const char *input;       // what it finds on stdin
    size_t input_size;
    int64_t timeout_us;        // silence on stdout after which it is killed
    const char *timeout_name;  // the setting that says so
    const atomic_bool *cancel; // NULL: cannot be stopped so
    void *context;
    // Called often while it runs; an error ends it and is passed on. NULL: nothing to do meanwhile.
    int (*meanwhile)(void *context);
    // A line of its stdout, without the newline. An error ends the script and is passed on.
    int (*take)(void *context, const char *line);
    // A line of its stderr.
    void (*complain)(void *context, const char *line);
};

// Runs it to its end, in a process group of its own, which is killed at the end and when this
// process dies. ERR_DATA if it cannot be started, is silent for too long, dies of a signal,
// exits with another status than 0 (the text tells which, and its last words) or says a line of
// more than SCRIPT_LINE_MAX bytes; ERR_STOPPED; what `take` returned.
int script_run(const struct script_job *job);

#endif
