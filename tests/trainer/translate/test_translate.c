// The program translate: which files it takes and leaves, what it says, how it ends. The judge of
// the pictures is picture_translate, one at a time, on the same weights.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "config/config.h"
#include "image/image.h"
#include "judge/picture.h"
#include "models/model.h"
#include "weights/safetensors.h"

#define NGF 4
#define PYTHON "/usr/bin/python3"

static const char conf[] =
    "trainer = { netG = \"resnet_6blocks\"; ngf = 4; ndf = 4; device = \"cpu\" }\n";
static char program[4096], tree[4096], said[1 << 16];
static char work[] = "/tmp/translate-test-XXXXXX";
static struct model *model;

// ---- the rig ----

// Runs the program with these words; its exit code. What it says on stderr is in `said`.
static int run(const char *words) {
    char command[8192];
    (void)snprintf(command, sizeof command, "'%s' %s 2>said >printed", program, words);
    int status = system(command);
    FILE *f = fopen("said", "r");
    assert_non_null(f);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    fclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUNS(code, words)                                                                          \
    do {                                                                                           \
        int code_ = run(words);                                                                    \
        if (code_ != (code))                                                                       \
            fail_msg("exit code %d, not %d: %s", code_, code, said);                               \
    } while (0)
#define SAYS(text)                                                                                 \
    do {                                                                                           \
        if (!strstr(said, text))                                                                   \
            fail_msg("no '%s' in: %s", text, said);                                                \
    } while (0)

static void save_net(const struct model_net *net, const char *folder) {
    struct safetensor tensors[128];
    char path[64];
    assert_true(net->n_params <= 128);
    for (int i = 0; i < net->n_params; i++) {
        const struct model_param *p = &net->params[i];
        bool counts = p->kind == PARAM_BATCHES;
        tensors[i] = (struct safetensor){.name = p->key,
                                         .type = counts ? SAFETENSORS_I64 : SAFETENSORS_F32,
                                         .rank = p->rank,
                                         .data = counts ? (const void *)p->batches : p->w};
        memcpy(tensors[i].dims, p->dims, sizeof p->dims);
    }
    (void)snprintf(path, sizeof path, "%s/%s.safetensors", folder, net->name);
    assert_int_equal(safetensors_write(path, tensors, net->n_params), ERR_OK);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void random_image(int w, int h, int c, uint64_t number, struct image *ret) {
    image_init(ret, w, h, c);
    for (int i = 0; i < w * h * c; i++)
        ret->pixels[i] = (uint8_t)(256 * rng_uniform(1, RNG_TEST, number, (uint32_t)i));
}

static void make_picture(const char *path, int w, int h, int c) {
    struct image im;
    random_image(w, h, c, (uint64_t)(w * 1000 + h), &im);
    assert_int_equal(
        strstr(path, ".jpg") ? image_save_jpeg(path, &im, 90) : image_save_png(path, &im), ERR_OK);
    image_fini(&im);
}

static int set_up(void **state) {
    const char *build = getenv("BUILD");
    struct config_trainer o = {.model = "cycle_gan",
                               .device = "cpu",
                               .netG = "resnet_6blocks",
                               .netD = "basic",
                               .norm = "instance",
                               .gan_mode = "lsgan",
                               .winograd = "auto",
                               .input_nc = 3,
                               .output_nc = 3,
                               .ngf = NGF,
                               .ndf = NGF,
                               .no_dropout = true,
                               .threads = 2};
    (void)snprintf(program, sizeof program, "%s/bin/translate", build ? build : "build");
    char *whole = realpath(program, NULL);
    if (!whole)
        fail_msg("there is no %s", program);
    (void)text_copy(program, sizeof program, whole);
    free(whole);
    assert_non_null(getcwd(tree, sizeof tree));
    assert_non_null(mkdtemp(work));
    assert_int_equal(chdir(work), 0);
    assert_int_equal(model_new(&o, &(struct model_host){0}, &model), ERR_OK);
    assert_int_equal(model_init(model, "normal", 0.1, 5), ERR_OK);
    assert_int_equal(fs_mkdirs("run/checkpoints/step_00000007", 0755), ERR_OK);
    for (int i = 0; i < 3; i++)
        save_net(model_net(model, i), "run/checkpoints/step_00000007");
    assert_int_equal(symlink("step_00000007", "run/checkpoints/latest"), 0);
    write_text("run/pipeline.conf", conf);
    write_text("run/checkpoints/latest/pipeline.conf", conf);
    o.norm = "batch";
    struct model *batch_norm;
    assert_int_equal(model_new(&o, &(struct model_host){0}, &batch_norm), ERR_OK);
    assert_int_equal(model_init(batch_norm, "normal", 0.1, 6), ERR_OK);
    assert_int_equal(fs_mkdirs("batch_norm", 0755), ERR_OK);
    save_net(model_net(batch_norm, 0), "batch_norm");
    model_free(batch_norm);
    return 0;
}

static int tear_down(void **state) {
    model_free(model);
    return fs_remove_tree(work) ? -1 : 0;
}

// A folder of pictures, broken ones among them.
static int make_folder(void **state) {
    fs_remove_tree("in");
    fs_remove_tree("out");
    write_text("run/pipeline.conf", conf);
    assert_int_equal(fs_mkdirs("in/deep/er", 0755), ERR_OK);
    make_picture("in/a.png", 1, 1, 3);
    make_picture("in/b.png", 17, 5, 3);
    make_picture("in/c.jpg", 33, 47, 3);
    make_picture("in/gray.png", 20, 16, 1);
    make_picture("in/same.png", 20, 16, 3);
    make_picture("in/same.jpg", 20, 16, 3);
    make_picture("in/deep/er/d.png", 8, 9, 3);
    write_text("in/empty.png", "");
    write_text("in/text.jpg", "no picture");
    write_text("in/notes.txt", "not even by name");
    return 0;
}

static int make_odd(void **state) {
    char command[8192];
    (void)snprintf(command, sizeof command,
                   PYTHON " '%s/tests/trainer/translate/odd_pictures.py' pictures", tree);
    (void)make_folder(state);
    return system(command);
}

// The picture at `path` is what the model makes of `in`.
static void assert_translated(const char *in, const char *path, int net) {
    struct image from, want, got;
    assert_int_equal(image_load(in, &image_default_limits, 3, &from), ERR_OK);
    assert_int_equal(picture_translate(model, net, 3, &from, &want), ERR_OK);
    if (image_load(path, &image_default_limits, 3, &got))
        fail_msg("%s", err_text());
    assert_int_equal(got.w, from.w);
    assert_int_equal(got.h, from.h);
    int worst = 0;
    for (int i = 0; i < got.w * got.h * 3; i++)
        worst = MAX(worst, abs(got.pixels[i] - want.pixels[i]));
    // The same arithmetic, except that a batch may be summed in another order: a value on the edge
    // between two bytes may fall to either side.
    if (worst > 1)
        fail_msg("%s differs by %d", path, worst);
    image_fini(&from);
    image_fini(&want);
    image_fini(&got);
}

// ---- claims ----

static void folder_is_translated_and_broken_files_are_named(void **state) {
    RUNS(1, "--run run in out");
    SAYS("left out: 'in/empty.png': empty");
    SAYS("left out: 'in/text.jpg': not a picture");
    SAYS("6 translated, 2 left out");
    SAYS("2 of 8 files could not be translated");
    assert_translated("in/a.png", "out/a.png", 0);
    assert_translated("in/b.png", "out/b.png", 0);
    assert_translated("in/c.jpg", "out/c.png", 0);
    assert_translated("in/gray.png", "out/gray.png", 0);
    assert_translated("in/same.jpg", "out/same.png", 0);
    assert_translated("in/same.png", "out/same.png.png", 0);
    assert_false(fs_exists("out/deep"));
    assert_false(fs_exists("out/empty.png"));
}

static void folders_within_keep_their_names(void **state) {
    RUNS(1, "--run run -r in in/out");
    SAYS("7 translated, 2 left out");
    assert_translated("in/deep/er/d.png", "in/out/deep/er/d.png", 0);
    RUNS(1, "--run run -r --resume in in/out"); // outputs are not inputs
    SAYS("0 translated, 2 left out, 7 were there already");
}

static void a_picture_of_any_name_is_translated(void **state) {
    assert_int_equal(link("in/a.png", "in/bare"), 0);
    assert_int_equal(symlink("deep", "in/linked"), 0);
    RUNS(1, "--run run -r in out");
    SAYS("8 translated, 2 left out");
    SAYS("1 links to folders were not followed");
    assert_translated("in/bare", "out/bare.png", 0);
}

static void outputs_are_not_overwritten_unasked(void **state) {
    fs_remove_tree("in/empty.png");
    fs_remove_tree("in/text.jpg");
    RUNS(0, "--run run in out");
    RUNS(2, "--run run in out");
    SAYS("6 of 6 outputs are there already");
    SAYS("--resume leaves");
    fs_remove_tree("out/b.png");
    write_text("out/a.png", "old");
    RUNS(0, "--run run --resume in out");
    SAYS("1 translated, 0 left out, 5 were there already");
    assert_translated("in/b.png", "out/b.png", 0);
    struct stat st;
    assert_int_equal(stat("out/a.png", &st), 0);
    assert_int_equal(st.st_size, 3);
    RUNS(0, "--run run --force in out");
    assert_translated("in/a.png", "out/a.png", 0);
    RUNS(2, "--run run --force --resume in out");
    SAYS("not both");
}

static void batches_give_the_same_pictures(void **state) {
    char path[32];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "in/x%d.png", i);
        make_picture(path, 20 + (i > 2), 16, 3);
    }
    RUNS(1, "--run run --batch 3 --jobs 3 in out");
    for (int i = 0; i < 5; i++) {
        char out[32];
        (void)snprintf(path, sizeof path, "in/x%d.png", i);
        (void)snprintf(out, sizeof out, "out/x%d.png", i);
        assert_translated(path, out, 0);
    }
}

