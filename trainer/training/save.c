// Writes a checkpoint in an order that keeps the newest complete one valid at every moment.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "base/util.h"
#include "checkpoint/kernel_list.h"
#include "training/nan_check.h"
#include "training/parts.h"

static int save_pool(struct training *t, const char *folder) {
    char path[CHECKPOINT_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/pool.bin", folder); // fits
    replay_save(t->wait->replay, t->state.step, path);
    return wait_for(t->wait, training_pool_is_done, t, "the pool's snapshot");
}

void training_record_kernels(struct training *t) {
    char *now = model_kernels(t->model), *changed = kernels_changed(t->kernels, now);
    if (changed) {
        log_line("other kernels than in the checkpoint: %s", changed);
        points_event(t->points, "warn", "kernels_changed", t->state.step,
                     "the numbers will differ in their last bits from those of an undisturbed "
                     "training: now %s",
                     changed);
    }
    free(changed);
    t->kernels = kernels_merge(t->kernels, now);
    free(now);
}

static int save_plans(const struct training *t, const char *folder) {
    char path[CHECKPOINT_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/%s", folder, CHECKPOINT_PLANS); // fits
    return model_has_plans(t->model) ? model_plans_save(t->model, path) : ERR_OK;
}

static int write_files(struct training *t, const char *folder) {
    // From the device to the host arrays that checkpoint_write reads.
    int err = model_pull(t->model);
    if (!err)
        err = save_plans(t, folder);
    if (err)
        return err;
    // First: kernels.txt must also hold the kernels of the present tape.
    training_record_kernels(t);
    // A checkpoint that is due but not judged is completed by the resumed run (begin_steps).
    t->state.scheduled = training_is_save_due(t) && t->judged;
    struct checkpoint_content content = {.nets = t->nets,
                                         .n_nets = t->n_nets,
                                         .config = t->config,
                                         .kernels = t->kernels,
                                         .plans = model_has_plans(t->model),
                                         .pool_digest = replay_saved_digest(t->wait->replay)};
    return checkpoint_write(folder, &content, &t->state);
}

// The points of this step are in the ring already, so the database cannot miss a saved step.
int training_save(struct training *t) {
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];
    int64_t begun_us = now_us();
    // Broken weights must not become the newest checkpoint.
    int err = nan_check_weights(t->model, t->state.step, t->saved_step);
    if (err)
        return training_report_not_finite(t, err, t->state.step);
    err = checkpoint_begin(TRAINING_ROOT, t->state.step, folder);
    if (!err)
        err = save_pool(t, folder);
    if (!err)
        err = write_files(t, folder);
    if (!err)
        err = checkpoint_commit(TRAINING_ROOT, folder, t->state.step);
    if (err)
        return err;
    checkpoint_path(TRAINING_ROOT, t->state.step, path);
    t->saved_step = t->state.step;
    t->saved_us = now_us();
    err = training_report_checkpoint(t, path);
    if (err)
        return err;
    points_event(t->points, "info", "checkpoint", t->state.step, "%s in %lld ms", path,
                 (long long)(t->saved_us - begun_us) / 1000);
    // Before old ones are removed: the link must not point to a removed folder.
    err = checkpoint_mark_best(TRAINING_ROOT, t->state.best.step);
    return err ? err
               : checkpoint_retain(TRAINING_ROOT, &t->state, (int)t->config->trainer.keep,
                                   (int)t->config->trainer.keep_weights_every);
}
