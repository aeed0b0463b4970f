// flags: what a command line stores, what it is refused for, and the help that the table makes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/flags.h"
#include "base/util.h"

struct request {
    bool quiet, recursive;
    const char *run, *format, *in, *out;
    int jobs, offset;
    int64_t step, memory;
    double weight;
    struct flag_texts sets, files;
};

#define WORDS_MAX 32

static struct request request;

// Reads "a b c", split at spaces, into `request`; `list`: FILE.. in place of IN and OUT.
static int read_line(const char *line, bool list) {
    static char copy[200];
    char *argv[WORDS_MAX] = {"program"}, *rest = NULL;
    int argc = 1;
    struct request *r = &request;
    const struct flag two[] = {
        {.name = "IN", .text = &r->in, .required = true},
        {.name = "OUT", .text = &r->out},
    };
    const struct flag many[] = {{.name = "FILE", .texts = &r->files, .required = true}};
    struct flag rows[12] = {
        {.name = "--run", .value = "DIR", .text = &r->run, .required = true, .help = "the run"},
        {.name = "--format", .choice = &r->format, .choices = "png|jpg|webp", .help = "of OUT"},
        {.name = "--jobs", .value = "N", .number = &r->jobs, .min = 1, .max = 64},
        {.name = "--offset", .value = "N", .number = &r->offset, .min = -5, .max = 0},
        {.name = "--step", .value = "S", .whole = &r->step},
        {.name = "--weight", .value = "X", .real = &r->weight, .max = 1},
        {.name = "--memory", .value = "SIZE", .bytes = &r->memory},
        {.name = "--set", .value = "KEY=VALUE", .texts = &r->sets},
        {.name = "--quiet", .on = &r->quiet},
        {.name = "--recursive", .letter = 'r', .on = &r->recursive},
    };
    size_t n = 10, words = list ? COUNT(many) : COUNT(two);
    memcpy(rows + n, list ? many : two, words * sizeof *rows);
    const struct flags flags = {"program", "program - for the test\n", rows, n + words, NULL};
    free(request.sets.at);
    free(request.files.at);
    request = (struct request){.jobs = 2, .weight = 0.5, .format = "png"};
    assert_true(text_copy(copy, sizeof copy, line));
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = word;
    }
    return flags_read(&flags, argc, argv);
}

static void accepted(const char *line) {
    if (read_line(line, false))
        fail_msg("'%s': %s", line, err_text());
}

static void refused(const char *line, const char *text) {
    assert_int_equal(read_line(line, false), ERR_USAGE);
    if (!strstr(err_text(), text))
        fail_msg("'%s': '%s' does not contain '%s'", line, err_text(), text);
}

static void what_is_not_given_keeps_its_default(void **state) {
    accepted("--run a in");
    assert_string_equal(request.run, "a");
    assert_string_equal(request.in, "in");
    assert_null(request.out);
    assert_int_equal(request.jobs, 2);
    assert_true(request.weight == 0.5);
    assert_string_equal(request.format, "png");
    assert_false(request.quiet || request.recursive);
    assert_int_equal(request.sets.n, 0);
}

static void every_kind_is_stored(void **state) {
    accepted("--run a in --jobs 64 --offset -5 --step 9000000000 --weight 0.25 --memory 1GiB out "
             "--quiet");
    assert_int_equal(request.jobs, 64);
    assert_int_equal(request.offset, -5);
    assert_true(request.step == INT64_C(9000000000));
    assert_true(request.weight == 0.25);
    assert_true(request.memory == 1 << 30);
    assert_string_equal(request.in, "in");
    assert_string_equal(request.out, "out");
    assert_true(request.quiet);
}

static void each_of_the_choices_is_taken(void **state) {
    static const char *const good[] = {"png", "jpg", "webp"}, *const bad[] = {"pn", "pngs", "|"};
    for (size_t i = 0; i < COUNT(good); i++) {
        char line[100];
        (void)snprintf(line, sizeof line, "--run a in --format %s", good[i]);
        accepted(line);
        assert_string_equal(request.format, good[i]);
        (void)snprintf(line, sizeof line, "--run a in --format %s", bad[i]);
        refused(line, "--format is png, jpg or webp, not '");
    }
    refused("--run a in --format=", "not ''");
}

static void an_equals_sign_or_a_word_gives_the_value(void **state) {
    accepted("--run=a in --set=x=1 --set y=2");
    assert_string_equal(request.run, "a");
    assert_int_equal(request.sets.n, 2);
    assert_string_equal(request.sets.at[0], "x=1");
    assert_string_equal(request.sets.at[1], "y=2");
    accepted("--run= in");
    assert_string_equal(request.run, "");
    accepted("--run --quiet in"); // a value may look like an option
    assert_string_equal(request.run, "--quiet");
    assert_false(request.quiet);
}

static void the_last_of_two_values_counts(void **state) {
    accepted("--run a --run b in");
    assert_string_equal(request.run, "b");
}

static void a_letter_is_its_option(void **state) {
    accepted("-r --run a in");
    assert_true(request.recursive);
    refused("-q --run a in", "there is no option '-q'; see program --help");
    refused("-rq --run a in", "'-rq'");
}

