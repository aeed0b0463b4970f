// best - the best checkpoint so far, by a metric that is judged at checkpoints.
#ifndef BEST_H
#define BEST_H

#include <stdbool.h>
#include <stdint.h>

// Part of a checkpoint. All zero: none yet.
struct best {
    uint64_t step;
    double value; // of the metric, as it was recorded
    char metric[65];
};

// `metric` is a name, for which lower is better, or '-' and a name, for which higher is.
const char *best_name(const char *metric);
// Takes the value if it is finite and better than the best (a tie is not), which counts for nothing
// if it was of another metric. Returns whether it was taken.
bool best_note(struct best *b, const char *metric, uint64_t step, double value);

#endif
