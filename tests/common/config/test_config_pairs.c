// Settings of pairs: what dataset_mode makes of dataroot, and what cannot be.

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "config/config.h"

static char folder[] = "/tmp/test_config_pairs_XXXXXX";
static struct config *config;
static struct config_problems problems;

static int resolve(const char *const *sets, int n) {
    config_free(config);
    config = NULL;
    config_problems_fini(&problems);
    return config_resolve(NULL, "presets", sets, n, &config, &problems);
}

static bool blamed(const char *text) {
    for (int i = 0; i < problems.count; i++)
        if (strstr(problems.items[i].text, text))
            return true;
    return false;
}

#define RESOLVE(...)                                                                               \
    resolve((const char *const[]){__VA_ARGS__}, (int)COUNT(((const char *const[]){__VA_ARGS__})))

static void dataroot_is_the_root_of_both_when_pairs_are_aligned(void **state) {
    assert_int_equal(RESOLVE("dataroot=data", "loader.dataset_mode=aligned"), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(config->curator[i].use, "paired");
        assert_string_equal(config->curator[i].root, config->top.dataroot);
        assert_string_equal(config->curator[i].held_out, "");
    }
}

static void without_aligned_dataroot_is_as_ever(void **state) {
    assert_int_equal(RESOLVE("dataroot=data"), ERR_OK);
    assert_string_equal(config->curator[1].use, "folder");
    assert_non_null(strstr(config->curator[1].root, "data/trainB"));
}

static void a_missing_dataroot_is_blamed_once(void **state) {
    assert_int_equal(RESOLVE("dataroot=nowhere", "loader.dataset_mode=aligned"), ERR_CONFIG);
    assert_true(blamed("there is no folder"));
    assert_int_equal(problems.count, 1);
}

static void pairs_can_be_drawn_unaligned(void **state) {
    assert_int_equal(RESOLVE("curator.A.use=paired", "curator.A.root=data", "curator.B.use=paired",
                             "curator.B.root=data"),
                     ERR_OK);
}

static void one_side_alone_is_no_pair(void **state) {
    assert_int_equal(RESOLVE("curator.A.use=paired", "curator.A.root=data", "curator.B.root=data"),
                     ERR_CONFIG);
    assert_true(blamed("pairs need `paired` for both"));
}

static void aligned_needs_pairs(void **state) {
    assert_int_equal(
        RESOLVE("curator.A.root=data", "curator.B.root=data", "loader.dataset_mode=aligned"),
        ERR_CONFIG);
    assert_true(blamed("needs pairs"));
}

static void what_decides_about_a_pair_has_one_value(void **state) {
    assert_int_equal(RESOLVE("dataroot=data", "loader.dataset_mode=aligned", "curator.A.limit=5"),
                     ERR_CONFIG);
    assert_true(blamed("curator.A.limit is 5 and curator.B.limit is 0"));
    assert_int_equal(RESOLVE("dataroot=data", "loader.dataset_mode=aligned", "curator.A.limit=5",
                             "curator.B.limit=5"),
                     ERR_OK);
}

static void the_side_that_is_trained_on_has_to_fit_the_net(void **state) {
    assert_int_equal(RESOLVE("dataroot=data", "loader.preprocess=resize", "loader.load_size=258"),
                     ERR_CONFIG);
    assert_true(blamed("loader.load_size 258"));
    assert_int_equal(RESOLVE("dataroot=data", "loader.preprocess=resize", "loader.load_size=260"),
                     ERR_OK);
    assert_int_equal(RESOLVE("dataroot=data", "loader.preprocess=crop", "loader.load_size=64"),
                     ERR_OK);
    assert_int_equal(
        RESOLVE("dataroot=data", "loader.preprocess=scale_width_and_crop", "loader.load_size=64"),
        ERR_CONFIG);
    assert_true(blamed("is larger than loader.load_size"));
}

static void spelling_is_the_files(void **state) {
    char problem[256], *literal = config_spell("trainer.lr", "2e-4", problem, sizeof problem);
    assert_string_equal(literal, "0.0002");
    free(literal);
    literal = config_spell("curator.B.use", "paired", problem, sizeof problem);
    assert_string_equal(literal, "\"paired\"");
    free(literal);
    assert_null(config_spell("trainer.lr", "fast", problem, sizeof problem));
    assert_true(*problem != 0);
    assert_null(config_spell("trainer.no_such", "1", problem, sizeof problem));
    assert_string_equal(problem, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataroot_is_the_root_of_both_when_pairs_are_aligned),
        cmocka_unit_test(without_aligned_dataroot_is_as_ever),
        cmocka_unit_test(a_missing_dataroot_is_blamed_once),
        cmocka_unit_test(pairs_can_be_drawn_unaligned),
        cmocka_unit_test(one_side_alone_is_no_pair),
        cmocka_unit_test(aligned_needs_pairs),
        cmocka_unit_test(what_decides_about_a_pair_has_one_value),
        cmocka_unit_test(the_side_that_is_trained_on_has_to_fit_the_net),
        cmocka_unit_test(spelling_is_the_files),
    };
    if (!mkdtemp(folder) || chdir(folder) || fs_mkdirs("data/trainA", 0755) ||
        fs_mkdirs("data/trainB", 0755) || fs_mkdirs("presets", 0755))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    config_free(config);
    config_problems_fini(&problems);
    (void)fs_remove_tree(folder);
    return failed;
}
