// import-options: a training of the PyTorch repositories as a pipeline.conf. Every option becomes a
// setting or is listed with the reason why it does not.
//
// The options' meaning, and that frequencies count pictures and act when their number is divisible
// by them: pytorch-CycleGAN-and-pix2pix, options/ and train.py of January 2022.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/option_dump.h"

struct setting {
    char *path, *literal;
};

struct import {
    struct options options;
    struct setting *settings;
    int n_settings;
    struct text left; // what did not become a setting, as comments
};

// ---- what comes of an option ----

static void explain(struct import *im, const struct option_line *line, const char *why) {
    text_add(&im->left, "#   %s: %s\n#       %s\n", line->name, line->value, why);
}

// A later option may set the same key, as niter after n_epochs; the last one holds.
static void set_literal(struct import *im, const char *path, char *literal) {
    for (int i = 0; i < im->n_settings; i++)
        if (strcmp(im->settings[i].path, path) == 0) {
            free(im->settings[i].literal);
            im->settings[i].literal = literal;
            return;
        }
    im->settings = xrealloc(im->settings, ((size_t)im->n_settings + 1) * sizeof *im->settings);
    im->settings[im->n_settings++] = (struct setting){xstrdup(path), literal};
}

static const char *as_we_spell_it(const char *value) {
    return strcmp(value, "True") == 0 ? "true" : strcmp(value, "False") == 0 ? "false" : value;
}

// Sets path; a value that it does not take is explained. False if there is no such setting.
static bool set(struct import *im, const struct option_line *line, const char *path,
                const char *value) {
    char problem[256];
    char *literal = config_spell(path, as_we_spell_it(value), problem, sizeof problem);
    if (literal) {
        set_literal(im, path, literal);
        return true;
    }
    // An empty problem: the key does not exist.
    if (!*problem)
        return false;
    char *why = xasprintf("%s: %s", path, problem);
    explain(im, line, why);
    free(why);
    return true;
}

static void set_number(struct import *im, const struct option_line *line, const char *path,
                       long long value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", value); // fits
    (void)set(im, line, path, text);
}

// An option that no table knows may still have a setting of its name, as in a newer repository.
static void take_same_name(struct import *im, const struct option_line *line) {
    static const char *const sections[] = {"trainer.", "loader.", "pool.", ""};
    // The sections that have settings of the reference's names.
    for (size_t i = 0; i < COUNT(sections); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s%.100s", sections[i], line->name); // fits
        if (set(im, line, path, line->value))
            return;
    }
    explain(im, line, "there is no such setting here");
}

// ---- options that need a thought ----

static void take_name(struct import *im, const struct option_line *line) {
    char *name = xasprintf("%.64s", line->value);
    // Letters outside ASCII cannot name a folder here.
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '_';
    if (*name == '.' || *name == '-' || !*name)
        explain(im, line, "a run of this name could not have a folder here; set name");
    else
        (void)set(im, line, "name", name);
    if (strcmp(name, line->value) != 0)
        explain(im, line, "the name without what a folder's name cannot have");
    free(name);
}

// dataroot, dataset_mode and phase make the folders together.
static void take_dataroot(struct import *im, const struct option_line *line) {
    const char *phase = options_value(&im->options, "phase", "train");
    bool aligned = strcmp(options_value(&im->options, "dataset_mode", ""), "aligned") == 0;
    bool train = strcmp(phase, "train") == 0;
    // layout_find knows train folders by itself.
    if (train)
        (void)set(im, line, "dataroot", line->value);
    for (int i = 0; i < 2 && !train; i++) {
        char path[32];
        char letter[2] = {(char)('A' + i), 0};
        char *root = xasprintf("%s/%s%s", line->value, phase, aligned ? "" : letter);
        (void)snprintf(path, sizeof path, "curator.%s.root", letter); // fits
        (void)set(im, line, path, root);
        (void)snprintf(path, sizeof path, "curator.%s.use", letter); // fits
        (void)set(im, line, path, aligned ? "paired" : "folder");
        free(root);
    }
    if (!train)
        explain(im, line, "with the phase, these are the curators' roots");
    if (*line->value != '/')
        explain(im, line,
                "is relative to where that training was started; here, to where the "
                "pipeline is");
}

