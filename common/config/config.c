// The layers of a run's settings, in the order in which they are laid over each other.
#include "config/config.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "config/draft.h"

// The preset is the lowest layer, but its name is in the higher ones: they are read once only for
// it, and the problems of that pass are dropped.
static char *preset_name(const char *file, const char *const *sets, int n_sets) {
    struct config_problems unheard;
    struct config_draft d;
    config_draft_init(&d, &unheard);
    if (file)
        config_read_layer(&d, file, 2);
    for (int i = 0; i < n_sets; i++)
        config_read_set(&d, sets[i]);
    char *name = xstrdup(d.config->top.preset);
    config_draft_fini(&d);
    config_problems_fini(&unheard);
    return name;
}

static void list_presets(const char *folder, char *ret, size_t n) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t used = 0;
    ret[0] = 0;
    while (dir && (entry = readdir(dir))) {
        char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".conf") == 0 && used < n)
            used += (size_t)snprintf(ret + used, n - used, " %.*s", (int)(dot - entry->d_name),
                                     entry->d_name);
    }
    if (dir)
        closedir(dir);
}

static void read_preset(struct config_draft *d, const char *presets, const char *name) {
    char *path = xasprintf("%s/%s.conf", presets, name);
    char known[300];
    if (strchr(name, '/') || !fs_exists(path)) {
        list_presets(presets, known, sizeof known);
        config_blame(d, "preset", "there is no preset '%.100s'; there are:%s", name, known);
    } else {
        config_read_layer(d, path, 1);
        if (*d->config->top.preset)
            config_blame(d, path, "a preset cannot name a preset");
    }
    free(path);
}

int config_resolve(const char *file, const char *presets, const char *const *sets, int n_sets,
                   struct config **ret_config, struct config_problems *ret_problems) {
    struct config_draft d;
    char *preset = preset_name(file, sets, n_sets);
    config_draft_init(&d, ret_problems);
    if (*preset)
        read_preset(&d, presets, preset);
    free(preset);
    if (file)
        config_read_layer(&d, file, 2);
    for (int i = 0; i < n_sets; i++)
        config_read_set(&d, sets[i]);
    config_take_recipe(&d);
    config_check(&d);
    return config_draft_end(&d, ret_config);
}

// Runs of versions without trainer.dtype computed with fp32 on the CPU.
static void settle_dtype(struct config *c) {
    if (strcmp(c->trainer.device, "cpu") == 0 && strcmp(c->trainer.dtype, "auto") == 0)
        config_set_text(&c->trainer.dtype, "fp32");
}

int config_load_effective(const char *path, struct config **ret_config) {
    struct config_problems problems;
    struct config_draft d;
    if (!fs_exists(path))
        return err_set(ERR_IO, "there is no %s", path);
    config_draft_init(&d, &problems);
    config_read_layer(&d, path, 2);
    int err = config_draft_end(&d, ret_config);
    config_problems_fini(&problems);
    if (!err)
        settle_dtype(*ret_config);
    return err;
}
