// Failing calls of the runtime, on the emulation: every call of a small training fails once. Then
// the model returns an error and frees everything. If the context was not lost, another model
// works.
#include "trainer/cuda/rig.h"

#include "backend/backend.h"

static const struct sizes sizes = {1, 16, 16};

static struct config_trainer small_options(const char *model) {
    struct config_trainer o = options_of(model);

    o.netG = "resnet_1blocks";
    o.ngf = o.ndf = 2;
    o.n_layers_D = 1;
    o.nce_layers = "0,4";
    return o;
}

static int feed_all(struct model *m, uint64_t number) {
    uint8_t pictures[16 * 16 * 3];
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++) {
        for (size_t i = 0; i < sizeof pictures; i++)
            pictures[i] = (uint8_t)(31 * i + 7 * number + (uint64_t)d);
        err = model_feed(m, (enum model_domain)d, pictures);
    }
    return err;
}

static int update(struct model *m, bool d) {
    if (!d)
        return model_update_g(m, 2e-4);
    const float *fakes[2] = {model_fake(m, MODEL_A), model_fake(m, MODEL_B)};
    return model_update_d(m, 2e-4, fakes[0], fakes[1]);
}

// A step as the trainer takes it.
static int step(struct model *m, uint64_t number) {
    bool d_first = model_d_first(m);
    int err = model_shape(m, sizes.n, sizes.h, sizes.w, sizes.h, sizes.w);

    model_set_step(m, number);
    if (!err)
        err = feed_all(m, number);
    if (!err)
        err = model_generate(m);
    if (!err && !d_first)
        err = model_send_fakes(m);
    if (!err)
        err = update(m, d_first);
    if (!err)
        err = update(m, !d_first);
    return err ? err : model_wait(m);
}

// Steps that are issued, recorded and repeated, and what a checkpoint and pictures take.
static int work(struct model *m) {
    float x[16 * 16 * 3] = {0}, y[16 * 16 * 3];
    bool finite;
    int err = model_init(m, "normal", 0.05, 3);

    for (uint64_t i = 0; i < 3 && !err; i++)
        err = step(m, i);
    if (!err)
        err = model_weights_finite(m, &finite);
    if (!err)
        err = finite && model_gradients_finite(m) ? ERR_OK : ERR_NOT_FINITE;
    if (!err)
        err = model_translate(m, 0, 1, 16, 16, x, y);
    return err ? err : model_pull(m);
}

static int train_small(const struct config_trainer *o) {
    struct model *m;
    int err = model_new(o, &usual_host, &m);

    if (err)
        return err;
    err = work(m);
    model_free(m);
    return err;
}

static uint64_t calls(void) {
    uint64_t (*count)(void);

    *(void **)&count = emulation("cuda_host_calls");
    return count();
}

static const char *failed_call(void) {
    const char *(*failed)(void);

    *(void **)&failed = emulation("cuda_host_failed_call");
    return failed();
}

static uint64_t calls_of_a_training(const struct config_trainer *o) {
    machine("idle");
    assert_int_equal(train_small(o), ERR_OK);
    return calls();
}

// Calls that give something back, or whose result is only told.
static bool may_fail_unheard(const char *call) {
    static const char *const unheard[] = {
        "cudaFree",
        "cudaFreeHost",
        "cudaEventDestroy",
        "cudaStreamDestroy",
        "cudaGraphDestroy",
        "cudaGraphExecDestroy",
        "cudaDeviceSynchronize",
        "cudaRuntimeGetVersion",
    };

    for (size_t i = 0; i < COUNT(unheard); i++)
        if (strcmp(call, unheard[i]) == 0)
            return true;
    return false;
}

