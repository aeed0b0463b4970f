// import - makes a run from weights that were trained elsewhere. `translate` can use it, and
// another run can begin with its weights.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/flags.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/sources.h"
#include "config/config.h"
#include "weights/recognise.h"
#include "weights/to_safetensors.h"

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static const char *const net_names[] = {"G_A", "G_B", "D_A", "D_B"};
enum { G_A, G_B, D_A, D_B, NETS };

struct source {
    char *path; // NULL: none
    struct weights *weights;
    struct recognised net;
    char digest[65];
};

struct import {
    const char *run;
    bool look;
    struct source nets[NETS];
    struct config *config;
};

// ---- which file is which net ----

static int net_number(const char *name) {
    for (int i = 0; i < NETS; i++)
        if (strcmp(net_names[i], name) == 0)
            return i;
    return -1;
}

static int add_file(struct import *m, int net, const char *path) {
    if (m->nets[net].path)
        return err_set(ERR_USAGE, "'%s' and '%s' are both %s; say which is which: G_B=FILE",
                       m->nets[net].path, path, net_names[net]);
    m->nets[net].path = xstrdup(path);
    return ERR_OK;
}

static int add_folder(struct import *m, const char *folder) {
    char path[SOURCES_PATH];
    int found = 0;
    for (int i = 0; i < NETS; i++) {
        int err = sources_find(folder, net_names[i], path);
        // A folder need not hold all nets.
        if (err == ERR_AGAIN)
            continue;
        if (!err)
            err = add_file(m, i, path);
        if (err)
            return err;
        found++;
    }
    return found ? ERR_OK
                 : err_set(ERR_DATA,
                           "there is no G_A.pth, latest_net_G_A.pth or G_A.safetensors "
                           "(or G_B, D_A, D_B) in '%s'",
                           folder);
}

// Used if neither the caller nor the name of the file tells the net.
static int guess_net(const char *path, int *ret_net) {
    struct weights *w = NULL;
    struct recognised r = {0};
    int err = weights_open(path, &w);
    if (!err)
        err = recognise(w, &r);
    weights_close(w);
    *ret_net = !err && r.role == RECOGNISED_DISCRIMINATOR ? D_A : G_A;
    return weights_unusable(err);
}

// "NET=FILE", a folder, or a file.
static int add_argument(struct import *m, const char *argument) {
    char name[8];
    // A path may contain '=' too: only a known net in front counts.
    const char *equals = strchr(argument, '=');
    int net = -1;
    if (equals && equals - argument < (int)sizeof name) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(equals - argument), argument); // fits
        net = net_number(name);
    }
    if (net >= 0)
        return add_file(m, net, equals + 1);
    if (fs_is_dir(argument))
        return add_folder(m, argument);
    const char *named = sources_net_of(argument);
    int err = ERR_OK;
    if (named)
        net = net_number(named);
    else
        err = guess_net(argument, &net);
    return err ? err : add_file(m, net, argument);
}

// ---- what they are ----

static void print_source(const struct source *s, const char *name) {
    char text[200];
    recognised_text(&s->net, text, sizeof text);
    printf("%s%s%s: %s\n", name, *name ? " = " : "", s->path, text);
    const char *line = weights_notes(s->weights);
    for (const char *end; *line && (end = strchr(line, '\n')); line = end + 1)
        printf("  %.*s\n", (int)(end - line), line);
}

static int open_source(struct source *s) {
    uint8_t digest[32];
    uint64_t size;
    // The digest beside the file, if it comes from a checkpoint of ours.
    int err = checkpoint_check_file(s->path);
    if (!err)
        err = weights_open(s->path, &s->weights);
    if (!err)
        err = recognise(s->weights, &s->net);
    if (!err)
        // weights_path is the path without #NAME.
        err = digest_file(weights_path(s->weights), digest, &size);
    if (!err)
        digest_hex(digest, s->digest);
    return weights_unusable(err);
}

static bool is_role(const struct source *s, int net) {
    return (s->net.role == RECOGNISED_GENERATOR) == (net <= G_B);
}

static int open_all(struct import *m) {
    for (int i = 0; i < NETS; i++) {
        struct source *s = &m->nets[i];
        int err = s->path ? open_source(s) : ERR_OK;
        if (err)
            return err;
        if (!s->path)
            continue;
        print_source(s, net_names[i]);
        // The name of the file and its content disagree.
        if (!is_role(s, i))
            return err_set(ERR_USAGE, "'%s' is no %s; say what it is: %s=FILE", s->path,
                           i <= G_B ? "generator" : "discriminator", i <= G_B ? "D_A" : "G_A");
    }
    return ERR_OK;
}

