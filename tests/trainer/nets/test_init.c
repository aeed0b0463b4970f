// Initial weights: each number is that of its index, whatever the count.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/util.h"
#include "nets/init.h"

static float by_index(const struct init_args *args, double std, uint64_t i) {
    double pair[2];

    rng_normal2(args->seed, RNG_INIT, i & ~UINT64_C(1), args->sub, pair);
    return (float)(std * pair[i & 1]);
}

static void assert_drawn(const struct init_args *args, const int64_t dims[4], double std) {
    size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    float *w = xcalloc(count + 1, sizeof *w);

    w[count] = 42;
    init_filter(args, dims, w);
    for (size_t i = 0; i < count; i++) {
        float want = by_index(args, std, i);
        assert_memory_equal(&w[i], &want, sizeof want);
    }
    assert_true(w[count] == 42);
    free(w);
}

static void a_number_is_that_of_its_index(void **state) {
    static const int64_t odd[4] = {3, 5, 3, 3}, even[4] = {2, 4, 4, 4}, one[4] = {1, 1, 1, 1};
    struct init_args args = {.type = INIT_NORMAL, .gain = 0.02, .seed = 7, .sub = 3};

    assert_drawn(&args, odd, 0.02);
    assert_drawn(&args, even, 0.02);
    assert_drawn(&args, one, 0.02);
    args.type = INIT_KAIMING;
    assert_drawn(&args, odd, sqrt(2.0 / 45));
    args.type = INIT_XAVIER;
    args.gain = 1;
    assert_drawn(&args, odd, sqrt(2.0 / (45 + 27)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_that_of_its_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
