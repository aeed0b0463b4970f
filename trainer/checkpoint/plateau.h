// plateau - lowers the learning rate when a metric stops falling.
//
// The value of an epoch is the mean of the metric in it. If more than 5 epochs in a row are not
// below 0.99 of the best, the rate drops to a fifth and the count starts again. Epochs without a
// value do not count. This is ReduceLROnPlateau with factor 0.2, threshold 0.01, patience 5, as the
// PyTorch repository configures it. That repository feeds it 0.
#ifndef PLATEAU_H
#define PLATEAU_H

#include <stdint.h>

// Part of state.json. All zero: no value yet.
struct plateau {
    uint64_t values; // in this epoch so far
    double sum;      // of them
    uint64_t epochs; // epochs with a value
    double best;     // the lowest mean; valid if epochs > 0
    uint64_t bad;    // epochs in a row without a new best
    uint64_t drops;  // of the rate
};

// Adds a value to the current epoch.
void plateau_note(struct plateau *p, double value);

// Ends the epoch and begins the next.
void plateau_end_epoch(struct plateau *p);

// lr after `drops` drops. A drop by less than 1e-8 is skipped.
double plateau_lr(double lr, uint64_t drops);

#endif
