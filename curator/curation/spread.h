// spread - how a number is distributed over the pictures of a curation.
#ifndef SPREAD_H
#define SPREAD_H

#include "curation/curation.h"

struct spread {
    double *values; // ascending
    size_t count;
};

// The values that `value` (NaN: none) takes on all pictures.
void spread_init(struct spread *ret, const struct curation *c,
                 double (*value)(const struct picture *));
void spread_fini(struct spread *s);

// The value that the share q (0: the least, 1: the largest) does not exceed; 0 of none.
double spread_quantile(const struct spread *s, double q);

#endif
