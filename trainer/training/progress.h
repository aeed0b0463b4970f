// progress - what a step leaves behind: metrics for the database, one line for a person.
#ifndef PROGRESS_H
#define PROGRESS_H

#include "checkpoint/state.h"
#include "models/model.h"
#include "points/points.h"

struct progress {
    struct points *points;
    uint64_t last_step, last_epoch, epoch_batches;
    uint64_t print_every;
    double step_us, wait_us; // means over the last steps, for the line
};

struct progress_step {
    uint64_t step;         // steps done with it
    uint64_t epoch, batch; // of the step
    int n;                 // pictures of each domain
    double lr;
    int64_t step_us, wait_us; // in all; waiting for batches and the pool
};

// Records loss/NAME, lr, epoch (replayable), time/step_ms, time/wait_ms, rate/img_per_s and, of a
// device with memory of its own, memory/device_peak_mb.
void progress_step(struct progress *p, const struct model *m, const struct progress_step *s);

#endif
