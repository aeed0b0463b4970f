// Operation graphs, engines and plans in cuDNN's backend API. A descriptor is made, gets its
// attributes, and is finalized; then it no longer changes. Chains of && stop at the first call that
// fails.
#include "cuda/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/dnn.h"

// Tensor i of a graph has the id ID_X + i.
enum { ID_X = 1 };
// Suggestions that are read from one list of heuristics.
#define OFFERED 64

// cuDNN's text for the last call that failed on this thread.
static _Thread_local char complaint[512];

const char *cuda_engine_complaint(void) {
    return complaint;
}

// Every call of cuDNN passes through here, so that its text is kept.
static bool ok(cudnnStatus_t status) {
    if (status == CUDNN_STATUS_SUCCESS)
        return true;
    cuda_dnn_text(status, complaint, sizeof complaint);
    return false;
}

static bool make(cudnnBackendDescriptorType_t type, cudnn_object *ret) {
    *ret = NULL;
    return ok(cudnnBackendCreateDescriptor(type, ret));
}

static void drop(cudnn_object *object) {
    if (*object)
        (void)cudnnBackendDestroyDescriptor(*object); // its failure changes nothing
    *object = NULL;
}

static bool put(cudnn_object object, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    return ok(cudnnBackendSetAttribute(object, name, type, count, values));
}

static bool put_object(cudnn_object object, cudnnBackendAttributeName_t name, cudnn_object value) {
    return put(object, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static bool get(cudnn_object object, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t max, int64_t *ret_count, void *ret) {
    *ret_count = 0;
    return ok(cudnnBackendGetAttribute(object, name, type, max, ret_count, ret));
}

static bool finish(cudnn_object object) {
    return ok(cudnnBackendFinalize(object));
}

static bool describe(const char *json, cudnn_object *ret) {
    return make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, ret) &&
           put(*ret, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
               (int64_t)strlen(json), json) &&
           finish(*ret);
}

int cuda_target_open(const char *json, struct cuda_target *ret_target) {
    struct cuda_target t = {0};
    bool good = json ? describe(json, &t.device) : ok(cudnnCreate(&t.handle));

    if (good) {
        *ret_target = t;
        return ERR_OK;
    }
    cuda_target_close(&t);
    return err_set(ERR_DEVICE, "cuDNN does not take the device: %s", complaint);
}

void cuda_target_close(struct cuda_target *t) {
    drop(&t->device);
    if (t->handle)
        (void)cudnnDestroy(t->handle); // its failure changes nothing
    t->handle = NULL;
}

// Tensors are [n,h,w,c] in memory, but cuDNN counts dimensions as n,c,h,w: strides say the rest.
// Engines may rely on the alignment of 16 bytes, which conv.h demands.
static bool make_tensor(int which, cudnnDataType_t type, const int size[4], cudnn_object *ret) {
    int64_t id = ID_X + which, alignment = 16;
    int64_t n = size[0], h = size[1], w = size[2], c = size[3];
    int64_t sizes[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c};

    return make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, ret) &&
           put(*ret, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id) &&
           put(*ret, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
           put(*ret, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes) &&
           put(*ret, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides) &&
           put(*ret, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment) &&
           finish(*ret);
}

static bool make_tensors(struct cuda_op_graph *g) {
    const struct cuda_problem *s = &g->problem;
    cudnnDataType_t type = s->math == MATH_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    int ho, wo;

    cuda_problem_output(s, &ho, &wo);
    return make_tensor(0, type, (int[]){s->n, s->h, s->w, s->c}, &g->tensors[0]) &&
           make_tensor(1, type, (int[]){s->k, s->r, s->r, s->c}, &g->tensors[1]) &&
           make_tensor(2, type, (int[]){s->n, ho, wo, s->k}, &g->tensors[2]);
}

// Sums are float in every math. Padding is zeros, and the filter is not turned (cross-correlation).
static bool make_convolution(const struct cuda_problem *s, cudnn_object *ret) {
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t axes = 2, pad[2] = {s->pad, s->pad}, stride[2] = {s->stride, s->stride};
    int64_t dilation[2] = {1, 1};

    return make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, ret) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation) &&
           put(*ret, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride) &&
           finish(*ret);
}

