#include "cuda/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "cuda/error.h"
#include "cuda/trial.h"

#define INNER 5                   // executions a repetition
#define REPETITIONS 9             // of which the median counts
#define FIRST 2                   // that are made of every plan
#define HOPELESS 1.5f             // first repetitions that much slower end the trial
#define WARM_US 10000             // of work before anything is measured
#define PATTERN ((size_t)1 << 18) // bytes of random numbers, repeated over the tensors

// The buffers of a trial, and a stream to try on.
struct trial {
    const struct cuda_target *target;
    cudaStream_t stream;
    struct cuda_trial room;
    cudnn_object pack;
    cudaEvent_t between[REPETITIONS + 1]; // repetitions
};

// Numbers in [-1,1) of the element's type.
static void *random_pattern(enum cuda_math math) {
    size_t element = cuda_math_bytes(math);
    char *numbers = xmalloc(PATTERN);

    for (size_t i = 0; i < PATTERN / element; i++) {
        float x = (float)(2 * rng_uniform(1, RNG_TEST, i, 0) - 1);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        uint16_t high = (uint16_t)(bits >> 16);
        memcpy(numbers + i * element, math == MATH_BF16 ? (void *)&high : (void *)&x, element);
    }
    return numbers;
}

// On the trial's stream: what runs there later finds it.
static cudaError_t fill_from(const struct trial *t, const char *pattern, size_t bytes) {
    char *memory = t->room.memory;
    size_t done = MIN(PATTERN, bytes), more;
    cudaError_t code = cudaMemcpyAsync(memory, pattern, done, cudaMemcpyHostToDevice, t->stream);

    for (; done < bytes && code == cudaSuccess; done += more) {
        more = MIN(done, bytes - done);
        code = cudaMemcpyAsync(memory + done, memory, more, cudaMemcpyDeviceToDevice, t->stream);
    }
    return code == cudaSuccess ? cudaStreamSynchronize(t->stream) : code;
}

static int fill(const struct trial *t, enum cuda_math math, size_t bytes) {
    char *pattern = random_pattern(math);
    cudaError_t code = fill_from(t, pattern, bytes);

    free(pattern);
    return code == cudaSuccess ? ERR_OK : cuda_error(ERR_DEVICE, "filling a trial's memory", code);
}

static int bind(struct trial *t, void *const operands[3], void *workspace) {
    int64_t ids[3] = {1, 2, 3};

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &t->pack) ||
        cudnnBackendSetAttribute(t->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3,
                                 ids) ||
        cudnnBackendSetAttribute(t->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                 CUDNN_TYPE_VOID_PTR, 3, operands) ||
        cudnnBackendSetAttribute(t->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                 &workspace) ||
        cudnnBackendFinalize(t->pack))
        return err_set(ERR_DEVICE, "cuDNN takes no buffers for a trial");
    return ERR_OK;
}

static int trial_init(struct trial *t, const struct cuda_problem *p, size_t workspace_bytes) {
    int err = cuda_trial_init(&t->room, &p->site, workspace_bytes);

    if (!err)
        err = fill(t, p->site.math, t->room.operand_bytes);
    if (err)
        return err;
    for (int i = 0; i <= REPETITIONS; i++)
        CUDA(ERR_DEVICE, cudaEventCreate(&t->between[i]));
    return bind(t, (void *const *)t->room.operands, t->room.workspace);
}

// The results of these were looked at where they matter: what is left fails no more.
static void trial_fini(struct trial *t) {
    if (t->pack)
        (void)cudnnBackendDestroyDescriptor(t->pack);
    for (int i = 0; i <= REPETITIONS; i++)
        if (t->between[i])
            (void)cudaEventDestroy(t->between[i]);
    cuda_trial_fini(&t->room);
}