// ---- settings that make these nets ----

static const char *run_name(const struct import *m) {
    const char *slash = strrchr(m->run, '/');
    return slash ? slash + 1 : m->run;
}

static int refuse_difference(const struct import *m, int a, int b) {
    return err_set(ERR_MISMATCH,
                   "'%s' and '%s' are not of one training: they are built differently",
                   m->nets[a].path, m->nets[b].path);
}

// The same architecture; channels may differ.
static bool same_kind(const struct recognised *a, const struct recognised *b) {
    const struct net_options *x = &a->options, *y = &b->options;
    return strcmp(a->arch, b->arch) == 0 && x->nf == y->nf && x->n_layers == y->n_layers &&
           strcmp(x->norm, y->norm) == 0 && x->dropout == y->dropout &&
           x->antialias == y->antialias && x->no_antialias_up == y->no_antialias_up &&
           // Compared as booleans: "resize" is the only value that a file shows.
           !x->upsample == !y->upsample;
}

static int check_generators(const struct import *m) {
    const struct net_options *a = &m->nets[G_A].net.options, *b = &m->nets[G_B].net.options;
    if (!same_kind(&m->nets[G_A].net, &m->nets[G_B].net) || a->in_nc != b->out_nc ||
        a->out_nc != b->in_nc)
        return refuse_difference(m, G_A, G_B);
    // Two such generators would make a model that does not exist here.
    return a->antialias ? err_set(ERR_MISMATCH, "'%s': CUT has one generator, without a G_B",
                                  m->nets[G_B].path)
                        : ERR_OK;
}

// A discriminator that sees input and output together is pix2pix's.
static int configure_discriminator(struct import *m, int i) {
    struct config_trainer *c = &m->config->trainer;
    int sees = m->nets[i].net.options.in_nc;
    int64_t judges = i == D_A ? c->output_nc : c->input_nc;
    // Only with one generator: pix2pix has no other direction.
    if (i == D_A && !m->nets[G_B].path && !m->nets[D_B].path && sees == c->input_nc + c->output_nc)
        config_set_text(&c->model, "pix2pix");
    else if (sees != judges)
        return err_set(ERR_MISMATCH, "'%s' sees %d channels, the generator's pictures have %lld",
                       m->nets[i].path, sees, (long long)judges);
    if (strcmp(m->nets[i].net.options.norm, c->norm) != 0)
        return err_set(ERR_MISMATCH, "'%s' has norm %s, the generator %s", m->nets[i].path,
                       m->nets[i].net.options.norm, c->norm);
    recognised_configure(&m->nets[i].net, false, c);
    return ERR_OK;
}

static int configure(struct import *m) {
    const struct source *n = m->nets;
    int err = ERR_OK;
    if (!n[G_A].path && !n[G_B].path)
        return err_set(ERR_USAGE, "a run needs a generator: G_A=FILE");
    m->config = config_new();
    config_set_text(&m->config->top.name, run_name(m));
    if (n[G_A].path)
        recognised_configure(&n[G_A].net, false, &m->config->trainer);
    else
        // Only G_B is there: the settings are those of the pair, so its channels are exchanged.
        recognised_configure(&n[G_B].net, true, &m->config->trainer);
    // Before the discriminators, whose check relies on the generators' channels.
    if (n[G_A].path && n[G_B].path)
        err = check_generators(m);
    for (int i = D_A; i <= D_B && !err; i++)
        if (n[i].path)
            err = configure_discriminator(m, i);
    if (!err && n[D_A].path && n[D_B].path && !same_kind(&n[D_A].net, &n[D_B].net))
        err = refuse_difference(m, D_A, D_B);
    return err;
}

// ---- the run ----

// The name of the net in the model.
static const char *own_name(const struct import *m, int net) {
    bool one = strcmp(m->config->trainer.model, "cycle_gan") != 0;
    return one ? (net == G_A ? "G" : "D") : net_names[net];
}

static int write_nets(struct import *m) {
    char root[CHECKPOINT_PATH - 64], folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH + 32];
    if (snprintf(root, sizeof root, "%s/checkpoints", m->run) >= (int)sizeof root)
        return err_set(ERR_USAGE, "the path '%s' is too long", m->run);
    // A checkpoint of step 0 without state.json: training cannot resume it, translate can read it.
    int err = checkpoint_begin(root, 0, folder);
    for (int i = 0; i < NETS && !err; i++) {
        // Nets without a file are left out; init_from keeps their random weights.
        if (!m->nets[i].path)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s.safetensors", folder, own_name(m, i)); // fits
        err = weights_to_safetensors(m->nets[i].weights, &m->nets[i].net, path);
    }
    if (err == ERR_FORMAT) // of what was read
        err = weights_unusable(err);
    return err ? err : checkpoint_commit(root, folder, 0);
}

