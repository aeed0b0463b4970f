// Loops that are compiled once per instruction set give the same bits with each of them.
#include "trainer/cpu/kernel_test.h"

#include "trainer/cpu/each_instructions.h"

#include "cpu/loss.h"
#include "cpu/norm.h"
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

static void norms(enum cpu_norm_kind kind, const float *x, const float *g, struct results *r) {
    struct cpu_norm s = {N, H, W, C, kind, CPU_ACT_LEAKY, 1};
    float *weight = random_floats(C, 7), *bias = random_floats(C, 8);
    float *mean = poison(N * C), *rstd = poison(N * C);
    double *work = xcalloc(cpu_norm_work_doubles(&s), sizeof(double));
    bool is_batch = kind == CPU_NORM_BATCH;
    struct cpu_norm_saved saved = {.x = x, .mean = mean, .rstd = rstd};
    struct cpu_norm_grads grads = {.count = 1, .grad = {{g, 0}}};

    if (is_batch)
        saved.weight = weight, saved.bias = bias;
    cpu_norm_forward(&s, &saved, (struct cpu_padded){g, 0}, work,
                     result(r, (size_t)N * (H + 2) * (W + 2) * C));
    struct cpu_norm_result to = {.dx = result(r, COUNT_ALL)};
    cpu_norm_backward(&s, &saved, &grads, work, &to);
    free(weight);
    free(bias);
    free(mean);
    free(rstd);
    free(work);
}

static void adam(const float *g, struct results *r) {
    struct cpu_adam a = {2e-4, 0.5, 0.999, 1e-8, 3};
    float *w = result(r, COUNT_ALL), *m = random_floats(COUNT_ALL, 4);
    float *v = random_floats(COUNT_ALL, 5);

    for (size_t i = 0; i < COUNT_ALL; i++) {
        w[i] = g[COUNT_ALL - 1 - i];
        v[i] = v[i] * v[i];
    }
    cpu_adam(&a, COUNT_ALL, g, w, m, v);
    free(m);
    free(v);
}

static struct results all(void) {
    struct results r = {.n = 0};
    float *x = random_floats(COUNT_ALL, 1), *g = random_floats(COUNT_ALL, 2);
    struct cpu_resample up = {CPU_UP, N, H, W, 2 * H, 2 * W, C};

    norms(CPU_NORM_INSTANCE, x, g, &r);
    norms(CPU_NORM_BATCH, x, g, &r);
    adam(g, &r);
    float *blended = result(&r, COUNT_ALL);
    memcpy(blended, g, sizeof *g * COUNT_ALL);
    cpu_blend(COUNT_ALL, 0.25f, x, 0.75f, blended);
    cpu_resample(&up, x, result(&r, (size_t)4 * COUNT_ALL));
    float *l1 = result(&r, COUNT_ALL + 1);
    l1[COUNT_ALL] = (float)cpu_l1(COUNT_ALL, x, g, 3, l1);
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
