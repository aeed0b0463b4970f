// best - the best checkpoint so far, by one of the scores of a checkpoint.
#ifndef BEST_H
#define BEST_H

#include <stdbool.h>
#include <stdint.h>

// Part of state.json. All zero: none yet.
struct best {
    uint64_t step;
    double value; // of the metric, as it was recorded
    char metric[65];
};

// The name in `metric`, without a leading '-'. Lower values are better; with '-' higher ones.
const char *best_name(const char *metric);
// Stores the value if it is finite and better than the best. A tie is not better. A best value of
// another metric does not count. Returns whether the value was stored.
bool best_note(struct best *b, const char *metric, uint64_t step, double value);

#endif
