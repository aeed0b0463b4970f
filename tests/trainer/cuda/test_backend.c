// The whole CUDA backend on its emulation: device "cuda-host", the real sources of backend and
// kernels, with plain loops in place of cuDNN. The golden cases judge its numbers. These tests hold
// that recorded steps equal issued ones, that no order of the streams changes a bit, that a step
// allocates nothing, and that wrong settings are refused.
#include "trainer/cuda/rig.h"

#include <unistd.h>

#include "backend/backend.h"
#include "base/fs.h"
#include "device/device.h"

// A file of this process alone: the program runs with several instruction sets at a time.
static char plans[64];

// The sanitizers make the emulation slow.
#if defined(__SANITIZE_ADDRESS__)
static const struct sizes sizes = {1, 16, 16};
#else
static const struct sizes sizes = {2, 32, 32};
#endif

static struct model *trained_on(const struct config_trainer *o, struct sizes s, int steps) {
    struct model *m = open_model(o);

    for (int i = 0; i < steps; i++)
        train(m, o, s, (uint64_t)i);
    assert_int_equal(model_pull(m), ERR_OK);
    return m;
}

static struct model *trained(const struct config_trainer *o, int steps) {
    return trained_on(o, sizes, steps);
}

static void assert_same(struct model *a, struct model *b) {
    for (int i = 0; i < model_n_losses(a); i++) {
        double x = model_loss(a, i), y = model_loss(b, i);
        if (memcmp(&x, &y, sizeof x))
            fail_msg("%s is %.17g and %.17g", model_loss_name(a, i), x, y);
    }
    for (int i = 0; i < model_n_nets(a); i++) {
        const struct model_net *p = model_net(a, i), *q = model_net(b, i);
        for (int k = 0; k < p->n_params; k++)
            if (p->params[k].w)
                assert_memory_equal(p->params[k].w, q->params[k].w,
                                    p->params[k].count * sizeof(float));
    }
}

static void recorded_steps_are_the_issued_ones(void **state) {
    for (size_t i = 0; i < COUNT(recipes); i++) {
        struct config_trainer o = options_of(recipes[i]);
        struct model *recorded = trained(&o, 5);
        assert_int_equal(setenv("CUDA_EAGER", "1", 1), 0);
        struct model *issued = trained(&o, 5);
        assert_int_equal(unsetenv("CUDA_EAGER"), 0);
        assert_same(recorded, issued);
        model_free(recorded);
        model_free(issued);
    }
}

// ---- updates by several batches ----

// Gradients are looked at with a rate of 0: weights stay equal, so a gradient of rounding size
// cannot move a weight by Adam's full step, and Adam's moments are sums of gradients alone.
enum { AVERAGE_OF = 3 };
static const double rate = 2e-4, decay = 0.75;

static struct config_trainer options_of_several(const char *device) {
    struct config_trainer o = options_of("cycle_gan");

    o.device = (char *)device;
    o.accumulate = AVERAGE_OF;
    o.ema = decay;
    o.dtype = "fp32";
    return o;
}

// Batch i of five: an update by three, one by two. True when it was the last of its update.
static bool train_share(struct model *m, const struct config_trainer *o, int i, double lr) {
    static const int share[5][2] = {{0, 3}, {1, 3}, {2, 3}, {0, 2}, {1, 2}};

    model_set_micro_batch(m, share[i % 5][0], share[i % 5][1]);
    train_at(m, o, sizes, (uint64_t)i, lr);
    return share[i % 5][0] == share[i % 5][1] - 1;
}

// Ten batches, four updates, recorded ones among them.
static struct model *gathered(const char *device, double lr) {
    struct config_trainer o = options_of_several(device);
    struct model *m = open_model(&o);

    for (int i = 0; i < 10; i++)
        (void)train_share(m, &o, i, lr);
    assert_int_equal(model_pull(m), ERR_OK);
    return m;
}

static double distance(size_t count, const float *a, const float *b) {
    double sum = 0;

    for (size_t j = 0; j < count; j++)
        sum += pow((double)a[j] - b[j], 2);
    return sum;
}

