// Compares a fork with the run that it was copied from, by the settings in the checkpoint.
#include "training/fork.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

static int read_forked_step(uint64_t *ret_step) {
    uint8_t *text;
    size_t size;
    int err = fs_read(FORK_FILE, 64, &text, &size);
    if (err)
        return err;
    *ret_step = strtoull((char *)text, NULL, 10);
    free(text);
    return ERR_OK;
}

// The curators' settings do not count: the manifests say whether the data differ.
static bool is_mathematics(const char *line) {
    return *line && strncmp(line, "curator.", 8) != 0;
}

static bool any_mathematics(const char *differences) {
    for (const char *line = differences; line; line = strchr(line, '\n'))
        if (is_mathematics(line += *line == '\n'))
            return true;
    return false;
}

int fork_look(const struct config *now, const char *checkpoint, uint64_t step, bool *ret_forked,
              bool *ret_changed) {
    uint64_t at = 0;
    *ret_forked = *ret_changed = false;
    int err = step && fs_exists(FORK_FILE) ? read_forked_step(&at) : ERR_OK;
    // With a newer checkpoint of its own the fork is an ordinary run.
    if (err || !step || at != step)
        return err;
    struct config *then;
    char *path = xasprintf("%s/pipeline.conf", checkpoint);
    err = config_load_effective(path, &then);
    free(path);
    if (err)
        return err;
    // Made equal, so that they are no difference below.
    then->trainer.max_steps = now->trainer.max_steps; // a fork may end elsewhere
    then->trainer.n_epochs = now->trainer.n_epochs;
    then->trainer.n_epochs_decay = now->trainer.n_epochs_decay;
    char *differences = config_math_differences(then, now);
    *ret_forked = true;
    *ret_changed = any_mathematics(differences);
    free(differences);
    config_free(then);
    return ERR_OK;
}
