// Loops that are compiled once per instruction set give the same bits with each of them.
#include "trainer/cpu/kernel_test.h"

#include "trainer/cpu/each_instructions.h"

#include "cpu/cpu.h"
#include "cpu/loss.h"
#include "cpu/norm.h"
#include "cpu/parameters.h"
#include "cpu/resample.h"

// Sizes that no vector divides; several rows, so that each row begins at another address.
enum { N = 2, H = 9, W = 11, C = 37, COUNT_ALL = N * H * W * C, RESULTS = 8 };

// Everything that a set computed, one array a kernel.
struct results {
    float *of[RESULTS];
    size_t count[RESULTS];
    int n;
};

static float *result(struct results *r, size_t count) {
    assert_true(r->n < RESULTS);
    r->count[r->n] = count;
    r->of[r->n] = poison(count);
    return r->of[r->n++];
}

static void norms(enum norm_kind kind, const float *x, const float *g, struct results *r) {
    struct norm_shape s = {N, H, W, C, 1, 0, kind, ACT_LEAKY};
    float *weight = random_floats(C, 7), *bias = random_floats(C, 8);
    float *stats = poison(2 * N * C);
    double *work = xaligned(cpu_norm_workspace_bytes(NULL, &s));
    struct norm_affine affine = {.weight = weight, .bias = bias};
    struct norm_tensors forward = {.x = x,
                                   .skip = g,
                                   .ret_y = result(r, (size_t)N * (H + 2) * (W + 2) * C),
                                   .ret_stats = stats,
                                   .affine = kind == NORM_BATCH ? &affine : NULL};
    struct norm_gradients backward = {.x = x,
                                      .stats = stats,
                                      .dy = {1, {{g, 0, 0, N}}},
                                      .ret_dx = result(r, COUNT_ALL),
                                      .affine = forward.affine};

    assert_int_equal(cpu_norm_forward(NULL, &s, &forward, work), ERR_OK);
    assert_int_equal(cpu_norm_backward(NULL, &s, &backward, work), ERR_OK);
    free(weight);
    free(bias);
    free(stats);
    free(work);
}

static void adam(const float *g, struct results *r) {
    struct cpu_device d = {.values = {.lr = 2e-4, .t = 3}};
    struct adam_args args = {.count = COUNT_ALL, .beta1 = 0.5, .beta2 = 0.999};
    float *w = result(r, COUNT_ALL), *m = random_floats(COUNT_ALL, 4);
    float *v = random_floats(COUNT_ALL, 5);

    for (size_t i = 0; i < COUNT_ALL; i++) {
        w[i] = g[COUNT_ALL - 1 - i];
        v[i] = v[i] * v[i];
    }
    assert_int_equal(cpu_adam(&d.base, &args, g, w, m, v), ERR_OK);
    free(m);
    free(v);
}

static struct results all(void) {
    struct results r = {.n = 0};
    float *x = random_floats(COUNT_ALL, 1), *g = random_floats(COUNT_ALL, 2);
    struct resample_shape up = {RESAMPLE_UP, N, H, W, 2 * H, 2 * W, C};
    struct l1_args l1_args = {{N, H, W, C}, 3};
    double loss;

    norms(NORM_INSTANCE, x, g, &r);
    norms(NORM_BATCH, x, g, &r);
    adam(g, &r);
    float *blended = result(&r, COUNT_ALL);
    memcpy(blended, g, sizeof *g * COUNT_ALL);
    assert_int_equal(cpu_blend(NULL, COUNT_ALL, 0.25, x, 0.75, blended), ERR_OK);
    assert_int_equal(cpu_resample(NULL, &up, x, result(&r, (size_t)4 * COUNT_ALL)), ERR_OK);
    float *l1 = result(&r, COUNT_ALL + 1);
    assert_int_equal(cpu_l1(NULL, &l1_args, x, g, l1, &loss), ERR_OK);
    l1[COUNT_ALL] = (float)loss;
    free(x);
    free(g);
    return r;
}

static void free_results(struct results *r) {
    for (int i = 0; i < r->n; i++)
        free(r->of[i]);
}

static void every_set_gives_the_same_bits(void **state) {
    tried = INSTRUCTIONS_PLAIN;
    struct results plain = all();

    FOR_EACH_INSTRUCTIONS {
        struct results now = all();
        for (int i = 0; i < plain.n; i++)
            if (memcmp(now.of[i], plain.of[i], plain.count[i] * sizeof(float)) != 0)
                fail_msg("result %d is another one with %s", i,
                         instructions_best() == INSTRUCTIONS_AVX2 ? "AVX2" : "AVX-512");
        free_results(&now);
    }
    free_results(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_set_gives_the_same_bits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
