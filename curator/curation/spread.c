#include "curation/spread.h"

#include <math.h>
#include <stdlib.h>

#include "base/util.h"

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

void spread_init(struct spread *ret, const struct curation *c,
                 double (*value)(const struct picture *)) {
    *ret = (struct spread){.values = xcalloc(c->walk.found.count, sizeof(double))};
    for (size_t i = 0; i < c->walk.found.count; i++) {
        double v = value(&c->walk.found.items[i]);
        if (!isnan(v))
            ret->values[ret->count++] = v;
    }
    qsort(ret->values, ret->count, sizeof(double), by_value);
}

void spread_fini(struct spread *s) {
    free(s->values);
    *s = (struct spread){0};
}

double spread_quantile(const struct spread *s, double q) {
    return s->count ? s->values[(size_t)(q * (double)(s->count - 1))] : 0;
}
