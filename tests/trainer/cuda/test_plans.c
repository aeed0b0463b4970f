// The file of cuDNN's plans.

// The file of cuDNN's plans: what is written is read, and a damaged file is refused.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "cuda/layer.h"
#include "cuda/plans.h"

#define CUDNN 91900
#define DEVICE "9.0 132 NVIDIA H200"

static int draw(uint64_t index, int low, int high) {
    return low + (int)rng_below(1, RNG_TEST, index, 0, (uint64_t)(high - low + 1));
}

static struct cuda_problem random_problem(uint64_t i) {
    return (struct cuda_problem){.pass = (enum cuda_pass)draw(16 * i, 0, 2),
                                 .math = (enum cuda_math)draw(16 * i + 1, 0, 2),
                                 .n = 1 + (int)i,
                                 .c = 8 * draw(16 * i + 2, 1, 64),
                                 .h = draw(16 * i + 3, 7, 300),
                                 .w = draw(16 * i + 4, 7, 300),
                                 .k = 8 * draw(16 * i + 5, 1, 64),
                                 .r = draw(16 * i + 6, 1, 7),
                                 .stride = draw(16 * i + 7, 1, 2),
                                 .pad = draw(16 * i + 8, 0, 3)};
}

static struct cuda_plan random_plan(uint64_t i) {
    struct cuda_plan p = {.engine = draw(16 * i, 0, 80),
                          .n_knobs = draw(16 * i + 9, 0, CUDA_KNOBS)};

    for (int k = 0; k < p.n_knobs; k++)
        p.knobs[k] = (struct cuda_knob){draw(1000 * i + (uint64_t)k, 0, 40),
                                        draw(1000 * i + (uint64_t)k + 100, -3, 100000)};
    return p;
}

// `count` plans, added from the last to the first if `backwards`.
static struct cuda_plans *example(int count, bool backwards) {
    struct cuda_plans *p = cuda_plans_new(CUDNN, DEVICE);

    for (int i = 0; i < count; i++) {
        uint64_t which = (uint64_t)(backwards ? count - 1 - i : i);
        struct cuda_problem problem = random_problem(which);
        struct cuda_plan plan = random_plan(which);
        cuda_plans_add(p, &problem, &plan);
    }
    return p;
}

static void what_was_written_is_read(void **state) {
    struct cuda_plans *p = example(200, false), *q;
    char *text = cuda_plans_write(p), *again;

    assert_int_equal(cuda_plans_read("plans", text, &q), ERR_OK);
    assert_int_equal(cuda_plans_count(q), 200);
    assert_int_equal(cuda_plans_check(q, "plans", CUDNN, DEVICE), ERR_OK);
    for (uint64_t i = 0; i < 200; i++) {
        struct cuda_problem problem = random_problem(i);
        struct cuda_plan plan = random_plan(i);
        const struct cuda_plan *found = cuda_plans_find(q, &problem);
        assert_non_null(found);
        assert_int_equal(found->engine, plan.engine);
        assert_int_equal(found->n_knobs, plan.n_knobs);
        for (int k = 0; k < plan.n_knobs; k++) {
            assert_int_equal(found->knobs[k].type, plan.knobs[k].type);
            assert_int_equal(found->knobs[k].value, plan.knobs[k].value);
        }
    }
    again = cuda_plans_write(q);
    assert_string_equal(again, text);
    free(again);
    free(text);
    cuda_plans_free(p);
    cuda_plans_free(q);
}

static void the_order_of_adding_leaves_no_trace(void **state) {
    struct cuda_plans *p = example(50, false), *q = example(50, true);
    char *a = cuda_plans_write(p), *b = cuda_plans_write(q);

    assert_string_equal(a, b);
    free(a);
    free(b);
    cuda_plans_free(p);
    cuda_plans_free(q);
}

static void assert_refused(const char *text, const char *why) {
    struct cuda_plans *p;

    assert_int_equal(cuda_plans_read("plans.txt", text, &p), ERR_FORMAT);
    if (!strstr(err_text(), why))
        fail_msg("'%s' does not say '%s'", err_text(), why);
}

