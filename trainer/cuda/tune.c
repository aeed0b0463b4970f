// Measures plans of cuDNN: each is recorded as a graph, launched repeatedly, and timed by events.
#include "cuda/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "cuda/dnn.h"
#include "cuda/error.h"
#include "cuda/trial.h"

#define INNER 5              // executions a repetition
#define REPETITIONS 9        // of which the median counts
#define FIRST 2              // that are made of every plan
#define HOPELESS 1.5f        // first repetitions that much slower end the trial
#define WARM_US 10000        // of work before anything is measured
#define FIRST_WARM_US 300000 // before the first problem's: the clocks rise from idle
#define SMALL_WORKSPACE ((size_t)64 << 20)
#define PATTERN ((size_t)1 << 18) // bytes of random numbers, repeated over the tensors

// The buffers of one problem's measurements, and the stream that they run on.
struct trial {
    struct cuda_target *target;
    cudaStream_t stream;
    struct cuda_trial room;
    cudnn_object pack;
    cudaEvent_t between[REPETITIONS + 1]; // repetitions
    int left_out;                         // engines that cannot be run or recorded
    char why[400];                        // the last of them was
};

// Numbers in [-1,1) of the element's type. Zeros draw less power and would run at higher clocks.
static void *random_pattern(enum cuda_math math) {
    size_t element = cuda_math_bytes(math);
    char *numbers = xmalloc(PATTERN);

    for (size_t i = 0; i < PATTERN / element; i++) {
        float x = (float)(2 * rng_uniform(1, RNG_TEST, i, 0) - 1);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        // A bfloat16 is the upper half of a float.
        uint16_t high = (uint16_t)(bits >> 16);
        memcpy(numbers + i * element, math == MATH_BF16 ? (void *)&high : (void *)&x, element);
    }
    return numbers;
}

// Each copy doubles what is filled. The work of the stream comes after it in any case.
static cudaError_t fill_from(const struct trial *t, const char *pattern, size_t bytes) {
    char *memory = t->room.memory;
    size_t done = MIN(PATTERN, bytes), more;
    cudaError_t code = cudaMemcpyAsync(memory, pattern, done, cudaMemcpyHostToDevice, t->stream);

    for (; done < bytes && code == cudaSuccess; done += more) {
        more = MIN(done, bytes - done);
        code = cudaMemcpyAsync(memory + done, memory, more, cudaMemcpyDeviceToDevice, t->stream);
    }
    // The caller frees the pattern.
    return code == cudaSuccess ? cudaStreamSynchronize(t->stream) : code;
}

static int fill(const struct trial *t, enum cuda_math math, size_t bytes) {
    char *pattern = random_pattern(math);
    cudaError_t code = fill_from(t, pattern, bytes);

    free(pattern);
    return code == cudaSuccess ? ERR_OK : cuda_error(ERR_DEVICE, "filling a trial's memory", code);
}

static int trial_init(struct trial *t, const struct cuda_op_graph *g, size_t workspace_bytes) {
    int err = cuda_trial_init(&t->room, &g->problem, workspace_bytes);

    if (!err)
        err = fill(t, g->problem.math, t->room.operand_bytes);
    if (err)
        return err;
    for (int i = 0; i <= REPETITIONS; i++)
        CUDA(ERR_DEVICE, cudaEventCreate(&t->between[i]));
    cudnnStatus_t status =
        cuda_dnn_pack((void *const *)t->room.operands, t->room.workspace, &t->pack);
    if (status != CUDNN_STATUS_SUCCESS)
        return cuda_dnn_error(ERR_DEVICE, "a trial's buffers", status, t->target->handle);
    return ERR_OK;
}

// Errors that matter were reported where they happened; those of closing are ignored.
static void trial_fini(struct trial *t) {
    if (t->pack)
        (void)cudnnBackendDestroyDescriptor(t->pack);
    for (int i = 0; i <= REPETITIONS; i++)
        if (t->between[i])
            (void)cudaEventDestroy(t->between[i]);
    cuda_trial_fini(&t->room);
}

// Another engine will do, unless the device is lost. The cause is `status`, or `code` if cuDNN was
// content.
static int leave_out(struct trial *t, const char *what, cudnnStatus_t status, cudaError_t code) {
    char text[300];

    if (status != CUDNN_STATUS_SUCCESS)
        cuda_dnn_text(status, text, sizeof text);
    else
        (void)text_copy(text, sizeof text, cudaGetErrorString(code)); // fits
    (void)snprintf(t->why, sizeof t->why, "%s: %s", what, text);      // fits
    t->left_out++;
    (void)cudaGetLastError(); // reported here
    // A lost device shows here.
    CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    return ERR_OK;
}

static cudnnStatus_t execute(const struct trial *t, const struct cuda_built *plan, int count) {
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;

    for (int i = 0; i < count && status == CUDNN_STATUS_SUCCESS; i++)
        status = cudnnBackendExecute(t->target->handle, plan->object, t->pack);
    return status;
}

// A graph of INNER executions, so that the cost of a launch is shared. NULL if the engine cannot be
// run or recorded.
static int record(struct trial *t, const struct cuda_built *plan, cudaGraphExec_t *ret) {
    cudaGraph_t graph = NULL;

    *ret = NULL;
    // Once without a capture: modules load at their first use, which a capture may not allow.
    cudnnStatus_t status = execute(t, plan, 1);
    if (status != CUDNN_STATUS_SUCCESS)
        return leave_out(t, "running", status, cudaSuccess);
    CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    CUDA(ERR_DEVICE, cudaStreamBeginCapture(t->stream, cudaStreamCaptureModeThreadLocal));
    status = execute(t, plan, INNER);
    cudaError_t code = cudaStreamEndCapture(t->stream, &graph);
    if (status == CUDNN_STATUS_SUCCESS && code == cudaSuccess)
        code = cudaGraphInstantiate(ret, graph, 0);
    if (graph)
        (void)cudaGraphDestroy(graph); // the copy that is launched stays
    if (status == CUDNN_STATUS_SUCCESS && code == cudaSuccess)
        return ERR_OK;
    return leave_out(t, "recording", status, code);
}

