// The exec curator: the example of the manual, and every way in which a script can fail.
#include "curator/curator_test.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char example[256]; // absolute

// An executable of these lines as settings.command.
static void use_script(const char *text) {
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/script", folder);
    write_text(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    settings.use = "exec";
    settings.command = path;
}

static void draw_gray(const char *name, uint8_t gray) {
    char path[512];
    struct image im;
    (void)snprintf(path, sizeof path, "%s/data/%s", folder, name);
    image_init(&im, 16, 16, 3);
    memset(im.pixels, gray, 16 * 16 * 3);
    assert_int_equal(image_save_png(path, &im), ERR_OK);
    image_fini(&im);
}

static void the_example_keeps_bright_pictures(void **state) {
    if (system("/usr/bin/python3 -c 'import PIL' 2>/dev/null") != 0) {
        printf("SKIP the_example_keeps_bright_pictures: no python3-pil\n");
        skip();
    }
    draw_gray("dark.png", 99);
    draw_gray("edge \"100\".png", 100);
    draw_gray("bright é.png", 240);
    settings.use = "exec";
    settings.command = example;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("bright é.png", "ok");
    assert_reason("edge \"100\".png", "ok");
    assert_reason("dark.png", "dark");
    assert_true(picture("dark.png")->score == 99);
    assert_non_null(heard_with("info script keep_bright.py: 2 of 3 pictures are bright"));
}

// As a cat that says yes: the candidates come back with "keep" put in.
#define ECHO "#!/bin/sh\nsed 's/^{/{\"keep\":true,/'\n"

static void candidates_tell_path_root_and_sizes(void **state) {
    draw("a.jpg", 20, 30);
    use_script("#!/bin/sh\ncat >../candidates\nsed 's/^{/{\"keep\":true,/' ../candidates\n");
    assert_int_equal(judged(), ERR_OK);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read("../candidates", 4096, &bytes, &size), ERR_OK);
    char *expected = xasprintf("{\"path\":\"a.jpg\",\"root\":\"%s\",\"w\":20,\"h\":30,"
                               "\"bytes\":%llu}\n",
                               curation.root, (unsigned long long)picture("a.jpg")->size);
    assert_string_equal((char *)bytes, expected);
    free(expected);
    free(bytes);
}

static void reason_and_score_may_be_left_out(void **state) {
    draw("a.jpg", 16, 16);
    draw("b.jpg", 16, 16);
    use_script("#!/bin/sh\ncat >/dev/null\n"
               "echo '{\"path\":\"b.jpg\",\"keep\":false}'\necho\n"
               "printf '{\"keep\":true,\"path\":\"a.jpg\",\"more\":[1]}'\n"); // no newline: a line
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "ok");
    assert_reason("b.jpg", "script");
    assert_true(isnan(picture("b.jpg")->score));
}

static void rejected_and_held_out_pictures_are_not_asked_about(void **state) {
    draw("train/a.jpg", 16, 16);
    draw("train/small.jpg", 4, 4);
    draw("test/b.jpg", 16, 16);
    free(settings.root);
    settings.root = xstrdup(in_folder("data/train"));
    settings.held_out = xstrdup(in_folder("data/test"));
    settings.min_side = 8;
    use_script("#!/bin/sh\ntee ../seen | sed 's/^{/{\"keep\":true,/'\n");
    assert_int_equal(judged(), ERR_OK);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read("../seen", 4096, &bytes, &size), ERR_OK);
    assert_non_null(strstr((char *)bytes, "train/a.jpg"));
    assert_null(strstr((char *)bytes, "small"));
    assert_null(strstr((char *)bytes, "test/b"));
    free(bytes);
    free(settings.held_out);
}

// More than a pipe holds, both ways at once.
static void thousands_of_candidates_do_not_block(void **state) {
    draw("0000.jpg", 8, 8);
    char name[32];
    for (int i = 1; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "data/%04d.jpg", i);
        assert_int_equal(symlink("0000.jpg", in_folder(name)), 0);
    }
    use_script(ECHO);
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(count_of(VERDICT_REJECT), 0);
}

static void a_name_that_is_not_utf8_is_rejected_by_itself(void **state) {
    draw("a.jpg", 16, 16);
    draw("\xff\xfe.jpg", 16, 16);
    use_script(ECHO);
    assert_int_equal(judged(), ERR_OK);
    assert_reason("\xff\xfe.jpg", "not_utf8");
    assert_reason("a.jpg", "ok");
}

// ---- failures ----

static void assert_fails(const char *script, const char *part) {
    use_script(script);
    int err = judged();
    if (err != ERR_DATA || !strstr(err_text(), part) || !strstr(err_text(), "curator.A: "))
        fail_msg("err %d '%s', expected '%s'", err, err_text(), part);
}

static void a_missing_verdict_names_the_picture(void **state) {
    draw("a.jpg", 16, 16);
    draw("b.jpg", 16, 16);
    assert_fails("#!/bin/sh\nhead -n 1 | sed 's/^{/{\"keep\":true,/'\n",
                 "gave no verdict for 'b.jpg' (and 0 others of 2 candidates)");
    assert_fails("#!/bin/sh\nexec </dev/null\n", "'a.jpg' (and 1 others");
}

static void a_crash_is_reported_as_one(void **state) {
    draw("a.jpg", 16, 16);
    assert_fails("#!/bin/sh\necho out of cheese >&2\nexit 3\n", "status 3: out of cheese");
    assert_non_null(heard_with("out of cheese"));
    assert_fails("#!/bin/sh\nkill -SEGV $$\n", "signal 11");
    assert_fails("#!/no/such/interpreter\n", "start '");
}

