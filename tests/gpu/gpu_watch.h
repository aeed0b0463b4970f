// gpu_watch - stands between a model and its device: counts the ops of a step by kind and shape,
// what they have to compute and to move, and takes the time of each by itself.
//
// Time: the first op of each kind and shape is issued `repeats` times as a section of its own, on
// the buffers it has in the step; that section, recorded, is launched once and several times more,
// and the difference is what an op takes in a recorded step with nothing beside it. Small tensors
// are in the L2 cache then, as they mostly are in a step.
#ifndef GPU_WATCH_H
#define GPU_WATCH_H

#include <stdbool.h>

#include "backend/backend.h"

struct gpu_op {
    char name[32], shape[64];
    int calls;
    double flop;  // of one: 2 a multiplication with addition, channels as they are
    double bytes; // of one: each input once, each output once, as they are stored
    double us;    // of one; below 0: not measured
};

struct gpu_watch;

// Between every later call and the device, until gpu_watch_close; one at a time. With `measure`,
// sections are issued anew each time and ops wait for one another. The device is lent.
struct gpu_watch *gpu_watch_open(struct device *device, bool measure, int repeats);
void gpu_watch_close(struct gpu_watch *w); // accepts NULL

// Forgets what was counted, keeps what was measured.
void gpu_watch_reset(struct gpu_watch *w);
// What was counted since; good until the next op.
int gpu_watch_ops(const struct gpu_watch *w, const struct gpu_op **ret_ops);
double gpu_watch_flop(const struct gpu_watch *w);

#endif
