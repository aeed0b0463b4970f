// cuDNN's plans for GPUs that are not here: it is given their properties (devices/*.json) and asked
// for an engine for every convolution of every net. Nothing is run. Without cuDNN: skipped.

// cuDNN's plans for GPUs that are not here: it gets their properties (devices/*.json), and has to
// give an engine for every convolution of every net. Nothing is run. Without cuDNN: skipped.
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "cuda/layer.h"
#include "graph/graph.h"
#include "nets/nets.h"

#ifdef WITH_CUDNN
#include "cuda/conv.h"
#include "cuda/engine.h"
#endif

#define SHAPES 4096
#define CHANNELS 8 // are stored in multiples of so many

// ---- a device that only notes which convolutions it is asked for ----

static struct conv_shape shapes[SHAPES];
static int n_shapes;
static const struct backend noting;
static struct device device = {.backend = &noting,
                               .dtype = "fp32",
                               .element_bytes = sizeof(float),
                               .channel_step = CHANNELS,
                               .streams = 1};

static int memory_new(struct device *d, size_t bytes, void **ret_memory) {
    *ret_memory = xcalloc(1, bytes); // costs nothing where nobody looks
    return ERR_OK;
}

static void memory_free(struct device *d, void *memory) {
    free(memory);
}

static struct device_weights *weights_new(struct device *d, const float *master,
                                          const int64_t dims[4]) {
    return xcalloc(1, 1);
}

static void weights_free(struct device_weights *w) {
    free(w);
}

static int conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                    struct device_conv **ret_conv) {
    struct conv_shape stored = *shape;

    stored.c = device_channels(&device, shape->c);
    stored.k = device_channels(&device, shape->k);
    stored.bias = false;
    *ret_conv = xcalloc(1, 1);
    for (int i = 0; i < n_shapes; i++)
        if (!memcmp(&shapes[i], &stored, sizeof stored))
            return ERR_OK;
    assert_true(n_shapes < SHAPES);
    shapes[n_shapes++] = stored;
    return ERR_OK;
}

static void conv_free(struct device_conv *c) {
    free(c);
}

static size_t conv_workspace_bytes(const struct device_conv *c) {
    return 0;
}

static size_t norm_workspace_bytes(struct device *d, const struct norm_shape *s) {
    return 0;
}

static const struct backend noting = {
    .name = "noting",
    .memory_new = memory_new,
    .memory_free = memory_free,
    .shared_new = memory_new,
    .shared_free = memory_free,
    .weights_new = weights_new,
    .weights_free = weights_free,
    .conv_new = conv_new,
    .conv_free = conv_free,
    .conv_workspace_bytes = conv_workspace_bytes,
    .norm_workspace_bytes = norm_workspace_bytes,
};

// ---- all convolutions of all nets ----

static void note_net(const struct net_options *o, bool is_generator, int n, int size) {
    struct optimizer optimizer = {0};
    struct graph *g = graph_new(&device);
    struct net *net;
    size_t floats = 0;
    int y;

    assert_int_equal(is_generator ? generator_new(o, &net) : discriminator_new(o, &net), ERR_OK);
    net_reserve(net, &floats);
    assert_int_equal(optimizer_init(&optimizer, &device, floats, 0.5, 0.999), ERR_OK);
    assert_int_equal(net_bind(net, &optimizer), ERR_OK);
    if (net_check_size(net, size, size) == ERR_OK) {
        int x = graph_input(g, n, size, size, o->in_nc);
        graph_require_gradient(g, x);
        assert_int_equal(net_forward(net, g, x, NET_TRAIN, &y), ERR_OK);
    }
    graph_free(g);
    net_free(net);
    optimizer_fini(&optimizer);
}

// Batches of 1, 6 and 16, alone and as two batches in one call.
static int note_all(void **state) {
    static const int batches[] = {1, 2, 6, 12, 16, 32}, sizes[] = {128, 256};
    static const struct net_options generators[] = {
        {.arch = "resnet_6blocks", .in_nc = 3, .out_nc = 3, .nf = 64, .norm = "instance"},
        {.arch = "resnet_9blocks", .in_nc = 3, .out_nc = 3, .nf = 64, .norm = "instance"},
        {.arch = "unet_128", .in_nc = 3, .out_nc = 3, .nf = 64, .norm = "batch"},
        {.arch = "unet_256", .in_nc = 3, .out_nc = 3, .nf = 64, .norm = "batch"},
    };
    static const struct net_options discriminators[] = {
        {.arch = "basic", .in_nc = 3, .nf = 64, .n_layers = 3, .norm = "instance"},
        {.arch = "basic", .in_nc = 6, .nf = 64, .n_layers = 3, .norm = "batch"},
        {.arch = "n_layers", .in_nc = 3, .nf = 64, .n_layers = 4, .norm = "instance"},
        {.arch = "pixel", .in_nc = 3, .nf = 64, .norm = "instance"},
    };

    for (size_t b = 0; b < COUNT(batches); b++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            for (size_t i = 0; i < COUNT(generators); i++)
                note_net(&generators[i], true, batches[b], sizes[s]);
            for (size_t i = 0; i < COUNT(discriminators); i++)
                note_net(&discriminators[i], false, batches[b], sizes[s]);
        }
    return 0;
}

