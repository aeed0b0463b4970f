// Runs the user's scoring program, and reads its lines.
#include "judge/judge_command.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/script.h"
#include "base/util.h"

#define NAME_MAX_BYTES 48

struct run {
    const struct judge_command *command;
    int scores;
};

static bool is_name(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        // The name becomes a part of a metric's key.
        if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i]))
            return false;
    return size > 0 && size <= NAME_MAX_BYTES;
}

// "fid 12.5"; false if it is something else.
static bool parse_score(const char *line, char ret_name[NAME_MAX_BYTES + 1], double *ret_value) {
    size_t size = strcspn(line, " \t");
    const char *number = line + size + strspn(line + size, " \t");
    char *end;

    if (!is_name(line, size) || !*number)
        return false;
    *ret_value = strtod(number, &end);
    // Text behind the number makes the line a message, not a score.
    if (end == number || end[strspn(end, " \t\r")])
        return false;
    memcpy(ret_name, line, size);
    ret_name[size] = 0;
    return true;
}

static int take_line(void *context, const char *line) {
    struct run *r = context;
    char name[NAME_MAX_BYTES + 1];
    double value;

    if (!parse_score(line, name, &value)) {
        log_line("judge: %s", line);
        return ERR_OK;
    }
    r->scores++;
    r->command->score(r->command->context, name, value);
    return ERR_OK;
}

static void log_complaint(void *context, const char *line) {
    log_line("judge: %s", line);
}

static int meanwhile(void *context) {
    struct run *r = context;

    return r->command->meanwhile(r->command->context);
}

int judge_command_run(const struct judge_command *o) {
    struct run r = {.command = o};
    char *text = xasprintf("%s \"$1\"", o->command);
    char *images = realpath(o->folder, NULL); // the command runs elsewhere
    // The folder is "$1", so spaces in it need no quotes. "judge" is $0.
    const char *const argv[] = {"/bin/sh", "-c", text, "judge", images ? images : o->folder, NULL};
    struct script_job job = {
        .command = o->command,
        .argv = argv,
        .folder = o->workdir,
        .input = "",
        .timeout_us = o->timeout_us,
        .timeout_name = "trainer.judge_timeout_s",
        .context = &r,
        .meanwhile = meanwhile,
        .take = take_line,
        .complain = log_complaint,
    };
    int err = script_run(&job);

    // A command that prints nothing is probably wrong; silence would hide it.
    if (!err && !r.scores)
        err = err_set(ERR_DATA, "'%s' printed no line \"NAME NUMBER\"", o->command);
    free(images);
    free(text);
    return err;
}
