

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/kernel_list.h"

#define ROOT "checkpoints"
#define PARAMS 2
#define NETS 2

// Two small nets, filled with a number that tells which training they belong to.
static float values[NETS][PARAMS][3][6];
static int64_t adam_steps;
static struct model_param params[NETS][PARAMS];
static struct model_net nets[NETS];
static struct model_net *const net_list[NETS] = {&nets[0], &nets[1]};
static struct config *config;

static void make_nets(int64_t width) {
    static const char *const names[NETS] = {"G_A", "D_A"};
    for (int k = 0; k < NETS; k++) {
        for (int i = 0; i < PARAMS; i++)
            params[k][i] = (struct model_param){.key = i ? "model.1.bias" : "model.1.weight",
                                                .rank = i ? 1 : 4,
                                                .dims = {i ? 6 : width, i ? 0 : 6 / width, 1, 1},
                                                .count = 6,
                                                .w = values[k][i][0],
                                                .m = values[k][i][1],
                                                .v = values[k][i][2]};
        for (int i = 0; i < PARAMS; i++)
            for (int d = params[k][i].rank; d < 4; d++)
                params[k][i].dims[d] = 0;
        nets[k] = (struct model_net){names[k], PARAMS, params[k], &adam_steps};
    }
}

static void fill(float value) {
    float *v = &values[0][0][0][0];
    for (size_t i = 0; i < sizeof values / sizeof *v; i++)
        v[i] = value + (float)i / 1024;
    adam_steps = (int64_t)value;
}

static bool is_filled(float value) {
    const float *v = &values[0][0][0][0];
    for (size_t i = 0; i < sizeof values / sizeof *v; i++)
        if (v[i] != value + (float)i / 1024)
            return false;
    return adam_steps == (int64_t)value;
}

static struct state state_at(uint64_t step) {
    return (struct state){.step = step,
                          .epoch = 1 + step / 10,
                          .batch = step % 10,
                          .images = step,
                          .scheduled = 1,
                          .device = "cpu",
                          .manifest = {{"aa", 5, 1}, {"bb", 6, 2}}};
}

static int write_pool(const char *folder, float value, char ret_digest[65]) {
    char path[CHECKPOINT_PATH + 16];
    uint8_t digest[32];
    uint64_t size;
    snprintf(path, sizeof path, "%s/pool.bin", folder);
    int err = fs_write_atomic(path, &value, sizeof value);
    if (!err)
        err = digest_file(path, digest, &size);
    if (!err)
        digest_hex(digest, ret_digest);
    return err;
}

static int save_state(struct state *s, float value) {
    char folder[CHECKPOINT_PATH], digest[65];
    fill(value);
    struct checkpoint_content content = {.nets = net_list,
                                         .n_nets = NETS,
                                         .config = config,
                                         .kernels = "conv: gemm\n",
                                         .pool_digest = digest};
    int err = checkpoint_begin(ROOT, s->step, folder);
    if (!err)
        err = write_pool(folder, value, digest);
    if (!err)
        err = checkpoint_write(folder, &content, s);
    return err ? err : checkpoint_commit(ROOT, folder, s->step);
}

static int save(uint64_t step, float value) {
    struct state s = state_at(step);
    return save_state(&s, value);
}

static int refusals_seen;
static char refusal[1024];

static void on_refusal(void *context, const char *dir, const char *reason) {
    refusals_seen++;
    snprintf(refusal, sizeof refusal, "%s: %s", dir, reason);
}

static const struct checkpoint_refusals refusals = {on_refusal, NULL};

static int load_newest(struct state *ret_state) {
    char path[CHECKPOINT_PATH];
    refusals_seen = 0;
    fill(-1);
    int err = checkpoint_find(ROOT, &refusals, path, ret_state);
    return err ? err : checkpoint_load(path, net_list, NETS);
}

static bool exists(const char *form, uint64_t step) {
    char path[256];
    snprintf(path, sizeof path, form, (unsigned long long)step);
    return fs_exists(path);
}

static int clean(void **state) {
    make_nets(2);
    return fs_remove_tree(ROOT);
}

