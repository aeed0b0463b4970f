// fork - whether a run stands where it was forked from another one.
#ifndef FORK_H
#define FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

#define FORK_FILE "forked" // in the run's folder, by `up --fork`: the step of the checkpoint

// `step`, `checkpoint`: the newest one, a folder. *ret_forked: it is another run's.
// *ret_changed: and that one had other mathematics than `now` (whether it had other
// pictures, the manifests tell). ERR_IO, ERR_FORMAT,
// ERR_CONFIG.
int fork_look(const struct config *now, const char *checkpoint, uint64_t step, bool *ret_forked,
              bool *ret_changed);

#endif
