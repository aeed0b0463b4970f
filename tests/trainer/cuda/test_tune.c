// Which engine is chosen, and what is said when cuDNN fails, on a GPU that is played: its functions
// are here, its time is counted. A graph's first launch takes the host long, as on a real one.
// Without cuDNN's headers: skipped.

// The choice of engines, and errors of cuDNN, on a simulated GPU: cuDNN's functions are in this
// file, and its time is counted. A graph's first launch takes the host long, as on a real one.
// Without cuDNN's headers: skipped.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "check.h"

#ifdef WITH_CUDNN
#include "cuda/dnn.h"
#include "cuda/tune.h"

#define PLANS 12
#define UPLOAD_US 300 // the host's, of a graph's first launch
#define LAUNCH_US 6
#define COLD_US 100000 // of work until the device runs at its speed

// Both clocks in microseconds; what each plan takes; what is held.
static struct {
    double host, device, busy;
    double takes[PLANS];
    int refused, recorded, objects, launches;
    double captured; // what the plan takes that is recorded
    bool captures, refuses_all;
    cudaError_t lost;    // what a wait for the device says
    size_t unused, most; // free memory; the largest allocation that succeeds, 0: any
    int waits;
    const char *complaint; // cuDNN's
} gpu;

struct fake_graph {
    double takes;
    bool uploaded;
};

struct fake_event {
    double at;
};

static void *take(size_t bytes) {
    gpu.objects++;
    return xcalloc(1, bytes);
}

static int give(void *p) {
    gpu.objects -= p != NULL;
    free(p);
    return 0;
}

// Work behind what the device has to do, slower as long as it is cold.
static void work(double us) {
    gpu.device = MAX(gpu.device, gpu.host) + us * (gpu.busy < COLD_US ? 2 : 1);
    gpu.busy += us;
}

static int wait_until(double us) {
    gpu.host = MAX(gpu.host, us);
    return 0;
}

int64_t __wrap_now_us(void); // in the place of now_us, by the linker
int64_t __wrap_now_us(void) {
    return (int64_t)gpu.host;
}

cudaError_t cudaMalloc(void **ret, size_t bytes) {
    if (gpu.most && bytes > gpu.most)
        return cudaErrorMemoryAllocation;
    *ret = take(bytes);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total) {
    *ret_free = gpu.unused;
    *ret_total = (size_t)12 << 30;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) {
    gpu.waits++;
    return gpu.lost;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *ret) {
    *ret = gpu.captures ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory) {
    return (cudaError_t)give(memory);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return (cudaError_t)wait_until(gpu.device);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    gpu.captures = true;
    gpu.recorded = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret) {
    struct fake_graph *g = take(sizeof *g);

    gpu.captures = false;
    g->takes = gpu.captured * gpu.recorded;
    *ret = (cudaGraph_t)g;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph,
                                 unsigned long long flags) {
    struct fake_graph *g = take(sizeof *g);

    *g = *(struct fake_graph *)graph;
    *ret = (cudaGraphExec_t)g;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return (cudaError_t)give(graph);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return (cudaError_t)give(graph);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    struct fake_graph *g = (struct fake_graph *)graph;

    gpu.host += g->uploaded ? LAUNCH_US : UPLOAD_US;
    g->uploaded = true;
    gpu.launches++;
    work(g->takes);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *ret) {
    *ret = take(sizeof(struct fake_event));
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return (cudaError_t)give(event);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    gpu.host += 1;
    ((struct fake_event *)event)->at = MAX(gpu.host, gpu.device);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return (cudaError_t)wait_until(((struct fake_event *)event)->at);
}

cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t from, cudaEvent_t to) {
    *ret_ms = (float)((((struct fake_event *)to)->at - ((struct fake_event *)from)->at) / 1000);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void) {
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error) {
    return "an error";
}

const char *cudaGetErrorName(cudaError_t error) {
    return "cudaErrorOfTheTest";
}

const char *cudnnGetErrorString(cudnnStatus_t status) {
    return "CUDNN_STATUS_OF_THE_TEST";
}

void cudnnGetLastErrorString(char *ret, size_t size) {
    (void)text_copy(ret, size, gpu.complaint ? gpu.complaint : ""); // fits
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *ret) {
    *ret = NULL;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *ret) {
    *ret = take(1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    return (cudnnStatus_t)give(descriptor);
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *values) {
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    return CUDNN_STATUS_SUCCESS;
}

// A plan is the place of what it takes.
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
    const double *us = plan;

    if (us == &gpu.takes[gpu.refused] || gpu.refuses_all)
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (gpu.captures) {
        gpu.recorded++;
        gpu.captured = *us;
    } else {
        work(*us);
    }
    return CUDNN_STATUS_SUCCESS;
}

