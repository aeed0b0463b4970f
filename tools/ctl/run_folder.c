// run_folder - the folder of a run before its processes start. The script holds the run's lock
// meanwhile.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/util.h"
#include "ctl/ctl.h"

// ---- entries of a folder ----

// Calls `each` with DIR/NAME and TO/NAME for every entry of `dir` that is not named in `but`.
static int for_entries(const char *dir, const char *to, const char *const *but,
                       int (*each)(const char *from, const char *to)) {
    struct dirent *entry;
    int err = ERR_OK;
    DIR *d = opendir(dir);
    if (!d)
        return fs_failed("open folder", dir);
    while (!err && (entry = readdir(d))) {
        // Hidden files belong to the run too.
        bool skip = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        for (int i = 0; but[i]; i++)
            skip |= strcmp(entry->d_name, but[i]) == 0;
        if (skip)
            continue;
        char *from_path = xasprintf("%s/%s", dir, entry->d_name);
        char *to_path = xasprintf("%s/%s", to, entry->d_name);
        err = each(from_path, to_path);
        free(from_path);
        free(to_path);
    }
    (void)closedir(d); // read only
    return err;
}

static int move_entry(const char *from, const char *to) {
    return rename(from, to) ? fs_failed("move", from) : ERR_OK;
}

static int remove_entry(const char *from, const char *to) {
    return fs_remove_tree(from);
}

// Hard links: a checkpoint's files are never changed, so a copy would only cost room.
static int link_entry(const char *from, const char *to) {
    return link(from, to) ? fs_failed("link", from) : ERR_OK;
}

// ---- parts of a run ----

static int make_folders(const char *dir) {
    // "s" is short, because socket paths are limited to 107 bytes.
    static const char *const names[] = {"s", "ring", "checkpoints", "samples", "log", "manifest"};
    int err = fs_mkdirs(dir, 0700);
    for (size_t i = 0; !err && i < COUNT(names); i++) {
        char *path = xasprintf("%s/%s", dir, names[i]);
        err = fs_mkdirs(path, 0700);
        free(path);
    }
    return err;
}

static int write_conf(const struct config *c, const char *dir) {
    char *text = NULL, *path = xasprintf("%s/pipeline.conf", dir);
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        BUG("open_memstream: %s", strerror(errno));
    int err = config_write(c, out);
    // The text is complete after config_write's flush.
    (void)fclose(out); // memory
    if (!err)
        err = fs_write_atomic(path, text, size);
    free(text);
    free(path);
    return err;
}

static bool has_checkpoint(const char *dir) {
    char *path = xasprintf("%s/checkpoints", dir);
    DIR *d = opendir(path);
    struct dirent *entry;
    bool found = false;
    while (d && (entry = readdir(d)))
        found |= strncmp(entry->d_name, "step_", 5) == 0;
    if (d)
        (void)closedir(d); // read only
    free(path);
    return found;
}

// What "auto" means is decided when a run starts and kept.
// A resumed run keeps its device: another one would give other roundings.
static int settle(struct config *c, const struct config *saved, const char *dir) {
    struct config_trainer *t = &c->trainer;
    if (t->threads == 0)
        t->threads = saved ? saved->trainer.threads : core_count();
    if (!saved)
        return device_settle(t, dir);
    if (strcmp(t->device, "auto") == 0)
        config_set_text(&t->device, saved->trainer.device);
    if (strcmp(t->dtype, "auto") == 0)
        config_set_text(&t->dtype, saved->trainer.dtype);
    return ERR_OK;
}

// ---- a run that is there ----

static bool same_schedule(const struct config *a, const struct config *b) {
    return a->trainer.n_epochs == b->trainer.n_epochs &&
           a->trainer.n_epochs_decay == b->trainer.n_epochs_decay &&
           a->trainer.max_steps == b->trainer.max_steps;
}

static int compare(const struct config *saved, const struct config *c, const char *dir) {
    // The lock is held, and the log and the rings tell what has happened before.
    static const char *const stays[] = {"run.lock", "log", "ring", NULL};
    char *differences = config_math_differences(saved, c);
    int err = ERR_OK;
    // Trained weights belong to the old settings; only a person can decide.
    if (*differences && has_checkpoint(dir))
        err = err_set(ERR_MISMATCH,
                      "run %s was trained with other settings:\n%s"
                      "Go on as it was, begin another from its checkpoint (--fork NEW [--from "
                      "STEP]), or start over (--fresh).",
                      c->top.name, differences);
    else if (*differences) // nothing was trained yet
        err = for_entries(dir, dir, stays, remove_entry);
    free(differences);
    return err;
}

static int continue_run(struct config *c, const char *dir, enum run_state *ret_state) {
    char *conf = xasprintf("%s/pipeline.conf", dir);
    char *finished = xasprintf("%s/finished", dir);
    struct config *saved = NULL;
    int err = ERR_OK;
    // A folder without settings was made, but never started.
    if (fs_exists(conf))
        err = config_load_effective(conf, &saved);
    if (err)
        goto out;
    err = settle(c, saved, dir);
    if (!err && saved)
        err = compare(saved, c, dir);
    if (err)
        goto out;
    // With a longer schedule there is work again.
    if (saved && fs_exists(finished) && same_schedule(saved, c))
        *ret_state = RUN_FINISHED;
    else
        (void)unlink(finished); // it may not be there

out:
    config_free(saved);
    free(conf);
    free(finished);
    return err;
}

// ---- --fresh ----