// |a - b| / |b| over what Adam remembers of net i's gradients: its first moment.
static double moments_apart(struct model *a, struct model *b, int i) {
    static const float zeros[1 << 16];
    double apart = 0, size = 0;

    for (int k = 0; k < model_net(a, i)->n_params; k++) {
        const struct model_param *p = &model_net(a, i)->params[k];
        const struct model_param *q = &model_net(b, i)->params[k];
        if (!p->m)
            continue;
        assert_true(p->count <= COUNT(zeros));
        apart += distance(p->count, p->m, q->m);
        size += distance(p->count, q->m, zeros);
    }
    return size > 0 ? sqrt(apart / size) : 0;
}

static void recorded_updates_by_several_batches_are_the_issued_ones(void **state) {
    struct model *recorded = gathered("cuda-host", rate);
    assert_int_equal(setenv("CUDA_EAGER", "1", 1), 0);
    struct model *issued = gathered("cuda-host", rate);
    assert_int_equal(unsetenv("CUDA_EAGER"), 0);

    assert_same(recorded, issued);
    model_free(recorded);
    model_free(issued);
}

// A batch that counts for a half instead of a third, or not at all, is at least a third of its
// update's gradient. A single activation on the other side of its kink is at most 0.05 of one.
static void gradients_of_several_batches_are_the_cpus(void **state) {
    struct model *cpu = gathered("cpu", 0), *gpu = gathered("cuda-host", 0);

    assert_int_equal(*model_net(gpu, 0)->adam_steps, 4);
    assert_int_equal(model_n_nets(gpu), 6);
    for (int i = 0; i < 4; i++) {
        double apart = moments_apart(gpu, cpu, i);
        if (!(apart < 0.1))
            fail_msg("%s: gradients differ by %.3g of their size", model_net(gpu, i)->name, apart);
    }
    model_free(cpu);
    model_free(gpu);
}

// The rule of the average, computed here from the weights after each update.
static void assert_average(struct model *m, struct model_net *net, const struct model_net *average,
                           float **ret_want) {
    for (int k = 0; k < net->n_params; k++) {
        const struct model_param *p = &net->params[k], *q = &average->params[k];
        if (!p->m)
            continue;
        for (size_t j = 0; j < p->count; j++) {
            ret_want[k][j] = (float)(decay * ret_want[k][j] + (1 - decay) * p->w[j]);
            if (!(fabs((double)ret_want[k][j] - q->w[j]) <= 1e-6 * (fabs(q->w[j]) + 0.1)))
                fail_msg("%s %s[%zu]: %.9g, not %.9g", average->name, p->key, j, q->w[j],
                         ret_want[k][j]);
        }
    }
}

static void the_average_follows_each_update(void **state) {
    struct config_trainer o = options_of_several("cuda-host");
    struct model *m = open_model(&o);
    struct model_net *net = model_net(m, 0);
    float **want = calloc((size_t)net->n_params, sizeof *want);

    assert_non_null(want);
    assert_int_equal(model_pull(m), ERR_OK);
    for (int k = 0; k < net->n_params; k++)
        if (net->params[k].m) {
            want[k] = malloc(net->params[k].count * sizeof **want);
            assert_non_null(want[k]);
            memcpy(want[k], net->params[k].w, net->params[k].count * sizeof **want);
        }
    for (int i = 0; i < 10; i++)
        if (train_share(m, &o, i, rate)) {
            assert_int_equal(model_pull(m), ERR_OK);
            assert_average(m, net, model_net(m, 4), want);
        }
    for (int k = 0; k < net->n_params; k++)
        free(want[k]);
    free(want);
    model_free(m);
}

// ---- beside the CPU ----

