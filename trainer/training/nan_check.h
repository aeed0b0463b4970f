// nan_check - stops the training on NaN or infinity, and names the batch.
//
// Checkpoints on disk stay as they are: the newest one is older than the step that failed.
#ifndef NAN_CHECK_H
#define NAN_CHECK_H

#include "models/model.h"
#include "streams/feed.h"

struct nan_check {
    uint64_t step, saved_step; // the step checked; that of the newest checkpoint
    const struct feed_batch *batch;
    const struct manifest_summary *manifests; // of the sides 0 and 1
    const char *domains;                      // of the sides: "AB", or "BA"
};

// After a step: ERR_NOT_FINITE if a loss or a gradient is not finite. The text names the loss, the
// step and the files of the batch (by their numbers where there is no manifest on this machine).
int nan_check_step(const struct model *m, const struct nan_check *g);

// Before a checkpoint: likewise for weights and Adam's moments, which can overflow though every
// gradient is finite.
int nan_check_weights(struct model *m, uint64_t step, uint64_t saved_step);

#endif