// The descriptors and attributes of the three passes. `tensors` are x, filter and y in that order.
static const struct operation {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, tensors[3], alpha, beta;
} operations[] = {
    [PASS_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                      {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [PASS_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                   {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [PASS_FILTER] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                     {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static bool make_operation(struct cuda_op_graph *g) {
    const struct operation *o = &operations[g->problem.pass];
    // The output is overwritten. Accumulation is the caller's, in float.
    float alpha = 1, beta = 0;

    if (!make(o->type, &g->operation) || !put_object(g->operation, o->convolution, g->convolution))
        return false;
    for (int i = 0; i < 3; i++)
        if (!put_object(g->operation, o->tensors[i], g->tensors[i]))
            return false;
    return put(g->operation, o->alpha, CUDNN_TYPE_FLOAT, 1, &alpha) &&
           put(g->operation, o->beta, CUDNN_TYPE_FLOAT, 1, &beta) && finish(g->operation);
}

// A graph takes a handle. A described device is given to the engines instead.
static bool make_graph(struct cuda_op_graph *g, const struct cuda_target *target) {
    return make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph) &&
           put_object(g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, g->operation) &&
           (!target->handle || put(g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                   &target->handle)) &&
           finish(g->graph);
}

int cuda_op_graph_init(struct cuda_op_graph *g, const struct cuda_problem *problem,
                       const struct cuda_target *target) {
    char text[CUDA_PROBLEM_TEXT];

    *g = (struct cuda_op_graph){.problem = *problem};
    if (make_tensors(g) && make_convolution(problem, &g->convolution) && make_operation(g) &&
        make_graph(g, target))
        return ERR_OK;
    cuda_op_graph_fini(g);
    cuda_problem_print(problem, text);
    if (cuda_dnn_lost(target->handle, text, complaint))
        return ERR_DEVICE_LOST;
    return err_set(ERR_DEVICE, "cuDNN does not take the convolution %s: %s", text, complaint);
}

void cuda_op_graph_fini(struct cuda_op_graph *g) {
    drop(&g->graph);
    drop(&g->operation);
    drop(&g->convolution);
    for (int i = 0; i < 3; i++)
        drop(&g->tensors[i]);
}

void cuda_built_fini(struct cuda_built *b) {
    drop(&b->object);
}

// An engine's notes as a set of bits; all their numbers are below 32.
static unsigned notes(cudnn_object engine, cudnnBackendAttributeName_t name,
                      cudnnBackendAttributeType_t type) {
    int values[16];
    int64_t count;
    unsigned bits = 0;

    if (get(engine, name, type, COUNT(values), &count, values))
        for (int64_t i = 0; i < MIN(count, (int64_t)COUNT(values)); i++)
            bits |= 1u << values[i];
    return bits;
}

#define NOTE(name) (1u << CUDNN_NUMERICAL_NOTE_##name)
#define BEHAVIOR(name) (1u << CUDNN_BEHAVIOR_NOTE_##name)

// See cuda_candidates for the reasons. The int8 reorderings would need weights in another layout.
static bool is_usable(cudnn_object engine, enum cuda_math math, bool *ret_tensor_core) {
    const unsigned transforms = NOTE(FFT) | NOTE(WINOGRAD) | NOTE(WINOGRAD_TILE_4x4) |
                                NOTE(WINOGRAD_TILE_6x6) | NOTE(WINOGRAD_TILE_13x13);
    const unsigned rounds = NOTE(DOWN_CONVERT_INPUTS) | NOTE(REDUCED_PRECISION_REDUCTION);
    const unsigned needs = BEHAVIOR(RUNTIME_COMPILATION) |
                           BEHAVIOR(REQUIRES_FILTER_INT8x32_REORDER) |
                           BEHAVIOR(REQUIRES_BIAS_INT8x32_REORDER);
    unsigned numerical = notes(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
    unsigned behavior = notes(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);

    *ret_tensor_core = numerical & NOTE(TENSOR_CORE);
    // Tensor cores round fp32 inputs to tf32.
    if (math == MATH_FP32 && *ret_tensor_core)
        return false;
    return !(numerical & (transforms | rounds | NOTE(NONDETERMINISTIC))) && !(behavior & needs);
}

// A knob choice: its type and value.
static bool read_knob(cudnn_object choice, struct cuda_knob *ret) {
    cudnnBackendKnobType_t type;
    int64_t count;

    if (!get(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &count, &type) ||
        !get(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &count, &ret->value))
        return false;
    ret->type = (int)type;
    return true;
}

// Objects that are not made stay NULL, so that drop_all may follow a failure.
static bool make_all(cudnnBackendDescriptorType_t type, int count, cudnn_object *ret) {
    bool good = true;

    for (int i = 0; i < count; i++)
        good = make(type, &ret[i]) && good;
    return good;
}

static void drop_all(int count, cudnn_object *objects) {
    for (int i = 0; i < count; i++)
        drop(&objects[i]);
}

// The knobs of a configuration. cuDNN fills in descriptors that the caller made.
static bool read_knobs(cudnn_object configuration, struct cuda_plan *ret_plan) {
    cudnn_object choices[CUDA_KNOBS];
    int64_t count = 0;
    bool good = make_all(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDA_KNOBS, choices) &&
                get(configuration, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    CUDA_KNOBS, &count, choices) &&
                count <= CUDA_KNOBS;

    for (int64_t i = 0; i < count && good; i++)
        good = read_knob(choices[i], &ret_plan->knobs[i]);
    ret_plan->n_knobs = good ? (int)count : 0;
    drop_all(CUDA_KNOBS, choices);
    return good;
}

// The engine and knobs of a configuration; false if the engine may not be used.
static bool read_configuration(cudnn_object configuration, enum cuda_math math,
                               struct cuda_built *ret) {
    cudnn_object engine;
    int64_t count;
    bool good = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) &&
                get(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                    &count, &engine) &&
                get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count,
                    &ret->plan.engine) &&
                is_usable(engine, math, &ret->tensor_core);

    drop(&engine);
    return good && read_knobs(configuration, &ret->plan);
}

// Makes an execution plan of a configuration. The engine may still refuse when it is finalized.
static bool build(cudnn_object configuration, const struct cuda_target *target,
                  struct cuda_built *b) {
    int64_t count, bytes = 0;
    bool good = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &b->object) &&
                put_object(b->object, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration) &&
                (target->handle ? put(b->object, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                                      CUDNN_TYPE_HANDLE, 1, &target->handle)
                                : put_object(b->object, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                             target->device)) &&
                finish(b->object) &&
                get(b->object, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                    &count, &bytes);

    if (!good)
        drop(&b->object);
    // cuDNN gives an int64_t; a negative one would become a huge size.
    b->workspace_bytes = (size_t)MAX(bytes, 0);
    return good;
}

static bool put_knob(const struct cuda_knob *knob, cudnn_object choice) {
    cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)knob->type;

    return put(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type) &&
           put(choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &knob->value) &&
           finish(choice);
}

// The engine with an index, for this graph. Not every index takes every graph.
static bool make_engine(const struct cuda_op_graph *g, const struct cuda_target *target,
                        int64_t index, cudnn_object *ret) {
    return make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, ret) &&
           put_object(*ret, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, g->graph) &&
           put(*ret, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index) &&
           (target->handle || put_object(*ret, CUDNN_ATTR_ENGINE_DEVICEPROP, target->device)) &&
           finish(*ret);
}

// cuDNN uses its defaults for knobs that the plan does not name.
static bool configure(cudnn_object engine, const struct cuda_plan *plan, cudnn_object *ret) {
    cudnn_object choices[CUDA_KNOBS] = {0};
    bool good = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, ret) &&
                put_object(*ret, CUDNN_ATTR_ENGINECFG_ENGINE, engine) &&
                make_all(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, plan->n_knobs, choices);

    for (int i = 0; i < plan->n_knobs && good; i++)
        good = put_knob(&plan->knobs[i], choices[i]);
    if (good && plan->n_knobs)
        good = put(*ret, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   plan->n_knobs, choices);
    good = good && finish(*ret);
    drop_all(plan->n_knobs, choices);
    return good;
}