static void all_nets_are_looked_at(void **state) {
    int transposed = 0;

    for (int i = 0; i < n_shapes; i++)
        transposed += shapes[i].transposed;
    print_message("%d distinct convolutions, %d of them transposed\n", n_shapes, transposed);
    // A resnet has 6 plain shapes and 2 transposed ones, U-Nets 7 or 8 each way.
    assert_true(n_shapes > 12 * (8 + 12 + 5));
    assert_true(transposed > 12 * (2 + 5));
}

#ifdef WITH_CUDNN

// What a device's engines come to.
struct tally {
    int problems, tensor_core;
    size_t largest_workspace;
};

static char *description(const char *name) {
    char *path = xasprintf("tests/trainer/cuda/devices/%s.json", name);
    uint8_t *json;
    size_t size;

    assert_int_equal(fs_read(path, 1 << 16, &json, &size), ERR_OK);
    free(path);
    return (char *)json;
}

static struct cuda_convs *open_described(const char *name, enum cuda_math math) {
    char *json = description(name);
    struct cuda_convs *convs;
    struct cuda_convs_options o = {.math = math, .described = json};

    if (cuda_convs_open(&o, &convs))
        fail_msg("%s", err_text());
    free(json);
    return convs;
}

static void look_at(struct cuda_convs *convs, const struct cuda_problem *problem, struct tally *t) {
    size_t before = cuda_convs_count(convs);
    struct cuda_conv *conv;

    if (cuda_conv_new(convs, problem, false, &conv))
        fail_msg("%s", err_text());
    if (cuda_convs_count(convs) > before) {
        t->problems++;
        t->tensor_core += cuda_conv_uses_tensor_cores(conv);
        t->largest_workspace = MAX(t->largest_workspace, cuda_conv_workspace_bytes(conv));
    }
    cuda_conv_free(conv);
}

static struct tally look_at_all(const char *name, enum cuda_math math) {
    struct cuda_convs *convs = open_described(name, math);
    struct tally t = {0};

    for (int i = 0; i < n_shapes; i++)
        for (int pass = PASS_FORWARD; pass <= PASS_FILTER; pass++) {
            struct cuda_problem problem = cuda_problem_of(&shapes[i], (enum cuda_pass)pass, math);
            look_at(convs, &problem, &t);
        }
    print_message(
        "%s %s: %d problems, all with a deterministic plan, %d with tensor cores, largest "
        "workspace %.1f MiB\n",
        name, cuda_math_name(math), t.problems, t.tensor_core,
        (double)t.largest_workspace / 1048576);
    cuda_convs_close(convs);
    assert_true(t.problems > 2 * n_shapes);
    return t;
}

static void an_h200_has_deterministic_tensor_core_plans_in_bf16(void **state) {
    struct tally t = look_at_all("h200", MATH_BF16);

    assert_int_equal(t.tensor_core, t.problems);
}

static void an_h200_has_deterministic_tensor_core_plans_in_tf32(void **state) {
    struct tally t = look_at_all("h200", MATH_TF32);

    assert_int_equal(t.tensor_core, t.problems);
}

static void an_h200_has_deterministic_plans_in_fp32(void **state) {
    struct tally t = look_at_all("h200", MATH_FP32);

    assert_int_equal(t.tensor_core, 0);
}

static void an_rtx_3060_has_plans(void **state) {
    (void)look_at_all("rtx3060", MATH_BF16);
    (void)look_at_all("rtx3060", MATH_TF32);
    (void)look_at_all("rtx3060", MATH_FP32);
}

static void an_rtx_4090_has_plans(void **state) {
    (void)look_at_all("rtx4090", MATH_BF16);
    (void)look_at_all("rtx4090", MATH_TF32);
    (void)look_at_all("rtx4090", MATH_FP32);
}