static void direction_step_and_checkpoint_choose_the_net(void **state) {
    RUNS(0, "--run run --direction BtoA --step 7 in/b.png out/");
    assert_translated("in/b.png", "out/b.png", 1);
    RUNS(0, "--checkpoint run/checkpoints/latest --direction BtoA --force in/b.png out/b.png");
    assert_translated("in/b.png", "out/b.png", 1);
    RUNS(0, "--weights run/checkpoints/latest/G_A.safetensors --force in/b.png out/b.png");
    SAYS("resnet_6blocks");
    assert_translated("in/b.png", "out/b.png", 0);
}

static void jpeg_by_option_or_name(void **state) {
    struct image im;
    RUNS(0, "--run run in/c.jpg out.jpg");
    assert_int_equal(image_load("out.jpg", &image_default_limits, 3, &im), ERR_OK);
    image_fini(&im);
    RUNS(1, "--run run --format jpg --quality 30 in out");
    assert_true(fs_exists("out/gray.jpg"));
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read("out/c.jpg", 1 << 20, &bytes, &size), ERR_OK);
    assert_int_equal(bytes[0], 0xff);
    assert_int_equal(bytes[1], 0xd8);
    free(bytes);
}

static void wrong_use_is_refused_before_anything_is_done(void **state) {
    static const struct {
        int code;
        const char *words, *text;
    } cases[] = {
        {2, "in out", "one of --run, --checkpoint and --weights"},
        {2, "--run run in", "OUT is missing"},
        {2, "--run run --weights x in out", "one of --run"},
        {2, "--run run --direction up in out", "--direction is AtoB or BtoA, not 'up'"},
        {2, "--run run --step x in out", "--step is a number"},
        {2, "--checkpoint run --step 7 in out", "--step goes with --run"},
        {2, "--run run --format bmp in out", "--format is png, jpg or jpeg, not 'bmp'"},
        {2, "--run run --format jpg in/a.png out.png", "says otherwise"},
        {2, "--run run --quality 0 in out", "--quality: '0' is not a number from 1 to 100"},
        {2, "--run run --batch many in out", "--batch"},
        {2, "--run run --nonsense in out", "--help"},
        {2, "--weights run/checkpoints/latest/G_A.safetensors --direction AtoB in out",
         "--direction"},
        {78, "--run run --step 8 in out", "there is no checkpoint 'run/checkpoints/step_00000008'"},
        {78, "--run gone in out", "there is no run 'gone'"},
        {78, "--checkpoint gone in out", "there is no checkpoint 'gone'"},
        {78, "--weights gone in out", "gone"},
        {1, "--run run gone out", "there is no 'gone'"},
        {1, "--run run run out", "no pictures in 'run'"},
        {78, "--weights run/checkpoints/latest/D_A.safetensors in out", "discriminator"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        RUNS(cases[i].code, cases[i].words);
        SAYS(cases[i].text);
        assert_false(fs_exists("out"));
    }
}

static void damaged_weights_are_refused(void **state) {
    assert_int_equal(fs_mkdirs("bad", 0755), ERR_OK);
    write_text("bad/pipeline.conf", "trainer = { netG = \"resnet_6blocks\"; ngf = 8 }\n");
    write_text("bad/G_A.safetensors", "nothing");
    RUNS(78, "--checkpoint bad in out");
    SAYS("bad/G_A.safetensors");
    RUNS(0, "--help");
    assert_false(fs_exists("out"));
    assert_int_equal(system("cp run/checkpoints/latest/G_A.safetensors bad/"), 0);
    RUNS(78, "--checkpoint bad in out"); // of another width
    SAYS("model.1.weight");
}

static void picture_beyond_the_bound_is_left_out(void **state) {
    make_picture("in/large.png", 1100, 1000, 3);
    RUNS(1, "--run run --max-megapixels 1 in out");
    SAYS("'in/large.png'");
    assert_false(fs_exists("out/large.png"));
    assert_true(fs_exists("out/a.png"));
}

// Peak resident bytes of the program with these words; it must succeed.
static size_t peak_of(char *const *words) {
    struct rusage usage;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execv(program, words);
        _exit(127);
    }
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return (size_t)usage.ru_maxrss << 10;
}

