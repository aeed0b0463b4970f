// The choice of cuDNN's engines, and their execution on the backend's streams.
#include "cuda/conv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "cuda/dnn.h"
#include "cuda/engine.h"
#include "cuda/error.h"
#include "cuda/tune.h"

// Plans that are tried for one problem, best guess first: this bounds the time of tuning.
#define CANDIDATES 12
// Room for the most plans of a file (cuda/plans.c), 256 bytes each.
#define PLAN_FILE_MAX ((size_t)16 << 20)
#define NAME_TEXT 300

// A problem and its engine. It lives as long as the device, because later convolutions reuse it.
struct engine {
    struct cuda_problem problem;
    struct cuda_plan plan;
    size_t workspace_bytes;
    bool tensor_core;
    float ms;     // 0: not measured
    int left_out; // engines that could not be run or recorded
    // A plan belongs to its handle, so each stream has one. It is made on the stream's first use.
    cudnn_object built[DEVICE_STREAMS];
};

struct cuda_convs {
    enum cuda_math math;
    bool described;
    bool untuned; // nothing is measured
    int stream_count;
    struct cuda_target targets[DEVICE_STREAMS];
    cudaStream_t streams[DEVICE_STREAMS];
    char name[NAME_TEXT];
    struct cuda_plans *plans;
    size_t n_engines, capacity, tried_bytes; // tried_bytes: see cuda_convs_tried_bytes
    struct engine **engines;
};

struct cuda_conv {
    struct cuda_convs *convs;
    struct engine *engine;
    // The buffers of the last call, and the pack that describes them to cuDNN.
    struct cuda_operands operands;
    void *workspace;
    cudnn_object pack;
};

// The keys of cuDNN's JSON are unique, so a search for the text finds the value. 0: no such key.
static long number_of(const char *json, const char *key) {
    const char *at = strstr(json, key);

    return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

// In the form of current_name: plans of a described device fit the device itself. deviceVer is 100
// times the major number plus 10 times the minor one.
static void described_name(const char *json, char ret[NAME_TEXT]) {
    static const char key[] = "\"deviceName\":\"";
    const char *name = strstr(json, key);
    long version = number_of(json, "\"deviceVer\":");

    name = name ? name + strlen(key) : "";
    (void)snprintf(ret, NAME_TEXT, "%ld.%ld %ld %.*s", version / 100, version % 100 / 10,
                   number_of(json, "\"multiProcessorCount\":"), (int)strcspn(name, "\""), name);
}

static int current_name(char ret[NAME_TEXT]) {
    struct cudaDeviceProp p;
    int device;

    CUDA(ERR_DEVICE, cudaGetDevice(&device));
    CUDA(ERR_DEVICE, cudaGetDeviceProperties(&p, device));
    (void)snprintf(ret, NAME_TEXT, "%d.%d %d %s", p.major, p.minor, p.multiProcessorCount, p.name);
    return ERR_OK;
}

// cuDNN binds a stream to a handle. A handle for each stream lets them compute side by side.
static int open_targets(struct cuda_convs *c, const struct cuda_convs_options *o) {
    for (int i = 0; i < c->stream_count; i++) {
        int err = cuda_target_open(o->described, &c->targets[i]);
        if (err)
            return err;
        if (c->described)
            continue;
        c->streams[i] = o->streams[i];
        cudnnStatus_t status = cudnnSetStream(c->targets[i].handle, o->streams[i]);
        if (status != CUDNN_STATUS_SUCCESS)
            return cuda_dnn_error(ERR_DEVICE, "taking a stream", status, c->targets[i].handle);
    }
    return ERR_OK;
}

// The loader may find another libcudnn than the build's. It needs the same major version, and no
// older minor one.
static int check_version(void) {
    size_t v = cudnnGetVersion();

    if (v / 10000 == CUDNN_MAJOR && v / 100 >= CUDNN_VERSION / 100)
        return ERR_OK;
    return err_set(ERR_DEVICE,
                   "libcudnn.so is of cuDNN %zu.%zu, the CUDA plugin was built with %d.%d; does "
                   "LD_LIBRARY_PATH name another one?",
                   v / 10000, v / 100 % 100, CUDNN_MAJOR, CUDNN_MINOR);
}

static int open_plans(struct cuda_convs *c, const char *path) {
    uint8_t *text;
    size_t size;

    if (!path) {
        c->plans = cuda_plans_new((int64_t)cudnnGetVersion(), c->name);
        return ERR_OK;
    }
    int err = fs_read(path, PLAN_FILE_MAX, &text, &size);
    if (err)
        return err;
    // fs_read puts a 0 behind the text. One before that means a binary file.
    if (strlen((char *)text) != size)
        err = err_set(ERR_FORMAT, "%s: this is no text", path);
    else
        err = cuda_plans_read(path, (char *)text, &c->plans);
    free(text);
    return err ? err : cuda_plans_check(c->plans, path, (int64_t)cudnnGetVersion(), c->name);
}

int cuda_convs_open(const struct cuda_convs_options *o, struct cuda_convs **ret_convs) {
    struct cuda_convs *c = xcalloc(1, sizeof *c);
    int err = ERR_OK;

    c->math = o->math;
    c->described = o->described != NULL;
    // A described device cannot run anything, so nothing is measured on it.
    c->untuned = c->described || getenv("CUDA_UNTUNED"); // docs/cuda.md: for tests
    c->stream_count = c->described ? 1 : o->stream_count;
    if (c->described)
        described_name(o->described, c->name);
    else
        err = current_name(c->name);
    if (!err)
        err = check_version();
    if (!err)
        err = open_targets(c, o);
    if (!err)
        err = open_plans(c, o->plans);
    // cuda_convs_close accepts what is half made: all fields were zero.
    if (err) {
        cuda_convs_close(c);
        return err;
    }
    *ret_convs = c;
    return ERR_OK;
}

static void drop(cudnn_object *object) {
    if (*object)
        (void)cudnnBackendDestroyDescriptor(*object); // its failure changes nothing
    *object = NULL;
}

static void engine_free(struct engine *e) {
    for (int i = 0; i < DEVICE_STREAMS; i++)
        drop(&e->built[i]);
    free(e);
}

void cuda_convs_close(struct cuda_convs *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->n_engines; i++)
        engine_free(c->engines[i]);
    for (int i = 0; i < c->stream_count; i++)
        cuda_target_close(&c->targets[i]);
    cuda_plans_free(c->plans);
    free(c->engines);
    free(c);
}

