// 20 steps in one process leave the same files as 10, a checkpoint, and 10 in another process:
// with dropout, batch norm, a short last batch and another number of threads. Each life is a
// process of its own.
#include "trainer/models/model_test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "weights/safetensors.h"

#define STEPS 20

static char folder[64];
static struct config *config;

static struct config_trainer options_of(const char *model) {
    bool cycle = strcmp(model, "cycle_gan") == 0;
    struct config_trainer o = recipe_options(model);

    o.netG = cycle ? "resnet_6blocks" : "unet_128";
    o.netD = cycle ? "n_layers" : "basic";
    o.norm = "batch";
    o.gan_mode = cycle ? "lsgan" : "vanilla";
    o.no_dropout = false;
    o.ngf = o.ndf = 2;
    o.ema = cycle ? 0.9 : 0;
    o.threads = 1;
    return o;
}

struct life {
    struct config_trainer options;
    const char *root;
    uint64_t from, to;
};

static void save(struct model *m, const struct life *life) {
    struct state s = {.step = life->to, .epoch = 1, .device = "cpu"};
    struct model_net *nets[6];
    char path[CHECKPOINT_PATH];

    for (int i = 0; i < model_n_nets(m); i++)
        nets[i] = model_net(m, i);
    struct checkpoint_content content = {
        .nets = nets, .n_nets = model_n_nets(m), .config = config, .kernels = ""};
    assert_int_equal(checkpoint_begin(life->root, life->to, path), ERR_OK);
    assert_int_equal(checkpoint_write(path, &content, &s), ERR_OK);
    assert_int_equal(checkpoint_commit(life->root, path, life->to), ERR_OK);
}

static void load(struct model *m, const struct life *life) {
    struct model_net *nets[6];
    char path[CHECKPOINT_PATH];

    for (int i = 0; i < model_n_nets(m); i++)
        nets[i] = model_net(m, i);
    checkpoint_path(life->root, life->from, path);
    assert_int_equal(checkpoint_load(path, nets, model_n_nets(m)), ERR_OK);
    assert_int_equal(model_weights_changed(m), ERR_OK);
}

// Every third batch is short.
static void live(const struct life *life) {
    struct model *m = open_model(&life->options);
    int side = strcmp(life->options.netG, "unet_128") == 0 ? 128 : 24;

    if (life->from)
        load(m, life);
    for (uint64_t i = life->from; i < life->to; i++)
        train(m, &life->options, (struct sizes){i % 3 == 2 ? 1 : 2, side, side}, i);
    save(m, life);
    model_free(m);
}

// The child must not run the rest of the tests, whatever happens in it.
static void in_a_process(const struct life *life) {
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        live(life);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void read_file(const char *root, const char *name, uint8_t **ret_bytes, size_t *ret_size) {
    char step[CHECKPOINT_PATH], path[CHECKPOINT_PATH + 80];

    checkpoint_path(root, STEPS, step);
    snprintf(path, sizeof path, "%s/%s", step, name);
    assert_int_equal(fs_read(path, 64 << 20, ret_bytes, ret_size), ERR_OK);
}

static bool is_same(const char *root_a, const char *root_b, const char *name) {
    uint8_t *a, *b;
    size_t size_a, size_b;

    read_file(root_a, name, &a, &size_a);
    read_file(root_b, name, &b, &size_b);
    bool same = size_a == size_b && memcmp(a, b, size_a) == 0;
    free(a);
    free(b);
    return same;
}

static int64_t batches_seen(const char *root, const char *name, const char *key) {
    char step[CHECKPOINT_PATH], path[CHECKPOINT_PATH + 80];
    struct safetensors f;
    int64_t batches = -1;

    checkpoint_path(root, STEPS, step);
    snprintf(path, sizeof path, "%s/%s", step, name);
    assert_int_equal(safetensors_open(path, &f), ERR_OK);
    const struct safetensor *t = safetensors_find(&f, key);
    assert_non_null(t);
    assert_int_equal(t->type, SAFETENSORS_I64);
    assert_int_equal(t->rank, 0);
    assert_int_equal(safetensors_read(&f, t, &batches), ERR_OK);
    safetensors_close(&f);
    return batches;
}

static void train_whole_and_in_halves(const char *model) {
    struct config_trainer o = options_of(model);

    in_a_process(&(struct life){o, "whole", 0, STEPS});
    in_a_process(&(struct life){o, "halves", 0, STEPS / 2});
    o.threads = 3;
    in_a_process(&(struct life){o, "halves", STEPS / 2, STEPS});
}

static int clean(void **state) {
    return fs_remove_tree("whole") || fs_remove_tree("halves");
}

static void cycle_gan_resumes_byte_for_byte(void **state) {
    static const char *const files[] = {
        "G_A.safetensors",     "G_B.safetensors",     "D_A.safetensors",       "D_B.safetensors",
        "G_A_ema.safetensors", "G_B_ema.safetensors", "optimizer.safetensors", "state.json"};

    train_whole_and_in_halves("cycle_gan");
    for (unsigned i = 0; i < COUNT(files); i++)
        assert_true(is_same("whole", "halves", files[i]));
    // Fake, reconstruction, identity; in G's update, real, pooled.
    assert_int_equal(batches_seen("halves", "G_B.safetensors", "model.2.num_batches_tracked"),
                     3 * STEPS);
    assert_int_equal(batches_seen("halves", "D_A.safetensors", "model.3.num_batches_tracked"),
                     3 * STEPS);
}

static void pix2pix_resumes_byte_for_byte(void **state) {
    static const char *const files[] = {"G.safetensors", "D.safetensors", "optimizer.safetensors",
                                        "state.json"};

    train_whole_and_in_halves("pix2pix");
    for (unsigned i = 0; i < COUNT(files); i++)
        assert_true(is_same("whole", "halves", files[i]));
    assert_int_equal(
        batches_seen("halves", "G.safetensors", "model.model.1.model.2.num_batches_tracked"),
        STEPS);
    assert_int_equal(batches_seen("halves", "D.safetensors", "model.3.num_batches_tracked"),
                     3 * STEPS);
}

static int begin(void **state) {
    const char *sets[] = {"curator.A.root=.", "curator.B.root=."};
    struct config_problems problems;

    strcpy(folder, "/tmp/test_resume.XXXXXX");
    if (!mkdtemp(folder) || chdir(folder))
        return -1;
    int err = config_resolve(NULL, ".", sets, 2, &config, &problems);
    config_problems_fini(&problems);
    return err;
}

static int end(void **state) {
    config_free(config);
    return fs_remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(cycle_gan_resumes_byte_for_byte, clean),
        cmocka_unit_test_teardown(pix2pix_resumes_byte_for_byte, clean),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