// Of a translation of 4000x6000 in one piece, by resnet_9blocks: maps of 1.5e9 numbers, whose bytes
// do not fit 31 bits.
static void a_picture_of_24_megapixels_has_plans(void **state) {
    static const struct conv_shape layers[] = {
        {1, 8, 4006, 6006, 64, 7, 1, 0, 0, false, true},
        {1, 64, 4000, 6000, 128, 3, 2, 1, 0, false, true},
        {1, 128, 2000, 3000, 256, 3, 2, 1, 0, false, true},
        {1, 256, 1002, 1502, 256, 3, 1, 0, 0, false, true},
        {1, 256, 1000, 1500, 128, 3, 2, 1, 1, true, true},
        {1, 128, 2000, 3000, 64, 3, 2, 1, 1, true, true},
        {1, 64, 4006, 6006, 8, 7, 1, 0, 0, false, true},
    };

    for (enum cuda_math math = MATH_BF16; math <= MATH_FP32; math++) {
        struct cuda_convs *convs = open_described("h200", math);
        struct tally t = {0};
        for (size_t i = 0; i < COUNT(layers); i++) {
            struct cuda_problem problem = cuda_problem_of(&layers[i], PASS_FORWARD, math);
            look_at(convs, &problem, &t);
        }
        print_message(
            "24 megapixels, %s: %d problems, %d with tensor cores, largest workspace %.1f MiB\n",
            cuda_math_name(math), t.problems, t.tensor_core, (double)t.largest_workspace / 1048576);
        assert_int_equal(t.problems, COUNT(layers));
        cuda_convs_close(convs);
    }
}

// cuDNN's own description of an execution plan. Caller frees.
static char *json_of(const struct cuda_built *b) {
    enum { SIZE = 1 << 16 };
    char *json = xcalloc(1, SIZE);
    int64_t count;

    assert_int_equal(cudnnBackendGetAttribute(b->object,
                                              CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                              CUDNN_TYPE_CHAR, SIZE - 1, &count, json),
                     CUDNN_STATUS_SUCCESS);
    assert_true(count > 100);
    return json;
}

static void assert_made_again(const struct cuda_op_graph *g, const struct cuda_target *target,
                              const struct cuda_built *b) {
    struct cuda_built again;

    if (cuda_plan_build(g, target, &b->plan, &again))
        fail_msg("%s", err_text());
    char *first = json_of(b), *second = json_of(&again);
    assert_string_equal(first, second);
    assert_int_equal(again.workspace_bytes, b->workspace_bytes);
    assert_int_equal(again.tensor_core, b->tensor_core);
    free(first);
    free(second);
    cuda_built_fini(&again);
}

static int make_again(const struct cuda_target *target, const struct cuda_problem *problem) {
    struct cuda_built built[12];
    struct cuda_op_graph g;

    assert_int_equal(cuda_op_graph_init(&g, problem, target), ERR_OK);
    int count = cuda_candidates(&g, target, (int)COUNT(built), built);
    for (int i = 0; i < count; i++) {
        assert_made_again(&g, target, &built[i]);
        cuda_built_fini(&built[i]);
    }
    cuda_op_graph_fini(&g);
    return count;
}

// What a plan file says, and what the lanes but the first use: engine and knobs are the whole plan.
static void every_candidate_is_made_again_from_its_engine_and_knobs(void **state) {
    char *json = description("h200");
    struct cuda_target target;
    int count = 0;

    assert_int_equal(cuda_target_open(json, &target), ERR_OK);
    for (int i = 0; i < n_shapes; i += 7)
        for (int k = 0; k < 9; k++) {
            struct cuda_problem problem =
                cuda_problem_of(&shapes[i], (enum cuda_pass)(k % 3), (enum cuda_math)(k / 3));
            count += make_again(&target, &problem);
        }
    print_message("%d candidates of %d convolutions\n", count, (n_shapes + 6) / 7 * 9);
    assert_true(count > n_shapes);
    cuda_target_close(&target);
    free(json);
}

#else

static void cudnn_is_here(void **state) {
    print_message("SKIP plans for described GPUs: there is no cuDNN\n");
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_nets_are_looked_at),
#ifdef WITH_CUDNN
        cmocka_unit_test(an_h200_has_deterministic_tensor_core_plans_in_bf16),
        cmocka_unit_test(an_h200_has_deterministic_tensor_core_plans_in_tf32),
        cmocka_unit_test(an_h200_has_deterministic_plans_in_fp32),
        cmocka_unit_test(an_rtx_3060_has_plans),
        cmocka_unit_test(an_rtx_4090_has_plans),
        cmocka_unit_test(a_picture_of_24_megapixels_has_plans),
        cmocka_unit_test(every_candidate_is_made_again_from_its_engine_and_knobs),
#else
        cmocka_unit_test(cudnn_is_here),
#endif
    };

    return cmocka_run_group_tests(tests, note_all, NULL);
}