int cuda_convs_save(const struct cuda_convs *c, const char *path) {
    char *text = cuda_plans_write(c->plans);
    int err = fs_write_atomic(path, text, strlen(text));

    free(text);
    return err;
}

void cuda_convs_version(const struct cuda_convs *c, char *ret_text, size_t size) {
    size_t v = cudnnGetVersion();

    const char *tf32 = getenv("NVIDIA_TF32_OVERRIDE"); // cuDNN's: 0 computes fp32 in its place

    (void)snprintf(ret_text, size, "cuDNN %zu.%zu.%zu%s%s", v / 10000, v / 100 % 100, v % 100,
                   tf32 ? ", NVIDIA_TF32_OVERRIDE=" : "", tf32 ? tf32 : "");
}

size_t cuda_convs_count(const struct cuda_convs *c) {
    return c->n_engines;
}

size_t cuda_convs_tried_bytes(const struct cuda_convs *c) {
    return c->tried_bytes;
}

// Linear: a model has few problems, and they are looked up only when layers are made.
static struct engine *find(const struct cuda_convs *c, const struct cuda_problem *problem) {
    for (size_t i = 0; i < c->n_engines; i++)
        if (cuda_problem_equal(&c->engines[i]->problem, problem))
            return c->engines[i];
    return NULL;
}

// Takes over the plan. It is stream 0's; built_of makes those of the other streams.
static void keep(struct cuda_convs *c, const struct cuda_problem *problem,
                 const struct cuda_built *built, const struct cuda_tuned *tuned,
                 struct engine **ret) {
    struct engine *e = xcalloc(1, sizeof *e);

    *e = (struct engine){.problem = *problem,
                         .plan = built->plan,
                         .workspace_bytes = built->workspace_bytes,
                         .tensor_core = built->tensor_core,
                         .ms = tuned->ms,
                         .left_out = tuned->left_out,
                         .built = {built->object}};
    if (c->n_engines == c->capacity) {
        c->capacity = MAX(64, 2 * c->capacity);
        c->engines = xrealloc(c->engines, c->capacity * sizeof(struct engine *));
    }
    c->engines[c->n_engines++] = e;
    *ret = e;
}

