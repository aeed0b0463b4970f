// plans - the engine of cuDNN that computes each convolution, and the text file of these choices.
//
// The engines decide the bits that a run computes. Therefore every checkpoint contains the plans,
// and a resumed run reads them. The file:
//
//   cuDNN plans 1
//   cudnn 91900
//   device 9.0 132 NVIDIA H200
//   forward bf16 n6 c256 h66 w66 k256 r3 s1 p0: engine 62 knobs 24=1 3=0
//   ...
//   end 48 3f2a...                 plans, and the FNV-1a sum of all bytes before this line
#ifndef CUDA_PLANS_H
#define CUDA_PLANS_H

#include <stdint.h>

#include "cuda/problem.h"

// The most knobs of a plan. An engine with more is not used.
#define CUDA_KNOBS 24

// An engine and its settings. The numbers are cuDNN's and mean nothing in another version.
struct cuda_plan {
    int64_t engine;
    int n_knobs;
    struct cuda_knob {
        int type; // cudnnBackendKnobType_t
        int64_t value;
    } knobs[CUDA_KNOBS];
};

struct cuda_plans;

// The engines' numbers hold for one version of cuDNN, as cudnnGetVersion returns it, and one
// device: "9.0 132 NVIDIA H200" (compute capability, multiprocessors, name). Starts empty.
struct cuda_plans *cuda_plans_new(int64_t cudnn, const char *device);
// Accepts NULL.
void cuda_plans_free(struct cuda_plans *p);

// The number of problems with a plan.
int cuda_plans_count(const struct cuda_plans *p);
// NULL if there is none. Lent until the next cuda_plans_add.
const struct cuda_plan *cuda_plans_find(const struct cuda_plans *p,
                                        const struct cuda_problem *problem);
// For a problem without a plan; a second plan is a bug. Copies both.
void cuda_plans_add(struct cuda_plans *p, const struct cuda_problem *problem,
                    const struct cuda_plan *plan);

// The file's text. Problems are sorted by their texts: the same plans make the same file. The
// caller frees it.
char *cuda_plans_write(const struct cuda_plans *p);
// Reads the whole text, which ends with a 0. `name` is the file's, for the error. Fails with
// ERR_FORMAT (names the line).
int cuda_plans_read(const char *name, const char *text, struct cuda_plans **ret_plans);
// Fails with ERR_MISMATCH if the plans are of another cuDNN or device.
int cuda_plans_check(const struct cuda_plans *p, const char *name, int64_t cudnn,
                     const char *device);

#endif
