// ctl: no sockets but the one of `note`, which is that of points (DEALER, connects to
// ipc://s/monitor, messages of the stream "points").
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
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

static const struct command {
    const char *name;
    int (*run)(const struct ctl_options *o);
    const char *help;
} commands[] = {
    {"resolve", ctl_resolve,
     "[--conf F] [--set k=v].. --presets DIR --runs DIR [--fork NEW [--from STEP]] [--fresh]\n"
     "                   checks the settings and prepares the run; --name: prints its name only"},
    {"check", ctl_check, "[--conf F] [--set k=v].. --presets DIR: lists every problem"},
    {"status", ctl_status, "--runs DIR [--json] [RUN]; --ready: is every process past its start?"},
    {"line", ctl_line, "--run DIR: the trainer's progress"},
    {"step", ctl_step, "--run DIR: the trainer's step"},
    {"query", ctl_query, "--runs DIR [--csv|--json] NAME [RUN] | SQL; without words: the names"},
    {"runs", ctl_runs, "--runs DIR [--json]: the runs there are"},
    {"note", ctl_note,
     "--run DIR [--quick] end PROCESS INSTANCE INCARNATION EXIT_CODE | event LEVEL CODE TEXT | "
     "state S ..; --quick: leaves it in the ring"},
    {"import-options", ctl_import_options,
     "FILE [--out CONF]: a train_opt.txt of the PyTorch repositories as a pipeline.conf"},
    {"config-markdown", markdown_settings, "docs/configuration.md"},
    {"config-conf", conf_settings, "a file with every setting"},
    {"config-help", help_settings, "every setting as text"},
    {"protocol-markdown", markdown_protocol, "docs/protocol.md"},
};

static void print_help(void) {
    puts("ctl COMMAND - settings, status and database on behalf of `pipeline`\n");
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("  %-16s %s\n", commands[i].name, commands[i].help);
}

static const struct option long_options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"presets", required_argument, NULL, 'p'},
    {"runs", required_argument, NULL, 'r'},
    {"run", required_argument, NULL, 'd'},
    {"set", required_argument, NULL, 's'},
    {"fork", required_argument, NULL, 'F'},
    {"from", required_argument, NULL, 'f'},
    {"fresh", no_argument, NULL, 'n'},
    {"out", required_argument, NULL, 'o'},
    {"json", no_argument, NULL, 'j'},
    {"csv", no_argument, NULL, 'v'},
    {"quick", no_argument, NULL, 'q'},
    {"name", no_argument, NULL, 'N'},
    {"ready", no_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int take_step(const char *text, int64_t *ret) {
    char *end;
    *ret = strtoll(text, &end, 10);
    if (end == text || *end || *ret < 0)
        return err_set(ERR_USAGE, "--from wants a step, not '%s'", text);
    return ERR_OK;
}

// ERR_STOPPED after --help and --version.
static int parse(int argc, char **argv, struct ctl_options *o) {
    int err = ERR_OK;
    for (int option; !err && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            o->conf = optarg;
            break;
        case 'p':
            o->presets = optarg;
            break;
        case 'r':
            o->runs = optarg;
            break;
        case 'd':
            o->run = optarg;
            break;
        case 's':
            o->sets[o->n_sets++] = optarg;
            break;
        case 'F':
            o->fork = optarg;
            break;
        case 'f':
            err = take_step(optarg, &o->from);
            break;
        case 'o':
            o->out = optarg;
            break;
        case 'n':
            o->fresh = true;
            break;
        case 'j':
            o->json = true;
            break;
        case 'v':
            o->csv = true;
            break;
        case 'N':
            o->name_only = true;
            break;
        case 'q':
            o->quick = true;
            break;
        case 'R':
            o->ready = true;
            break;
        case 'h':
            print_help();
            return ERR_STOPPED;
        case 'V':
            printf("ctl %s\n", version_text());
            return ERR_STOPPED;
        default:
            return err_set(ERR_USAGE, "see ctl --help");
        }
    }
    o->words = (const char **)argv + optind;
    o->n_words = argc - optind;
    return err;
}

static int run_command(const struct ctl_options *all) {
    struct ctl_options o = *all;
    if (o.n_words == 0)
        return err_set(ERR_USAGE, "a command is missing; see ctl --help");
    const char *name = *o.words++;
    o.n_words--;
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(&o);
    return err_set(ERR_USAGE, "there is no command '%s'; see ctl --help", name);
}

int main(int argc, char **argv) {
    struct ctl_options o = {.runs = "runs", .presets = "presets", .from = -1};
    o.sets = xcalloc((size_t)argc, sizeof *o.sets);
    int err = parse(argc, argv, &o);
    if (!err)
        err = run_command(&o);
    if (err && err != ERR_STOPPED && *err_text())
        fprintf(stderr, "%s\n", err_text());
    free(o.sets);
    return err_exit_code(err);
}
