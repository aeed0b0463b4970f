// gpu_check - what the parts of the program share: its options, and its table.
//
// A row is one case: `ok` or `FAIL`, the dtype, the worst value as a share of its bound, a
// description, and the values. Each value is one check. An error that is NaN fails.
#ifndef GPU_CHECK_H
#define GPU_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

#define GPU_DTYPES 3
extern const char *const gpu_dtypes[GPU_DTYPES]; // "fp32", "tf32", "bf16"

// The worst value of a dtype so far, as a share of its bound, and its description.
struct gpu_worst {
    double share;
    char what[120];
};

// The row between gpu_row and gpu_row_end.
struct gpu_row {
    const char *dtype;
    char what[120], values[500];
    double share; // the worst of its values
    bool failed;
};

// Shapes that missed their goals and are profiled, at most, and the bytes of a shape's text.
#define GPU_MISSED 4
#define GPU_SHAPE 64 // "resnet_9blocks,128,1"

// Options first, then the counts and the open row.
struct gpu_check {
    const char *device; // "cuda", or "cuda-host" to try the program itself
    const char *golden; // packed cases; NULL: none
    const char *shape;  // "resnet_9blocks,128,1": speed and profile of this one alone; NULL: of all
    const char *json;   // gpu_speed's figures are appended to this file; NULL: nowhere
    const char *dtype;  // this one alone; NULL: all
    uint64_t seed;      // of everything that is random
    bool small;         // small nets only: for the emulation, for compute-sanitizer
    int checks, failures, not_run;
    char missed[GPU_MISSED][GPU_SHAPE]; // shapes that missed their goal in bf16; profiled too
    int n_missed;
    struct gpu_worst worst[GPU_DTYPES];
    struct gpu_row row;
};

// Counts a check, and prints it.
void gpu_expect(struct gpu_check *g, bool right, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Counts and prints a check that is impossible here, with the words `not run`.
void gpu_not_run(struct gpu_check *g, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Begins a row. Values follow, then gpu_row_end prints it. dtype is one of gpu_dtypes, and lent.
void gpu_row(struct gpu_check *g, const char *dtype, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void gpu_value(struct gpu_check *g, const char *label, double error, double bound);
void gpu_row_end(struct gpu_check *g);

// Whether gpu_dtypes[i] is selected by the options.
bool gpu_wants(const struct gpu_check *g, int i);
// Whether devices that open from now on choose engines without measuring.
void gpu_untuned(bool untuned);

// Every op against the double-precision reference, outputs poisoned, inputs fresh.
void gpu_ops(struct gpu_check *g);
// Whole nets forward, and the gradients and losses of a step of each recipe.
void gpu_nets(struct gpu_check *g);
// The golden cases in fp32.
void gpu_golden(struct gpu_check *g);
// Two runs, recorded and issued steps, 10 + 10 and 20 steps are bit-equal, in every recipe.
void gpu_bits(struct gpu_check *g);
// A picture of 24 megapixels, a GPU with most of its memory held by others, and engines measured
// twice.
void gpu_large(struct gpu_check *g);
// Step time, memory and rate beside their goals.
void gpu_speed(struct gpu_check *g);
// Prints the shapes that it times. Returns 0.
int gpu_speed_shapes(const struct gpu_check *g);
// The time of each op of a step, beside the least time that the GPU could need.
void gpu_profile(struct gpu_check *g);

#endif
