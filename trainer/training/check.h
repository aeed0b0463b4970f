// check - what the settings of a training alone decide, before any data is read.
#ifndef TRAINING_CHECK_H
#define TRAINING_CHECK_H

#include "config/config.h"
#include "models/model.h"
#include "training/schedule.h"

// The metrics that the schedule follows and that choose the best checkpoint are recorded.
// ERR_CONFIG names those that are.
int training_check_metrics(const struct config *c, const struct model *m,
                           const struct schedule *schedule);

// Makes the model as a training does, on the device, and takes the memory of a step where every
// image gets the same size. Nothing is written. `c` is resolved: device, dtype and threads.
// ERR_CONFIG: a training would end with it. ERR_DEVICE.
int training_check(struct config *c);

#endif