// Like cuda_plan_build; false if cuDNN refuses or the engine may not be used.
static bool build_plan(const struct cuda_op_graph *g, const struct cuda_target *target,
                       const struct cuda_plan *plan, struct cuda_built *ret) {
    struct cuda_built b = {.plan = *plan};
    cudnn_object engine = NULL, configuration = NULL;
    bool good = make_engine(g, target, plan->engine, &engine) &&
                is_usable(engine, g->problem.math, &b.tensor_core) &&
                configure(engine, plan, &configuration) && build(configuration, target, &b);

    drop(&configuration);
    drop(&engine);
    if (good)
        *ret = b;
    return good;
}

int cuda_plan_build(const struct cuda_op_graph *g, const struct cuda_target *target,
                    const struct cuda_plan *plan, struct cuda_built *ret_built) {
    char text[CUDA_PROBLEM_TEXT];

    // An engine that is_usable refuses leaves no text of cuDNN's.
    complaint[0] = 0;
    if (build_plan(g, target, plan, ret_built))
        return ERR_OK;
    cuda_problem_print(&g->problem, text);
    if (cuda_dnn_lost(target->handle, text, complaint))
        return ERR_DEVICE_LOST;
    return err_set(ERR_DEVICE, "cuDNN's engine %lld cannot compute %s as it is set: %s",
                   (long long)plan->engine, text,
                   complaint[0] ? complaint : "it may not be used here");
}

