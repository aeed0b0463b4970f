// plateau - lowers the rate when a metric has stopped to fall.
//
// An epoch counts with the mean of the metric's values in it. If that is not below 0.99 of the
// best so far for more than 5 epochs on end, the rate falls to a fifth and the count begins anew.
// Epochs without a value do not count. The rule is that of the public reference's reduce-on-plateau
// scheduler (factor 0.2, relative threshold 0.01, patience 5), which the reference itself feeds 0.
#ifndef PLATEAU_H
#define PLATEAU_H

#include <stdint.h>

// Part of a checkpoint. All zero: nothing seen.
struct plateau {
    uint64_t values; // in this epoch so far
    double sum;      // of them
    uint64_t epochs; // with a value
    double best;     // of their means; counts if epochs > 0
    uint64_t bad;    // epochs on end without a new best
    uint64_t drops;  // of the rate
};

void plateau_note(struct plateau *p, double value);

// Counts the epoch and begins the next.
void plateau_end_epoch(struct plateau *p);

// lr after so many drops, of which none is smaller than 1e-8.
double plateau_lr(double lr, uint64_t drops);

#endif