// ---- the choice ----

static const struct cuda_op_graph graph = {
    .problem = {PASS_FORWARD, MATH_BF16, 1, 64, 34, 34, 64, 3, 1, 0}};
#define WORKSPACE(i) ((size_t)(i) << 24) // of plan i: 16 MiB times its number

// A plan is the place of what it takes.
static void offer(struct cuda_built plans[PLANS]) {
    memset(plans, 0, PLANS * sizeof *plans);
    for (int i = 0; i < PLANS; i++) {
        gpu.takes[i] = 100 - i;
        plans[i].object = &gpu.takes[i];
        plans[i].workspace_bytes = WORKSPACE(i);
    }
}

static int chosen(const double takes[PLANS], int refused, int too_large, float *ret_ms) {
    struct cuda_op_graph g = graph;
    struct cuda_built plans[PLANS] = {0};
    struct cuda_target target = {0};
    struct cuda_tuned tuned;

    memset(&gpu, 0, sizeof gpu);
    memcpy(gpu.takes, takes, sizeof gpu.takes);
    gpu.refused = refused;
    for (int i = 0; i < PLANS; i++) {
        plans[i].object = &gpu.takes[i];
        plans[i].workspace_bytes = i == too_large ? CUDA_TUNE_WORKSPACE + 1 : 1000;
    }
    assert_int_equal(cuda_tune(&g, &target, NULL, PLANS, plans, &tuned), ERR_OK);
    assert_int_equal(gpu.objects, 0);
    assert_int_equal(tuned.left_out, 1);
    assert_true(tuned.bytes > 2 * 64 * 3 * 3 * 64);
    *ret_ms = tuned.ms;
    return tuned.best;
}

// A short convolution takes much less than what the first launch of its graph does.
static void the_fastest_is_chosen(void **state) {
    static const double takes[PLANS] = {20, 19, 50, 18.5, 17, 30, 17.2, 100, 16, 16.5, 90, 22};
    float ms;

    assert_int_equal(chosen(takes, PLANS - 1, PLANS, &ms), 8);
    assert_float_equal(ms, 0.016f, 1e-6f);
}

static void what_cannot_run_and_what_wants_too_much_is_left_out(void **state) {
    static const double takes[PLANS] = {20, 19, 50, 18.5, 17, 30, 17.2, 100, 16, 16.5, 90, 22};
    float ms;

    assert_int_equal(chosen(takes, 8, 9, &ms), 4);
    assert_float_equal(ms, 0.017f, 1e-6f);
}

// What was measured before the device ran at its speed is not compared with what came behind.
static void the_first_is_not_measured_cold(void **state) {
    static const double takes[PLANS] = {100, 130, 130, 130, 130, 130, 130, 130, 130, 130, 130, 130};
    float ms;

    assert_int_equal(chosen(takes, PLANS - 1, PLANS, &ms), 0);
    assert_float_equal(ms, 0.1f, 1e-6f);
}

static void hopeless_ones_end_early(void **state) {
    static const double takes[PLANS] = {100, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900};
    float ms;

    assert_int_equal(chosen(takes, PLANS - 1, PLANS, &ms), 0);
    assert_true(gpu.launches - 300000 / (100 * 5) < 100); // but for the first warming
}

// The clocks rise once: later problems are warmed for a short time.
static void only_the_first_problem_is_warmed_for_long(void **state) {
    struct cuda_target target = {0};
    struct cuda_built plans[PLANS];
    struct cuda_tuned tuned;
    double before;

    memset(&gpu, 0, sizeof gpu);
    gpu.refused = PLANS - 1;
    offer(plans);
    assert_int_equal(cuda_tune(&graph, &target, NULL, PLANS, plans, &tuned), ERR_OK);
    assert_true(gpu.host > 300000);
    before = gpu.host;
    assert_int_equal(cuda_tune(&graph, &target, NULL, PLANS, plans, &tuned), ERR_OK);
    assert_true(gpu.host - before < 150000);
}

static void none_that_can_be_run_says_why(void **state) {
    struct cuda_target target = {0};
    struct cuda_built plans[PLANS];
    struct cuda_tuned tuned;

    memset(&gpu, 0, sizeof gpu);
    gpu.refuses_all = true;
    gpu.complaint = "no kernel of mine";
    offer(plans);
    assert_int_equal(cuda_tune(&graph, &target, NULL, PLANS, plans, &tuned), ERR_DEVICE);
    assert_non_null(strstr(err_text(), "running: no kernel of mine"));
    assert_int_equal(gpu.objects, 0);
}

