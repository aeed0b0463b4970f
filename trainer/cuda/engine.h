// engine - cuDNN's backend graph API, as far as single convolutions need it: a problem's
// operation graph, the engines that can compute it, and execution plans. Private to cuda_conv*.c.
//
// Nothing here needs a GPU: with a described device (its properties as JSON) plans are chosen and
// finalized all the same; they only cannot be executed.
#ifndef CUDA_ENGINE_H
#define CUDA_ENGINE_H

#include <cudnn.h>

#include "cuda/plans.h"

typedef cudnnBackendDescriptor_t cudnn_object; // cuDNN's own type is a typedef of a pointer

// Where plans are made for.
struct cuda_target {
    cudnnHandle_t handle; // of the current device; NULL: a described one
    cudnn_object device;  // the described one's properties; NULL with a handle
    bool warm;            // engines have been tried until the device ran at its speed
};

// Of the current device, or of `json`. Fails with ERR_DEVICE.
int cuda_target_open(const char *json, struct cuda_target *ret_target);
void cuda_target_close(struct cuda_target *t);

struct cuda_op_graph {
    struct cuda_problem problem;
    cudnn_object tensors[3]; // x, filter, y; their ids are 1, 2, 3
    cudnn_object convolution, operation, graph;
};

// Fails with ERR_DEVICE (says what cuDNN says), ERR_DEVICE_LOST. A problem is only read afterwards.
int cuda_op_graph_init(struct cuda_op_graph *g, const struct cuda_problem *problem,
                       const struct cuda_target *target);
void cuda_op_graph_fini(struct cuda_op_graph *g);

// An execution plan.
struct cuda_built {
    struct cuda_plan plan; // how it was made
    cudnn_object object;
    size_t workspace_bytes;
    bool tensor_core;
};
void cuda_built_fini(struct cuda_built *b);

// The plan that an engine and its knobs make. Fails with ERR_DEVICE, ERR_DEVICE_LOST.
int cuda_plan_build(const struct cuda_op_graph *g, const struct cuda_target *target,
                    const struct cuda_plan *plan, struct cuda_built *ret_built);

// Up to `max` plans, cuDNN's best guess first: heuristics mode A, then the fallback list, then
// every engine as it comes. Only engines that say of themselves that they are deterministic, that
// round no inputs below the math asked for, that transform nothing (no Winograd, no FFT) and that
// are not compiled at run time. Returns how many; each is to be finished by cuda_built_fini.
int cuda_candidates(const struct cuda_op_graph *g, const struct cuda_target *target, int max,
                    struct cuda_built *ret_built);

// What cuDNN last complained about on this thread.
const char *cuda_engine_complaint(void);

#endif