static void memory_is_bounded(void **state) {
    size_t bound = (size_t)108 << 20;
    if (strstr(program, "-san"))
        skip(); // the sanitizer's own memory
    make_picture("in/large.png", 2000, 1500, 3);
    char *whole[] = {"translate", "--run", "run", "--quiet", "in/large.png", "whole.png", NULL};
    char *bands[] = {"translate", "--run",        "run",       "--quiet", "--memory",
                     "108 MiB",   "in/large.png", "bands.png", NULL};
    size_t free_peak = peak_of(whole), peak = peak_of(bands);
    if (free_peak <= bound) // else the bound would show nothing
        fail_msg("whole it takes only %zu MiB", free_peak >> 20);
    if (peak > bound)
        fail_msg("%zu MiB of %zu", peak >> 20, bound >> 20);
    struct image a, b;
    assert_int_equal(image_load("whole.png", &image_default_limits, 3, &a), ERR_OK);
    assert_int_equal(image_load("bands.png", &image_default_limits, 3, &b), ERR_OK);
    for (int i = 0; i < 3 * 2000 * 1500; i++)
        assert_true(abs(a.pixels[i] - b.pixels[i]) <= 1);
    image_fini(&a);
    image_fini(&b);
}

static void too_small_a_bound_says_what_would_do(void **state) {
    make_picture("in/large.png", 2000, 1500, 3);
    RUNS(1, "--run run --memory '8 MiB' in/large.png out.png");
    SAYS("'in/large.png' of 2000x1500 needs at least --memory \"");
    const char *size = strstr(said, "--memory \"") + strlen("--memory \"");
    long least = strtol(size, NULL, 10) + 1; // the program itself takes now more, now less
    RUNS(2, "--run run --memory lots in/large.png out.png");
    SAYS("--memory is a size like \"1 GiB\"");
    if (strstr(program, "-san")) // which takes more than this bound by itself
        return;
    char words[96];
    snprintf(words, sizeof words, "--run run --memory '%ld MiB' in/large.png out.png", least);
    RUNS(0, words);
    assert_int_equal(unlink("out.png"), 0);
    RUNS(1, "--run run --memory '108 MiB' --scratch gone in/large.png out.png");
    SAYS("gone");
}

