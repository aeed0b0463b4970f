// gpu_watch - sits between a model and its device. It counts a step's ops by kind and shape, with
// the work and the bytes that they need, and measures each op alone.
//
// Time: the first op of each kind and shape is issued `repeats` times as a section of its own, on
// its buffers of the step. The recorded section is launched once and several times more. The
// difference is the time of an op in a recorded step with nothing beside it. Small tensors are in
// the L2 cache then, as they mostly are in a step.
#ifndef GPU_WATCH_H
#define GPU_WATCH_H

#include <stdbool.h>

#include "backend/backend.h"

// All ops of one kind and shape.
struct gpu_op {
    char name[32], shape[64];
    int calls;
    double flop;  // of one: 2 a multiplication with addition, channels as they are
    double bytes; // of one: each input once, each output once, as they are stored
    double us;    // of one; below 0: not measured
};

struct gpu_watch;

// All later calls of the device pass through it, until gpu_watch_close. One may be open at a time.
// With `measure`, sections are issued anew each time, and each op waits for the one before. The
// device is lent.
struct gpu_watch *gpu_watch_open(struct device *device, bool measure, int repeats);
void gpu_watch_close(struct gpu_watch *w); // accepts NULL

// Forgets the counts, and keeps the measurements.
void gpu_watch_reset(struct gpu_watch *w);
// The ops counted since the last reset; valid until the next op.
int gpu_watch_ops(const struct gpu_watch *w, const struct gpu_op **ret_ops);
// Floating point operations of all of them.
double gpu_watch_flop(const struct gpu_watch *w);

#endif
