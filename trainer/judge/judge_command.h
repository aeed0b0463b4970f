// judge_command - scores from a program of the user: trainer.judge_command.
//
// /bin/sh runs the command with a folder as its last argument. The folder holds the held-out images
// real_A/0000.png, ..., real_B and the fakes fake_B, fake_A (evaluate.h). Each line "NAME NUMBER"
// of its output is a score. Other lines and stderr go to the log. A command that fails, runs too
// long or prints no score is reported and does not stop the training.
#ifndef JUDGE_COMMAND_H
#define JUDGE_COMMAND_H

#include <stdint.h>

struct judge_command {
    const char *command;
    const char *folder;  // of the images; absolute or relative to the current one
    const char *workdir; // in which the command runs; NULL: the current one
    int64_t timeout_us;
    void *context;
    void (*score)(void *context, const char *name, double value); // name: letters, digits, _ - .
    int (*meanwhile)(void *context); // called often; an error ends the command
};

// Runs the command to its end. ERR_DATA: it failed; the text says why. Else the error of
// `meanwhile`.
int judge_command_run(const struct judge_command *o);

#endif
