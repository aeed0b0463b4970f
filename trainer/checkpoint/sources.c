// Finds files of weights by the names that this program and the PyTorch repository give them.
#include "checkpoint/sources.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// ---- finding ----

// The only file that matches a pattern. ERR_AGAIN: none.
static int find_pattern(const char *pattern, char ret_path[SOURCES_PATH]) {
    glob_t found = {0};
    int err = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (err == GLOB_NOMATCH || (!err && !found.gl_pathc))
        err = ERR_AGAIN;
    else if (err)
        err = err_set(ERR_IO, "look for '%s'", pattern);
    else if (found.gl_pathc > 1)
        err = err_set(ERR_DATA, "%zu files are like '%s'; name one", found.gl_pathc, pattern);
    else if (!text_copy(ret_path, SOURCES_PATH, found.gl_pathv[0]))
        err = err_set(ERR_IO, "a path too long in '%s'", pattern);
    globfree(&found);
    return err;
}

static int find_exactly(const char *folder, const char *net, char ret_path[SOURCES_PATH]) {
    // The first that exists counts: safetensors before .pth, a run's latest checkpoint last.
    static const char *const forms[] = {"%s/%s.safetensors", "%s/%s.pth", "%s/latest_net_%s.pth",
                                        "%s/checkpoints/latest/%s.safetensors"};
    char path[SOURCES_PATH];
    for (size_t i = 0; i < COUNT(forms); i++) {
        if (snprintf(path, sizeof path, forms[i], folder, net) >= (int)sizeof path)
            return err_set(ERR_IO, "the path '%.100s...' is too long", folder);
        if (fs_exists(path)) {
            memcpy(ret_path, path, sizeof path);
            return ERR_OK;
        }
    }
    if (strpbrk(folder, "*?[\\")) // the folder itself would act as a pattern
        return ERR_AGAIN;
    (void)snprintf(path, sizeof path, "%s/*_net_%s.pth", folder, net); // shorter than the last form
    return find_pattern(path, ret_path);
}

int sources_find(const char *folder, const char *net, char ret_path[SOURCES_PATH]) {
    int err = find_exactly(folder, net, ret_path);
    // One-sided models call their nets G and D; CycleGAN calls the same direction G_A and D_A.
    if (err == ERR_AGAIN && strlen(net) == 1)
        return find_exactly(folder, net[0] == 'G' ? "G_A" : "D_A", ret_path);
    if (err == ERR_AGAIN && (strcmp(net, "G_A") == 0 || strcmp(net, "D_A") == 0))
        return find_exactly(folder, net[0] == 'G' ? "G" : "D", ret_path);
    return err;
}

int sources_generator(const char *folder, const char *net, const char *direction,
                      char ret_path[SOURCES_PATH]) {
    char path[SOURCES_PATH];
    const char *other = strcmp(net, "G_B") != 0 ? "G_B" : "G_A";
    int err = sources_find(folder, net, ret_path);
    if (err != ERR_AGAIN)
        return err;
    // Neither direction is there, so the folder is at fault. Otherwise the run is one-sided.
    if (sources_find(folder, other, path))
        return err_set(ERR_DATA, "there is no %s in '%s'", net, folder);
    bool forward = (strcmp(other, "G_A") == 0) == (strcmp(direction, "AtoB") == 0);
    return err_set(ERR_DATA, "this run has no %s; it translates %s only", net,
                   forward ? "AtoB" : "BtoA");
}

// The reason differs: the run is young, no checkpoint was the best yet, or it was removed.
static int no_checkpoint(const char *run, const char *step, const char *path) {
    char *latest = xasprintf("%s/checkpoints/latest", run);
    bool any = fs_is_dir(latest);
    free(latest);
    if (!any || !step) // without a step: the first one may have appeared meanwhile
        return err_set(ERR_DATA,
                       "the run '%s' has no checkpoint yet; the first is written at the end of an "
                       "epoch, or after trainer.save_minutes or trainer.save_every_steps",
                       run);
    if (strcmp(step, "best") == 0)
        return err_set(ERR_DATA,
                       "the run '%s' has no best checkpoint yet: none has a finite score; "
                       "trainer.judge_pictures and trainer.best_metric choose it",
                       run);
    return err_set(
        ERR_DATA,
        "there is no checkpoint '%s'; trainer.keep is the number of checkpoints that stay", path);
}

int sources_checkpoint(const char *run, const char *step, char ret_path[CHECKPOINT_PATH]) {
    char root[CHECKPOINT_PATH - 64], *end;
    if (snprintf(root, sizeof root, "%s/checkpoints", run) >= (int)sizeof root)
        return err_set(ERR_USAGE, "the path '%s' is too long", run);
    if (!step || strcmp(step, "best") == 0) {
        (void)snprintf(ret_path, CHECKPOINT_PATH, "%s/%s", root, step ? "best" : "latest"); // fits
    } else {
        errno = 0;
        // strtoull also accepts signs and spaces; the first character must be a digit.
        unsigned long long number = strtoull(step, &end, 10);
        if (step[0] < '0' || step[0] > '9' || *end || errno)
            return err_set(ERR_USAGE, "--step is a number or best, not '%s'", step);
        checkpoint_path(root, number, ret_path);
    }
    return fs_is_dir(ret_path) ? ERR_OK : no_checkpoint(run, step, ret_path);
}

// ---- names ----

// Whether `word` stands alone in the name.
static bool has_word(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *at = strstr(name, word); at; at = strstr(at + 1, word))
        // "G" must not match in "G_A", and "D" not in "DOG".
        if ((at == name || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[n]) &&
            at[n] != '_')
            return true;
    return false;
}

const char *sources_net_of(const char *path) {
    static const char *const words[][2] = {{"G_A", "G_A"},    {"G_B", "G_B"},    {"D_A", "D_A"},
                                           {"D_B", "D_B"},    {"netG_A", "G_A"}, {"netG_B", "G_B"},
                                           {"netD_A", "D_A"}, {"netD_B", "D_B"}, {"netG", "G_A"},
                                           {"netD", "D_A"},   {"G", "G_A"},      {"D", "D_A"}};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < COUNT(words); i++)
        if (has_word(name, words[i][0]))
            return words[i][1];
    return NULL;
}
