// translate - uses what was trained: pictures through one generator of a run's checkpoint.
//
// Knows no sockets; the run need not be up.
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "checkpoint.h"
#include "config.h"
#include "err.h"
#include "fs.h"
#include "image_settings.h"
#include "log.h"
#include "picture.h"
#include "setup.h"
#include "threads.h"
#include "util.h"
#include "version_text.h"

#define PROGRESS_US 1000000

static const char help[] =
    "translate - translates pictures with a trained generator\n"
    "\n"
    "  translate --run DIR [--step S] [--direction AtoB|BtoA] [--threads T] IN OUT\n"
    "\n"
    "  --run DIR         folder of the run (runs/NAME)\n"
    "  --step S          of a checkpoint; default: the latest\n"
    "  --direction D     AtoB or BtoA; default: the run's direction\n"
    "  --threads T       CPU threads; default: one per core\n"
    "  --help, --version\n"
    "\n"
    "IN is a picture or a folder of pictures (JPEG, PNG, WebP), of any size; they are translated\n"
    "whole. OUT is a folder, or a file NAME.png for a single picture. Pictures keep their names "
    "and\n"
    "become PNG. A file that cannot be read is named and left out; the exit code is then 1.\n";

struct request {
    const char *run, *step, *direction, *in, *out;
    int threads;
};

struct file {
    char *in, *out;
};

struct files {
    int n;
    struct file *items;
};

struct translator {
    struct config *config;
    struct model *model;
    int net, channels_in, channels_out;
};

// ---- command line ----

static int read_number(const char *text, int max, int *ret) {
    char *end;
    long n = strtol(text, &end, 10);
    if (!*text || *end || n < 1 || n > max)
        return err_set(ERR_USAGE, "'%s' is not a number from 1 to %d", text, max);
    *ret = (int)n;
    return ERR_OK;
}

static int read_option(int option, const char *value, struct request *r) {
    switch (option) {
    case 'r':
        r->run = value;
        return ERR_OK;
    case 's':
        r->step = value;
        return ERR_OK;
    case 'd':
        r->direction = value;
        if (strcmp(value, "AtoB") != 0 && strcmp(value, "BtoA") != 0)
            return err_set(ERR_USAGE, "--direction is AtoB or BtoA, not '%s'", value);
        return ERR_OK;
    case 't':
        return read_number(value, 1024, &r->threads);
    case 'h':
        fputs(help, stdout);
        return ERR_STOPPED;
    case 'v':
        printf("translate %s\n", version_text());
        return ERR_STOPPED;
    default:
        return err_set(ERR_USAGE, "see translate --help");
    }
}

