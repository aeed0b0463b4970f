// gpu_check - what the parts of the program share.
#ifndef GPU_CHECK_H
#define GPU_CHECK_H

#include <stdbool.h>

#include "backend.h"

struct gpu_check {
    const char *device; // "cuda", or "cuda-host" to try the program itself
    const char *golden; // packed cases; NULL: none
    const char *shape;  // "resnet_9blocks,128,1": speed and profile of this one alone; NULL: of all
    const char *json;   // gpu_speed's figures are appended to this file; NULL: nowhere
    bool small;         // small nets only: for the emulation, for compute-sanitizer
    int checks, failures, not_run;
};

// Counts a check, and prints it.
void gpu_expect(struct gpu_check *g, bool right, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Counts and prints what could not be looked at, in the words `not run`.
void gpu_not_run(struct gpu_check *g, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Every op against the double-precision reference, outputs poisoned, inputs fresh.
void gpu_ops(struct gpu_check *g);
// The golden cases in fp32.
void gpu_golden(struct gpu_check *g);
// Two runs, and a run with the plan file of another, are bit-equal.
void gpu_bits(struct gpu_check *g);
// Step time, memory and rate, the goals beside them.
void gpu_speed(struct gpu_check *g);
// The time of each op of a step beside what it could be.
void gpu_profile(struct gpu_check *g);

#endif