static void no_order_that_the_streams_allow_changes_a_bit(void **state) {
    static const char *const dtypes[] = {"fp32", "bf16"};

    for (size_t i = 0; i < COUNT(recipes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            struct config_trainer o = options_of(recipes[i]);
            o.dtype = (char *)dtypes[d];
            take_turns(0);
            struct model *in_order = trained(&o, 4);
            for (uint64_t seed = 1; seed < 4; seed++) {
                take_turns(seed);
                struct model *other = trained(&o, 4);
                assert_same(in_order, other);
                model_free(other);
            }
            take_turns(0);
            model_free(in_order);
        }
}

// One step from the first weights on pictures of its own, at a rate of 0.
static struct model *one_step(const struct config_trainer *o, const char *device, const char *dtype,
                              int number) {
    struct config_trainer other = *o;

    other.device = (char *)device;
    other.dtype = (char *)dtype;
    struct model *m = open_model(&other);
    train_at(m, &other, sizes, (uint64_t)number, 0);
    assert_int_equal(model_pull(m), ERR_OK);
    return m;
}

static void assert_losses(struct model *cpu, struct model *gpu, const char *what, double bound) {
    for (int k = 0; k < model_n_losses(cpu); k++) {
        double want = model_loss(cpu, k), is = model_loss(gpu, k);
        if (!(fabs(is - want) <= bound * (fabs(want) + 0.1)))
            fail_msg("%s %s: CPU %.9g, GPU %.9g", what, model_loss_name(cpu, k), want, is);
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Losses are continuous in every rounding: 5e-6 is 40 roundings of a float; bfloat16 has 8 bits,
// and NCE divides by a temperature of 0.07.
//
// Gradients are not: an activation whose input rounds to the other side of 0 changes them by its
// whole share, up to 0.04 of the gradient of pictures this small. That happens to one step in ten,
// on instruction sets that sum in another order. So most steps have to agree to rounding (seen:
// 1e-6 to 5e-5), and none may differ by more than a few such activations do.
static void a_step_computes_what_the_cpus_does(void **state) {
    enum { STEPS = 5 };

    for (size_t i = 0; i < COUNT(recipes); i++) {
        struct config_trainer o = options_of(recipes[i]);
        double apart[4][STEPS] = {{0}};
        int n_nets = 0;
        for (int k = 0; k < STEPS; k++) {
            struct model *cpu = one_step(&o, "cpu", NULL, k);
            struct model *gpu = one_step(&o, "cuda-host", "fp32", k);
            struct model *narrow = one_step(&o, "cuda-host", "bf16", k);
            assert_losses(cpu, gpu, recipes[i], 5e-6);
            assert_losses(cpu, narrow, recipes[i], 0.1);
            n_nets = model_n_nets(cpu);
            for (int net = 0; net < n_nets; net++)
                apart[net][k] = moments_apart(gpu, cpu, net);
            model_free(cpu);
            model_free(gpu);
            model_free(narrow);
        }
        for (int net = 0; net < n_nets; net++) {
            qsort(apart[net], STEPS, sizeof apart[net][0], by_size);
            if (!(apart[net][STEPS / 2] < 2e-4 && apart[net][STEPS - 1] < 0.2))
                fail_msg("%s, net %d: gradients differ by %.3g in the middle, %.3g at most",
                         recipes[i], net, apart[net][STEPS / 2], apart[net][STEPS - 1]);
        }
    }
}

// What a checkpoint keeps of the nets.
static void copy_state(struct model *from, struct model *to) {
    for (int i = 0; i < model_n_nets(from); i++) {
        struct model_net *p = model_net(from, i), *q = model_net(to, i);
        *q->adam_steps = *p->adam_steps;
        for (int k = 0; k < p->n_params; k++) {
            size_t bytes = p->params[k].count * sizeof(float);
            if (p->params[k].batches)
                *q->params[k].batches = *p->params[k].batches;
            if (p->params[k].w)
                memcpy(q->params[k].w, p->params[k].w, bytes);
            if (p->params[k].m) {
                memcpy(q->params[k].m, p->params[k].m, bytes);
                memcpy(q->params[k].v, p->params[k].v, bytes);
            }
        }
    }
}

static void ten_steps_and_ten_are_twenty(void **state) {
    struct config_trainer o = options_of("cycle_gan");
    struct model *whole = trained(&o, 20), *half = trained(&o, 10);

    assert_true(model_has_plans(half));
    assert_int_equal(model_plans_save(half, plans), ERR_OK);
    struct model *rest = open_model_with(&o, &(struct model_host){.seed = 42, .plans = plans});
    copy_state(half, rest);
    assert_int_equal(model_weights_changed(rest), ERR_OK);
    for (uint64_t i = 10; i < 20; i++)
        train(rest, &o, sizes, i);
    assert_int_equal(model_pull(rest), ERR_OK);
    assert_same(whole, rest);
    model_free(whole);
    model_free(half);
    model_free(rest);
    assert_int_equal(remove(plans), 0);
}

static void nothing_is_allocated_after_the_first_step(void **state) {
    struct config_trainer o = options_of("cycle_gan");
    struct model *m = trained(&o, 1);
    size_t peak = model_device_memory_peak(m);

    assert_true(peak > 0);
    for (uint64_t i = 1; i < 6; i++)
        train(m, &o, sizes, i);
    assert_int_equal(model_device_memory_peak(m), peak);
    model_free(m);
}

// A step of resnet_9blocks at 128x128, batch 1: how much is launched and how much of it one after
// the other. Narrow nets have the same ops.
static void the_step_is_as_few_launches_as_said(void **state) {
    static const char *const sections[] = {"generate", "update of G", "update of D"};
    static const struct { int nodes, chain; } most[] = {{110, 55}, {564, 163}, {72, 29}};
    struct config_trainer o = options_of("cycle_gan");
    bool (*recorded)(size_t, int *, int *);
    void (*sample)(unsigned);
    int nodes, chain, all = 0, behind = 0;
    size_t first = 0;

    *(void **)&recorded = emulation("cuda_host_recorded");
    *(void **)&sample = emulation("cuda_host_sample");
    while (recorded(first, &nodes, &chain))
        first++;
    o.netG = "resnet_9blocks";
    o.dtype = "bf16";
    o.n_layers_D = 3;
    sample(2); // blocks of a kernel: nobody looks at the numbers
    model_free(trained_on(&o, (struct sizes){1, 128, 128}, 2));
    sample(0);
    for (size_t i = 0; i < COUNT(sections); i++) {
        assert_true(recorded(first + i, &nodes, &chain));
        print_message("%s: %d launches, %d of them behind each other\n", sections[i], nodes, chain);
        assert_true(nodes <= most[i].nodes && chain <= most[i].chain);
        all += nodes;
        behind += chain;
    }
    print_message("a step: %d launches, %d of them behind each other\n", all, behind);
    assert_false(recorded(first + COUNT(sections), &nodes, &chain));
}

static void assert_refused(const struct device_options *o, int code, const char *why) {
    struct device *d;

    assert_int_equal(device_open(o, &d), code);
    if (!strstr(err_text(), why))
        fail_msg("'%s' does not say '%s'", err_text(), why);
}

static void what_cannot_work_is_refused_by_name(void **state) {
    static const char other[] = "cuDNN plans 1\ncudnn 91900\ndevice 9.0 132 NVIDIA H200\n";
    struct device_options o = {.name = "cuda-host", .threads = 1, .gpu = 7};

    assert_refused(&o, ERR_DEVICE, "gpu = 7: there are 1 GPUs");
    o.gpu = 0;
    o.dtype = "fp16";
    assert_refused(&o, ERR_CONFIG, "dtype = \"fp16\"");
    o.dtype = NULL;
    o.plans = "no such file";
    assert_refused(&o, ERR_IO, "no such file");
    o.plans = plans;
    assert_int_equal(fs_write_atomic(plans, other, strlen(other)), ERR_OK);
    assert_refused(&o, ERR_FORMAT, ":4: the file of cuDNN plans ends too early");
    assert_int_equal(remove(plans), 0);
}

static void an_old_gpu_and_an_old_driver_are_refused_by_name(void **state) {
    struct device_options o = {.name = "cuda-host", .threads = 1};

    machine("driver 12040\ngpu 9.0 16384 a new one");
    assert_refused(&o, ERR_DEVICE, "needs 580 or later");
    machine("gpu 7.5 8192 an old one");
    assert_refused(&o, ERR_DEVICE, "compute capability 7.5; needed is at least 8.0");
    machine(NULL);
}

// The real plugin, where it is built and there is no GPU; without it the loader says so.
static void a_machine_without_a_gpu_says_so(void **state) {
    struct device_options o = {.name = "cuda", .threads = 1};
    char *plugin = lib("device_cuda.so");
    struct device *d;

    if (device_open(&o, &d) == ERR_OK) {
        device_close(d);
        print_message("SKIP a machine without a GPU: here is one\n");
        skip();
    }
    if (strstr(err_text(), "another build")) // make CUDA=0 leaves what was there
        assert_refused(&o, ERR_DEVICE, "make builds it anew");
    else
        assert_refused(&o, ERR_DEVICE, fs_exists(plugin) ? "NVIDIA driver" : "has no CUDA");
    free(plugin);
    assert_non_null(strstr(err_text(), "\"auto\""));
}

static void it_says_what_it_is(void **state) {
    struct device_options o = {.name = "cuda-host", .threads = 1};
    struct device *d;
    char text[200];

    assert_int_equal(device_open(&o, &d), ERR_OK);
    assert_string_equal(d->dtype, "tf32");
    d->backend->describe(d, text, sizeof text);
    assert_non_null(strstr(text, "driver for CUDA"));
    device_close(d);
}

static void succeed(int err) {
    if (err)
        fail_msg("%s", err_text());
}

static struct device_weights *weights(struct device *d, void **ret_master) {
    static const int64_t dims[4] = {8, 8, 3, 3};

    succeed(d->backend->memory_new(d, 8 * 8 * 9 * sizeof(float), ret_master));
    return d->backend->weights_new(d, *ret_master, dims);
}

static void refresh_in(struct device *d, struct device_section *section, struct device_weights *w) {
    struct device_values values = {0};
    bool issue;

    succeed(d->backend->section_begin(section, &values, &issue));
    if (issue)
        succeed(d->backend->weights_refresh(d, &w, 1));
    succeed(d->backend->section_end(section));
    succeed(device_wait(d));
}

// A recorded section reads the table of its weights: it stays when other weights go. (The emulation
// ends the process where freed memory is read.)
static void weights_that_go_take_no_others_along(void **state) {
    struct device_options o = {.name = "cuda-host", .threads = 1};
    struct device_section *section;
    struct device *d;
    void *stays, *goes;

    succeed(device_open(&o, &d));
    struct device_weights *a = weights(d, &stays), *b = weights(d, &goes);
    succeed(d->backend->weights_refresh(d, &a, 1));
    succeed(d->backend->weights_refresh(d, &b, 1));
    succeed(d->backend->section_new(d, &section));
    for (int i = 0; i < 3; i++) // issued, recorded, repeated
        refresh_in(d, section, a);
    d->backend->weights_free(b);
    refresh_in(d, section, a);
    d->backend->section_free(section);
    d->backend->weights_free(a);
    d->backend->memory_free(d, stays);
    d->backend->memory_free(d, goes);
    device_close(d);
    assert_int_equal(objects_left(), 0);
}

static void a_filter_too_large_is_refused(void **state) {
    static const int64_t dims[4] = {8, 8, 17, 17};
    struct device_options o = {.name = "cuda-host", .threads = 1};
    struct conv_shape s = {.n = 1, .c = 8, .h = 32, .w = 32, .k = 8, .r = 17, .stride = 1};
    struct device_conv *conv;
    struct device *d;
    void *master;

    succeed(device_open(&o, &d));
    succeed(d->backend->memory_new(d, 8 * 8 * 17 * 17 * sizeof(float), &master));
    struct device_weights *w = d->backend->weights_new(d, master, dims);
    assert_int_equal(d->backend->conv_new(w, &s, true, &conv), ERR_DEVICE);
    assert_non_null(strstr(err_text(), "17x17"));
    d->backend->weights_free(w);
    d->backend->memory_free(d, master);
    device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_it_is),
        cmocka_unit_test(recorded_steps_are_the_issued_ones),
        cmocka_unit_test(recorded_updates_by_several_batches_are_the_issued_ones),
        cmocka_unit_test(gradients_of_several_batches_are_the_cpus),
        cmocka_unit_test(the_average_follows_each_update),
        cmocka_unit_test(a_step_computes_what_the_cpus_does),
        cmocka_unit_test(ten_steps_and_ten_are_twenty),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step),
        cmocka_unit_test(the_step_is_as_few_launches_as_said),
        cmocka_unit_test(no_order_that_the_streams_allow_changes_a_bit),
        cmocka_unit_test(weights_that_go_take_no_others_along),
        cmocka_unit_test(a_filter_too_large_is_refused),
        cmocka_unit_test(what_cannot_work_is_refused_by_name),
        cmocka_unit_test(an_old_gpu_and_an_old_driver_are_refused_by_name),
        cmocka_unit_test(a_machine_without_a_gpu_says_so),
    };

    (void)snprintf(plans, sizeof plans, "cuda_plans.%d.test", (int)getpid()); // fits
    return cmocka_run_group_tests(tests, NULL, NULL);
}