static void take_phase(struct import *im, const struct option_line *line) {
    explain(im, line, "the name of the folders: see dataroot, or the curators' roots");
}

static void take_gpu_ids(struct import *im, const struct option_line *line) {
    // A list as Python prints it, or digits and commas.
    const char *ids = line->value + strspn(line->value, "[ ");
    char *end;
    long long first = strtoll(ids, &end, 10);
    if (end == ids || first < 0) {
        // -1, or an empty list: no GPU was used.
        (void)set(im, line, "trainer.device", "cpu");
        return;
    }
    set_number(im, line, "trainer.gpu", first);
    if (*end == ',')
        explain(im, line, "one GPU trains here: the first of them");
}

static void take_num_threads(struct import *im, const struct option_line *line) {
    // 0 threads meant the main process itself.
    set_number(im, line, "loader.threads", MAX(1, strtoll(line->value, NULL, 10)));
}

static void take_max_dataset_size(struct import *im, const struct option_line *line) {
    if (strcmp(line->value, "inf") == 0) {
        set_number(im, line, "loader.max_dataset_size", 0);
        return;
    }
    (void)set(im, line, "loader.max_dataset_size", line->value);
    explain(im, line, "there, the first in the order of the file system; here, by name");
}

// Steps between two moments at which the number of pictures is divisible by `pictures`.
static long long steps_of(const struct import *im, long long pictures) {
    long long batch = MAX(1, options_number(&im->options, "batch_size", 1));
    long long a = batch, b = MAX(1, pictures);
    // Euclid's algorithm: a ends as the greatest common divisor.
    while (b) {
        long long rest = a % b;
        a = b;
        b = rest;
    }
    return MAX(1, pictures) / a;
}

static void explain_steps(struct import *im, const struct option_line *line, const char *text) {
    long long steps = steps_of(im, strtoll(line->value, NULL, 10));
    char *why =
        xasprintf("pictures, which is every %lld steps of this batch size; %s", steps, text);
    explain(im, line, why);
    free(why);
}

static void take_display_freq(struct import *im, const struct option_line *line) {
    set_number(im, line, "trainer.sample_every", steps_of(im, strtoll(line->value, NULL, 10)));
}

static void take_print_freq(struct import *im, const struct option_line *line) {
    explain_steps(im, line, "the losses of every step are recorded here (trainer.print_every)");
}

static void take_save_latest_freq(struct import *im, const struct option_line *line) {
    explain_steps(im, line,
                  "a checkpoint is made every epoch and every trainer.save_minutes; "
                  "trainer.save_every_steps would make it every so many steps instead");
}

static void take_save_epoch_freq(struct import *im, const struct option_line *line) {
    (void)set(im, line, "trainer.keep_weights_every", line->value);
}

static void take_lr_policy(struct import *im, const struct option_line *line) {
    (void)set(im, line, "trainer.lr_policy", line->value);
    bool cut = strcmp(options_value(&im->options, "model", ""), "cut") == 0;
    // CUT's code and those before 2020 step at the end of an epoch, as we do.
    // options of 2020 and later have n_epochs, earlier ones niter.
    if (cut || !options_value(&im->options, "n_epochs", NULL))
        return;
    (void)set(im, line, "trainer.lr_compat", "reference");
    explain(im, line,
            "the rate was stepped before each epoch, so that it fell an epoch early and "
            "was 0 in the last one: trainer.lr_compat");
}

static void take_lr_decay_iters(struct import *im, const struct option_line *line) {
    bool step = strcmp(options_value(&im->options, "lr_policy", ""), "step") == 0;
    if (!set(im, line, "trainer.lr_decay_iters", line->value))
        explain(im, line, step ? "there is no such setting here" : "of lr_policy step only");
}