static void silence_is_ended(void **state) {
    draw("a.jpg", 16, 16);
    settings.timeout_s = 1;
    int64_t begun = now_us();
    assert_fails("#!/bin/sh\necho noise >&2\nsleep 60 & wait\n", "written nothing for 1 s");
    assert_true(now_us() - begun < 10000000);
}

static void what_is_no_verdict_is_quoted(void **state) {
    draw("a.jpg", 16, 16);
    assert_fails("#!/bin/sh\necho hello\n", "\"hello\": not JSON");
    assert_fails("#!/bin/sh\necho '[1]'\n", "not an object");
    assert_fails("#!/bin/sh\necho '{\"path\":\"a.jpg\"}'\n", "\"keep\"");
    assert_fails("#!/bin/sh\necho '{\"path\":\"a.jpg\",\"keep\":1}'\n", "\"keep\"");
    assert_fails("#!/bin/sh\necho '{\"path\":7,\"keep\":true}'\n", "\"path\"");
    assert_fails("#!/bin/sh\necho '{\"path\":\"c.jpg\",\"keep\":true}'\n", "no such candidate");
    assert_fails("#!/bin/sh\necho '{\"path\":\"a.jpg\",\"keep\":false}'\n"
                 "echo '{\"path\":\"a.jpg\",\"keep\":true}'\n",
                 "has a verdict already");
    assert_fails("#!/bin/sh\nhead -c 70000 /dev/zero | tr '\\0' x\n", "more than 65536 bytes");
}

// ---- what it leaves behind ----

// The number in the file, as soon as there is one.
static pid_t pid_in(const char *name) {
    for (int64_t end = now_us() + 10000000; now_us() < end; usleep(10000)) {
        FILE *in = fopen(in_folder(name), "r");
        int pid = 0;
        int n = in ? fscanf(in, "%d ", &pid) : 0;
        if (in)
            (void)fclose(in);
        if (n == 1)
            return pid;
    }
    fail_msg("no process number in %s", name);
    return 0;
}

// Gone, or a zombie that only waits to be counted by its parent.
static bool has_ended(pid_t pid) {
    char path[64], state = 'Z';
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *in = fopen(path, "r");
    if (!in)
        return true;
    (void)!fscanf(in, "%*d %*s %c", &state); // a process that just went leaves the Z
    (void)fclose(in);
    return state == 'Z';
}

static void assert_ends(pid_t pid) {
    for (int64_t end = now_us() + 10000000; now_us() < end; usleep(10000))
        if (has_ended(pid))
            return;
    fail_msg("process %d goes on", pid);
}

// The script, and what it has started, ignore what can be ignored.
#define STUBBORN                                                                                   \
    "#!/bin/sh\ntrap '' TERM HUP INT PIPE\n"                                                       \
    "sleep 600 </dev/null >/dev/null 2>&1 & echo $! >../started\necho $$ >../script\n"

static void it_is_killed_with_its_curator(void **state) {
    draw("a.jpg", 16, 16);
    use_script(STUBBORN "wait; wait; sleep 600\n");
    pid_t curator = fork();
    if (curator == 0) {
        (void)judged();
        _exit(0);
    }
    pid_t started = pid_in("started"), script = pid_in("script");
    assert_false(has_ended(started));
    assert_int_equal(kill(curator, SIGKILL), 0);
    assert_int_equal(waitpid(curator, NULL, 0), curator);
    assert_ends(script);
    assert_ends(started);
}

static void what_it_leaves_behind_ends_with_it(void **state) {
    draw("a.jpg", 16, 16);
    use_script(STUBBORN "sed 's/^{/{\"keep\":true,/'\n");
    assert_int_equal(judged(), ERR_OK);
    assert_ends(pid_in("started"));
    settings.timeout_s = 1;
    (void)unlink(in_folder("started"));
    assert_fails(STUBBORN "wait\n", "written nothing for 1 s");
    assert_ends(pid_in("started"));
}

static void endless_complaints_do_no_harm(void **state) {
    draw("a.jpg", 16, 16);
    use_script("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\n"
               "sed 's/^{/{\"keep\":true,/'\n");
    assert_int_equal(judged(), ERR_OK);
}

static void it_stops_when_asked(void **state) {
    static const atomic_bool cancel = true;
    draw("a.jpg", 16, 16);
    use_script("#!/bin/sh\nsleep 60\n");
    begin();
    assert_int_equal(curation_find(&curation), ERR_OK);
    curation.cancel = &cancel;
    assert_int_equal(curation.curator->review(&curation), ERR_STOPPED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_example_keeps_bright_pictures),
        CASE(candidates_tell_path_root_and_sizes),
        CASE(reason_and_score_may_be_left_out),
        CASE(rejected_and_held_out_pictures_are_not_asked_about),
        CASE(thousands_of_candidates_do_not_block),
        CASE(a_name_that_is_not_utf8_is_rejected_by_itself),
        CASE(a_missing_verdict_names_the_picture),
        CASE(a_crash_is_reported_as_one),
        CASE(silence_is_ended),
        CASE(what_is_no_verdict_is_quoted),
        CASE(it_is_killed_with_its_curator),
        CASE(what_it_leaves_behind_ends_with_it),
        CASE(endless_complaints_do_no_harm),
        CASE(it_stops_when_asked),
    };
    char cwd[200];
    if (!getcwd(cwd, sizeof cwd))
        return 1;
    (void)snprintf(example, sizeof example, "%s/docs/examples/keep_bright.py", cwd);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
