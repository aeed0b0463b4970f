// optimizer - all parameters of some nets in one flat buffer, and Adam on it.
//
// Parameters, gradients and moments lie in four buffers of the same layout, so that an update is
// one call and a sum over ranks one message. A parameter whose gradient is never written keeps
// gradient, moments and therefore itself unchanged.
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"

struct optimizer {
    struct device *device;
    size_t count;
    float *w, *g, *m, *v; // [count] each; zero at first
    double beta1, beta2;
    int64_t t; // updates done
};

// `count` from optimizer_reserve. The device is lent for the optimizer's life.
void optimizer_init(struct optimizer *o, struct device *device, size_t count, double beta1,
                    double beta2);
void optimizer_fini(struct optimizer *o);

// Where a parameter of `count` floats starts (aligned to 64 bytes); moves *size past it.
size_t optimizer_reserve(size_t *size, size_t count);

// One Adam update of everything. Fails with ERR_DEVICE_LOST.
int optimizer_step(struct optimizer *o, double lr);

// False if a gradient holds a number that is not finite.
bool optimizer_finite(const struct optimizer *o);
// False if a weight or a moment does.
bool optimizer_state_finite(const struct optimizer *o);

size_t optimizer_bytes(const struct optimizer *o);

#endif