// Where not all fit, those with at most 64 MiB are tried; where none fits, that is told.
static void plans_that_want_little_are_tried_where_memory_is_short(void **state) {
    struct cuda_target target = {0};
    struct cuda_built plans[PLANS];
    struct cuda_tuned tuned;

    memset(&gpu, 0, sizeof gpu);
    gpu.refused = PLANS - 1;
    gpu.most = (size_t)70 << 20;
    offer(plans);
    assert_int_equal(cuda_tune(&graph, &target, NULL, PLANS, plans, &tuned), ERR_OK);
    assert_int_equal(tuned.best, 4); // the fastest of those with 0 to 64 MiB
    assert_int_equal(gpu.objects, 0);
    gpu.most = (size_t)50 << 20;
    assert_int_equal(cuda_tune(&graph, &target, NULL, PLANS, plans, &tuned), ERR_LIMIT);
    assert_int_equal(gpu.objects, 0);
}

// ---- failures ----

static int dnn_error(cudnnStatus_t status) {
    static int handle;

    gpu.waits = 0;
    return cuda_dnn_error(ERR_DEVICE, "an op", status, (cudnnHandle_t)(void *)&handle);
}

static void a_failure_of_cudnn_is_told_with_its_own_words(void **state) {
    memset(&gpu, 0, sizeof gpu);
    gpu.unused = (size_t)1 << 30;
    gpu.complaint = "mma kernel went wrong";
    assert_int_equal(dnn_error(CUDNN_STATUS_EXECUTION_FAILED), ERR_DEVICE);
    assert_non_null(strstr(err_text(), "an op: mma kernel went wrong (CUDNN_STATUS_OF_THE_TEST)"));
    gpu.complaint = NULL;
    assert_int_equal(dnn_error(CUDNN_STATUS_BAD_PARAM), ERR_DEVICE);
    assert_non_null(strstr(err_text(), "CUDNN_STATUS_OF_THE_TEST"));
}

static void no_memory_in_cudnn_is_no_lost_device(void **state) {
    memset(&gpu, 0, sizeof gpu);
    gpu.unused = (size_t)1 << 30;
    assert_int_equal(dnn_error(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED), ERR_LIMIT);
    assert_int_equal(dnn_error(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED), ERR_LIMIT);
    assert_non_null(strstr(err_text(), "1024 of its 12288 MiB are free"));
    gpu.unused = (size_t)20 << 20;
    assert_int_equal(dnn_error(CUDNN_STATUS_EXECUTION_FAILED_CUDART), ERR_LIMIT);
    assert_int_equal(dnn_error(CUDNN_STATUS_NOT_SUPPORTED), ERR_DEVICE);
}

static void a_lost_device_is_told_with_cudas_error(void **state) {
    memset(&gpu, 0, sizeof gpu);
    gpu.lost = cudaErrorIllegalAddress;
    gpu.complaint = "mma kernel went wrong";
    assert_int_equal(dnn_error(CUDNN_STATUS_EXECUTION_FAILED), ERR_DEVICE_LOST);
    assert_non_null(strstr(err_text(), "mma kernel went wrong; an error (cudaErrorOfTheTest)"));
    gpu.captures = true; // a wait would end the capture
    gpu.unused = (size_t)1 << 30;
    assert_int_equal(dnn_error(CUDNN_STATUS_EXECUTION_FAILED), ERR_DEVICE);
    assert_int_equal(gpu.waits, 0);
}

#else

static void cudnn_is_here(void **state) {
    print_message("SKIP the choice of engines: there is no cuDNN\n");
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef WITH_CUDNN
        cmocka_unit_test(the_fastest_is_chosen),
        cmocka_unit_test(what_cannot_run_and_what_wants_too_much_is_left_out),
        cmocka_unit_test(the_first_is_not_measured_cold),
        cmocka_unit_test(hopeless_ones_end_early),
        cmocka_unit_test(only_the_first_problem_is_warmed_for_long),
        cmocka_unit_test(none_that_can_be_run_says_why),
        cmocka_unit_test(plans_that_want_little_are_tried_where_memory_is_short),
        cmocka_unit_test(a_failure_of_cudnn_is_told_with_its_own_words),
        cmocka_unit_test(no_memory_in_cudnn_is_no_lost_device),
        cmocka_unit_test(a_lost_device_is_told_with_cudas_error),
#else
        cmocka_unit_test(cudnn_is_here),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
