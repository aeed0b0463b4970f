// Keeps the best value of a metric. A metric with a leading '-' is better when larger.
#include "checkpoint/best.h"

#include <math.h>
#include <string.h>

#include "base/util.h"

const char *best_name(const char *metric) {
    return metric[0] == '-' ? metric + 1 : metric;
}

bool best_note(struct best *b, const char *metric, uint64_t step, double value) {
    bool is_better = metric[0] == '-' ? value > b->value : value < b->value;
    // After a change of the metric the old value has no meaning, so the first new one wins.
    bool is_same = b->step && strcmp(metric, b->metric) == 0;

    if (!isfinite(value) || (is_same && !is_better))
        return false;
    *b = (struct best){step, value, ""};
    (void)text_copy(b->metric, sizeof b->metric, metric); // fits
    return true;
}
