// judge_command - scores by a program of the user: trainer.judge_command.
//
// The command is given to /bin/sh with a folder as its last argument, which holds the held-out
// pictures real_A/0000.png, ..., real_B and what the generators make of them, fake_B, fake_A
// (evaluate.h). Each line "NAME NUMBER" it prints is a score; other lines, and stderr, go to the
// log. A command that fails, is silent for too long or prints nothing useful is told and stops no
// training.
#ifndef JUDGE_COMMAND_H
#define JUDGE_COMMAND_H

#include <stdint.h>

struct judge_command {
    const char *command;
    const char *folder; // absolute or relative to the current one
    int64_t timeout_us;
    void *context;
    void (*score)(void *context, const char *name, double value); // name: letters, digits, _ - .
    int (*meanwhile)(void *context);                              // often; an error ends it
};

// Runs it to its end. ERR_DATA tells what went wrong with it; what `meanwhile` returned.
int judge_command_run(const struct judge_command *o);

#endif