static void settings_of_the_run_count(void **state) {
    write_text("run/pipeline.conf",
               "trainer = { netG = \"resnet_6blocks\"; ngf = 4; ndf = 4; device = \"cpu\" }\n"
               "translate = { memory = \"8 MiB\"; format = \"jpg\" }\n");
    RUNS(1, "--run run in/b.png out");
    SAYS("needs at least --memory");
    RUNS(0, "--run run --memory '0 B' in/b.png out");
    assert_true(fs_exists("out/b.jpg"));
    RUNS(0, "--run run --memory '0 B' in/b.png out/b.png");
    assert_translated("in/b.png", "out/b.png", 0);
}

// Every kind of picture that is read becomes what the same pixels in a plain PNG become.
static void assert_as_plain(const char *plain, const char *out) {
    char from[64], to[64];
    struct dirent *entry;
    int count = 0;
    DIR *d = opendir(plain);
    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(from, sizeof from, "%s/%.40s", plain, entry->d_name);
        (void)snprintf(to, sizeof to, "%s/%.40s", out, entry->d_name);
        assert_translated(from, to, 0);
        count++;
    }
    closedir(d);
    assert_int_equal(count, 15);
}

static void unusual_pictures_are_read_as_in_training(void **state) {
    write_text("run/pipeline.conf", conf);
    RUNS(0, "--run run pictures/odd out");
    assert_as_plain("pictures/plain", "out");
    write_text("run/pipeline.conf",
               "trainer = { netG = \"resnet_6blocks\"; ngf = 4; ndf = 4; device = \"cpu\" }\n"
               "loader = { exif = \"apply\"; alpha = \"white\" }\n");
    RUNS(0, "--run run --force pictures/odd out");
    assert_as_plain("pictures/turned", "out");
}

