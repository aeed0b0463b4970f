// The judge is the list of settings itself, walked again with macros of its own.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/program_path.h"
#include "base/util.h"
#include "check.h"
#include "config/config.h"

static char folder[64];
static char conf_path[128];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_folder(void **state) {
    char path[128];
    strcpy(folder, "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(folder));
    const char *names[] = {"data", "data/trainA", "data/trainB", "data/valB", "presets"};
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    put("presets/small.conf", "loader = { load_size = 64; crop_size = 64; }\nseed = 7;\n");
    put("presets/tiny.conf", "loader = { load_size = 32; crop_size = 32; }\n");
    snprintf(conf_path, sizeof conf_path, "%s/run.conf", folder);
    return chdir(folder);
}

static int remove_folder(void **state) {
    return fs_remove_tree(folder);
}

// Resolves `text` as the file (NULL: none) with dataroot set and one more --set (NULL: none).
static int resolve(const char *text, const char *set, struct config **ret_config,
                   struct config_problems *ret_problems) {
    const char *sets[] = {"dataroot=data", set};
    if (text)
        put("run.conf", text);
    return config_resolve(text ? "run.conf" : NULL, "presets", sets, set ? 2 : 1, ret_config,
                          ret_problems);
}

static struct config *resolved(const char *text, const char *set) {
    struct config *c = NULL;
    struct config_problems problems;
    int err = resolve(text, set, &c, &problems);
    for (int i = 0; i < problems.count; i++)
        print_error("%s: %s\n", problems.items[i].where, problems.items[i].text);
    assert_int_equal(err, ERR_OK);
    config_problems_fini(&problems);
    return c;
}

// One problem, at `where`, whose text has `part` in it.
static void refused(const char *text, const char *set, const char *where, const char *part) {
    struct config *c = NULL;
    struct config_problems problems;
    assert_int_equal(resolve(text, set, &c, &problems), ERR_CONFIG);
    assert_null(c);
    assert_int_equal(problems.count, 1);
    if (strcmp(problems.items[0].where, where) || !strstr(problems.items[0].text, part))
        print_error("got '%s: %s'\n", problems.items[0].where, problems.items[0].text);
    assert_string_equal(problems.items[0].where, where);
    assert_non_null(strstr(problems.items[0].text, part));
    config_problems_fini(&problems);
}

static void a_byte_order_mark_is_passed_over(void **state) {
    struct config *c = resolved("\xef\xbb\xbfpreset = \"small\";\n", NULL);
    assert_int_equal(c->loader.crop_size, 64);
    config_free(c);
}

static void the_later_layer_wins(void **state) {
    struct config *c = resolved("preset = \"small\";\nloader = { load_size = 96; };\n", NULL);
    assert_int_equal(c->loader.load_size, 96);
    assert_int_equal(c->loader.crop_size, 64);
    assert_int_equal(c->top.seed, 7);
    config_free(c);
    c = resolved("preset = \"small\";\nloader = { load_size = 96; };\n", "loader.load_size=128");
    assert_int_equal(c->loader.load_size, 128);
    config_free(c);
    c = resolved("preset = \"small\";\n", "preset=tiny");
    assert_int_equal(c->loader.crop_size, 32);
    assert_int_equal(c->top.seed, 42);
    config_free(c);
}

static void dataroot_makes_both_curators_folders(void **state) {
    struct config *c = resolved(NULL, NULL);
    char expected[128];
    snprintf(expected, sizeof expected, "%s/data/trainA", folder);
    assert_string_equal(c->curator[0].root, expected);
    assert_string_equal(c->curator[0].use, "folder");
    assert_string_equal(c->curator[0].held_out, "");
    snprintf(expected, sizeof expected, "%s/data/valB", folder);
    assert_string_equal(c->curator[1].held_out, expected);
    config_free(c);
}

static void a_root_set_after_dataroot_stands(void **state) {
    const char *sets[] = {"curator.A.root=data/trainB"};
    struct config *c = NULL;
    struct config_problems problems;
    put("run.conf", "dataroot = \"data\";\n");
    assert_int_equal(config_resolve("run.conf", "presets", sets, 1, &c, &problems), ERR_OK);
    assert_non_null(strstr(c->curator[0].root, "/data/trainB"));
    assert_non_null(strstr(c->curator[1].root, "/data/trainB"));
    config_problems_fini(&problems);
    config_free(c);
}

static void unknown_keys_suggest_the_nearest(void **state) {
    refused("\nloader = { bath_size = 4; };\n", NULL, "run.conf:2", "batch_size");
    refused("nmae = \"x\";\n", NULL, "run.conf:1", "`name`");
    refused("trianer = { ngf = 4; };\n", NULL, "run.conf:1", "`trainer`");
    refused("batch_size = 4;\n", NULL, "run.conf:1", "loader.batch_size");
    refused(NULL, "loader.bath_size=4", "--set loader.bath_size=4", "batch_size");
    refused(NULL, "batch_size=4", "--set batch_size=4", "loader.batch_size");
    refused(NULL, "curator.C.root=x", "--set curator.C.root=x", "unknown key");
}

static void wrong_kinds_are_named(void **state) {
    refused("loader = { batch_size = \"4\"; };", NULL, "run.conf:1", "whole number");
    refused("loader = { batch_size = 1.5; };", NULL, "run.conf:1", "whole number");
    refused("loader = { no_flip = 1; };", NULL, "run.conf:1", "true or false");
    refused("name = 5;", NULL, "run.conf:1", "text in quotes");
    refused("trainer = { netG = \"resnet\"; };", NULL, "run.conf:1", "resnet_9blocks");
    refused("trainer = { netG = \"\"; };", NULL, "run.conf:1", "none of");
    refused("trainer = { netG = \"resnet_0blocks\"; };", NULL, "run.conf:1", "none of");
    refused("trainer = { netG = \"resnet_4block\"; };", NULL, "run.conf:1", "none of");
    refused("trainer = { netG = \"resnet_4blocks2\"; };", NULL, "run.conf:1", "none of");
    refused("loader = { cache = 1000; };", NULL, "run.conf:1", "unit");
    refused("loader = { cache = \"12\"; };", NULL, "run.conf:1", "unit");
    refused("loader = 5;", NULL, "run.conf:1", "group");
    refused("curator = { root = \"x\"; };", NULL, "run.conf:1", "two groups");
    refused("curator = { A = { years = 2019; }; };", NULL, "run.conf:1", "two whole numbers");
    refused("curator = { A = { years = [2019]; }; };", NULL, "run.conf:1", "two whole numbers");
    refused("curator = { A = { years = [2020, 2019]; }; };", NULL, "run.conf:1", "larger");
    refused(NULL, "loader.batch_size=four", "--set loader.batch_size=four", "whole number");
    refused(NULL, "loader.batch_size", "--set loader.batch_size", "section.key=value");
}

static void syntax_errors_have_their_line(void **state) {
    refused("seed = 1;\n\nloader = { batch_size = ; };\n", NULL, "run.conf:3", "syntax");
    refused("seed = 1;\nseed = 2;\n", NULL, "run.conf:2", "duplicate");
    refused("seed = 1;\n@include \"x\"\n", NULL, "run.conf:2", "preset");
}

static void numbers_above_32_bits_are_refused(void **state) {
    refused("seed = 1;\nseed2 = 4294967298;\n", NULL, "run.conf:2", "32 bits");
    refused("seed = -2147483649;\n", NULL, "run.conf:1", "32 bits");
    refused("seed = 0x80000000;\n", NULL, "run.conf:1", "32 bits");
    refused("seed = 99999999999999999999;\n", NULL, "run.conf:1", "32 bits");
    config_free(resolved("# 4294967298\nseed = 2147483647; // 4294967298\n/* 4294967298\n */"
                         "name = \"4294967298\"; trainer = { lambda_A = 10.0; lr = 1.0e-04; };",
                         NULL));
}

static void all_problems_are_collected(void **state) {
    struct config *c = NULL;
    struct config_problems problems;
    assert_int_equal(resolve("x = 1;\ny = 2;\nloader = { batch_size = 0;\n"
                             "crop_size = 30; preprocess = \"crop\"; };\n",
                             "z=1", &c, &problems),
                     ERR_CONFIG);
    assert_int_equal(problems.count, 5);
    assert_string_equal(problems.items[2].where, "run.conf:3");
    assert_string_equal(problems.items[4].where, "run.conf:4");
    config_problems_fini(&problems);
}

// Each of these would be refused for another reason too if the misspelt key were nothing.
static void what_follows_from_a_misspelt_key_is_not_told(void **state) {
    static const char *const files[] = {
        "datarot = \"data\";",
        "curator = { A = { rot = \"x\"; }; B = { root = \"data\"; }; };",
        "dataroot = \"data\"; lader = { load_size = 512; }; loader = { crop_size = 512; };",
        "curator = { A = { root = \"data\"; nightluma = 30; day_luma = 20; };"
        "B = { root = \"data\"; }; };",
        "preset = \"smal\";",
        "dataroot = 5;",
    };
    struct config *c = NULL;
    struct config_problems problems;
    for (size_t i = 0; i < COUNT(files); i++) {
        put("run.conf", files[i]);
        assert_int_equal(config_resolve("run.conf", "presets", NULL, 0, &c, &problems), ERR_CONFIG);
        if (problems.count != 1)
            fail_msg("%s: %s", files[i], problems.items[1].text);
        config_problems_fini(&problems);
    }
}

static void a_missing_file_or_preset_is_named(void **state) {
    struct config *c = NULL;
    struct config_problems problems;
    assert_int_equal(config_resolve("no.conf", "presets", NULL, 0, &c, &problems), ERR_CONFIG);
    assert_string_equal(problems.items[0].where, "no.conf");
    config_problems_fini(&problems);
    refused("preset = \"smal\";", NULL, "preset", "small");
    refused("preset = \"../presets/small\";", NULL, "preset", "no preset");
}

static void missing_folders_name_the_setting_and_its_place(void **state) {
    const char *sets[] = {"curator.B.root=nowhere", "dataroot=nowhere"};
    struct config *c = NULL;
    struct config_problems problems;
    assert_int_equal(config_resolve(NULL, "presets", NULL, 0, &c, &problems), ERR_CONFIG);
    assert_int_equal(problems.count, 2);
    assert_string_equal(problems.items[0].where, "curator.A.root");
    assert_non_null(strstr(problems.items[0].text, "dataroot"));
    config_problems_fini(&problems);
    assert_int_equal(config_resolve(NULL, "presets", sets, 1, &c, &problems), ERR_CONFIG);
    assert_string_equal(problems.items[1].where, "--set curator.B.root=nowhere");
    config_problems_fini(&problems);
    assert_int_equal(config_resolve(NULL, "presets", sets + 1, 1, &c, &problems), ERR_CONFIG);
    assert_int_equal(problems.count, 1);
    assert_non_null(strstr(problems.items[0].text, "there is no folder"));
    assert_null(strstr(problems.items[0].text, "trainA"));
    config_problems_fini(&problems);
    refused("curator = { A = { landmarks = \"gone.txt\"; }; };", NULL, "run.conf:1", "gone.txt");
    refused(NULL, "curator.B.held_out=gone", "--set curator.B.held_out=gone", "gone");
}

static void sizes_have_to_fit(void **state) {
    refused("loader = { load_size = 100;\ncrop_size = 128; };", NULL, "run.conf:2", "load_size");
    refused("loader = { crop_size = 130; };", NULL, "run.conf:1", "128 and 132 work");
    refused("loader = { crop_size = 20; };", NULL, "run.conf:1", "24 is the least");
    config_free(resolved("loader = { crop_size = 20; }; trainer = { netD = \"pixel\"; };", NULL));
    refused("trainer = { netG = \"unet_128\"; }; loader = { load_size = 300; crop_size = 200; };",
            NULL, "run.conf:1", "128 and 256 work");
    refused("trainer = { netG = \"unet_256\"; }; loader = { crop_size = 128; };", NULL,
            "run.conf:1", "256 works");
    config_free(resolved("loader = { crop_size = 24; };", NULL));
    config_free(resolved("loader = { crop_size = 130; preprocess = \"none\"; };", NULL));
}

static void a_model_changes_what_nobody_has_set(void **state) {
    struct config *c = resolved(NULL, "trainer.model=pix2pix");
    assert_string_equal(c->trainer.netG, "unet_256");
    assert_string_equal(c->trainer.norm, "batch");
    assert_string_equal(c->trainer.gan_mode, "vanilla");
    assert_string_equal(c->loader.dataset_mode, "aligned");
    assert_false(c->trainer.no_dropout);
    assert_int_equal(c->pool.pool_size, 0);
    config_free(c);
    c = resolved("trainer = { norm = \"instance\"; no_dropout = true; };", "trainer.model=pix2pix");
    assert_string_equal(c->trainer.norm, "instance");
    assert_true(c->trainer.no_dropout);
    assert_string_equal(c->trainer.netG, "unet_256");
    config_free(c);
    c = resolved("trainer = { lambda_NCE = 2.0; };", "trainer.model=fastcut");
    assert_true(c->trainer.lambda_NCE == 2.0 && c->trainer.n_epochs == 150);
    assert_true(!c->trainer.nce_idt && c->trainer.flip_equivariance);
    assert_string_equal(c->trainer.init_type, "xavier");
    config_free(c);
    refused("pool = { pool_size = 50; };", "trainer.model=pix2pix", "run.conf:1", "no pool");
    refused("pool = { pool_size = 50; };", "trainer.model=fastcut", "run.conf:1", "no pool");
}

static void the_pool_has_to_fit_its_budget(void **state) {
    // (50 + 2) slots x 2 tables x 64 x 64 x 3 x 4 bytes = 5111808
    config_free(resolved("preset = \"small\"; pool = { memory = \"5111808 B\"; };", NULL));
    refused("preset = \"small\"; pool = { memory = \"5111807 B\";\npool_size = 50; };", NULL,
            "run.conf:2", "50 pictures + 2 x batch 1");
    config_free(resolved("pool = { memory = \"1 B\"; pool_size = 0; };", NULL));
}

static void there_has_to_be_something_to_train(void **state) {
    refused("trainer = { n_epochs = 0; n_epochs_decay = 0; };", NULL, "run.conf:1", "nothing");
    config_free(resolved("trainer = { n_epochs = 0; n_epochs_decay = 0; max_steps = 1; };", NULL));
}

static void a_device_that_was_not_built_in_is_refused(void **state) {
    char plugin[PATH_MAX];

    assert_int_equal(plugin_path("cuda", plugin), ERR_OK);
    if (fs_exists(plugin))
        skip();
    refused("trainer = { device = \"cuda\"; };", NULL, "run.conf:1", "cpu");
}

static void the_cpu_computes_in_fp32(void **state) {
    refused("trainer = { device = \"cpu\"; dtype = \"tf32\"; };", NULL, "run.conf:1", "fp32");
}

static void a_name_has_to_name_a_folder(void **state) {
    refused("name = \"a/b\";", NULL, "run.conf:1", "folder");
    refused("name = \"\";", NULL, "run.conf:1", "folder");
    refused("name = \".x\";", NULL, "run.conf:1", "folder");
    refused("name = \"a b\";", NULL, "run.conf:1", "folder");
}

static void sizes_are_read_with_their_units(void **state) {
    const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0 B", 0},           {"1 KiB", 1024},   {"128 MiB", 134217728},
                {"2GiB", 2147483648}, {"1.5 KiB", 1536}, {"1 TiB", 1099511627776},
                {"3 kB", 3000},       {"3 MB", 3000000}, {"3 GB", 3000000000}};
    const char *bad[] = {"",        "1",     "MiB",      "-1 B",   "1 mib",
                         "1 MiB x", "0.3 B", "1e30 TiB", "0x10 B", "nan B"};
    int64_t bytes;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(parse_size(good[i].text, &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(parse_size(bad[i], &bytes));
}

// ---- every key's boundary ----

// Problems that "section.key=value" brings beyond what its neighbours say about the pair.
static bool taken(const char *section, const char *key, const char *value) {
    const char *top = strcmp(section, "top") == 0 ? "" : section;
    const char *domain = strcmp(section, "curator") == 0 ? ".A" : "";
    char set[256], start[128];
    struct config *c = NULL;
    struct config_problems problems;
    snprintf(start, sizeof start, "%s%s%s%s: ", top, domain, *top ? "." : "", key);
    snprintf(set, sizeof set, "%s%s%s%s=%s", top, domain, *top ? "." : "", key, value);
    (void)resolve(NULL, set, &c, &problems); // what matters is whether this key is blamed
    bool blamed = false;
    for (int i = 0; i < problems.count; i++)
        blamed |= strncmp(problems.items[i].text, start, strlen(start)) == 0;
    config_problems_fini(&problems);
    config_free(c);
    return !blamed;
}

static bool taken_number(const char *section, const char *key, bool pair, double value) {
    char text[128];
    snprintf(text, sizeof text, pair ? "[%.17g, %.17g]" : "%.17g", value, value);
    return taken(section, key, text);
}

static void check_number(const char *section, const char *key, bool whole, bool pair, double min,
                         double max) {
    double below = whole ? min - 1 : nextafter(min, -INFINITY);
    double above = whole ? max + 1 : nextafter(max, INFINITY);
    if (!taken_number(section, key, pair, min) || !taken_number(section, key, pair, max) ||
        taken_number(section, key, pair, below) || taken_number(section, key, pair, above))
        fail_msg("boundary of %s.%s", section, key);
}

static void every_number_is_taken_up_to_its_boundary_and_not_beyond(void **state) {
#define SECTION(section, title)
#define INT(s, k, value, min, max, unit, help) check_number(#s, #k, true, false, min, max);
#define REAL(s, k, value, min, max, unit, help) check_number(#s, #k, false, false, min, max);
#define BOOL(s, k, value, help)
#define STR(s, k, value, help)
#define CHOICE(s, k, value, choices, help)
#define SIZE(s, k, value, help)
#define RANGE(s, k, low, high, min, max, unit, help) check_number(#s, #k, true, true, min, max);
#define END(section)
#include "config/config.def"
#undef INT
#undef REAL
#undef CHOICE
#undef RANGE
#undef BOOL
#undef SIZE
}

static void check_choice(const char *section, const char *key, const char *choices) {
    char *copy = xstrdup(choices), *rest = copy;
    for (char *number = copy; (number = strchr(number, '#'));)
        *number = '4';
    for (char *one; (one = strsep(&rest, "|"));)
        if (!taken(section, key, one) && strcmp(one, "cuda") != 0)
            fail_msg("%s.%s = %s", section, key, one);
    assert_false(taken(section, key, "no_such"));
    assert_true(!strchr(choices, '|') || !taken(section, key, choices));
    free(copy);
}

static void every_choice_is_taken_and_no_other(void **state) {
#define INT(s, k, value, min, max, unit, help)
#define REAL(s, k, value, min, max, unit, help)
#define BOOL(s, k, value, help)                                                                    \
    assert_true(taken(#s, #k, "true") && taken(#s, #k, "false") && !taken(#s, #k, "yes"));
#define CHOICE(s, k, value, choices, help) check_choice(#s, #k, choices);
#define SIZE(s, k, value, help) assert_true(taken(#s, #k, value) && !taken(#s, #k, "12"));
#define RANGE(s, k, low, high, min, max, unit, help)
#include "config/config.def"
}

// ---- round trip ----

static char *written(const struct config *c) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(config_write(c, out), ERR_OK);
    fclose(out);
    return text;
}

static void what_is_written_reads_back_equal(void **state) {
    struct config *c =
        resolved("name = \"a-b\"; trainer = { lr = 0.00012345678901234567; beta2 = 0.99999; "
                 "lambda_A = 1000000; "
                 "lambda_identity = 1.0e-10; }; curator = { A = { years = [1999, 2019]; timeofday "
                 "= [\"night\", \"dawn/dusk, \\\"late\\\"\"]; }; };"
                 "monitor = { listen = \"q\\\"uo\\\\te\\n\\x07\"; spill = \"1025 B\"; };",
                 NULL);
    struct config *back;
    char *first = written(c);
    put("effective.conf", first);
    assert_int_equal(config_load_effective("effective.conf", &back), ERR_OK);
    char *second = written(back);
    assert_string_equal(first, second);
    assert_true(back->trainer.lr == c->trainer.lr);
    assert_string_equal(back->monitor.listen, "q\"uo\\te\n\a");
    assert_int_equal(back->monitor.spill, 1025);
    assert_int_equal(back->curator[0].years[0], 1999);
    assert_string_equal(back->curator[0].timeofday, "night\ndawn/dusk, \"late\"\n");
    free(first);
    free(second);
    config_free(c);
    config_free(back);
}

static void a_list_is_written_with_or_without_brackets(void **state) {
    static const char *const same[] = {"night,dawn/dusk", "[night, dawn/dusk]",
                                       "[\"night\", \"dawn/dusk\"]", " night , \"dawn/dusk\""};
    for (size_t i = 0; i < COUNT(same); i++) {
        char text[64], *set = xasprintf("curator.A.timeofday=%s", same[i]);
        struct config *c = resolved(NULL, set);
        assert_string_equal(c->curator[0].timeofday, "night\ndawn/dusk\n");
        assert_true(config_list_has(c->curator[0].timeofday, "dawn/dusk"));
        assert_false(config_list_has(c->curator[0].timeofday, "dawn"));
        assert_true(config_get_text(c, "curator.A.timeofday", text, sizeof text));
        assert_string_equal(text, "[night, dawn/dusk]");
        config_free(c);
        free(set);
    }
    struct config *c = resolved("curator = { A = { timeofday = []; }; };", NULL);
    assert_string_equal(c->curator[0].timeofday, "");
    config_free(c);
}

static void an_effective_file_can_be_given_again(void **state) {
    struct config *c = resolved("preset = \"small\";", NULL), *again = NULL;
    struct config_problems problems;
    char *first = written(c);
    put("effective.conf", first);
    assert_int_equal(config_resolve("effective.conf", "presets", NULL, 0, &again, &problems), 0);
    char *second = written(again);
    assert_string_equal(first, second);
    config_problems_fini(&problems);
    free(first);
    free(second);
    config_free(c);
    config_free(again);
}

static void count_key(void *context, const char *path, const char *value) {
    struct config *c = ((void **)context)[0];
    char text[256];
    assert_true(config_get_text(c, path, text, sizeof text));
    assert_string_equal(text, value);
    ++*(int *)((void **)context)[1];
}

static void each_key_is_given_once(void **state) {
    struct config *c = resolved(NULL, NULL);
    int count = 0, expected = 0;
    char text[16];
    void *context[] = {c, &count};
    config_each(c, context, count_key);
#undef INT
#undef REAL
#undef BOOL
#undef STR
#undef CHOICE
#undef SIZE
#undef RANGE
#define ONE(s) expected += strcmp(#s, "curator") == 0 ? 2 : 1;
#define INT(s, k, value, min, max, unit, help) ONE(s)
#define REAL(s, k, value, min, max, unit, help) ONE(s)
#define BOOL(s, k, value, help) ONE(s)
#define STR(s, k, value, help) ONE(s)
#define CHOICE(s, k, value, choices, help) ONE(s)
#define SIZE(s, k, value, help) ONE(s)
#define RANGE(s, k, low, high, min, max, unit, help) ONE(s)
#define LIST(s, k, help) ONE(s)
#include "config/config.def"
    assert_int_equal(count, expected);
    assert_false(config_get_text(c, "loader.nothing", text, sizeof text));
    config_free(c);
}

// ---- differences ----

static void only_mathematics_and_data_count_as_different(void **state) {
    struct config *a = resolved(NULL, NULL);
    struct config *b = resolved("loader = { count = 3; threads = 2; }; monitor = { port = 9; };"
                                "trainer = { sample_every = 9; n_epochs = 101; };",
                                NULL);
    char *text = config_math_differences(a, b);
    assert_string_equal(text, "");
    free(text);
    text = config_math_differences(b, a);
    assert_string_equal(text, "trainer.n_epochs: 101 -> 100\n");
    free(text);
    config_free(b);
    b = resolved("trainer = { ngf = 8; lr = 0.001; }; curator = { B = { limit = 7; }; };", NULL);
    text = config_math_differences(a, b);
    assert_string_equal(text, "curator.B.limit: 0 -> 7\ntrainer.ngf: 64 -> 8\n"
                              "trainer.lr: 0.0002 -> 0.001\n");
    free(text);
    config_free(a);
    config_free(b);
}

// A moved data set, or one that is spelled in another way, is told by its manifest.
static void where_the_images_lie_does_not_count(void **state) {
    struct config *a = resolved(NULL, NULL);
    struct config *b = resolved(NULL, "dataroot=data/../data");
    assert_string_not_equal(a->curator[0].root, b->curator[0].root);
    char *text = config_math_differences(a, b);
    assert_string_equal(text, "");
    free(text);
    config_free(a);
    config_free(b);
}

static void layouts_are_recognised(void **state) {
    static const char *const made[][3] = {{"l1/A", "l1/B", "l1/testB"},
                                          {"l2/train/A", "l2/train/B", "l2/val/B"},
                                          {"l3/A/train", "l3/B/train", "l3/B/test"},
                                          {"l4/TrainA", "l4/TRAINb", "l4/TestB"}};
    for (size_t i = 0; i < COUNT(made); i++) {
        char set[64], expected[3][160];
        for (int k = 0; k < 3; k++) {
            snprintf(expected[k], sizeof expected[k], "%s/%s", folder, made[i][k]);
            assert_int_equal(fs_mkdirs(made[i][k], 0755), ERR_OK);
        }
        snprintf(set, sizeof set, "dataroot=l%zu", i + 1);
        struct config *c = resolved(NULL, set);
        assert_string_equal(c->curator[0].root, expected[0]);
        assert_string_equal(c->curator[1].root, expected[1]);
        assert_string_equal(c->curator[0].held_out, "");
        assert_string_equal(c->curator[1].held_out, expected[2]);
        config_free(c);
    }
    assert_int_equal(fs_mkdirs("high/set/trainA", 0755), ERR_OK);
    assert_int_equal(fs_mkdirs("high/set/trainB", 0755), ERR_OK);
    put("high/notes.txt", "");
    refused(NULL, "dataroot=high", "--set dataroot=high", "it has notes.txt, set/; did you mean ");
    refused(NULL, "dataroot=high", "--set dataroot=high", "high/set?");
}

static void a_tilde_is_the_home_folder(void **state) {
    char *home = xstrdup(getenv("HOME") ? getenv("HOME") : "/");
    assert_int_equal(setenv("HOME", folder, 1), 0);
    struct config *c = resolved(NULL, "dataroot=~/data");
    char expected[160];
    snprintf(expected, sizeof expected, "%s/data/trainA", folder);
    assert_string_equal(c->curator[0].root, expected);
    config_free(c);
    assert_int_equal(setenv("HOME", home, 1), 0);
    free(home);
}

static void max_steps_may_grow_or_go(void **state) {
    struct config *none = resolved(NULL, NULL);
    struct config *ten = resolved(NULL, "trainer.max_steps=10");
    struct config *nine = resolved(NULL, "trainer.max_steps=9");
    struct config *pairs[][2] = {{nine, ten}, {ten, none}, {ten, ten}};
    struct config *bad[][2] = {{ten, nine}, {none, ten}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        char *text = config_math_differences(pairs[i][0], pairs[i][1]);
        assert_string_equal(text, "");
        free(text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *text = config_math_differences(bad[i][0], bad[i][1]);
        assert_string_not_equal(text, "");
        free(text);
    }
    config_free(none);
    config_free(ten);
    config_free(nine);
}

static void a_damaged_effective_file_is_refused(void **state) {
    struct config *c = NULL;
    assert_int_equal(config_load_effective("gone.conf", &c), ERR_IO);
    put("effective.conf", "name = \"x\"; loader = {");
    assert_int_equal(config_load_effective("effective.conf", &c), ERR_CONFIG);
    put("effective.conf", "unknown = 1;");
    assert_int_equal(config_load_effective("effective.conf", &c), ERR_CONFIG);
    assert_null(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_later_layer_wins),
        cmocka_unit_test(a_byte_order_mark_is_passed_over),
        cmocka_unit_test(dataroot_makes_both_curators_folders),
        cmocka_unit_test(a_root_set_after_dataroot_stands),
        cmocka_unit_test(unknown_keys_suggest_the_nearest),
        cmocka_unit_test(wrong_kinds_are_named),
        cmocka_unit_test(syntax_errors_have_their_line),
        cmocka_unit_test(numbers_above_32_bits_are_refused),
        cmocka_unit_test(all_problems_are_collected),
        cmocka_unit_test(what_follows_from_a_misspelt_key_is_not_told),
        cmocka_unit_test(a_missing_file_or_preset_is_named),
        cmocka_unit_test(missing_folders_name_the_setting_and_its_place),
        cmocka_unit_test(sizes_have_to_fit),
        cmocka_unit_test(a_model_changes_what_nobody_has_set),
        cmocka_unit_test(the_pool_has_to_fit_its_budget),
        cmocka_unit_test(there_has_to_be_something_to_train),
        cmocka_unit_test(a_device_that_was_not_built_in_is_refused),
        cmocka_unit_test(the_cpu_computes_in_fp32),
        cmocka_unit_test(a_name_has_to_name_a_folder),
        cmocka_unit_test(sizes_are_read_with_their_units),
        cmocka_unit_test(every_number_is_taken_up_to_its_boundary_and_not_beyond),
        cmocka_unit_test(every_choice_is_taken_and_no_other),
        cmocka_unit_test(what_is_written_reads_back_equal),
        cmocka_unit_test(a_list_is_written_with_or_without_brackets),
        cmocka_unit_test(an_effective_file_can_be_given_again),
        cmocka_unit_test(each_key_is_given_once),
        cmocka_unit_test(only_mathematics_and_data_count_as_different),
        cmocka_unit_test(max_steps_may_grow_or_go),
        cmocka_unit_test(a_tilde_is_the_home_folder),
        cmocka_unit_test(layouts_are_recognised),
        cmocka_unit_test(where_the_images_lie_does_not_count),
        cmocka_unit_test(a_damaged_effective_file_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