// What is called wgangp there has no gradient penalty.
static void take_gan_mode(struct import *im, const struct option_line *line) {
    bool wgan = strcmp(line->value, "wgangp") == 0;
    (void)set(im, line, "trainer.gan_mode", wgan ? "wgangp_no_penalty" : line->value);
    if (wgan)
        explain(im, line, "the code that is called so applies no gradient penalty");
}

static void take_no_dropout(struct import *im, const struct option_line *line) {
    if (set(im, line, "trainer.no_dropout", line->value))
        return;
    bool none = strcmp(line->value, "True") == 0;
    explain(im, line, none ? "as here" : "the generators have no dropout here");
}

static void take_is_train(struct import *im, const struct option_line *line) {
    bool train = strcmp(line->value, "True") == 0;
    explain(im, line,
            train ? "these are the options of a training"
                  : "these are the options of a test: what they say of the training is "
                    "the defaults, not what was trained with");
}

static void take_epoch_count(struct import *im, const struct option_line *line) {
    long long first = options_number(&im->options, "epoch_count", 1);
    char *why = first > 1 ? xasprintf("that run began at epoch %lld, so it trained %lld epochs "
                                      "fewer; here the first epoch is 1: lower trainer.n_epochs",
                                      first, first - 1)
                          : xstrdup("the first epoch is 1 here, too");
    explain(im, line, why);
    free(why);
}

static void take_continue_train(struct import *im, const struct option_line *line) {
    explain(im, line,
            strcmp(line->value, "True") == 0 ? "see the end of this file"
                                             : "`up` goes on by itself where it stopped");
}

// G and D may differ there.
static void take_norm_d(struct import *im, const struct option_line *line) {
    if (strcmp(options_value(&im->options, "normG", line->value), line->value) != 0)
        explain(im, line, "discriminators have the generators' norm here: trainer.norm");
    else
        (void)set(im, line, "trainer.norm", line->value);
}

static void take_cut_mode(struct import *im, const struct option_line *line) {
    bool fast = strcmp(line->value, "FastCUT") == 0;
    (void)set(im, line, "trainer.model", fast ? "fastcut" : "cut");
}

// CUT_mode stands before it in a sorted dump, and knows more.
static void take_model(struct import *im, const struct option_line *line) {
    if (!options_value(&im->options, "CUT_mode", NULL))
        (void)set(im, line, "trainer.model", line->value);
}

static void take_load_size(struct import *im, const struct option_line *line) {
    (void)set(im, line, "loader.load_size", line->value);
    if (options_value(&im->options, "CUT_mode", NULL))
        explain(im, line, "became crop_size in the decaying epochs of CUT; here it stays");
}

static void take_net_f(struct import *im, const struct option_line *line) {
    bool mlp = strcmp(line->value, "mlp_sample") == 0;
    explain(im, line, mlp ? "as here" : "patches pass a small net (mlp_sample) here, always");
}

// ---- the list ----