// In fp32 no engine with tensor cores is a candidate (cuda/engine.c).
static bool is_good(const struct cuda_built *b, enum cuda_math math) {
    return b->workspace_bytes <= CUDA_TUNE_WORKSPACE && (b->tensor_core || math == MATH_FP32);
}

// Whether a is preferred to b, if neither is good.
static bool is_less_bad(const struct cuda_built *a, const struct cuda_built *b) {
    if (a->tensor_core != b->tensor_core)
        return a->tensor_core;
    return a->workspace_bytes < b->workspace_bytes;
}

// The first good one, else the one with the smallest workspace, with tensor cores if possible.
static int suggestion(int count, const struct cuda_built *candidates, enum cuda_math math) {
    int best = 0;

    for (int i = 0; i < count; i++) {
        if (is_good(&candidates[i], math))
            return i;
        if (is_less_bad(&candidates[i], &candidates[best]))
            best = i;
    }
    return best;
}

// Like cuda_candidates. Most problems need only the first, and each plan takes time to build.
static int one_or_more(struct cuda_convs *c, const struct cuda_op_graph *g,
                       struct cuda_built candidates[CANDIDATES]) {
    int count = cuda_candidates(g, &c->targets[0], 1, candidates);

    if (!count || is_good(&candidates[0], g->problem.math))
        return count;
    cuda_built_fini(&candidates[0]);
    return cuda_candidates(g, &c->targets[0], CANDIDATES, candidates);
}

static int choose(struct cuda_convs *c, const struct cuda_op_graph *g, bool tune,
                  struct engine **ret) {
    struct cuda_built candidates[CANDIDATES];
    char text[CUDA_PROBLEM_TEXT];
    bool measured = tune && !c->untuned;
    int count = measured ? cuda_candidates(g, &c->targets[0], CANDIDATES, candidates)
                         : one_or_more(c, g, candidates);
    struct cuda_tuned tuned = {0};
    int err = ERR_OK;

    if (!count) {
        cuda_problem_print(&g->problem, text);
        if (cuda_dnn_lost(c->targets[0].handle, text, cuda_engine_complaint()))
            return ERR_DEVICE_LOST;
        return err_set(ERR_DEVICE, "cuDNN has no deterministic engine for %s on this GPU: %s", text,
                       cuda_engine_complaint());
    }
    // Holds where nothing is measured; cuda_tune overwrites it.
    tuned.best = suggestion(count, candidates, g->problem.math);
    if (measured)
        err = cuda_tune(g, &c->targets[0], c->streams[0], count, candidates, &tuned);
    c->tried_bytes = tuned.bytes;
    // The best plan's descriptor passes to the engine. All others end here.
    for (int i = 0; i < count; i++)
        if (err || i != tuned.best)
            cuda_built_fini(&candidates[i]);
    if (err)
        return err;
    keep(c, &g->problem, &candidates[tuned.best], &tuned, ret);
    return ERR_OK;
}

// The engine from the plan file, or one that is chosen now. A file's engine is never measured
// again: it decides the bits of a resumed run.
static int engine_new(struct cuda_convs *c, const struct cuda_problem *problem, bool tune,
                      struct engine **ret) {
    const struct cuda_plan *plan = cuda_plans_find(c->plans, problem);
    struct cuda_op_graph g;
    struct cuda_built built;
    int err = cuda_op_graph_init(&g, problem, &c->targets[0]);

    if (err)
        return err;
    if (plan) {
        err = cuda_plan_build(&g, &c->targets[0], plan, &built);
        if (!err)
            keep(c, problem, &built, &(struct cuda_tuned){0}, ret);
    } else {
        err = choose(c, &g, tune, ret);
    }
    cuda_op_graph_fini(&g);
    return err;
}

