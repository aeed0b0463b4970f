// gpu_bench - operands of single ops: on the device and, with the same numbers in double, for the
// judge.
//
// Inputs are rounded to the element's type before the judge reads them. Outputs and workspaces are
// poisoned with NaN. A guard of 256 bytes follows every operand; no op may write to it.
#ifndef GPU_BENCH_H
#define GPU_BENCH_H

#include "gpu/gpu_check.h"

// A dtype and its bounds on the relative error. Numbers that are float on every device (parameters,
// statistics, losses) have the bound GPU_FLOATS.
struct gpu_mode {
    const char *dtype;
    double op, gradient;      // of ops but convolutions; of norms' and losses' gradients
    double conv, conv_filter; // of convolutions; of a filter's gradient
};
#define GPU_FLOATS 1e-5

// What the cases of one dtype share. `drawn` counts random numbers, so that all operands differ.
struct bench {
    struct gpu_check *g;
    const struct gpu_mode *mode;
    struct device *d;
    bool two_passes;     // instance norm is forced to take two
    bool rounds_to_tf32; // as tensor cores round
    uint64_t drawn;
};

// Ends the program with the device's error: after it, nothing could be judged.
void bench_must(int err);

// A fresh random number in [-1,1), rounded to the element's type, or to float.
double bench_draw(struct bench *b);
double bench_draw_float(struct bench *b);

// A tensor [n, h+2 pad, w+2 pad, c]. host is [pixels,c] in double, without surplus channels; memory
// is the device's.
struct operand {
    struct tensor_shape shape;
    int pad;
    size_t pixels, count, bytes;
    double *host;
    void *memory;
};

// An input of random numbers, or an output of NaN. operand_drop frees it.
struct operand operand_in(struct bench *b, struct tensor_shape s, int pad);
struct operand operand_out(struct bench *b, struct tensor_shape s, int pad);
// Sends host to the device after a change. host is rounded to the element's type.
void operand_send(struct bench *b, struct operand *o);
// Fills all elements with NaN.
void operand_poison(struct bench *b, struct operand *o);
// Accepts one that was never made.
void operand_drop(struct bench *b, struct operand *o); // accepts one that was never made
// |device - host|| / ||host||. If more, a twentieth of the worst number's error, relative to the
// number and the root mean square. Infinite if a surplus channel is not zero or the guard was
// touched.
double operand_error(struct bench *b, const struct operand *o);
// Reads the device's numbers, [pixels,c].
void operand_fetch(struct bench *b, const struct operand *o, double *ret);

// Numbers that are float on every device: parameters, statistics, moments.
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

// A workspace; its first 32 MiB are poisoned. The caller frees it with memory_free.
void *bench_workspace(struct bench *b, size_t bytes);

// Runs `ops` in a section with these values. The second call for a section may repeat a recording.
void bench_section(struct bench *b, struct device_section *section,
                   const struct device_values *values, void (*ops)(struct bench *b, void *context),
                   void *context);

// A poisoned double in shared memory, for a loss.
double *bench_loss(struct bench *b);
// Waits for everything issued, and frees `loss`. Returns its error, relative to `want` or to 0.1 if
// that is more.
double bench_loss_error(struct bench *b, double *loss, double want);

// The ops by theme.
void gpu_convs(struct bench *b);
void gpu_large_convs(struct bench *b); // those of nets as they are used
void gpu_norms(struct bench *b);
void gpu_heads(struct bench *b);
void gpu_losses(struct bench *b);
void gpu_params(struct bench *b);

#endif