static int read_arguments(int argc, char **argv, struct request *ret) {
    static const struct option options[] = {
        {"run", 1, NULL, 'r'},     {"step", 1, NULL, 's'}, {"direction", 1, NULL, 'd'},
        {"threads", 1, NULL, 't'}, {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct request r = {0};
    int option, err = ERR_OK;
    while (!err && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        err = read_option(option, optarg, &r);
    if (err)
        return err;
    if (!r.run || argc - optind != 2) {
        (void)err_set(ERR_USAGE, "--run, IN and OUT are needed; see translate --help");
        return ERR_USAGE;
    }
    r.in = argv[optind];
    r.out = argv[optind + 1];
    *ret = r;
    return ERR_OK;
}

// ---- files ----

static bool is_picture_name(const char *name) {
    static const char *const ends[] = {"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot != name && i < COUNT(ends); i++)
        if (!strcasecmp(dot + 1, ends[i]))
            return true;
    return false;
}

static int is_picture(const struct dirent *e) {
    return e->d_name[0] != '.' && is_picture_name(e->d_name);
}

static size_t stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? (size_t)(dot - name) : strlen(name);
}

static void add_file(struct files *f, char *in, char *out) {
    f->items = xrealloc(f->items, (size_t)(f->n + 1) * sizeof *f->items);
    f->items[f->n++] = (struct file){in, out};
}

static bool is_taken(const struct files *f, const char *out) {
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->items[i].out, out))
            return true;
    return false;
}

// a.jpg becomes OUT/a.png; if a.png is there too, that becomes OUT/a.png.png.
static void add_named(struct files *f, char *in, const char *name, const char *folder) {
    char *out = xasprintf("%s/%.*s.png", folder, (int)stem_length(name), name);
    if (is_taken(f, out)) {
        free(out);
        out = xasprintf("%s/%s.png", folder, name);
    }
    add_file(f, in, out);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_folder(const struct request *r, struct files *f) {
    struct dirent **entries = NULL;
    int n = scandir(r->in, &entries, is_picture, by_name);
    if (n < 0)
        return err_set(ERR_IO, "read folder '%s': %s", r->in, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        add_named(f, xasprintf("%s/%s", r->in, name), name, r->out);
        free(entries[i]);
    }
    free(entries);
    return n ? fs_mkdirs(r->out, 0755) : err_set(ERR_IO, "no pictures in '%s'", r->in);
}

static bool ends_in_png(const char *path) {
    size_t n = strlen(path);
    return n > 4 && !strcasecmp(path + n - 4, ".png");
}

static int list_files(const struct request *r, struct files *f) {
    if (fs_is_dir(r->in))
        return list_folder(r, f);
    if (!fs_exists(r->in))
        return err_set(ERR_IO, "there is no '%s'", r->in);
    if (ends_in_png(r->out) && !fs_is_dir(r->out)) {
        add_file(f, xstrdup(r->in), xstrdup(r->out));
        return ERR_OK;
    }
    const char *slash = strrchr(r->in, '/');
    add_named(f, xstrdup(r->in), slash ? slash + 1 : r->in, r->out);
    return fs_mkdirs(r->out, 0755);
}

static void free_files(struct files *f) {
    for (int i = 0; i < f->n; i++) {
        free(f->items[i].in);
        free(f->items[i].out);
    }
    free(f->items);
}

// ---- the generator ----

static int find_folder(const struct request *r, char ret[CHECKPOINT_PATH]) {
    char root[CHECKPOINT_PATH - 64];
    char *end;
    unsigned long long step;
    if (snprintf(root, sizeof root, "%s/checkpoints", r->run) >= (int)sizeof root)
        return err_set(ERR_USAGE, "the path '%s' is too long", r->run);
    if (!r->step) {
        (void)snprintf(ret, CHECKPOINT_PATH, "%s/latest", root); // fits
    } else {
        errno = 0;
        step = strtoull(r->step, &end, 10);
        if (r->step[0] < '0' || r->step[0] > '9' || *end || errno)
            return err_set(ERR_USAGE, "--step is a number, not '%s'", r->step);
        checkpoint_path(root, step, ret);
    }
    if (!fs_is_dir(ret))
        return err_set(ERR_IO, "there is no checkpoint '%s'; trainer.keep says how many stay", ret);
    return ERR_OK;
}

static int make_model(struct translator *t, const struct request *r) {
    const struct state none = {0};
    struct config_trainer *c = &t->config->trainer;
    c->threads = r->threads;
    c->shapes = 1;
    int err = setup_resolve(t->config, &none);
    if (err)
        return err;
    struct model_options options = setup_model(t->config, NULL, NULL);
    t->channels_in = (int)(t->net ? c->output_nc : c->input_nc);
    t->channels_out = (int)(t->net ? c->input_nc : c->output_nc);
    if (t->channels_in != 1 && t->channels_in != 3)
        return err_set(ERR_CONFIG, "pictures have 1 or 3 channels, the generator takes %d",
                       t->channels_in);
    return model_new(&options, &t->model);
}

static int translator_open(const struct request *r, struct translator *t) {
    char folder[CHECKPOINT_PATH];
    char *conf = xasprintf("%s/pipeline.conf", r->run);
    int err = config_load_effective(conf, &t->config);
    free(conf);
    if (!err)
        err = find_folder(r, folder);
    if (err)
        return err;
    // G_A translates in the run's direction, whichever that is.
    t->net = r->direction && strcmp(r->direction, t->config->top.direction) != 0;
    err = make_model(t, r);
    if (!err && t->net >= model_n_generators(t->model))
        err = err_set(ERR_CONFIG, "--direction %s: this run has learnt %s only", r->direction,
                      t->config->top.direction);
    if (!err)
        err = checkpoint_load_net(folder, model_net(t->model, t->net));
    return err ? err : model_weights_changed(t->model);
}

static void translator_close(struct translator *t) {
    model_free(t->model);
    config_free(t->config);
}

static int translate(struct translator *t, const struct file *f) {
    struct image in, out;
    struct image_how how = image_settings_how(&t->config->loader, image_default_limits.max_pixels);
    int err = image_load_how(f->in, &how, t->channels_in, &in);
    if (err)
        return err;
    err = picture_translate(t->model, t->net, t->channels_out, &in, &out);
    image_fini(&in);
    if (err)
        return err;
    err = image_save_png(f->out, &out);
    image_fini(&out);
    return err;
}

// ---- the whole ----

// Whether the next picture may fare better.
static bool is_about_one_picture(int err) {
    return err == ERR_FORMAT || err == ERR_IO || err == ERR_SHAPE || err == ERR_LIMIT;
}

static int translate_all(struct translator *t, const struct files *f) {
    int64_t begun_us = now_us(), told_us = begun_us;
    int refused = 0;
    for (int i = 0; i < f->n; i++) {
        int err = translate(t, &f->items[i]);
        if (err && !is_about_one_picture(err))
            return err;
        if (err) {
            refused++;
            log_line("left out: %s", err_text()); // it names the file
        }
        if (now_us() - told_us > PROGRESS_US && i + 1 < f->n) {
            told_us = now_us();
            log_line("%d of %d, %.2f s a picture", i + 1, f->n,
                     (double)(told_us - begun_us) / 1e6 / (i + 1));
        }
    }
    log_line("%d translated, %d left out, %.1f s", f->n - refused, refused,
             (double)(now_us() - begun_us) / 1e6);
    return refused ? err_set(ERR_FORMAT, "%d of %d files could not be translated", refused, f->n)
                   : ERR_OK;
}

static int run(const struct request *r) {
    struct files files = {0};
    struct translator translator = {0};
    int err = list_files(r, &files);
    if (!err)
        err = translator_open(r, &translator);
    if (!err)
        err = translate_all(&translator, &files);
    translator_close(&translator);
    free_files(&files);
    return err;
}

int main(int argc, char **argv) {
    threads_wait_briefly(argv);
    struct request request;
    log_name("translate");
    int err = read_arguments(argc, argv, &request);
    if (!err)
        err = run(&request);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    return err_exit_code(err);
}