static void what_was_saved_is_loaded(void **state) {
    struct state s;
    char target[64] = "";
    assert_int_equal(load_newest(&s), ERR_AGAIN);
    assert_int_equal(save(12, 7), ERR_OK);
    assert_int_equal(load_newest(&s), ERR_OK);
    assert_true(is_filled(7));
    assert_true(s.step == 12 && s.epoch == 2 && s.batch == 2 && s.images == 12);
    assert_string_equal(s.manifest[1].digest, "bb");
    assert_int_equal(s.manifest[1].held_out, 2);
    assert_int_equal(s.n_files, NETS + 4);
    assert_non_null(state_digest(&s, "pool.bin"));
    assert_true(readlink(ROOT "/latest", target, sizeof target - 1) > 0);
    assert_string_equal(target, "step_00000012");
}

static void what_the_rate_has_seen_comes_back_to_the_bit(void **state) {
    struct state s = state_at(12), loaded;
    s.plateau = (struct plateau){3, 0.1 + 0.2, 7, 1.0 / 3, 5, 2};
    assert_int_equal(save_state(&s, 7), ERR_OK);
    assert_int_equal(load_newest(&loaded), ERR_OK);
    assert_memory_equal(&loaded.plateau, &s.plateau, sizeof s.plateau);
}

static void one_net_is_loaded_alone(void **state) {
    assert_int_equal(save(12, 7), ERR_OK);
    fill(-1);
    assert_int_equal(checkpoint_load_net(ROOT "/latest", &nets[1]), ERR_OK);
    assert_true(values[1][0][0][0] > 6.9f);
    assert_true(values[0][0][0][0] == -1.0f);
}

static void the_newest_is_loaded_and_saving_again_replaces(void **state) {
    struct state s;
    assert_int_equal(save(9, 1), ERR_OK);
    assert_int_equal(save(100, 2), ERR_OK);
    assert_int_equal(save(20, 3), ERR_OK);
    assert_int_equal(load_newest(&s), ERR_OK);
    assert_true(s.step == 100 && is_filled(2));
    assert_int_equal(save(100, 4), ERR_OK);
    assert_int_equal(load_newest(&s), ERR_OK);
    assert_true(is_filled(4));
    assert_false(fs_exists(ROOT "/.step_00000100.new"));
}

// Two trainings with other names and process counts, equal mathematics.
static void equal_trainings_have_equal_files(void **state) {
    char *name = config->top.name;
    assert_int_equal(save(12, 7), ERR_OK);
    assert_int_equal(system("cd " ROOT " && sha256sum step_*/* > ../sums"), 0);
    assert_int_equal(fs_remove_tree(ROOT), ERR_OK);
    config->top.name = "another";
    config->loader.count++;
    config->trainer.keep++;
    assert_int_equal(save(12, 7), ERR_OK);
    config->top.name = name;
    config->loader.count--;
    config->trainer.keep--;
    assert_int_equal(system("cd " ROOT " && sha256sum --quiet -c ../sums"), 0);
    assert_int_equal(system("! grep -rl -e \"$PWD\" -e \"$(date +%Y-)\" " ROOT), 0);
}

static void damage(const char *file, long at, bool cut) {
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, ROOT "/step_00000020/%s", file);
    assert_int_equal(stat(path, &st), 0);
    if (cut) {
        assert_int_equal(truncate(path, at % st.st_size), 0);
        return;
    }
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at % st.st_size, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at % st.st_size, SEEK_SET);
    fputc(c ^ 1, f);
    assert_int_equal(fclose(f), 0);
}

static void a_damaged_file_makes_the_one_before_the_newest(void **state) {
    static const char *const files[] = {"G_A.safetensors",       "D_A.safetensors",
                                        "optimizer.safetensors", "pool.bin",
                                        "kernels.txt",           "pipeline.conf"};
    for (size_t i = 0; i < 4 * COUNT(files); i++) {
        struct state s;
        assert_int_equal(save(10, 1), ERR_OK);
        assert_int_equal(save(20, 2), ERR_OK);
        damage(files[i / 4], (long)(i % 4) * 57, i % 2);
        assert_int_equal(load_newest(&s), ERR_OK);
        assert_true(s.step == 10 && is_filled(1));
        assert_int_equal(refusals_seen, 1);
        assert_non_null(strstr(refusal, files[i / 4]));
    }
}

static void a_missing_file_is_refused(void **state) {
    struct state s;
    assert_int_equal(save(20, 2), ERR_OK);
    assert_int_equal(unlink(ROOT "/step_00000020/pool.bin"), 0);
    assert_int_equal(load_newest(&s), ERR_FORMAT);
    assert_int_equal(refusals_seen, 1);
}