// Moves what is in runs/NAME to runs/NAME.1 (or .2, ...), the lock excepted.
static int start_over(const struct config *c, const char *runs, const char *dir) {
    static const char *const stays[] = {"run.lock", NULL};
    char *to = NULL, *name = NULL, *conf = xasprintf("%s/pipeline.conf", dir);
    bool empty = !fs_exists(conf);
    free(conf);
    if (empty)
        return ERR_OK;
    // The first free number.
    for (int i = 1; !to || fs_exists(to); i++) {
        free(to);
        free(name);
        name = xasprintf("%s.%d", c->top.name, i);
        to = xasprintf("%s/%s", runs, name);
    }
    int err = fs_mkdirs(to, 0700);
    if (!err)
        err = for_entries(dir, to, stays, move_entry);
    if (!err)
        // The rows follow the folder, so that queries find both under one name.
        err = database_rename_run(runs, c->top.name, name);
    if (!err)
        fprintf(stderr, "the run that was there is now %s\n", to);
    free(to);
    free(name);
    return err;
}

// ---- --fork ----

static int copy_checkpoint(const char *from, const char *to) {
    static const char *const all[] = {NULL};
    // The target is relative: a run's folder may be moved.
    char target[64], *latest = xasprintf("%s/../latest", to);
    const char *name = strrchr(to, '/') + 1;
    (void)text_copy(target, sizeof target, name);
    int err = fs_mkdirs(to, 0700);
    if (!err)
        err = for_entries(from, to, all, link_entry);
    if (!err && symlink(target, latest))
        err = fs_failed("make", latest);
    free(latest);
    return err;
}

// Tells the trainer that this checkpoint, and no later one, is another run's.
static int mark_fork(const char *dir, const char *name) {
    const char *digits = name + strcspn(name, "0123456789");
    char *path = xasprintf("%s/forked", dir);
    int err = fs_write_atomic(path, digits, strlen(digits));
    free(path);
    return err;
}

// As the checkpoint's training was settled.
static int settle_as(struct config *c, const char *checkpoint, const char *dir) {
    char *path = xasprintf("%s/pipeline.conf", checkpoint);
    struct config *saved = NULL;
    int err = fs_exists(path) ? config_load_effective(path, &saved) : ERR_OK;
    if (!err)
        err = settle(c, saved, dir);
    config_free(saved);
    free(path);
    return err;
}

static int fork_run(struct config *c, const struct ctl_options *o, const char *source,
                    const char *dir) {
    char step[64] = "latest", resolved[64];
    int64_t number;
    if (o->from && strcmp(o->from, "best") == 0)
        (void)text_copy(step, sizeof step, "best"); // fits
    // Names of checkpoints have eight digits, so that they sort as numbers.
    else if (o->from && parse_whole(o->from, 0, INT64_MAX, &number))
        (void)snprintf(step, sizeof step, "step_%08lld", (long long)number); // fits
    else if (o->from)
        return err_set(ERR_USAGE, "--from is a step or best, not '%s'", o->from);
    char *from = xasprintf("%s/checkpoints/%s", source, step);
    char *conf = xasprintf("%s/pipeline.conf", dir);
    int err = ERR_OK;
    if (fs_exists(conf))
        err = err_set(ERR_MISMATCH, "--fork %s: there is a run of this name", o->fork);
    else if (!fs_is_dir(from))
        err = err_set(ERR_DATA, "--fork: there is no checkpoint %s", from);
    if (err)
        goto out;
    err = make_folders(dir);
    if (err)
        goto out;
    // `latest` is a link; the copy needs the checkpoint's own name.
    ssize_t length = readlink(from, resolved, sizeof resolved - 1);
    (void)text_copy(resolved, length < 0 ? sizeof resolved : (size_t)length + 1,
                    length < 0 ? step : resolved);
    char *to = xasprintf("%s/checkpoints/%s", dir, resolved);
    err = copy_checkpoint(from, to);
    free(to);
    if (!err)
        err = mark_fork(dir, resolved);
    if (!err)
        err = settle_as(c, from, dir);

out:
    free(from);
    free(conf);
    return err;
}

// `import` has made it of weights alone: there is no training to go on with.
static int check_imported(const char *dir) {
    char *path = xasprintf("%s/imported", dir);
    int err = fs_exists(path) ? err_set(ERR_MISMATCH,
                                        "'%s' holds imported weights and no training; begin a run "
                                        "of another name with them: --set trainer.init_from=%s",
                                        dir, dir)
                              : ERR_OK;
    free(path);
    return err;
}

int run_prepare(struct config *c, const struct ctl_options *o, enum run_state *ret_state) {
    char *source = xasprintf("%s/%s", o->runs, c->top.name);
    char *dir = xasprintf("%s/%s", o->runs, o->fork ? o->fork : c->top.name);
    enum run_state state = RUN_READY;
    int err = fs_mkdirs(dir, 0700);
    if (!err && !o->fresh)
        err = check_imported(source);
    if (err)
        goto out;
    if (o->fork) {
        err = fork_run(c, o, source, dir);
        // After the fork, since the source's name was needed.
        config_set_text(&c->top.name, o->fork);
    } else {
        if (o->fresh)
            err = start_over(c, o->runs, dir);
        if (!err)
            err = continue_run(c, dir, &state);
    }
    if (err)
        goto out;
    if (state == RUN_READY) {
        err = make_folders(dir);
        if (!err)
            err = disk_check(c, dir);
        if (!err)
            err = write_conf(c, dir);
    }
    if (!err)
        *ret_state = state;

out:
    free(source);
    free(dir);
    return err;
}