// Appends the usable plans of one list of heuristics; returns the new count.
static int offered(const struct cuda_op_graph *g, const struct cuda_target *target,
                   cudnnBackendHeurMode_t mode, int count, int max, struct cuda_built *ret) {
    cudnn_object heuristics = NULL, list[OFFERED] = {0};
    int64_t n = 0;
    bool good = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics) &&
                put_object(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph) &&
                put(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) &&
                (target->handle ||
                 put_object(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target->device)) &&
                finish(heuristics) && make_all(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, OFFERED, list) &&
                get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    OFFERED, &n, list);

    for (int64_t i = 0; good && i < MIN(n, OFFERED) && count < max; i++) {
        struct cuda_built b = {0};
        if (read_configuration(list[i], g->problem.math, &b) && build(list[i], target, &b))
            ret[count++] = b;
    }
    drop_all(OFFERED, list);
    drop(&heuristics);
    return count;
}

// Appends plans of all engines that take the graph, with default knobs.
static int every_engine(const struct cuda_op_graph *g, const struct cuda_target *target, int count,
                        int max, struct cuda_built *ret) {
    int64_t n = 0, one;

    if (!get(g->graph, CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64, 1, &one,
             &n))
        return count;
    for (int64_t i = 0; i < n && count < max; i++) {
        struct cuda_plan plan = {.engine = i};
        if (build_plan(g, target, &plan, &ret[count]))
            count++;
    }
    return count;
}

int cuda_candidates(const struct cuda_op_graph *g, const struct cuda_target *target, int max,
                    struct cuda_built *ret_built) {
    int count = offered(g, target, CUDNN_HEUR_MODE_A, 0, max, ret_built);

    if (!count)
        count = offered(g, target, CUDNN_HEUR_MODE_FALLBACK, 0, max, ret_built);
    return count ? count : every_engine(g, target, 0, max, ret_built);
}
