// fork - whether the newest checkpoint is the one that `up --fork` copied from another run.
#ifndef FORK_H
#define FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

#define FORK_FILE "forked" // in the run's folder, by `up --fork`: the step of the checkpoint

// `checkpoint` is the folder of the newest checkpoint, `step` its step; 0: there is none.
// *ret_forked: the checkpoint is another run's. *ret_changed: that run computed with other settings
// than `now`. The caller compares the manifests for other data. ERR_IO, ERR_FORMAT, ERR_CONFIG.
int fork_look(const struct config *now, const char *checkpoint, uint64_t step, bool *ret_forked,
              bool *ret_changed);

#endif
