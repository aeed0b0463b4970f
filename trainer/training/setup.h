// setup - derives the options of model and schedule from the settings.
#ifndef SETUP_H
#define SETUP_H

#include "checkpoint/state.h"
#include "config/config.h"
#include "models/model.h"
#include "streams/feed.h"
#include "training/schedule.h"

// Replaces device = "auto", dtype = "auto" and threads = 0 in the settings: by the checkpoint's
// values if there is one (state->step > 0), else by this machine's. ERR_MISMATCH if the settings
// contradict the checkpoint. ERR_DEVICE.
int setup_resolve(struct config *c, const struct state *state);

// A device with what "auto" stood for.
struct setup_device {
    const char *name;
    char dtype[8];
    char why[1024]; // "auto" is the CPU because of that; else ""
};
// Opens the device for a moment; "auto" is the GPU if there is one that works. ERR_DEVICE,
// ERR_CONFIG.
int setup_try_device(const char *name, const char *dtype, int gpu, struct setup_device *ret_device);
// What device "auto" stands for on this machine; any other name is returned as it is.
const char *setup_device(const char *name);
// One per core.
int setup_threads(void);

// The texts are lent by the settings. `context` is for between_ops.
struct model_options setup_model(const struct config *c, void (*between_ops)(void *),
                                 void *context);

int setup_schedule(const struct config *c, struct schedule *ret_schedule);

// The step after which the training ends, with so many batches an epoch.
uint64_t setup_last_step(const struct config *c, uint64_t epoch_batches);

#endif
