// optimizer - all parameters of some nets in one flat buffer, and Adam on it.
//
// Parameters, gradients and moments are in four buffers of one layout, so that an update is one
// call. A parameter whose gradient is never written keeps gradient and moments 0, and so itself. On
// an asynchronous device the host has a copy of parameters and moments, which the rest of the
// program reads and writes. Between optimizer_pull and optimizer_push the two agree.
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

// Host pointers to the same numbers, for state dicts and checkpoints.
struct optimizer_host {
    float *w, *m, *v; // [count] each; where the device is not asynchronous, those of the optimizer
};

// The nets of an optimizer share its step count, so Adam's t is the same for all of them.
struct optimizer {
    struct device *device;
    size_t count;
    float *w, *g, *m, *v; // [count] each, of the device; zero at first
    struct optimizer_host host;
    double beta1, beta2;
    int64_t t; // updates done
    int n_derived;
    struct device_weights **derived; // refreshed after an update; owned by the nets
    int *bad_gradients, *bad_state;  // shared with the device; not 0: NaN or infinity was seen
};

// `count` from optimizer_reserve. The device is lent for the optimizer's life. Fails with
// ERR_LIMIT; optimizer_fini takes what is there then.
// Weights are zero until the caller fills host.w and calls optimizer_push.
int optimizer_init(struct optimizer *o, struct device *device, size_t count, double beta1,
                   double beta2);
// Parameters alone, for nets that are not trained: g, m and v are w.
int optimizer_init_weights(struct optimizer *o, struct device *device, size_t count);
// Accepts a zeroed struct and what a failed init has left. Nets are freed before.
void optimizer_fini(struct optimizer *o);

// Where a parameter of `count` floats starts (aligned to 64 bytes); moves *size past it.
// Called for every parameter before optimizer_init, which gets the final *size as `count`.
size_t optimizer_reserve(size_t *size, size_t count);

// Adds to the weights that optimizer_refresh refreshes. Lent until optimizer_fini.
void optimizer_add_derived(struct optimizer *o, struct device_weights *derived);
// Makes the derived weights anew from the parameters. An op. ERR_DEVICE_LOST.
// Convolutions read the derived weights, not the parameters themselves.
int optimizer_refresh(const struct optimizer *o);

// One Adam update of all parameters, and the refresh, by the values of the open section. Their t is
// o->t, which the caller has incremented. An op. ERR_DEVICE_LOST.
int optimizer_update(const struct optimizer *o);

// Copy from the device to the host, and back with a refresh. Both wait.
// ERR_DEVICE_LOST. Where host and device share the memory, pull does nothing.
int optimizer_pull(struct optimizer *o);
int optimizer_push(struct optimizer *o);

// False if a gradient of an update was NaN or infinity. Valid after a fence behind the update.
// The flag is never cleared: one bad gradient makes every later answer false.
bool optimizer_finite(const struct optimizer *o);
// Whether weights and moments are finite. Waits. ERR_DEVICE_LOST.
int optimizer_state_finite(struct optimizer *o, bool *ret_finite);

// Bytes on the device: weights, and gradients and moments where there are some.
size_t optimizer_bytes(const struct optimizer *o);

#endif
