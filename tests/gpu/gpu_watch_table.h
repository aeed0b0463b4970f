// gpu_watch_table - what gpu_watch.c and gpu_watch_table.c share. Private to them.
#ifndef GPU_WATCH_TABLE_H
#define GPU_WATCH_TABLE_H

#include "gpu/gpu_watch.h"

struct watched_conv {
    const struct device_conv *conv;
    struct conv_shape shape;
};

// The table that replaces the device's, and the counts.
struct gpu_watch {
    struct backend table;        // what the model calls
    const struct backend *under; // the device's own
    struct device *device;
    bool measure, in_section;
    int repeats;
    struct device_values values; // of the model's section
    int n_convs, n_ops;
    struct watched_conv *convs;
    struct gpu_op *ops;
    // Of the op under way:
    struct device_section *section; // NULL: it is issued once, and not measured
    int op, round, left;
};

// The one that is open: entries of a table have no other argument to find it.
extern struct gpu_watch *gpu_watch_now;

// The work of one op, and the bytes that it reads and writes at least.
struct gpu_work {
    double flop, bytes;
};

// An entry of the table. begin counts the op. The entry issues it while `again` is true; `done`
// ends it and returns err. `format` and its arguments name the op's shape.
int gpu_watch_begin(struct gpu_watch *w, const char *name, struct gpu_work work, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));
bool gpu_watch_again(struct gpu_watch *w, int *err);
int gpu_watch_done(struct gpu_watch *w, int err);

// Replaces the entries of a copy of the device's table.
void gpu_watch_fill(struct backend *b, bool measure);

#endif