// Every `by`th call fails, each in a training of its own; with FAULTS_BY=1 in the environment every
// one.
static void fail_each(const char *model, unsigned by, const char *stays) {
    struct config_trainer o = small_options(model);
    uint64_t count = calls_of_a_training(&o);
    int objects = objects_left();

    assert_true(count > 300);
    if (getenv("FAULTS_BY"))
        by = (unsigned)atoi(getenv("FAULTS_BY"));
    for (uint64_t n = 1; n <= count; n += by) {
        char text[60];
        (void)snprintf(text, sizeof text, "idle\nfail any %llu 719%s", (unsigned long long)n,
                       stays);
        machine(text);
        int err = train_small(&o);
        const char *call = failed_call();
        if (!call)
            fail_msg("%s: call %llu was not made", model, (unsigned long long)n);
        if (!err && !may_fail_unheard(call))
            fail_msg("%s: nobody noticed that call %llu, %s, failed", model, (unsigned long long)n,
                     call);
        if (err && err != ERR_DEVICE_LOST && err != ERR_DEVICE)
            fail_msg("%s: call %llu, %s, ended with %s: %s", model, (unsigned long long)n, call,
                     err_name(err), err_text());
        if (objects_left() != objects)
            fail_msg("%s: %d objects are left after call %llu, %s", model, objects_left() - objects,
                     (unsigned long long)n, call);
        if (!*stays) { // the same process goes on
            machine("idle");
            assert_int_equal(train_small(&o), ERR_OK);
        }
    }
    machine(NULL);
    assert_int_equal(train_small(&o), ERR_OK);
}

static void any_call_may_fail(void **state) {
    for (size_t i = 0; i < COUNT(recipes); i++)
        fail_each(recipes[i], i ? 41 : 17, "");
}

static void the_context_may_be_lost_at_any_call(void **state) {
    for (size_t i = 0; i < COUNT(recipes); i++)
        fail_each(recipes[i], i ? 53 : 29, " stays");
}

// ---- no memory ----

// The n-th allocation finds none.
static void no_memory_at(const char *function, const char *model) {
    struct config_trainer o = small_options(model);
    int err = ERR_LIMIT, objects = objects_left(), n;

    for (n = 1; err == ERR_LIMIT; n++) {
        char text[60];
        (void)snprintf(text, sizeof text, "idle\nfail %s %d 2", function, n);
        machine(text);
        err = train_small(&o);
        if (err && err != ERR_LIMIT)
            fail_msg("%s %d of %s: %s: %s", function, n, model, err_name(err), err_text());
        if (!err && failed_call())
            fail_msg("nobody noticed that %s %d of %s failed", function, n, model);
        assert_int_equal(objects_left(), objects);
    }
    assert_true(n > 4);
    machine(NULL);
}

static void every_allocation_may_find_no_memory(void **state) {
    for (size_t i = 0; i < COUNT(recipes); i++) {
        no_memory_at("cudaMalloc", recipes[i]);
        no_memory_at("cudaHostAlloc", recipes[i]);
        no_memory_at("cudaGraphInstantiate", recipes[i]);
        no_memory_at("cudaGraphLaunch", recipes[i]);
    }
}

// A launch that finds no memory (the module is loaded at its first) and one that is refused end in
// ERR_LIMIT, with the reason: a new start would meet the same. Issued, captured, replayed.
static void launches_that_are_refused_are_no_lost_device(void **state) {
    struct config_trainer o = small_options("cycle_gan");
    int objects = objects_left(), told = 0;

    for (int n = 1; n < 2000; n += 37) {
        char text[60];
        (void)snprintf(text, sizeof text, "idle\nfail cudaLaunchKernel %d %d", n, n % 2 ? 2 : 1);
        machine(text);
        int err = train_small(&o);
        if (!failed_call())
            break;
        if (err != ERR_LIMIT)
            fail_msg("launch %d: %s: %s", n, err_name(err), err_text());
        assert_non_null(strstr(err_text(), n % 2 ? "MiB are free" : "invalid argument"));
        assert_int_equal(objects_left(), objects);
        told++;
    }
    assert_true(told > 5);
    machine(NULL);
}

// Of an earlier build, or a driver older than the compiler.
static void a_plugin_without_code_for_the_gpu_is_refused(void **state) {
    static const char *const faults[] = {
        "fail cudaFuncGetAttributes 1 209", "fail cudaFuncGetAttributes 2 222",
        "fail cudaLaunchKernel 30 209"}; // a kernel that has none though others do
    struct config_trainer o = small_options("cycle_gan");

    for (size_t i = 0; i < COUNT(faults); i++) {
        machine(faults[i]);
        assert_int_equal(train_small(&o), ERR_DEVICE);
        assert_non_null(strstr(err_text(), "has no code for"));
        assert_non_null(strstr(err_text(), "make CUDA_ARCHS="));
        assert_int_equal(objects_left(), 0);
    }
    machine(NULL);
}

