// ctl: no sockets but the one of `note`, which is that of points (DEALER, connects to
// ipc://s/monitor, messages of the stream "points").
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/flags.h"
#include "base/util.h"
#include "base/version_text.h"
#include "link/msg.h"

static int markdown_settings(const struct ctl_options *o) {
    config_print_markdown(stdout);
    return ERR_OK;
}

static int conf_settings(const struct ctl_options *o) {
    config_print_conf(stdout);
    return ERR_OK;
}

static int help_settings(const struct ctl_options *o) {
    config_print_help(stdout);
    return ERR_OK;
}

static int markdown_protocol(const struct ctl_options *o) {
    msg_print_markdown();
    return ERR_OK;
}

// One table for all commands: what is not named here is refused as an unknown option.
// `options` names the options that the command takes, `words` what it takes besides.
static const struct command {
    const char *name, *options, *words;
    int (*run)(const struct ctl_options *o);
    const char *help;
} commands[] = {
    {"resolve", "--conf --set --presets --runs --fork --from --fresh --name", "", ctl_resolve,
     "checks the settings and prepares the run; prints what `pipeline` starts"},
    {"check", "--conf --set --presets", "", ctl_check, "lists every problem in the settings"},
    {"status", "--runs --run --json --ready", "[RUN]", ctl_status, "the processes that are up"},
    {"line", "--run", "", ctl_line, "the trainer's progress"},
    {"step", "--run", "", ctl_step, "the trainer's step"},
    {"query", "--runs --csv --json", "[NAME [RUN] | SQL]", ctl_query,
     "the database; without words: the names of the queries"},
    {"runs", "--runs --csv --json", "", ctl_runs, "the runs there are"},
    {"warnings", "--runs", "RUN AFTER", ctl_warnings, "warnings and errors after event AFTER"},
    {"remove", "--runs", "RUN", ctl_remove, "removes a run: its folder and its rows"},
    {"note", "--run --quick",
     "end PROCESS INSTANCE INCARNATION EXIT_CODE | event LEVEL CODE TEXT | state S ..", ctl_note,
     "records what the supervisor has seen"},
    {"import-options", "--out", "FILE", ctl_import_options,
     "a train_opt.txt of the PyTorch repositories as a pipeline.conf"},
    {"config-markdown", "", "", markdown_settings, "docs/configuration.md"},
    {"config-conf", "", "", conf_settings, "a file with every setting"},
    {"config-help", "", "", help_settings, "every setting as text"},
    {"options-markdown", "", "", ctl_options_markdown, "docs/options.md"},
    {"protocol-markdown", "", "", markdown_protocol, "docs/protocol.md"},
};

static int print_commands(void) {
    puts("ctl COMMAND - settings, status and database on behalf of `pipeline`\n");
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("  %-18s%s\n", commands[i].name, commands[i].help);
    puts("\nctl COMMAND --help lists its options.");
    return ERR_STOPPED;
}

static int find_command(const char *name, const struct command **ret) {
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0) {
            *ret = &commands[i];
            return ERR_OK;
        }
    return err_set(ERR_USAGE, "there is no command '%s'; see ctl --help", name);
}

// A name that begins another one ("--run", "--runs") must not match: the next byte decides.
// Whether `name` is one of the words of `list`.
static bool is_listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += size)
        if (at[size] == 0 || at[size] == ' ')
            return true;
    return false;
}

// The rows that the command knows, and one for its words; how many.
static size_t command_rows(const struct command *command, struct ctl_options *o,
                           struct flag_texts *sets, struct flag_texts *words, struct flag *ret) {
    const struct flag all[] = {
        {.name = "--conf", .value = "FILE", .text = &o->conf, .help = "the settings' file"},
        {.name = "--set", .value = "KEY=VALUE", .texts = sets, .help = "one setting"},
        {.name = "--presets", .value = "DIR", .text = &o->presets, .help = "the presets' folder"},
        {.name = "--runs", .value = "DIR", .text = &o->runs, .help = "the folder of all runs"},
        {.name = "--run", .value = "DIR", .text = &o->run, .help = "the folder of one run"},
        {.name = "--fork", .value = "NAME", .text = &o->fork, .help = "begins another run"},
        {.name = "--from", .value = "STEP", .text = &o->from, .help = "of this checkpoint"},
        {.name = "--fresh", .on = &o->fresh, .help = "begins the run anew"},
        {.name = "--name", .on = &o->name_only, .help = "prints the run's name only"},
        {.name = "--json", .on = &o->json, .help = "prints JSON"},
        {.name = "--csv", .on = &o->csv, .help = "prints CSV"},
        {.name = "--ready", .on = &o->ready, .help = "fails unless every process has started"},
        {.name = "--quick", .on = &o->quick, .help = "does not wait for the monitor"},
        {.name = "--out", .value = "FILE", .text = &o->out, .help = "the file to write"},
    };
    size_t n = 0;
    for (size_t i = 0; i < COUNT(all); i++)
        if (is_listed(command->options, all[i].name))
            ret[n++] = all[i];
    if (*command->words)
        ret[n++] = (struct flag){.name = command->words, .texts = words};
    return n;
}

static int run_command(const struct command *command, int argc, char **argv) {
    struct ctl_options o = {.runs = "runs", .presets = "presets"};
    struct flag_texts sets = {0}, words = {0};
    // 14 options and the words at most.
    struct flag rows[16];
    char *program = xasprintf("ctl %s", command->name);
    char *intro =
        xasprintf("ctl %s [options] %s\n%s\n", command->name, command->words, command->help);
    struct flags flags = {program, intro, rows, 0, NULL};
    flags.count = command_rows(command, &o, &sets, &words, rows);
    // argv[0] here is the command, which flags_read skips.
    int err = flags_read(&flags, argc, argv);
    o.sets = sets.at;
    o.n_sets = sets.n;
    o.words = words.at;
    o.n_words = words.n;
    if (!err)
        err = command->run(&o);
    // The texts are those of argv; only the lists are ours.
    free(sets.at);
    free(words.at);
    free(intro);
    free(program);
    return err;
}

static int read_command(int argc, char **argv) {
    const struct command *command = NULL;
    if (argc < 2)
        return err_set(ERR_USAGE, "a command is missing; see ctl --help");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_commands();
    if (strcmp(argv[1], "--version") == 0) {
        printf("ctl %s\n", version_text());
        return ERR_STOPPED;
    }
    int err = find_command(argv[1], &command);
    return err ? err : run_command(command, argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    int err = read_command(argc, argv);
    // --help has printed all that is to say.
    if (err && err != ERR_STOPPED && *err_text())
        fprintf(stderr, "%s\n", err_text());
    return err_exit_code(err);
}
