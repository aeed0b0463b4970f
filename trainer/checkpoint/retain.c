// Removes old checkpoints: `keep` scheduled ones stay whole, and some older ones keep their
// weights.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/parts.h"

static int remove_whole(const char *root, uint64_t step) {
    char path[CHECKPOINT_PATH], old[CHECKPOINT_PATH];

    checkpoint_path(root, step, path);
    checkpoint_step_path(root, ".step_%08llu.old", step, old);
    if (rename(path, old)) // a folder that is half removed must not look like a checkpoint
        return fs_failed("rename", path);
    return fs_remove_tree(old);
}

static int remove_all_but_weights(const char *root, uint64_t step) {
    // Without these a checkpoint cannot be resumed, but it can translate. They are its larger part.
    static const char *const names[] = {CHECKPOINT_OPTIMIZER_FILE, CHECKPOINT_POOL_FILE};
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];

    checkpoint_path(root, step, folder);
    for (size_t i = 0; i < COUNT(names); i++) {
        checkpoint_join(path, folder, names[i]);
        if (unlink(path) && errno != ENOENT)
            return fs_failed("remove", path);
    }
    return ERR_OK;
}

struct kept {
    uint64_t step;
    uint64_t epochs_done;
    bool scheduled;
};

// A folder whose state.json cannot be read counts as scheduled in epoch 0, so `keep` removes it.
static struct kept read_kept(const char *root, uint64_t step) {
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];
    struct state s;
    checkpoint_path(root, step, folder);
    checkpoint_join(path, folder, "state.json");
    if (state_load(path, &s))
        return (struct kept){.step = step, .scheduled = true};
    return (struct kept){step, s.epoch - 1, s.scheduled};
}

static int retain_older(const char *root, const struct kept *all, int n, uint64_t every) {
    uint64_t kept = 0;
    int err = ERR_OK;
    for (int i = 0; i < n && !err; i++) {
        // The first checkpoint after each multiple of `every` epochs keeps its weights.
        uint64_t done = all[i].epochs_done / every;
        if (done > kept)
            err = remove_all_but_weights(root, all[i].step);
        else
            err = remove_whole(root, all[i].step);
        kept = MAX(kept, done);
    }
    return err;
}

int checkpoint_retain(const char *root, const struct state *s, int keep, int keep_weights_every) {
    struct checkpoint_steps steps;
    int n = 0, err = checkpoint_list_steps(root, true, &steps);
    struct kept *scheduled = xcalloc((size_t)steps.n + 1, sizeof *scheduled);
    for (int i = 0; i < steps.n && steps.items[i] <= s->step && !err; i++) {
        struct kept k = read_kept(root, steps.items[i]);
        // The best checkpoint stays whole, however old.
        if (k.step == s->best.step)
            continue;
        if (k.scheduled)
            scheduled[n++] = k;
        // A checkpoint out of schedule serves only until the next one.
        else if (k.step < s->step)
            err = remove_whole(root, k.step);
    }
    if (!err)
        // `scheduled` ascends, so its first n - keep are the old ones; none if negative.
        err = retain_older(root, scheduled, n - keep, (uint64_t)keep_weights_every);
    free(scheduled);
    free(steps.items);
    return err;
}