static void kinds_that_are_not_read_are_named_with_a_command(void **state) {
    static const char *const kinds[][2] = {{"a.gif", "GIF"},       {"b.bmp", "BMP"},
                                           {"c.tif", "TIFF"},      {"d.ppm", "PPM"},
                                           {"e.jp2", "JPEG 2000"}, {"named.png", "TIFF"}};
    char text[160];
    write_text("run/pipeline.conf", conf);
    RUNS(1, "--run run pictures/refused out");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        (void)snprintf(text, sizeof text,
                       "left out: 'pictures/refused/%s': %s is not read; convert", kinds[i][0],
                       kinds[i][1]);
        SAYS(text);
    }
    SAYS("0 translated, 6 left out");
}

static void assert_same_bytes(const char *a, const char *b) {
    uint8_t *x, *y;
    size_t n, m;
    assert_int_equal(fs_read(a, 1 << 24, &x, &n), ERR_OK);
    assert_int_equal(fs_read(b, 1 << 24, &y, &m), ERR_OK);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

static void batch_size_changes_no_byte(void **state) {
    static const char *const weights[] = {"run/checkpoints/latest/G_A.safetensors",
                                          "batch_norm/G_A.safetensors"};
    char words[256], one[64], three[64];
    for (int i = 0; i < 4; i++) {
        (void)snprintf(one, sizeof one, "in/x%d.png", i);
        struct image im;
        random_image(20, 16, 3, (uint64_t)i, &im);
        assert_int_equal(image_save_png(one, &im), ERR_OK);
        image_fini(&im);
    }
    for (int k = 0; k < 2; k++) {
        (void)snprintf(words, sizeof words, "--weights %s --force in out", weights[k]);
        RUNS(1, words);
        (void)snprintf(words, sizeof words, "--weights %s --force --batch 3 in three", weights[k]);
        RUNS(1, words);
        for (int i = 0; i < 4; i++) {
            (void)snprintf(one, sizeof one, "out/x%d.png", i);
            (void)snprintf(three, sizeof three, "three/x%d.png", i);
            assert_same_bytes(one, three);
        }
    }
}

static void folder_of_the_inputs_is_refused_as_out(void **state) {
    static const char *const words[] = {"--run run --force in in",
                                        "--run run --force in/b.png in",
                                        "--run run --force in/b.png in/b.png",
                                        "--run run --resume in in/",
                                        "--run run --force -r in in/deep",
                                        "--run run --force in link",
                                        "--run run --force in/b.png link/b.png"};
    (void)unlink("link");
    assert_int_equal(symlink("in", "link"), 0);
    make_picture("in/deep/e.png", 8, 9, 3);
    assert_int_equal(system("cp -r in kept"), 0);
    for (size_t i = 0; i < COUNT(words); i++) {
        RUNS(2, words[i]);
        SAYS("holds pictures that are to be translated");
        assert_int_equal(system("diff -r in kept"), 0);
    }
    fs_remove_tree("kept");
    RUNS(0, "--run run in/b.png in/other.png"); // a file beside it
}

static void output_belongs_to_its_input(void **state) {
    fs_remove_tree("in");
    assert_int_equal(fs_mkdirs("in", 0755), ERR_OK);
    make_picture("in/a.png", 20, 16, 3);
    RUNS(0, "--run run in out");
    make_picture("in/a.jpg", 33, 47, 3);
    RUNS(0, "--run run --resume in out");
    SAYS("1 translated, 0 left out, 1 were there already");
    assert_translated("in/a.png", "out/a.png", 0);
    assert_translated("in/a.jpg", "out/a.jpg.png", 0);
    RUNS(0, "--run run --resume in out");
    SAYS("0 translated, 0 left out, 2 were there already");
}

static void changed_input_is_translated_again(void **state) {
    fs_remove_tree("in");
    assert_int_equal(fs_mkdirs("in", 0755), ERR_OK);
    make_picture("in/a.png", 20, 16, 3);
    make_picture("in/b.png", 20, 16, 3);
    RUNS(0, "--run run in out");
    make_picture("in/a.png", 33, 47, 3);
    assert_int_equal(system("touch -d yesterday in/b.png"), 0); // another time, the same bytes
    RUNS(0, "--run run --resume in out");
    SAYS("1 translated, 0 left out, 1 were there already");
    assert_translated("in/a.png", "out/a.png", 0);
}

// A kill may leave a line that is not whole. The next line must not be read as a part of it.
static void record_that_was_cut_off_takes_new_lines(void **state) {
    fs_remove_tree("in");
    assert_int_equal(fs_mkdirs("in", 0755), ERR_OK);
    make_picture("in/a.png", 20, 16, 3);
    RUNS(0, "--run run in out");
    assert_int_equal(truncate("out/.translated", 40), 0);
    RUNS(0, "--run run --force in out");
    make_picture("in/a.png", 33, 47, 3);
    RUNS(0, "--run run --resume in out");
    SAYS("1 translated, 0 left out");
    assert_translated("in/a.png", "out/a.png", 0);
}

static void long_names_are_written(void **state) {
    char name[256], path[300], out[300];
    memset(name, 'n', 255);
    (void)snprintf(name + 251, 5, ".png");
    (void)snprintf(path, sizeof path, "in/%s", name);
    (void)snprintf(out, sizeof out, "out/%s", name);
    make_picture("in/short.png", 20, 16, 3);
    assert_int_equal(rename("in/short.png", path), 0);
    RUNS(1, "--run run in out");
    assert_translated(path, out, 0);
}

static void folder_of_a_file_is_made(void **state) {
    RUNS(0, "--run run in/b.png missing/deep/x.png");
    assert_translated("in/b.png", "missing/deep/x.png", 0);
    fs_remove_tree("missing");
}

static void folder_that_cannot_be_written_is_found_first(void **state) {
    assert_int_equal(fs_mkdirs("in/one", 0755), ERR_OK);
    RUNS(1, "--run run in/b.png /proc");
    SAYS("'/proc' cannot be written");
    assert_null(strstr(said, "translated"));
    RUNS(1, "--run run in/b.png /proc/x.png");
    SAYS("'/proc' cannot be written");
}

static void orientation_by_option(void **state) {
    write_text("run/pipeline.conf", conf);
    RUNS(0, "--run run --exif apply pictures/odd out");
    RUNS(0, "--run run pictures/odd plain");
    RUNS(2, "--run run --exif maybe pictures/odd out");
    write_text("run/pipeline.conf",
               "trainer = { netG = \"resnet_6blocks\"; ngf = 4; ndf = 4; device = \"cpu\" }\n"
               "loader = { exif = \"apply\" }\n");
    RUNS(0, "--run run pictures/odd want");
    RUNS(0, "--run run --exif ignore --force pictures/odd turned_off");
    write_text("run/pipeline.conf", conf);
    assert_int_equal(system("diff -r -x .translated out want"), 0);
    assert_int_equal(system("diff -r -x .translated plain turned_off"), 0);
    if (system("diff -r -x .translated plain want >differences") == 0)
        fail_msg("no picture has an orientation");
}

static void pixel_limit_names_its_option(void **state) {
    make_picture("in/large.png", 1100, 1000, 3);
    RUNS(1, "--run run --max-megapixels 1 in/large.png out");
    SAYS("--max-megapixels");
}

static void missing_checkpoint_is_told_apart(void **state) {
    assert_int_equal(fs_mkdirs("young/checkpoints", 0755), ERR_OK);
    write_text("young/pipeline.conf", conf);
    RUNS(78, "--run young in out");
    SAYS("no checkpoint yet");
    assert_null(strstr(said, "trainer.keep"));
    RUNS(78, "--run run --step best in out");
    SAYS("no best checkpoint");
    assert_null(strstr(said, "trainer.keep"));
    RUNS(78, "--run run --step 8 in out");
    SAYS("trainer.keep");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(folder_is_translated_and_broken_files_are_named, make_folder),
        cmocka_unit_test_setup(folders_within_keep_their_names, make_folder),
        cmocka_unit_test_setup(a_picture_of_any_name_is_translated, make_folder),
        cmocka_unit_test_setup(outputs_are_not_overwritten_unasked, make_folder),
        cmocka_unit_test_setup(batches_give_the_same_pictures, make_folder),
        cmocka_unit_test_setup(direction_step_and_checkpoint_choose_the_net, make_folder),
        cmocka_unit_test_setup(jpeg_by_option_or_name, make_folder),
        cmocka_unit_test_setup(wrong_use_is_refused_before_anything_is_done, make_folder),
        cmocka_unit_test_setup(damaged_weights_are_refused, make_folder),
        cmocka_unit_test_setup(picture_beyond_the_bound_is_left_out, make_folder),
        cmocka_unit_test_setup(memory_is_bounded, make_folder),
        cmocka_unit_test_setup(too_small_a_bound_says_what_would_do, make_folder),
        cmocka_unit_test_setup(settings_of_the_run_count, make_folder),
        cmocka_unit_test_setup(batch_size_changes_no_byte, make_folder),
        cmocka_unit_test_setup(folder_of_the_inputs_is_refused_as_out, make_folder),
        cmocka_unit_test_setup(output_belongs_to_its_input, make_folder),
        cmocka_unit_test_setup(changed_input_is_translated_again, make_folder),
        cmocka_unit_test_setup(record_that_was_cut_off_takes_new_lines, make_folder),
        cmocka_unit_test_setup(long_names_are_written, make_folder),
        cmocka_unit_test_setup(folder_of_a_file_is_made, make_folder),
        cmocka_unit_test_setup(folder_that_cannot_be_written_is_found_first, make_folder),
        cmocka_unit_test_setup(pixel_limit_names_its_option, make_folder),
        cmocka_unit_test_setup(missing_checkpoint_is_told_apart, make_folder),
        cmocka_unit_test_setup(orientation_by_option, make_odd),
        cmocka_unit_test_setup(unusual_pictures_are_read_as_in_training, make_odd),
        cmocka_unit_test_setup(kinds_that_are_not_read_are_named_with_a_command, make_odd),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