static void small_gpu(double mib) {
    char text[80];

    (void)snprintf(text, sizeof text, "gpu 8.6 %.3f a small one\nidle", mib);
    machine(text);
}

static int step_of(struct model *m, int n, int side) {
    size_t bytes = (size_t)n * (size_t)side * (size_t)side * 3;
    uint8_t *pictures = xcalloc(bytes, 1);
    int err = model_shape(m, n, side, side, side, side);

    for (int d = 0; d < 2 && !err; d++)
        err = model_feed(m, (enum model_domain)d, pictures);
    if (!err)
        err = model_generate(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err)
        err = model_update_d(m, 2e-4, NULL, NULL);
    free(pictures);
    return err ? err : model_wait(m);
}

// What steps on n pictures take on a GPU that has enough, in MiB.
static double peak_of(const struct config_trainer *o, int n, int side) {
    struct model *m = open_model(o);

    assert_int_equal(step_of(m, n, side), ERR_OK);
    double mib = (double)model_device_memory_peak(m) / 1048576;
    model_free(m);
    return mib;
}

static double number_behind(const char *text) {
    const char *at = strstr(err_text(), text);

    if (!at)
        fail_msg("'%s' does not say '%s'", err_text(), text);
    return strtod(at + strlen(text), NULL);
}

// The text names what is needed, and what it suggests does.
static void a_batch_that_does_not_fit_is_told_with_one_that_does(void **state) {
    struct config_trainer o = small_options("cycle_gan");

    machine("idle");
    double six = peak_of(&o, 6, 128), all = peak_of(&o, 6, 128);
    assert_true(fabs(six - all) < 1e-9);
    small_gpu(0.75 * six);
    struct model *m = open_model(&o);
    assert_int_equal(step_of(m, 6, 128), ERR_LIMIT);
    double need = number_behind("needs ");
    if (!(fabs(need - six) < 0.05 * six))
        fail_msg("%g MiB are needed, not '%s'", six, err_text());
    assert_non_null(strstr(err_text(), "GPU 0 (a small one)"));
    assert_non_null(strstr(err_text(), "bf16"));
    int n = (int)number_behind("loader.batch_size ");
    double told = number_behind("needs about ");
    assert_in_range(n, 3, 4);
    assert_int_equal(step_of(m, n, 128), ERR_OK); // the same model goes on with it
    assert_int_equal(step_of(m, n + 1, 128), ERR_LIMIT);
    assert_int_equal(step_of(m, n, 128), ERR_OK);
    assert_true((double)model_device_memory_peak(m) <= 0.75 * six * 1048576);
    model_free(m);
    machine("idle");
    double took = peak_of(&o, n, 128);
    if (!(fabs(told - took) < 0.07 * took))
        fail_msg("batches of %d take %g MiB, not %g", n, took, told);
    assert_int_equal(objects_left(), 0);
    machine(NULL);
}

static void a_picture_that_does_not_fit_is_told_with_a_size_that_does(void **state) {
    struct config_trainer o = small_options("cycle_gan");

    o.dtype = "bf16";
    machine("idle");
    small_gpu(0.5 * peak_of(&o, 1, 256));
    struct model *m = open_model(&o);
    assert_int_equal(step_of(m, 1, 256), ERR_LIMIT);
    assert_null(strstr(err_text(), "bf16"));
    int side = (int)number_behind("loader.crop_size ");
    assert_in_range(side, 128, 224);
    assert_int_equal(step_of(m, 1, side), ERR_OK);
    model_free(m);
    machine(NULL);
}

static void large_gpu(double unused_mib) {
    char text[100];

    (void)snprintf(text, sizeof text, "gpu 9.0 16384 a large one\nothers %.3f\nidle",
                   16384 - unused_mib);
    machine(text);
}

