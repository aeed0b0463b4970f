// setup - derives the options of model and schedule from the settings.
#ifndef SETUP_H
#define SETUP_H

#include "checkpoint/state.h"
#include "config/config.h"
#include "streams/feed.h"
#include "training/schedule.h"

// Replaces device = "auto", dtype = "auto" and threads = 0 in the settings: by the checkpoint's
// values if there is one (state->step > 0), else by this machine's. ERR_MISMATCH if the settings
// contradict the checkpoint. ERR_DEVICE.
int setup_resolve(struct config *c, const struct state *state);

int setup_schedule(const struct config *c, struct schedule *ret_schedule);

// The step after which the training ends, with so many batches an epoch.
uint64_t setup_last_step(const struct config *c, uint64_t epoch_batches);

#endif