static void a_state_that_is_cut_or_lies_is_refused(void **state) {
    uint8_t *bytes;
    size_t size;
    struct state s;
    assert_int_equal(save(10, 1), ERR_OK);
    assert_int_equal(save(20, 2), ERR_OK);
    assert_int_equal(fs_read(ROOT "/step_00000020/state.json", 1 << 20, &bytes, &size), ERR_OK);
    for (size_t n = 0; n + 2 < size; n += 7) {
        assert_int_equal(fs_write_atomic(ROOT "/step_00000020/state.json", bytes, n), ERR_OK);
        assert_int_equal(load_newest(&s), ERR_OK);
        assert_int_equal(s.step, 10);
    }
    free(bytes);
    assert_int_equal(system("sed -i 's/\"step\": 20/\"step\": 21/' " ROOT
                            "/step_00000010/state.json; rm -r " ROOT "/step_00000020; "
                            "sed -i 's/\"step\": 10/\"step\": 11/' " ROOT
                            "/step_00000010/state.json"),
                     0);
    assert_int_equal(load_newest(&s), ERR_FORMAT);
}

static void another_architecture_is_refused_and_changes_nothing(void **state) {
    struct state s;
    assert_int_equal(save(20, 2), ERR_OK);
    make_nets(3);
    assert_int_equal(load_newest(&s), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "model.1.weight"));
    assert_non_null(strstr(err_text(), "[2,3,0,0]") ?: strstr(err_text(), "[2,3,"));
    assert_true(is_filled(-1));
    assert_int_equal(err_exit_code(ERR_MISMATCH), 78);
    make_nets(2);
    params[1][0].key = "model.2.weight";
    assert_int_equal(load_newest(&s), ERR_MISMATCH);
    assert_true(is_filled(-1));
    make_nets(2);
    nets[0].n_params = 1;
    assert_int_equal(load_newest(&s), ERR_MISMATCH);
}

static void the_newest_stay_whole_and_older_weights_every_so_many_epochs(void **state) {
    for (uint64_t step = 5; step <= 100; step += 5) { // 10 steps an epoch
        assert_int_equal(save(step, (float)step), ERR_OK);
        assert_int_equal(checkpoint_retain(ROOT, &(struct state){.step = step}, 3, 4), ERR_OK);
    }
    for (uint64_t step = 5; step <= 100; step += 5) {
        bool whole = step >= 90, weights = whole || step == 40 || step == 80;
        assert_int_equal(exists(ROOT "/step_%08llu/G_A.safetensors", step), weights);
        assert_int_equal(exists(ROOT "/step_%08llu/optimizer.safetensors", step), whole);
        assert_int_equal(exists(ROOT "/step_%08llu/pool.bin", step), whole);
    }
    fill(-1);
    assert_int_equal(checkpoint_load_net(ROOT "/step_00000040", &nets[0]), ERR_OK);
    assert_true(values[0][0][0][0] == 40.0f);
}

static void the_best_stays_whole_and_is_linked(void **state) {
    for (uint64_t step = 10; step <= 100; step += 10) {
        struct state s = state_at(step), read;
        if (step >= 30)
            s.best = (struct best){30, 0.1 + 0.2, "judge/score"};
        assert_int_equal(save_state(&s, 1), ERR_OK);
        assert_int_equal(checkpoint_mark_best(ROOT, s.best.step), ERR_OK);
        assert_int_equal(checkpoint_retain(ROOT, &s, 2, 100), ERR_OK);
        assert_int_equal(exists(ROOT "/best/optimizer.safetensors", 0), step >= 30);
        if (step < 30)
            continue;
        assert_int_equal(state_load(ROOT "/best/state.json", &read), ERR_OK);
        assert_true(read.step == 30 && read.best.step == 30 && read.best.value == 0.1 + 0.2);
    }
    assert_false(fs_exists(ROOT "/step_00000040"));
}

static void one_in_between_stays_until_there_is_a_newer_one(void **state) {
    for (uint64_t step = 10; step <= 60; step++) {
        struct state s = state_at(step);
        s.scheduled = step % 10 == 0;
        assert_int_equal(save_state(&s, 1), ERR_OK);
        assert_int_equal(checkpoint_retain(ROOT, &s, 3, 100), ERR_OK);
        assert_int_equal(exists(ROOT "/step_%08llu", step - 1), s.step % 10 == 1);
        if (step >= 30)
            assert_true(exists(ROOT "/step_%08llu", step / 10 * 10 - 20));
    }
}

