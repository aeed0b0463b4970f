// What the CUDA backend does when calls of the runtime fail, on its emulation: every call of a
// small training in its turn. The model returns an error, everything is given back, and where the
// context was not lost another model works.
#include "cuda_rig.h"

#include "backend.h"

static const struct sizes sizes = {1, 16, 16};

static struct model_options small_options(const char *model) {
    struct model_options o = options_of(model);

    o.netG = "resnet_1blocks";
    o.ngf = o.ndf = 2;
    o.n_layers_D = 1;
    o.cut.nce_layers = "0,4";
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

static int train_small(const struct model_options *o) {
    struct model *m;
    int err = model_new(o, &m);

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

static uint64_t calls_of_a_training(const struct model_options *o) {
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
    struct model_options o = small_options(model);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(the_context_may_be_lost_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
