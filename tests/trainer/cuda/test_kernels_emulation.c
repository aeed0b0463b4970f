// The emulation itself: what a device would let pass or punish later ends the process, and work
// that nothing orders is seen in some order to go wrong; see cuda_runtime_api.h.

// The emulation itself; see cuda_runtime_api.h. It ends the process on misuse that a device would
// ignore or punish later, and shows missing order between streams in some order of theirs.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "check.h"
#include "trainer/cuda/emulation/host_threads.h"

static void succeed(cudaError_t error) {
    if (error)
        fail_msg("%s", cudaGetErrorString(error));
}

static cudaError_t launch(void (*run)(const void *args), void *args, unsigned threads,
                          cudaStream_t stream) {
    return cuda_host_launch("kernel", run, &args, sizeof args, (struct dim3){1, 1, 1},
                            (struct dim3){threads, 1, 1}, 64, stream);
}

// Whether a kernel that is run in a child ends it with SIGABRT.
static bool dies(void (*run)(const void *args), void *args, uint64_t seed) {
    pid_t child = fork();
    int status;

    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        signal(SIGABRT, SIG_DFL); // not cmocka's
        cuda_host_order(seed);
        _exit(launch(run, args, 64, NULL) ? 2 : 0);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static unsigned me(void) {
    return cuda_host_now.linear_thread;
}

static void same_barrier(const void *args) {
    cuda_host_barrier("a:1");
}

static void other_barrier(const void *args) {
    cuda_host_barrier(me() == 3 ? "a:1" : "a:2");
}

static void left_out_barrier(const void *args) {
    if (me() != 40)
        cuda_host_barrier("a:1");
}

static void half_a_warp(const void *args) {
    if (me() % 32 < 16)
        (void)cuda_host_exchange(0, "a:1");
}

static void other_exchange(const void *args) {
    (void)cuda_host_exchange(0, me() % 2 ? "a:1" : "a:2");
}

static void part_of_a_mask(const void *args) {
    cuda_host_mask(0xffff, "a:1");
}

static void divergence_ends_the_process(void **state) {
    for (uint64_t seed = 0; seed < 4; seed++) {
        assert_false(dies(same_barrier, NULL, seed));
        assert_true(dies(other_barrier, NULL, seed));
        assert_true(dies(left_out_barrier, NULL, seed));
        assert_true(dies(half_a_warp, NULL, seed));
        assert_true(dies(other_exchange, NULL, seed));
        assert_true(dies(part_of_a_mask, NULL, seed));
    }
}

static void write_one(const void *args) {
    char *const *p = args;

    if (me() == 0)
        **(char *volatile *)p = 1;
}

static void write_shared(const void *args) {
    char *volatile shared = cuda_host_now.shared;

    shared[64 + me()] = 1;
}

// The sanitizer has an end of its own for these.
static void accesses_beyond_memory_end_the_process(void **state) {
#if defined(__SANITIZE_ADDRESS__)
    skip();
#endif
    char *memory;

    succeed(cudaMalloc((void **)&memory, 100 * 16));
    assert_false(dies(write_one, memory + 1599, 0));
    assert_true(dies(write_one, memory + 1600, 0));
    assert_true(dies(write_one, memory - 8192, 0));
    assert_true(dies(write_shared, NULL, 0));
    succeed(cudaFree(memory));
}

static void fresh_memory_is_poison(void **state) {
    float *memory;

    succeed(cudaMalloc((void **)&memory, 400));
    for (int i = 0; i < 100; i++)
        assert_true(isnan(memory[i]));
    succeed(cudaFree(memory));
}

// Each thread reads what its neighbour has written: without the barrier that depends on the order.
static void neighbour(float *out, bool waits) {
    float *shared = cuda_host_now.shared;
    unsigned i = me() % 16;

    if (me() < 16)
        shared[i] = (float)i;
    if (waits)
        cuda_host_barrier("a:1");
    if (me() < 16)
        out[i] = shared[(i + 1) % 16];
}

static void hasty(const void *args) {
    neighbour(*(float *const *)args, false);
}

static void patient(const void *args) {
    neighbour(*(float *const *)args, true);
}

static bool depends_on_order(void (*run)(const void *args)) {
    float *out, first[16];
    bool differs = false;

    succeed(cudaMalloc((void **)&out, sizeof first));
    for (uint64_t seed = 0; seed < 4; seed++) {
        cuda_host_order(seed);
        succeed(launch(run, out, 32, NULL));
        if (seed == 0)
            memcpy(first, out, sizeof first);
        differs = differs || memcmp(first, out, sizeof first) != 0;
    }
    cuda_host_order(0);
    succeed(cudaFree(out));
    return differs;
}

static void missing_barrier_shows_in_other_orders(void **state) {
    assert_true(depends_on_order(hasty));
    assert_false(depends_on_order(patient));
}

static void values_of_a_warp(const void *args) {
    uint64_t *out = *(uint64_t *const *)args, sum = 0;

    for (int round = 0; round < 5; round++) {
        const uint64_t *all = cuda_host_exchange(me() * 10u + (unsigned)round, "a:1");
        for (int i = 0; i < 32; i++)
            sum += all[i];
    }
    out[me()] = sum;
}

static void exchange_gives_every_lanes_value(void **state) {
    uint64_t *out;

    succeed(cudaMalloc((void **)&out, 64 * sizeof *out));
    for (uint64_t seed = 0; seed < 4; seed++) {
        cuda_host_order(seed);
        succeed(launch(values_of_a_warp, out, 64, NULL));
        for (uint64_t i = 0; i < 64; i++) // 5 rounds of 10 (first + .. + first + 31) + 32 round
            assert_int_equal(out[i], 5 * 10 * (32 * (i / 32 * 32) + 496) + 32 * 10);
    }
    cuda_host_order(0);
    succeed(cudaFree(out));
}

static void configurations_that_no_device_takes_are_refused(void **state) {
    struct dim3 one = {1, 1, 1}, wide = {1, 70000, 1};

    assert_int_equal(
        cuda_host_launch("k", same_barrier, NULL, 0, wide, (struct dim3){32, 1, 1}, 0, NULL),
        cudaErrorInvalidConfiguration);
    assert_int_equal(
        cuda_host_launch("k", same_barrier, NULL, 0, one, (struct dim3){2048, 1, 1}, 0, NULL),
        cudaErrorInvalidConfiguration);
    cuda_host_device(8, 6);
    assert_int_equal(
        cuda_host_launch("k", same_barrier, NULL, 0, one, (struct dim3){32, 1, 1}, 102400, NULL),
        cudaErrorInvalidValue);
    cuda_host_device(0, 0);
    (void)cudaGetLastError(); // as expected
}

// Streams: one doubles, the other adds.
struct number {
    int value;
};

static void twice(void *args) {
    (*(struct number **)args)->value *= 2;
}

static void plus_one(void *args) {
    (*(struct number **)args)->value += 1;
}

struct streams {
    cudaStream_t a, b;
    cudaEvent_t event, back;
    struct number *number;
};

static void issue(struct streams *s, bool waits) {
    succeed(cuda_host_call(s->a, "plus one", plus_one, &s->number, sizeof s->number));
    if (waits) {
        succeed(cudaEventRecord(s->event, s->a));
        succeed(cudaStreamWaitEvent(s->b, s->event, 0));
    }
    succeed(cuda_host_call(s->b, "twice", twice, &s->number, sizeof s->number));
}

static void streams_open(struct streams *s) {
    succeed(cudaStreamCreate(&s->a));
    succeed(cudaStreamCreate(&s->b));
    succeed(cudaEventCreate(&s->event));
    succeed(cudaEventCreate(&s->back));
    succeed(cudaHostAlloc((void **)&s->number, sizeof *s->number, cudaHostAllocMapped));
}

static void streams_close(struct streams *s) {
    cuda_host_order(0);
    succeed(cudaStreamDestroy(s->a));
    succeed(cudaStreamDestroy(s->b));
    succeed(cudaEventDestroy(s->event));
    succeed(cudaEventDestroy(s->back));
    succeed(cudaFreeHost(s->number));
}

// How many of some orders end with (0 + 1) 2.
static int good_orders(struct streams *s, bool waits) {
    int good = 0;

    for (uint64_t seed = 2; seed < 42; seed++) {
        cuda_host_order(seed);
        s->number->value = 0;
        issue(s, waits);
        succeed(cudaDeviceSynchronize());
        good += s->number->value == 2;
    }
    return good;
}

static void missing_wait_shows_in_other_orders(void **state) {
    struct streams s;

    streams_open(&s);
    assert_int_equal(good_orders(&s, true), 40);
    assert_in_range(good_orders(&s, false), 1, 39);
    streams_close(&s);
}

static void graph_keeps_the_captured_order(void **state) {
    struct streams s;
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    streams_open(&s);
    s.number->value = 0;
    succeed(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
    issue(&s, true);
    succeed(cudaEventRecord(s.back, s.b));
    succeed(cudaStreamWaitEvent(s.a, s.back, 0));
    succeed(cudaStreamEndCapture(s.a, &graph));
    succeed(cudaGraphInstantiate(&exec, graph, 0));
    succeed(cudaGraphDestroy(graph));
    assert_int_equal(s.number->value, 0); // only recorded
    for (uint64_t seed = 0; seed < 10; seed++) {
        cuda_host_order(seed);
        s.number->value = 0;
        succeed(cudaGraphLaunch(exec, s.a));
        succeed(cudaGraphLaunch(exec, s.a));
        succeed(cudaStreamSynchronize(s.a));
        assert_int_equal(s.number->value, 6); // ((0 + 1) 2 + 1) 2
    }
    succeed(cudaGraphExecDestroy(exec));
    streams_close(&s);
}

static void capture_that_leaves_work_behind_is_refused(void **state) {
    struct streams s;
    cudaGraph_t graph;

    streams_open(&s);
    succeed(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
    issue(&s, true); // b is not joined
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaErrorStreamCaptureUnjoined);
    (void)cudaGetLastError(); // as expected
    streams_close(&s);
}

static void waiting_in_a_capture_ends_it(void **state) {
    struct streams s;
    cudaGraph_t graph;

    streams_open(&s);
    succeed(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(cudaStreamSynchronize(s.a), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(s.a, &graph), cudaErrorStreamCaptureInvalidated);
    (void)cudaGetLastError(); // as expected
    streams_close(&s);
}

static void faults_come_when_they_are_asked_for(void **state) {
    int objects = cuda_host_objects();
    void *memory;
    size_t unused, total;

    cuda_host_machine("gpu 8.6 2 small\nothers 0.5\nfail cudaMalloc 2 2");
    succeed(cudaMalloc(&memory, 1 << 20));
    assert_int_equal(cuda_host_objects(), objects + 1);
    succeed(cudaFree(memory));
    assert_int_equal(cudaMalloc(&memory, 1), cudaErrorMemoryAllocation);
    assert_string_equal(cuda_host_failed_call(), "cudaMalloc");
    assert_int_equal(cudaMalloc(&memory, 2 << 20), cudaErrorMemoryAllocation); // others have some
    succeed(cudaMemGetInfo(&unused, &total));
    assert_int_equal(total - unused, 1 << 19);
    succeed(cudaMalloc(&memory, 1 << 20));
    cuda_host_machine("fail kernel 1 719");
    succeed(cudaMemset(memory, 1, 1 << 20));
    assert_null(cuda_host_failed_call());
    assert_int_equal(cuda_host_calls(), 1);
    cuda_host_machine("fail any 2 700 stays");
    succeed(cudaMemset(memory, 1, 1 << 20));
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    assert_int_equal(cudaMemset(memory, 1, 1 << 20), cudaErrorIllegalAddress);
    assert_int_equal(cudaFree(memory), cudaErrorIllegalAddress);
    assert_int_equal(cuda_host_objects(), objects);
    cuda_host_machine(NULL);
    succeed(cudaDeviceSynchronize());
}

static void environment_chooses_devices(void **state) {
    static const struct {
        const char *list;
        int count;
        const char *first;
    } cases[] = {{"1,0", 2, "b"}, {"2", 1, "c"},    {"0,7,1", 1, "a"}, {"", 0, NULL},
                 {"-1", 0, NULL}, {"1,1", 0, NULL}, {"0,1,2", 3, "a"}};
    struct cudaDeviceProp p;
    int count;

    cuda_host_machine("driver 13000\ngpu 8.0 1 a\ngpu 8.9 1 b\ngpu 9.0 1 c");
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", cases[i].list, 1), 0);
        assert_int_equal(cudaGetDeviceCount(&count), cases[i].count ? 0 : cudaErrorNoDevice);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(cudaSetDevice(count), cudaErrorInvalidDevice);
        if (cases[i].first) {
            succeed(cudaGetDeviceProperties(&p, 0));
            assert_string_equal(p.name, cases[i].first);
        }
    }
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
    cuda_host_machine("driver 12090");
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    cuda_host_machine(NULL);
    succeed(cudaGetDeviceCount(&count));
    (void)cudaGetLastError(); // as expected
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_ends_the_process),
        cmocka_unit_test(accesses_beyond_memory_end_the_process),
        cmocka_unit_test(fresh_memory_is_poison),
        cmocka_unit_test(missing_barrier_shows_in_other_orders),
        cmocka_unit_test(exchange_gives_every_lanes_value),
        cmocka_unit_test(configurations_that_no_device_takes_are_refused),
        cmocka_unit_test(missing_wait_shows_in_other_orders),
        cmocka_unit_test(graph_keeps_the_captured_order),
        cmocka_unit_test(capture_that_leaves_work_behind_is_refused),
        cmocka_unit_test(waiting_in_a_capture_ends_it),
        cmocka_unit_test(faults_come_when_they_are_asked_for),
        cmocka_unit_test(environment_chooses_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
