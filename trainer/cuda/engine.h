// engine - cuDNN's backend graph API, as far as single convolutions need it: a problem's operation
// graph, the engines that can compute it, and execution plans. Private to conv.c and tune.c.
//
// Nothing here needs a GPU. With a described device (its properties as JSON) plans are chosen and
// finalized all the same; they only cannot be executed.
#ifndef CUDA_ENGINE_H
#define CUDA_ENGINE_H

#include <cudnn.h>

#include "cuda/plans.h"

typedef cudnnBackendDescriptor_t cudnn_object; // cuDNN's own type is a typedef of a pointer

// The device that plans are made for: that of a handle, or a described one.
struct cuda_target {
    cudnnHandle_t handle; // of the current device; NULL: a described one
    cudnn_object device;  // the described one's properties; NULL with a handle
    bool warm;            // engines have been tried until the device ran at its speed
};

// Of the current device, or of `json`. Fails with ERR_DEVICE.
// Opens the current device, or the one that `json` describes (NULL: none). Fails with ERR_DEVICE.
int cuda_target_open(const char *json, struct cuda_target *ret_target);
// Accepts what is half open.
void cuda_target_close(struct cuda_target *t);

// A problem as cuDNN's descriptors: three tensors, the convolution, the operation, and the graph
// that contains it.
struct cuda_op_graph {
    struct cuda_problem problem;
    cudnn_object tensors[3]; // x, filter, y; their ids are 1, 2, 3
    cudnn_object convolution, operation, graph;
};

// Only read afterwards. Fails with ERR_DEVICE (with cuDNN's text), ERR_DEVICE_LOST; nothing is left
// then.
int cuda_op_graph_init(struct cuda_op_graph *g, const struct cuda_problem *problem,
                       const struct cuda_target *target);
void cuda_op_graph_fini(struct cuda_op_graph *g);

// An execution plan, ready to run on its target.
struct cuda_built {
    struct cuda_plan plan; // how it was made
    cudnn_object object;
    size_t workspace_bytes;
    bool tensor_core;
};
// Accepts one that was not built, if its `object` is NULL.
void cuda_built_fini(struct cuda_built *b);

// Builds the plan of an engine and its knobs, which give the same plan every time. Fails with
// ERR_DEVICE, ERR_DEVICE_LOST.
int cuda_plan_build(const struct cuda_op_graph *g, const struct cuda_target *target,
                    const struct cuda_plan *plan, struct cuda_built *ret_built);

// Builds up to `max` plans, cuDNN's best guess first: heuristics mode A, else the fallback list,
// else every engine with default knobs. The caller ends each with cuda_built_fini. Returns their
// number.
//
// Only engines qualify that
//   declare themselves deterministic       a run can be repeated bit for bit
//   round no inputs below the math          the dtype means what it says
//   transform nothing (no Winograd, FFT)    their rounding errors are larger
//   are not compiled at run time            a start would take long
int cuda_candidates(const struct cuda_op_graph *g, const struct cuda_target *target, int max,
                    struct cuda_built *ret_built);

// cuDNN's text for its last failure on this thread; "" if there was none.
const char *cuda_engine_complaint(void);

#endif