static void arguments_may_look_like_options_behind_two_dashes(void **state) {
    accepted("--run a -- --quiet -");
    assert_string_equal(request.in, "--quiet");
    assert_string_equal(request.out, "-");
    assert_false(request.quiet);
    accepted("--run a - --quiet"); // a dash alone is the usual name of stdin
    assert_string_equal(request.in, "-");
}

static void a_list_takes_all_that_are_left(void **state) {
    assert_int_equal(read_line("x --run a y --quiet z", true), ERR_OK);
    assert_int_equal(request.files.n, 3);
    assert_string_equal(request.files.at[0], "x");
    assert_string_equal(request.files.at[2], "z");
    assert_int_equal(read_line("--run a", true), ERR_USAGE);
    assert_non_null(strstr(err_text(), "FILE is missing"));
}

static void a_misspelt_option_gets_the_nearest_as_a_proposal(void **state) {
    refused("--rnu a in", "there is no option '--rnu', did you mean --run?");
    refused("--memroy 1GiB", "did you mean --memory?");
    refused("--memroy=1GiB", "there is no option '--memroy', did you mean --memory?");
    refused("--quite", "did you mean --quiet?");
    refused("--colour", "there is no option '--colour'; see program --help");
}

static void what_is_missing_or_too_much_is_named(void **state) {
    refused("in", "--run DIR is missing; see program --help");
    refused("--run a", "IN is missing; see program --help");
    refused("in --run", "--run needs a value");
    refused("--quiet=1", "--quiet takes no value");
    refused("--run a in out more", "'more' is one argument too many");
    refused("", "missing");
}

static void numbers_keep_to_their_bounds(void **state) {
    static const char *const bad[] = {"0",   "65",   "-1", "x",   "1x",
                                      "1.5", "0x10", "+1", "1e1", "99999999999999999999"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char line[100], text[100];
        (void)snprintf(line, sizeof line, "--run a in --jobs %s", bad[i]);
        (void)snprintf(text, sizeof text, "--jobs: '%s' is not a number from 1 to 64", bad[i]);
        refused(line, text);
        assert_int_equal(request.jobs, 2);
    }
    refused("--offset 1", "--offset: '1' is not a number from -5 to 0");
    refused("--step -1", "--step: '-1' is not a number of at least 0");
    refused("--jobs=", "--jobs: ''");
}

static void other_numbers_are_checked_too(void **state) {
    static const char *const bad[] = {"nan", "inf", "1.5", "-0.5", "0x1p0", "x", "0.5x"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char line[100];
        (void)snprintf(line, sizeof line, "--run a in --weight %s", bad[i]);
        refused(line, "--weight: '");
    }
    refused("--memory 1", "--memory is a size like \"1 GiB\", not '1'");
    refused("--memory much", "not 'much'");
}

static void help_lists_the_table_in_lines_of_a_screen(void **state) {
    static const char want[] =
        "purpose\n"
        "\n"
        "  --run RUN           the run\n"
        "  --format png|jpg    of the pictures\n"
        "  --recursive, -r     one two three four five six seven eight nine ten eleven\n"
        "                      twelve thirteen fourteen\n"
        "  --a-long-name SOME-VALUE\n"
        "                      behind it\n"
        "  IN                  an argument\n"
        "  --help, --version\n"
        "\n"
        "notes\n";
    const char *text;
    bool on;
    const struct flag rows[] = {
        {.name = "--run", .value = "RUN", .text = &text, .help = "the run"},
        {.name = "--format", .choice = &text, .choices = "png|jpg", .help = "of the pictures"},
        {.name = "--recursive",
         .letter = 'r',
         .on = &on,
         .help =
             "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"},
        {.name = "--a-long-name", .value = "SOME-VALUE", .text = &text, .help = "behind it"},
        {.name = "--secret", .on = &on},
        {.name = "IN", .text = &text, .help = "an argument"},
    };
    const struct flags flags = {"program", "purpose\n", rows, COUNT(rows), "notes\n"};
    char *got = flags_help(&flags);
    assert_string_equal(got, want);
    free(got);
}

static void help_and_version_end_the_program_before_anything_is_missing(void **state) {
    assert_int_equal(read_line("--help", false), ERR_STOPPED);
    assert_int_equal(read_line("in -h", false), ERR_STOPPED);
    assert_int_equal(read_line("--version", false), ERR_STOPPED);
    accepted("--run --help in"); // a value
    assert_string_equal(request.run, "--help");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_keeps_its_default),
        cmocka_unit_test(every_kind_is_stored),
        cmocka_unit_test(each_of_the_choices_is_taken),
        cmocka_unit_test(an_equals_sign_or_a_word_gives_the_value),
        cmocka_unit_test(the_last_of_two_values_counts),
        cmocka_unit_test(a_letter_is_its_option),
        cmocka_unit_test(arguments_may_look_like_options_behind_two_dashes),
        cmocka_unit_test(a_list_takes_all_that_are_left),
        cmocka_unit_test(a_misspelt_option_gets_the_nearest_as_a_proposal),
        cmocka_unit_test(what_is_missing_or_too_much_is_named),
        cmocka_unit_test(numbers_keep_to_their_bounds),
        cmocka_unit_test(other_numbers_are_checked_too),
        cmocka_unit_test(help_lists_the_table_in_lines_of_a_screen),
        cmocka_unit_test(help_and_version_end_the_program_before_anything_is_missing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(request.sets.at);
    free(request.files.at);
    return failed;
}