#define SAME(section, option)                                                                      \
    { .name = #option, .to = #section "." #option }

static const struct rule {
    const char *name;
    void (*take)(struct import *im, const struct option_line *line); // NULL: sets `to`, or says why
    const char *why; // it is left out, or what `take` does with it
    const char *to;  // the setting that it becomes
} rules[] = {
    {.name = "name",
     .take = take_name,
     .to = "name",
     .why = "without characters that a folder cannot have"},
    {.name = "dataroot",
     .take = take_dataroot,
     .to = "dataroot",
     .why = "with another phase than train: the roots of the curators"},
    {.name = "phase", .take = take_phase, .why = "part of the folders, see dataroot"},
    {.name = "gpu_ids",
     .take = take_gpu_ids,
     .to = "trainer.gpu",
     .why = "the first one; -1: trainer.device = \"cpu\""},
    {.name = "num_threads", .take = take_num_threads, .to = "loader.threads", .why = "at least 1"},
    {.name = "nThreads", .take = take_num_threads, .to = "loader.threads", .why = "at least 1"},
    {.name = "max_dataset_size",
     .take = take_max_dataset_size,
     .to = "loader.max_dataset_size",
     .why = "inf: 0"},
    {.name = "display_freq",
     .take = take_display_freq,
     .to = "trainer.sample_every",
     .why = "pictures become steps"},
    {.name = "print_freq",
     .take = take_print_freq,
     .why = "every step is recorded; trainer.print_every is of the terminal"},
    {.name = "save_latest_freq",
     .take = take_save_latest_freq,
     .why = "every epoch and trainer.save_minutes, or trainer.save_every_steps"},
    {.name = "save_epoch_freq", .take = take_save_epoch_freq, .to = "trainer.keep_weights_every"},
    {.name = "lr_policy",
     .take = take_lr_policy,
     .to = "trainer.lr_policy",
     .why = "with trainer.lr_compat where the rate was stepped before an epoch"},
    {.name = "lr_decay_iters", .take = take_lr_decay_iters, .to = "trainer.lr_decay_iters"},
    {.name = "gan_mode",
     .take = take_gan_mode,
     .to = "trainer.gan_mode",
     .why = "wgangp there has no penalty: wgangp_no_penalty"},
    {.name = "no_dropout", .take = take_no_dropout, .to = "trainer.no_dropout"},
    {.name = "isTrain", .take = take_is_train, .why = "says whether the dump is of a training"},
    {.name = "epoch_count",
     .take = take_epoch_count,
     .why = "the first epoch is 1; `up` goes on by itself"},
    {.name = "continue_train",
     .take = take_continue_train,
     .why = "`up` goes on by itself; the file says what it did there"},
    {.name = "model",
     .take = take_model,
     .to = "trainer.model",
     .why = "test and colorization are no trainings here"},
    {.name = "load_size", .take = take_load_size, .to = "loader.load_size"},
    SAME(trainer, input_nc),
    SAME(trainer, output_nc),
    SAME(trainer, ngf),
    SAME(trainer, ndf),
    SAME(trainer, netD),
    SAME(trainer, netG),
    SAME(trainer, n_layers_D),
    SAME(trainer, norm),
    SAME(trainer, init_type),
    SAME(trainer, init_gain),
    SAME(loader, serial_batches),
    SAME(loader, batch_size),
    SAME(loader, crop_size),
    SAME(loader, preprocess),
    SAME(loader, no_flip),
    SAME(loader, dataset_mode),
    {.name = "direction", .to = "direction"},
    SAME(trainer, n_epochs),
    SAME(trainer, n_epochs_decay),
    SAME(trainer, beta1),
    SAME(trainer, lr),
    SAME(trainer, lambda_A),
    SAME(trainer, lambda_B),
    SAME(trainer, lambda_identity),
    SAME(trainer, lambda_L1),
    SAME(pool, pool_size),
    // ---- CUT ----
    {.name = "CUT_mode", .take = take_cut_mode, .to = "trainer.model", .why = "FastCUT: fastcut"},
    {.name = "normG", .to = "trainer.norm"},
    {.name = "normD", .take = take_norm_d, .to = "trainer.norm", .why = "if it is that of normG"},
    {.name = "netF", .take = take_net_f, .why = "mlp_sample, always"},
    SAME(trainer, beta2),
    SAME(trainer, lambda_GAN),
    SAME(trainer, lambda_NCE),
    SAME(trainer, nce_idt),
    SAME(trainer, nce_layers),
    SAME(trainer, nce_includes_all_negatives_from_minibatch),
    SAME(trainer, netF_nc),
    SAME(trainer, nce_T),
    SAME(trainer, num_patches),
    SAME(trainer, flip_equivariance),
    SAME(trainer, no_antialias),
    SAME(trainer, no_antialias_up),
    {.name = "random_scale_max", .why = "of preprocess with zoom, which is not here"},
    {.name = "pretrained_name",
     .why = "trainer.init_from begins with the weights of a run or file"},
    {.name = "stylegan2_G_num_downsampling", .why = "of stylegan2 nets, which are not here"},
    {.name = "lambda_R1", .why = "of SinCUT, the training on one picture, which is not here"},
    // ---- what has no setting ----
    {.name = "checkpoints_dir", .why = "runs lie in the folder of `--runs DIR`"},
    {.name = "suffix", .why = "was made part of the name"},
    {.name = "verbose", .why = "the nets' parameters are in the database: table param, net.*"},
    {.name = "epoch",
     .why = "`up` goes on from the newest checkpoint whose digests hold; up --fork NEW "
            "--from STEP from another"},
    {.name = "load_iter", .why = "as epoch"},
    {.name = "save_by_iter", .why = "every checkpoint has its step in its name here"},
    {.name = "use_wandb", .why = "the database and the dashboard take its place"},
    {.name = "wandb_project_name", .why = "the database and the dashboard take its place"},
    {.name = "display_env", .why = "of visdom; the dashboard takes its place"},
    {.name = "display_id", .why = "of visdom; the dashboard takes its place"},
    {.name = "display_ncols", .why = "of visdom; the dashboard takes its place"},
    {.name = "display_port", .why = "of visdom; the dashboard's is monitor.port"},
    {.name = "display_server", .why = "of visdom; the dashboard's address is monitor.listen"},
    {.name = "display_winsize",
     .why = "of visdom and the HTML page; pictures are shown in their size"},
    {.name = "update_html_freq",
     .why = "the page is written with every sheet: trainer.sample_every"},
    {.name = "no_html", .why = "the page is always written"},
    {.name = "results_dir", .why = "of a test: ./pipeline translate --run NAME IN OUT"},
    {.name = "aspect_ratio", .why = "of a test; pictures keep their shape"},
    {.name = "num_test", .why = "of a test; all pictures are translated"},
    {.name = "eval", .why = "of a test"},
    {.name = "model_suffix", .why = "of a test: ./pipeline translate --direction"},
    {.name = "easy_label", .why = "a title for a page"},
    {.name = "evaluation_freq",
     .why = "was never used; judged at checkpoints: trainer.judge_pictures"},
    {.name = "niter", .to = "trainer.n_epochs"},
    {.name = "niter_decay", .to = "trainer.n_epochs_decay"},
    {.name = "loadSize", .to = "loader.load_size"},
    {.name = "fineSize", .to = "loader.crop_size"},
    {.name = "batchSize", .to = "loader.batch_size"},
    {.name = "resize_or_crop", .to = "loader.preprocess"},
    {.name = "which_direction", .to = "direction"},
    {.name = "which_model_netG", .to = "trainer.netG"},
    {.name = "which_model_netD", .to = "trainer.netD"},
};

// The table first: its rows know options whose name would also fit a setting.
static void take_option(struct import *im, const struct option_line *line) {
    for (size_t i = 0; i < COUNT(rules); i++) {
        if (strcmp(rules[i].name, line->name) != 0)
            continue;
        if (rules[i].take)
            rules[i].take(im, line);
        else if (rules[i].to)
            (void)set(im, line, rules[i].to, line->value);
        else
            explain(im, line, rules[i].why);
        return;
    }
    take_same_name(im, line);
}

int ctl_options_markdown(const struct ctl_options *o) {
    puts(
        "# Options of the PyTorch repositories\n\n"
        "Made by `ctl options-markdown` from the table that `./pipeline import-options` uses. The\n"
        "options are those of pytorch-CycleGAN-and-pix2pix (2017 to 2024) and of CUT.\n\n"
        "| option there | setting here | |\n|---|---|---|");
    for (size_t i = 0; i < COUNT(rules); i++)
        printf("| `%s` | %s%s%s | %s |\n", rules[i].name, rules[i].to ? "`" : "",
               rules[i].to ? rules[i].to : "none", rules[i].to ? "`" : "",
               rules[i].why ? rules[i].why : "");
    return ERR_OK;
}

// ---- the file ----

// The settings whose path begins with the prefix and has no dot behind it; how many.
static int write_section(const struct import *im, struct text *t, const char *prefix,
                         // Settings of a nested section have another dot.
                         const char *indent) {
    int n = 0;
    for (int i = 0; i < im->n_settings; i++) {
        const char *path = im->settings[i].path;
        if (strncmp(path, prefix, strlen(prefix)) != 0 || strchr(path + strlen(prefix), '.'))
            continue;
        text_add(t, "%s%s = %s;\n", indent, path + strlen(prefix), im->settings[i].literal);
        n++;
    }
    return n;
}

static void write_group(const struct import *im, struct text *t, const char *name) {
    char prefix[32];
    struct text inside = {0};
    (void)snprintf(prefix, sizeof prefix, "%s.", name); // fits
    // An empty section is left out.
    if (write_section(im, &inside, prefix, "    "))
        text_add(t, "\n%s = {\n%s};\n", name, inside.bytes);
    free(inside.bytes);
}

static void write_curators(const struct import *im, struct text *t) {
    struct text inside = {0};
    int n = 0;
    for (int i = 0; i < 2; i++) {
        char prefix[] = {"curator.A."};
        prefix[8] = (char)('A' + i);
        text_add(&inside, "    %c = {\n", 'A' + i);
        n += write_section(im, &inside, prefix, "        ");
        text_add(&inside, "    };\n");
    }
    if (n)
        text_add(t, "\ncurator = {\n%s};\n", inside.bytes);
    free(inside.bytes);
}

static void write_continuation(const struct import *im, struct text *t) {
    const struct options *o = &im->options;
    long long first = options_number(o, "epoch_count", 1);
    long long epochs =
        options_number(o, "n_epochs", 100) + options_number(o, "n_epochs_decay", 100);
    if (!options_flag(o, "continue_train"))
        return;
    text_add(t,
             "\n# continue_train was True, with epoch_count %lld. What that did: it read the "
             "weights '%s'\n"
             "# from %s/%s and nothing else.\n"
             "#   - Adam's moments began at 0: the first steps were about as long as the rate.\n"
             "#   - The pools of old fakes were empty, the shuffling began anew, and the count of\n"
             "#     pictures began at 0, so that files of the same names were written over.\n",
             first, options_value(o, "epoch", "latest"),
             options_value(o, "checkpoints_dir", "./checkpoints"), options_value(o, "name", ""));
    if (first <= 1)
        text_add(
            t,
            "#   - The schedule began at epoch 1 again: however far the training had come, the "
            "rate was\n"
            "#     the full one again, and %lld epochs lay ahead. The epochs before are in no "
            "option.\n",
            epochs);
    else
        text_add(t, "#   - The schedule began at epoch %lld; a linear one was where it had been.\n",
                 first);
    text_add(t, "# This file trains from new weights. Here, `up` goes on with all of that, at the "
                "step it\n# stopped at, and there is nothing to set.\n");
}

static void write_conf(const struct import *im, const char *from, struct text *t) {
    text_add(t, "# Made by import-options from %s.\n\n", from);
    (void)write_section(im, t, "", "");
    write_curators(im, t);
    write_group(im, t, "loader");
    write_group(im, t, "trainer");
    write_group(im, t, "pool");
    text_add(t, "\n# Options that are no settings here, or not only:\n%s",
             im->left.bytes ? im->left.bytes : "");
    write_continuation(im, t);
}

static void import_fini(struct import *im) {
    for (int i = 0; i < im->n_settings; i++) {
        free(im->settings[i].path);
        free(im->settings[i].literal);
    }
    free(im->settings);
    free(im->left.bytes);
    options_fini(&im->options);
}

int ctl_import_options(const struct ctl_options *o) {
    struct import im = {0};
    struct text conf = {0};
    if (o->n_words != 1)
        return err_set(ERR_USAGE, "import-options wants one file, a train_opt.txt");
    int err = options_read(o->words[0], &im.options);
    if (err)
        return err;
    for (int i = 0; i < im.options.count; i++) {
        const struct option_line *line = &im.options.lines[i];
        // Pointers are compared: only the last line of a name has that very value.
        if (options_value(&im.options, line->name, NULL) == line->value) // the last of its name
            take_option(&im, line);
    }
    write_conf(&im, o->words[0], &conf);
    if (o->out)
        err = fs_write_atomic(o->out, conf.bytes, conf.size);
    else
        (void)fputs(conf.bytes, stdout); // a closed stdout is the reader's wish
    import_fini(&im);
    free(conf.bytes);
    return err;
}