// An idle GPU has low clocks, and its first work after the start is slowest. Without this the first
// plan would look slow.
static int warm(const struct trial *t, cudaGraphExec_t graph) {
    int64_t end_us = now_us() + (t->target->warm ? WARM_US : FIRST_WARM_US);

    while (now_us() < end_us) {
        CUDA(ERR_DEVICE_LOST, cudaGraphLaunch(graph, t->stream));
        CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    }
    t->target->warm = true;
    return ERR_OK;
}

// Times `count` repetitions. One more comes before them: a graph's first launch uploads it. While
// that one runs, the host issues the others, so that none waits for the host.
static int repeat(const struct trial *t, cudaGraphExec_t graph, int count, float *ret_ms) {
    CUDA(ERR_DEVICE_LOST, cudaGraphLaunch(graph, t->stream));
    CUDA(ERR_DEVICE, cudaEventRecord(t->between[0], t->stream));
    for (int i = 0; i < count; i++) {
        CUDA(ERR_DEVICE_LOST, cudaGraphLaunch(graph, t->stream));
        CUDA(ERR_DEVICE, cudaEventRecord(t->between[i + 1], t->stream));
    }
    CUDA(ERR_DEVICE, cudaEventSynchronize(t->between[count]));
    for (int i = 0; i < count; i++) {
        CUDA(ERR_DEVICE, cudaEventElapsedTime(&ret_ms[i], t->between[i], t->between[i + 1]));
        ret_ms[i] /= INNER;
    }
    return ERR_OK;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

// Robust against the few repetitions that other work on the GPU disturbs.
static float median(int count, float *ms) {
    qsort(ms, (size_t)count, sizeof *ms, by_value);
    return ms[count / 2];
}

// INFINITY for a plan that is left out, or that is hopeless beside `best`.
static int measure(struct trial *t, const struct cuda_built *plan, float best, float *ret_ms) {
    float ms[REPETITIONS] = {0};
    cudaGraphExec_t graph;
    int err = record(t, plan, &graph);

    *ret_ms = INFINITY;
    if (err || !graph)
        return err;
    // Until a plan has been measured. Then the device is warm.
    if (isinf(best))
        err = warm(t, graph);
    if (!err)
        err = repeat(t, graph, FIRST, ms);
    bool hopeless = !err && MIN(ms[0], ms[FIRST - 1]) >= HOPELESS * best;
    if (!err && !hopeless)
        err = repeat(t, graph, REPETITIONS, ms);
    if (!err && !hopeless)
        *ret_ms = median(REPETITIONS, ms);
    (void)cudaGraphExecDestroy(graph); // it has run
    return err;
}

// The largest workspace that a plan wants within `limit`; at least the least that any plan wants.
static size_t workspace_of(int count, const struct cuda_built *plans, size_t limit) {
    size_t least = SIZE_MAX, most = 0;

    for (int i = 0; i < count; i++) {
        least = MIN(least, plans[i].workspace_bytes);
        if (plans[i].workspace_bytes <= limit)
            most = MAX(most, plans[i].workspace_bytes);
    }
    return MAX(least, most);
}

static int fastest(struct trial *t, int count, const struct cuda_built *plans,
                   size_t workspace_bytes, int *ret_best, float *ret_ms) {
    float best = INFINITY;

    for (int i = 0; i < count; i++) {
        float ms = INFINITY;
        int err = ERR_OK;
        // Plans that want more than the common workspace keep INFINITY.
        if (plans[i].workspace_bytes <= workspace_bytes)
            err = measure(t, &plans[i], best, &ms);
        if (err)
            return err;
        // Of equal times the earlier plan wins: cuDNN suggested it first.
        if (ms < best) {
            best = ms;
            *ret_best = i;
        }
    }
    *ret_ms = best;
    if (!isinf(best))
        return ERR_OK;
    return err_set(ERR_DEVICE, "none of cuDNN's engines can be run; the last: %s", t->why);
}

// With little memory free, tries once more with a small workspace and the plans that fit it.
static int open_trial(struct trial *t, const struct cuda_op_graph *g, int count,
                      const struct cuda_built *plans, size_t *ret_workspace_bytes) {
    size_t most = workspace_of(count, plans, CUDA_TUNE_WORKSPACE);
    size_t least = workspace_of(count, plans, SMALL_WORKSPACE);
    int err = trial_init(t, g, most);

    *ret_workspace_bytes = most;
    if (err != ERR_LIMIT || least >= most)
        return err;
    // A half-made trial may hold memory or events.
    trial_fini(t);
    *t = (struct trial){.target = t->target, .stream = t->stream};
    *ret_workspace_bytes = least;
    return trial_init(t, g, least);
}

int cuda_tune(const struct cuda_op_graph *g, struct cuda_target *target, cudaStream_t stream,
              int count, const struct cuda_built *plans, struct cuda_tuned *ret_tuned) {
    struct trial t = {.target = target, .stream = stream};
    struct cuda_tuned tuned = {0};
    size_t workspace_bytes;
    int err = open_trial(&t, g, count, plans, &workspace_bytes);

    tuned.bytes = t.room.bytes;
    if (!err)
        err = fastest(&t, count, plans, workspace_bytes, &tuned.best, &tuned.ms);
    tuned.left_out = t.left_out;
    if (!err)
        *ret_tuned = tuned;
    trial_fini(&t);
    return err;
}