static void leftovers_are_removed_and_later_steps_are_not_touched(void **state) {
    assert_int_equal(save(50, 5), ERR_OK);
    assert_int_equal(save(10, 1), ERR_OK);
    assert_int_equal(fs_mkdirs(ROOT "/.step_00000009.new", 0755), ERR_OK);
    assert_int_equal(checkpoint_retain(ROOT, &(struct state){.step = 10}, 1, 100), ERR_OK);
    assert_false(fs_exists(ROOT "/.step_00000009.new"));
    assert_true(fs_exists(ROOT "/step_00000050/state.json"));
}

// Runs a save in a child and kills it at its n-th system call. False when it ends before.
static bool killed_at(int n, uint64_t step, float value) {
    int status;
    pid_t pid = fork();
    if (!pid) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        int err = save(step, value);
        if (!err)
            err = checkpoint_retain(ROOT, &(struct state){.step = step}, 1, 100);
        _exit(err ? 1 : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (int i = 0; WIFSTOPPED(status) && i < n; i++) {
        ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (!WIFSTOPPED(status)) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return false;
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return true;
}

static void kill_everywhere(uint64_t step) {
    struct state s;
    int n = 0;
    bool was_new = false;
    do {
        clean(NULL);
        assert_int_equal(save(10, 1), ERR_OK);
        n++;
        bool killed = killed_at(n, step, 2);
        assert_int_equal(load_newest(&s), ERR_OK);
        assert_int_equal(refusals_seen, 0);
        bool is_new = is_filled(2);
        if (!is_new)
            assert_true(s.step == 10 && is_filled(1));
        else
            assert_int_equal(s.step, step);
        assert_true(is_new || !was_new); // never back
        was_new = is_new;
        if (!killed)
            break;
    } while (n < 5000);
    assert_true(was_new && n > 50 && n < 5000);
}

static void killed_at_any_system_call_it_is_the_old_or_the_new(void **state) {
    kill_everywhere(20);
}

static void killed_while_replacing_it_is_the_old_or_the_new(void **state) {
    kill_everywhere(10);
}

static void kernels_are_sorted_and_listed_once(void **state) {
    char *text = kernels_merge(NULL, "b\na\nb");
    assert_string_equal(text, "a\nb\n");
    text = kernels_merge(text, "a\nc\n");
    assert_string_equal(text, "a\nb\nc\n");
    text = kernels_merge(text, "");
    assert_string_equal(text, "a\nb\nc\n");
    free(text);
}

static int make_config(void) {
    static const char *const sets[] = {"dataroot=.", "name=one"};
    struct config_problems problems;
    int err = config_resolve(NULL, ".", sets, COUNT(sets), &config, &problems);
    for (int i = 0; i < problems.count; i++)
        fprintf(stderr, "%s: %s\n", problems.items[i].where, problems.items[i].text);
    config_problems_fini(&problems);
    return err;
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, clean)
    const struct CMUnitTest tests[] = {
        CASE(what_was_saved_is_loaded),
        CASE(what_the_rate_has_seen_comes_back_to_the_bit),
        CASE(one_net_is_loaded_alone),
        CASE(the_newest_is_loaded_and_saving_again_replaces),
        CASE(equal_trainings_have_equal_files),
        CASE(a_damaged_file_makes_the_one_before_the_newest),
        CASE(a_missing_file_is_refused),
        CASE(a_state_that_is_cut_or_lies_is_refused),
        CASE(another_architecture_is_refused_and_changes_nothing),
        CASE(the_newest_stay_whole_and_older_weights_every_so_many_epochs),
        CASE(the_best_stays_whole_and_is_linked),
        CASE(one_in_between_stays_until_there_is_a_newer_one),
        CASE(leftovers_are_removed_and_later_steps_are_not_touched),
        CASE(killed_at_any_system_call_it_is_the_old_or_the_new),
        CASE(killed_while_replacing_it_is_the_old_or_the_new),
        CASE(kernels_are_sorted_and_listed_once),
    };
    char folder[] = "/tmp/test_checkpoint_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) || fs_mkdirs("trainA", 0755) ||
        fs_mkdirs("trainB", 0755) || make_config())
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fs_remove_tree(folder); // only a test's folder
    config_free(config);
    return failures;
}
