// progress - records the metrics of a step, and prints the progress line.
#ifndef PROGRESS_H
#define PROGRESS_H

#include "checkpoint/state.h"
#include "models/model.h"
#include "points/points.h"

struct progress {
    struct points *points;
    uint64_t last_step, last_epoch, epoch_batches;
    uint64_t print_every;
    double step_us, wait_us; // moving averages for the progress line
};

struct progress_step {
    uint64_t step;         // the number of the step, from 1
    uint64_t epoch, batch; // of the step
    int n;                 // pictures of each domain
    double lr;
    int64_t step_us, wait_us; // total; of that, waiting for batches and the pool
};

// Records loss/NAME, lr, epoch (replayable), time/step_ms, time/wait_ms, rate/img_per_s and, of a
// device with memory of its own, memory/device_peak_mb.
void progress_step(struct progress *p, const struct model *m, const struct progress_step *s);

#endif