static void every_cut_and_every_changed_byte_is_refused(void **state) {
    struct cuda_plans *p = example(3, false);
    char *text = cuda_plans_write(p);
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++) {
        char kept = text[i];
        text[i] = 0;
        assert_refused(text, "plans.txt:");
        text[i] = kept == '7' ? '8' : '7';
        assert_refused(text, "plans.txt:");
        text[i] = kept;
    }
    free(text);
    cuda_plans_free(p);
}

static void refusals_name_the_line(void **state) {
    assert_refused("", "plans.txt:1: the file of cuDNN plans ends too early");
    assert_refused("cuDNN plans 2\n", "plans.txt:1: this is no file of cuDNN plans");
    assert_refused("cuDNN plans 1\ncudnn nine\n", "plans.txt:2: not cudnn");
    assert_refused("cuDNN plans 1\ncudnn 9\nx\n", "plans.txt:3: not device");
    assert_refused("cuDNN plans 1\ncudnn 9\ndevice x\nforward\n", "plans.txt:4: not a convolution");
    assert_refused("cuDNN plans 1\ncudnn 9\ndevice x\n"
                   "forward bf16 n1 c8 h9 w9 k8 r3 s1 p0: engine 1 knobs 1=2 3\n",
                   "plans.txt:4: not a convolution");
    assert_refused("cuDNN plans 1\ncudnn 9\ndevice x\n"
                   "forward bf16 n1 c8 h2 w9 k8 r3 s1 p0: engine 1 knobs\n",
                   "plans.txt:4: not a convolution");
    assert_refused("cuDNN plans 1\ncudnn 9\ndevice x\n"
                   "data tf32 n1 c8 h9 w9 k8 r3 s1 p0: engine 1 knobs\n"
                   "data tf32 n1 c8 h9 w9 k8 r3 s1 p0: engine 1 knobs\n",
                   "plans.txt:5: the convolution has a plan already");
    assert_refused("cuDNN plans 1\ncudnn 9\ndevice x\nend 0 0000000000000000\n",
                   "plans.txt:4: the sum of the bytes");
}

static void plans_of_another_cudnn_or_device_are_refused(void **state) {
    struct cuda_plans *p = example(1, false);

    assert_int_equal(cuda_plans_check(p, "plans.txt", 91800, DEVICE), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "plans.txt: its plans are of cuDNN 91900"));
    assert_int_equal(cuda_plans_check(p, "plans.txt", CUDNN, "8.6 28 RTX 3060"), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "\"8.6 28 RTX 3060\""));
    cuda_plans_free(p);
}

static void a_problem_is_its_text(void **state) {
    for (uint64_t i = 0; i < 1000; i++) {
        struct cuda_problem problem = random_problem(i), back;
        char text[CUDA_PROBLEM_TEXT];
        cuda_problem_print(&problem, text);
        assert_true(cuda_problem_parse(text, &back));
        assert_true(cuda_problem_equal(&problem, &back));
    }
}

// A transposed layer is the adjoint of the plain one that its output would be the input of.
static void transposed_layers_are_mirrored(void **state) {
    const struct conv_shape up = {.n = 2,
                                  .c = 256,
                                  .h = 16,
                                  .w = 24,
                                  .k = 128,
                                  .r = 3,
                                  .stride = 2,
                                  .pad = 1,
                                  .out_pad = 1,
                                  .transposed = true};
    static const char *const expected[] = {"data bf16 n2 c128 h32 w48 k256 r3 s2 p1",
                                           "forward bf16 n2 c128 h32 w48 k256 r3 s2 p1",
                                           "filter bf16 n2 c128 h32 w48 k256 r3 s2 p1"};

    for (int pass = 0; pass < 3; pass++) {
        struct cuda_problem problem = cuda_problem_of(&up, (enum cuda_pass)pass, MATH_BF16);
        char text[CUDA_PROBLEM_TEXT];
        int ho, wo;
        cuda_problem_print(&problem, text);
        assert_string_equal(text, expected[pass]);
        cuda_problem_output(&problem, &ho, &wo);
        assert_int_equal(ho, 16);
        assert_int_equal(wo, 24);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_order_of_adding_leaves_no_trace),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_refused),
        cmocka_unit_test(refusals_name_the_line),
        cmocka_unit_test(plans_of_another_cudnn_or_device_are_refused),
        cmocka_unit_test(a_problem_is_its_text),
        cmocka_unit_test(transposed_layers_are_mirrored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
