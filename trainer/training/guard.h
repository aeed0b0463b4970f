// guard - stops a training whose numbers are no numbers any more, and says what was being trained.
//
// What is on disk stays as it is: the newest checkpoint is older than the step that failed.
#ifndef GUARD_H
#define GUARD_H

#include "models/model.h"
#include "streams/feed.h"

struct guard {
    uint64_t step, saved_step; // under way; of the newest checkpoint
    const struct feed_batch *batch;
    const struct state_manifest *manifests; // of the sides 0 and 1
    const char *domains;                    // of the sides: "AB", or "BA"
};

// After a step: ERR_NOT_FINITE if a loss or a gradient is not finite. The text names the loss, the
// step and the files of the batch (by their numbers where there is no manifest on this machine).
int guard_step(const struct model *m, const struct guard *g);

// Before a checkpoint: likewise for weights and Adam's moments, which can overflow though every
// gradient is finite.
int guard_weights(struct model *m, uint64_t step, uint64_t saved_step);

#endif