int cuda_conv_new(struct cuda_convs *c, const struct cuda_problem *problem, bool tune,
                  struct cuda_conv **ret_conv) {
    struct engine *e = find(c, problem);
    int err;

    c->tried_bytes = 0;
    // A problem keeps its first engine, also if that was chosen without tuning: two engines would
    // give two results.
    err = e ? ERR_OK : engine_new(c, problem, tune, &e);

    if (err)
        return err;
    // The file names only problems of training, which has to be continued bit for bit.
    if (tune && !cuda_plans_find(c->plans, problem))
        cuda_plans_add(c->plans, problem, &e->plan);
    *ret_conv = xcalloc(1, sizeof **ret_conv);
    **ret_conv = (struct cuda_conv){.convs = c, .engine = e};
    return ERR_OK;
}

void cuda_conv_free(struct cuda_conv *c) {
    if (!c)
        return;
    drop(&c->pack);
    free(c);
}

size_t cuda_conv_workspace_bytes(const struct cuda_conv *c) {
    return c->engine->workspace_bytes;
}

bool cuda_conv_uses_tensor_cores(const struct cuda_conv *c) {
    return c->engine->tensor_core;
}

const struct cuda_problem *cuda_conv_problem(const struct cuda_conv *c) {
    return &c->engine->problem;
}

void cuda_conv_describe(const struct cuda_conv *c, char *ret_text, size_t size) {
    const struct engine *e = c->engine;
    int64_t number = e->plan.engine;

    char left_out[32] = "";

    if (e->left_out)
        (void)snprintf(left_out, sizeof left_out, ", %d left out", e->left_out); // fits
    if (e->ms > 0)
        // Flop per ms times 1e-9 is TFLOP/s.
        (void)snprintf(ret_text, size, "engine %lld (%.4f ms, %.0f TFLOP/s%s)", (long long)number,
                       e->ms, cuda_problem_flop(&e->problem) / e->ms * 1e-9, left_out);
    else
        (void)snprintf(ret_text, size, "engine %lld", (long long)number);
}

// The stream's own plan. A section issues its ops before it records them, so that a capture finds
// all plans built.
static int built_of(const struct cuda_conv *c, int stream, cudnn_object *ret) {
    struct engine *e = c->engine;
    const struct cuda_target *target = &c->convs->targets[stream];
    struct cuda_op_graph g;
    struct cuda_built built;
    int err;

    if (!e->built[stream]) {
        err = cuda_op_graph_init(&g, &e->problem, target);
        if (err)
            return err;
        err = cuda_plan_build(&g, target, &e->plan, &built);
        cuda_op_graph_fini(&g);
        if (err)
            return err;
        e->built[stream] = built.object;
    }
    *ret = e->built[stream];
    return ERR_OK;
}

// Makes a new pack only if the buffers are not those of the last call.
static cudnnStatus_t bind(struct cuda_conv *c, const struct cuda_operands *o, void *workspace) {
    void *const pointers[3] = {o->x, o->filter, o->y};

    if (c->pack && o->x == c->operands.x && o->filter == c->operands.filter &&
        o->y == c->operands.y && workspace == c->workspace)
        return CUDNN_STATUS_SUCCESS;
    // The old pack goes first: if the new one fails, the next call must not take it.
    drop(&c->pack);
    c->operands = *o;
    c->workspace = workspace;
    return cuda_dnn_pack(pointers, workspace, &c->pack);
}

// A first execution loads the engine's code, and may find no memory for it.
int cuda_conv_run(struct cuda_conv *c, int stream, const struct cuda_operands *operands,
                  void *workspace) {
    char text[CUDA_PROBLEM_TEXT];
    cudnnHandle_t handle = c->convs->targets[stream].handle;
    cudnn_object built;

    if (c->convs->described)
        BUG("a device that is only described runs nothing");
    int err = built_of(c, stream, &built);
    if (err)
        return err;
    cudnnStatus_t status = bind(c, operands, workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendExecute(handle, built, c->pack);
    if (status == CUDNN_STATUS_SUCCESS)
        return ERR_OK;
    cuda_problem_print(&c->engine->problem, text);
    return cuda_dnn_error(ERR_DEVICE_LOST, text, status, handle);
}