// What a driver takes in the first steps is kept free by what is suggested.
static void a_suggestion_leaves_room_for_the_driver(void **state) {
    struct config_trainer o = small_options("cycle_gan");
    double six;

    machine("idle");
    six = peak_of(&o, 6, 128);
    large_gpu(0.9 * six + 256);
    struct model *m = open_model(&o);
    assert_int_equal(step_of(m, 7, 128), ERR_OK); // it fits, but for the driver
    assert_int_equal(step_of(m, (int)(6 * (0.9 * six + 256) / six) + 2, 128), ERR_LIMIT);
    int n = (int)number_behind("loader.batch_size ");
    assert_in_range(n, 4, 5);
    large_gpu(0.9 * six); // the driver has taken it
    assert_int_equal(step_of(m, n, 128), ERR_OK);
    model_free(m);
    machine(NULL);
}

static void weights_that_do_not_fit_are_told(void **state) {
    struct config_trainer o = small_options("cycle_gan");
    struct model *m;

    o.ngf = o.ndf = 16;
    machine("idle");
    m = open_model(&o);
    size_t count = 0;
    for (int i = 0; i < model_n_nets(m); i++)
        for (int k = 0; k < model_net(m, i)->n_params; k++)
            count += model_net(m, i)->params[k].count;
    model_free(m);
    small_gpu(2);
    assert_int_equal(model_new(&o, &usual_host, &m), ERR_LIMIT);
    double mib = (double)(4 * count * sizeof(float)) / 1048576;
    assert_true(fabs(number_behind("moments need ") - mib) < 0.05 * mib + 0.5);
    assert_non_null(strstr(err_text(), "GPU 0 (a small one)"));
    assert_int_equal(objects_left(), 0);
    machine(NULL);
}

// Steps that would fail if they allocated anything.
static void assert_allocates_nothing(struct model *m, int n, int side) {
    static const char *const kinds[] = {"cudaMalloc", "cudaHostAlloc", "cudaMallocHost",
                                        "cudaEventCreateWithFlags", "cudaStreamCreateWithFlags"};
    size_t peak = model_device_memory_peak(m);

    assert_int_equal(step_of(m, n, side), ERR_OK); // recorded
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char text[60];
        (void)snprintf(text, sizeof text, "idle\nfail %s 1 2", kinds[i]);
        machine(text);
        for (int k = 0; k < 2; k++)
            if (step_of(m, n, side) != ERR_OK)
                fail_msg("%s is called in a later step: %s", kinds[i], err_text());
        assert_null(failed_call());
    }
    machine("idle");
    assert_int_equal(model_device_memory_peak(m), peak);
}

static void nothing_is_allocated_after_the_first_step_of_a_shape(void **state) {
    for (size_t i = 0; i < COUNT(recipes); i++) {
        struct config_trainer o = small_options(recipes[i]);
        machine("idle");
        struct model *m = open_model(&o);
        assert_int_equal(step_of(m, 2, 32), ERR_OK);
        size_t first = model_device_memory_peak(m);
        assert_allocates_nothing(m, 2, 32);
        assert_int_equal(step_of(m, 3, 48), ERR_OK);
        assert_true(model_device_memory_peak(m) > first);
        assert_allocates_nothing(m, 3, 48);
        assert_int_equal(step_of(m, 2, 32), ERR_OK); // back, recorded anew in the larger arena
        assert_allocates_nothing(m, 2, 32);
        model_free(m);
    }
    machine(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(the_context_may_be_lost_at_any_call),
        cmocka_unit_test(every_allocation_may_find_no_memory),
        cmocka_unit_test(launches_that_are_refused_are_no_lost_device),
        cmocka_unit_test(a_plugin_without_code_for_the_gpu_is_refused),
        cmocka_unit_test(a_batch_that_does_not_fit_is_told_with_one_that_does),
        cmocka_unit_test(a_suggestion_leaves_room_for_the_driver),
        cmocka_unit_test(a_picture_that_does_not_fit_is_told_with_a_size_that_does),
        cmocka_unit_test(weights_that_do_not_fit_are_told),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step_of_a_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
