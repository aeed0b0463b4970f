// Which kernels a training has used, and whether they are still the same.
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "checkpoint/kernel_list.h"

static const char checkpoint[] = "conv 3x3/1 8->8 on [1,16,16]: wino, wino, wino (avx2)\n"
                                 "conv 3x3/1 8->8 on [2,16,16]: wino, wino, wino (avx2)\n"
                                 "conv 4x4/2 3->8 on [1,32,32]: jit, none, none (avx2)\n"
                                 "conv 4x4/2 3->8 on [1,32,32]: jit, jit, direct (avx2)\n";

static void lines_are_merged_sorted_each_once(void **state) {
    char *all = kernels_merge(xstrdup("b: 1\n"), "c: 1\nb: 1\na: 2\n");
    assert_string_equal(all, "a: 2\nb: 1\nc: 1\n");
    free(all);
}

static void the_same_kernels_have_not_changed(void **state) {
    assert_null(kernels_changed(checkpoint, checkpoint));
    assert_null(
        kernels_changed(checkpoint, "conv 4x4/2 3->8 on [1,32,32]: jit, none, none (avx2)\n"));
    assert_null(kernels_changed("", checkpoint));
    assert_null(kernels_changed(checkpoint, ""));
}

static void a_shape_that_is_new_has_not_changed(void **state) {
    assert_null(
        kernels_changed(checkpoint, "conv 3x3/1 8->8 on [3,16,16]: jit, jit, jit (avx2)\n"));
}

static void another_kernel_for_a_known_shape_is_told(void **state) {
    char *line =
        kernels_changed(checkpoint, "conv 3x3/1 8->8 on [1,16,16]: wino, wino, wino (avx2)\n"
                                    "conv 3x3/1 8->8 on [2,16,16]: wino, wino, jit (avx2)\n");
    assert_string_equal(line, "conv 3x3/1 8->8 on [2,16,16]: wino, wino, jit (avx2)");
    free(line);
    // A beginning of what was there is something else.
    line = kernels_changed(checkpoint, "conv 3x3/1 8->8 on [1,16,16]: wino, wino, wino (avx\n");
    assert_non_null(line);
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_merged_sorted_each_once),
        cmocka_unit_test(the_same_kernels_have_not_changed),
        cmocka_unit_test(a_shape_that_is_new_has_not_changed),
        cmocka_unit_test(another_kernel_for_a_known_shape_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
