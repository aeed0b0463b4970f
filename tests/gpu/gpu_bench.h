// gpu_bench - operands of single ops, on the device and, the same numbers in double, for the judge.
//
// Inputs are rounded to the element's type before the judge sees them. Outputs and workspaces are
// poisoned with NaN. Behind every operand lies a guard that no op may touch.
#ifndef GPU_BENCH_H
#define GPU_BENCH_H

#include "gpu/gpu_check.h"

// Bounds on the relative error; of what is float on every device (parameters, statistics, losses)
// it is GPU_FLOATS.
struct gpu_mode {
    const char *dtype;
    double op, gradient;      // of ops but convolutions; of norms' and losses' gradients
    double conv, conv_filter; // of convolutions; of a filter's gradient
};
#define GPU_FLOATS 1e-5

struct bench {
    struct gpu_check *g;
    const struct gpu_mode *mode;
    struct device *d;
    bool two_passes;     // instance norm is forced to take two
    bool rounds_to_tf32; // as tensor cores round
    uint64_t drawn;
};

// The device's error ends the program: nothing behind it could be judged.
void bench_must(int err);

// A fresh number in [-1,1), as the element's type holds it, or float.
double bench_draw(struct bench *b);
double bench_draw_float(struct bench *b);

// A tensor [n, h+2 pad, w+2 pad, c].
struct operand {
    struct tensor_shape shape;
    int pad;
    size_t pixels, count, bytes;
    double *host;
    void *memory;
};

struct operand operand_in(struct bench *b, struct tensor_shape s, int pad);
struct operand operand_out(struct bench *b, struct tensor_shape s, int pad);
// After a change of host, which is rounded.
void operand_send(struct bench *b, struct operand *o);
void operand_poison(struct bench *b, struct operand *o);
void operand_drop(struct bench *b, struct operand *o); // accepts one that was never made
// ||device - host|| / ||host||, or a twentieth of the worst number's error, which is relative to
// itself and the root mean square, if that is more; infinite where a surplus channel is not zero
// or the guard was touched.
double operand_error(struct bench *b, const struct operand *o);
// The device's numbers, [pixels,c].
void operand_fetch(struct bench *b, const struct operand *o, double *ret);

// Floats on every device: parameters, statistics, moments.
struct floats {
    size_t count;
    double least; // the error is relative to no less than this root mean square: of sums that
                  // may cancel
    double *host;
    void *memory;
};
struct floats floats_in(struct bench *b, size_t count);
struct floats floats_out(struct bench *b, size_t count);
void floats_send(struct bench *b, struct floats *f); // host is rounded to float
void floats_poison(struct bench *b, struct floats *f);
void floats_drop(struct bench *b, struct floats *f);
double floats_error(struct bench *b, const struct floats *f);

// Poisoned (its first 32 MiB); freed with memory_free.
void *bench_workspace(struct bench *b, size_t bytes);

// Runs `ops` in a section with these values; a second time they may come from a recording.
void bench_section(struct bench *b, struct device_section *section,
                   const struct device_values *values, void (*ops)(struct bench *b, void *context),
                   void *context);

// The loss in shared memory: a place for it, poisoned.
double *bench_loss(struct bench *b);
// Its error, relative to `want` or 0.1 if that is less, after everything issued has ended; frees
// the place.
double bench_loss_error(struct bench *b, double *loss, double want);

// The ops by theme.
void gpu_convs(struct bench *b);
void gpu_large_convs(struct bench *b); // those of nets as they are used
void gpu_norms(struct bench *b);
void gpu_heads(struct bench *b);
void gpu_losses(struct bench *b);
void gpu_params(struct bench *b);

#endif