static int write_text(const struct import *m, const char *name,
                      int (*print)(const struct import *m, FILE *out)) {
    char *text, *path = xasprintf("%s/%s", m->run, name);
    size_t size;
    FILE *out = text_open(&text, &size);
    int err = print(m, out);
    text_close(out);
    if (!err)
        err = fs_write_atomic(path, text, size);
    free(text);
    free(path);
    return err;
}

static int print_settings(const struct import *m, FILE *out) {
    return config_write(m->config, out);
}

static int print_sources(const struct import *m, FILE *out) {
    for (int i = 0; i < NETS; i++)
        if (m->nets[i].path)
            fprintf(out, "%s %s %s\n", own_name(m, i), m->nets[i].digest, m->nets[i].path);
    return ERR_OK;
}

static int write_run(struct import *m) {
    if (!*run_name(m) || run_name(m)[strspn(run_name(m), NAME_LETTERS)])
        return err_set(ERR_USAGE, "'%s' cannot name a run: letters, digits, . _ -", run_name(m));
    // Not mkdirs: an existing run must not get other weights.
    if (mkdir(m->run, 0700))
        return errno == EEXIST
                   ? err_set(ERR_MISMATCH, "there is a run '%s'; choose another name", m->run)
                   : fs_failed("make", m->run);
    int err = write_nets(m);
    if (!err)
        err = write_text(m, "imported", print_sources);
    if (!err)
        err = write_text(m, "pipeline.conf", print_settings);
    if (err)
        // The folder was made above, so nothing else is in it.
        (void)fs_remove_tree(m->run); // the first error is reported
    return err;
}

// ---- the whole ----

static int look_at_file(const char *path) {
    struct source s = {.path = xstrdup(path)};
    int err = open_source(&s);
    if (!err)
        print_source(&s, "");
    weights_close(s.weights);
    free(s.path);
    return err;
}

static int import(struct import *m, const struct flag_texts *files) {
    int err = ERR_OK;
    for (int i = 0; i < files->n && !err; i++)
        // --look judges each file alone; no run is made of them.
        err = m->look ? look_at_file(files->at[i]) : add_argument(m, files->at[i]);
    if (err || m->look)
        return err;
    err = open_all(m);
    if (!err)
        err = configure(m);
    return err ? err : write_run(m);
}

static void import_fini(struct import *m) {
    for (int i = 0; i < NETS; i++) {
        weights_close(m->nets[i].weights);
        free(m->nets[i].path);
    }
    config_free(m->config);
}

static const char intro[] = "import - makes a run from weights that were trained elsewhere\n"
                            "\n"
                            "  import --run RUN [NET=]FILE..    a run that `translate` can use\n"
                            "  import --look FILE..             only prints what the files are\n";

static const char notes[] =
    "NET is G_A, G_B, D_A or D_B; default: from the name of the file, else G_A for a generator "
    "and\n"
    "D_A for a discriminator.\n"
    "FILE is written by torch.save or safetensors; FILE#NAME chooses one of several state dicts. "
    "A\n"
    "folder stands for every net in it: NET.pth, latest_net_NET.pth, NET.safetensors.\n";

static int read_arguments(int argc, char **argv, struct import *m, struct flag_texts *files) {
    const struct flag rows[] = {
        {.name = "--run",
         .value = "RUN",
         .text = &m->run,
         .help = "its NAME through ./pipeline, else the folder to make (runs/NAME)"},
        {.name = "--look", .on = &m->look, .help = "only print what the files are"},
        {.name = "FILE", .texts = files, .required = true},
    };
    const struct flags flags = {"import", intro, rows, COUNT(rows), notes};
    int err = flags_read(&flags, argc, argv);
    if (!err && !m->run && !m->look)
        err = err_set(ERR_USAGE, "--run is missing; see import --help");
    return err;
}

int main(int argc, char **argv) {
    struct import m = {0};
    struct flag_texts files = {0};
    log_name("import");
    int err = read_arguments(argc, argv, &m, &files);
    if (!err)
        err = import(&m, &files);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    else if (!err && m.run)
        printf("run %s: use it with `translate --run %s`, or begin with it: `up --set "
               "trainer.init_from=%s`\n",
               run_name(&m), run_name(&m), m.run);
    import_fini(&m);
    free(files.at);
    return err_exit_code(err);
}