// A graph of INNER executions; NULL if the engine cannot be run or captured.
static int record(const struct trial *t, const struct cuda_built *plan, cudaGraphExec_t *ret) {
    cudaGraph_t graph = NULL;
    bool good;

    *ret = NULL;
    // Once outside: modules are loaded at their first use.
    if (cudnnBackendExecute(t->target->handle, plan->object, t->pack) != CUDNN_STATUS_SUCCESS) {
        (void)cudaGetLastError(); // another engine will do, unless the device is lost
        CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
        return ERR_OK;
    }
    CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    CUDA(ERR_DEVICE, cudaStreamBeginCapture(t->stream, cudaStreamCaptureModeThreadLocal));
    good = true;
    for (int i = 0; i < INNER && good; i++)
        good =
            cudnnBackendExecute(t->target->handle, plan->object, t->pack) == CUDNN_STATUS_SUCCESS;
    good = cudaStreamEndCapture(t->stream, &graph) == cudaSuccess && good;
    good = good && cudaGraphInstantiate(ret, graph, 0) == cudaSuccess;
    if (graph)
        (void)cudaGraphDestroy(graph); // the copy that is launched stays
    if (good)
        return ERR_OK;
    (void)cudaGetLastError(); // another engine will do, unless the device is lost
    CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    return ERR_OK;
}

// A device that had nothing to do runs slowly at first.
static int warm(const struct trial *t, cudaGraphExec_t graph) {
    int64_t end_us = now_us() + WARM_US;

    while (now_us() < end_us) {
        CUDA(ERR_DEVICE, cudaGraphLaunch(graph, t->stream));
        CUDA(ERR_DEVICE, cudaStreamSynchronize(t->stream));
    }
    return ERR_OK;
}

// `count` repetitions, behind one that does not count: a graph's first launch carries it to the
// device, and while that one runs the others are issued, so that none waits for the host.
static int repeat(const struct trial *t, cudaGraphExec_t graph, int count, float *ret_ms) {
    CUDA(ERR_DEVICE, cudaGraphLaunch(graph, t->stream));
    CUDA(ERR_DEVICE, cudaEventRecord(t->between[0], t->stream));
    for (int i = 0; i < count; i++) {
        CUDA(ERR_DEVICE, cudaGraphLaunch(graph, t->stream));
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

static float median(int count, float *ms) {
    qsort(ms, (size_t)count, sizeof *ms, by_value);
    return ms[count / 2];
}

// INFINITY for what is left out; trials that are slower than `best` may end early.
static int measure(const struct trial *t, const struct cuda_built *plan, float best,
                   float *ret_ms) {
    float ms[REPETITIONS] = {0};
    cudaGraphExec_t graph;
    int err = record(t, plan, &graph);

    *ret_ms = INFINITY;
    if (err || !graph)
        return err;
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

// The workspace that all plans worth trying have in common.
static size_t workspace_of(int count, const struct cuda_built *plans) {
    size_t least = SIZE_MAX, most = 0;

    for (int i = 0; i < count; i++) {
        least = MIN(least, plans[i].workspace_bytes);
        if (plans[i].workspace_bytes <= CUDA_TUNE_WORKSPACE)
            most = MAX(most, plans[i].workspace_bytes);
    }
    return MAX(least, most);
}

static int fastest(const struct trial *t, int count, const struct cuda_built *plans,
                   size_t workspace_bytes, int *ret_best, float *ret_ms) {
    float best = INFINITY;

    for (int i = 0; i < count; i++) {
        float ms = INFINITY;
        int err = ERR_OK;
        if (plans[i].workspace_bytes <= workspace_bytes)
            err = measure(t, &plans[i], best, &ms);
        if (err)
            return err;
        if (ms < best) {
            best = ms;
            *ret_best = i;
        }
    }
    *ret_ms = best;
    return isinf(best) ? err_set(ERR_DEVICE, "none of cuDNN's engines can be run") : ERR_OK;
}

int cuda_tune(const struct cuda_problem *p, const struct cuda_target *target, cudaStream_t stream,
              int count, const struct cuda_built *plans, struct cuda_tuned *ret_tuned) {
    struct trial t = {.target = target, .stream = stream};
    size_t workspace_bytes = workspace_of(count, plans);
    struct cuda_tuned tuned = {0};
    int err = trial_init(&t, p, workspace_bytes);

    tuned.bytes = t.room.bytes;
    if (!err)
        err = fastest(&t, count, plans, workspace_bytes, &tuned.best, &tuned.ms);
    if (!err)
        *ret_tuned = tuned;
    trial_fini(&t);
    return err;
}
