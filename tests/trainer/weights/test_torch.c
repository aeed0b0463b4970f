// Weights from PyTorch to us and back, with PyTorch and OpenCV as judges (torch_peer.py). The
// programs import and export take part.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "translate/translator.h"
#include "weights/recognise.h"
#include "weights/weights.h"

#define PYTHON "/usr/bin/python3"

// What two orders of summing in float leave; and Winograd's transform of 4x4 tiles besides, which
// is what `auto` takes for wide layers: at most 8.4e-6 here.
#define TOLERANCE 1e-5
#define TOLERANCE_WINOGRAD 2e-5

static char folder[] = "/tmp/test_exchange_XXXXXX";
static const char *tree, *bin; // the sources' folder, the programs'

static const char *const generators[] = {
    "resnet_9", "resnet_6_batch", "resnet_6_none_dropout",
    "resnet_3", "unet_128_batch", "unet_256_instance",
    "cut",      "cut_half",       "resnet_9_wide",
    "resize",
};
static const char *const discriminators[] = {"basic",      "n_layers_2_batch", "pixel",
                                             "pixel_none", "basic_cut",        "basic_none"};

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...) {
    char command[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args); // ours: short
    va_end(args);
    return system(command);
}

static struct weights *open_file(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct weights *open_file(const char *format, ...) {
    struct weights *w;
    char path[512];
    va_list args;
    int n = snprintf(path, sizeof path, "%s/", folder);
    va_start(args, format);
    (void)vsnprintf(path + n, sizeof path - (size_t)n, format, args); // ours: short
    va_end(args);
    if (weights_open(path, &w))
        fail_msg("%s", err_text());
    return w;
}

// ---- import ----

struct case_file {
    int n, h, w, in, out;
    float *x, *y;
};

static struct case_file read_case(const char *name, int k) {
    struct case_file c;
    char path[512];
    uint8_t *bytes;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s.%d.cases", folder, name, k); // short
    assert_int_equal(fs_read(path, 1 << 28, &bytes, &size), ERR_OK);
    memcpy(&c, bytes, 5 * sizeof(int));
    size_t pixels = (size_t)c.n * (size_t)c.h * (size_t)c.w;
    assert_int_equal(size, 20 + pixels * (size_t)(c.in + c.out) * sizeof(float));
    c.x = xmalloc(size);
    memcpy(c.x, bytes + 20, size - 20);
    c.y = c.x + pixels * (size_t)c.in;
    free(bytes);
    return c;
}

static double translate_case(struct translator *t, const char *name, int k) {
    struct case_file c = read_case(name, k);
    size_t in = (size_t)c.h * (size_t)c.w * (size_t)c.in;
    size_t out = (size_t)c.h * (size_t)c.w * (size_t)c.out;
    double worst = 0;
    for (int i = 0; i < c.n; i++) {
        assert_int_equal(translator_shape(t, 1, c.h, c.w), ERR_OK);
        memcpy(translator_input(t), c.x + (size_t)i * in, in * sizeof *c.x);
        assert_int_equal(translator_run(t), ERR_OK);
        for (size_t j = 0; j < out; j++)
            worst = fmax(worst, fabs((double)translator_output(t)[j] - c.y[(size_t)i * out + j]));
    }
    free(c.x);
    return worst;
}

static double translate_as_pytorch(const char *name, const char *kind, const char *winograd) {
    struct recognised r;
    struct translator *t;
    struct weights *w = open_file("%s.%s.pth", name, kind);
    if (recognise(w, &r))
        fail_msg("%s", err_text());
    struct translator_options options = {
        .net = recognised_options(&r), .device = "cpu", .winograd = winograd, .threads = 2};
    assert_int_equal(translator_new(&options, &t), ERR_OK);
    if (weights_load(w, translator_params(t)))
        fail_msg("%s", err_text());
    weights_close(w);
    assert_int_equal(translator_ready(t), ERR_OK);
    double worst = fmax(translate_case(t, name, 0), translate_case(t, name, 1));
    translator_free(t);
    return worst;
}

static void pytorch_s_generators_translate_as_there(void **state) {
    for (size_t i = 0; i < COUNT(generators); i++) {
        double zip = translate_as_pytorch(generators[i], "zip", "off");
        double legacy = translate_as_pytorch(generators[i], "legacy", "off");
        double fast = translate_as_pytorch(generators[i], "zip", "auto");
        printf("%s: differs from PyTorch by %.2g, with Winograd by %.2g\n", generators[i], zip,
               fast);
        if (!(zip <= TOLERANCE) || zip != legacy || !(fast <= TOLERANCE_WINOGRAD))
            fail_msg("%s: zip %g, legacy %g, auto %g", generators[i], zip, legacy, fast);
    }
}

static void expect_text(const char *name, const char *want) {
    struct recognised r;
    char text[200];
    struct weights *w = open_file("%s.zip.pth", name);
    assert_int_equal(recognise(w, &r), ERR_OK);
    recognised_text(&r, text, sizeof text);
    assert_string_equal(text, want);
    weights_close(w);
}

static void architectures_are_recognised(void **state) {
    expect_text("resnet_9", "generator resnet_9blocks, 3 to 3 channels, ngf 8, norm instance, no "
                            "dropout");
    expect_text("resnet_6_none_dropout",
                "generator resnet_6blocks, 3 to 3 channels, ngf 8, norm none, dropout");
    expect_text("resnet_3", "generator resnet_3blocks, 1 to 3 channels, ngf 6, norm instance, no "
                            "dropout");
    expect_text("unet_256_instance", "generator unet_256, 3 to 3 channels, ngf 4, norm instance, "
                                     "dropout unknown (it has no parameters)");
    expect_text("resize", "generator resnet_6blocks, 3 to 3 channels, ngf 8, norm instance, no "
                          "dropout, doubled by interpolation");
    expect_text("cut_half", "generator resnet_6blocks, 3 to 3 channels, ngf 8, norm instance, no "
                            "dropout, halved by filters (CUT)");
    expect_text("n_layers_2_batch",
                "discriminator n_layers, 6 channels, ndf 8, n_layers 2, norm batch");
    expect_text("basic_cut", "discriminator basic, 3 channels, ndf 8, n_layers 3, norm instance, "
                             "resampled by filters (CUT)");
    expect_text("pixel", "discriminator pixel, 3 channels, ndf 8, n_layers 0, norm instance");
}

// ---- export ----

static void export_file(const char *name, const char *from, const char *options, const char *to) {
    if (run("%s/export --weights %s/%s.%s.pth %s %s/%s.%s >>%s/log 2>&1", bin, folder, name, from,
            options, folder, name, to, folder))
        fail_msg("export of %s", name);
}

static void what_is_exported_loads_and_runs_elsewhere(void **state) {
    for (size_t i = 0; i < COUNT(generators); i++) {
        const char *name = generators[i];
        export_file(name, "zip", "--format safetensors", "zip.safetensors");
        export_file(name, "legacy", "--format safetensors", "legacy.safetensors");
        export_file(name, "zip", "--format onnx", "picture.onnx");
        if (strstr(name, "batch"))
            export_file(name, "zip", "--format onnx --batch-norm running", "running.onnx");
        assert_int_equal(
            run("cmp %s/%s.zip.safetensors %s/%s.legacy.safetensors", folder, name, folder, name),
            0);
    }
    for (size_t i = 0; i < COUNT(discriminators); i++)
        export_file(discriminators[i], "zip", "--format safetensors", "zip.safetensors");
    assert_int_equal(
        run("%s %s/tests/trainer/weights/torch_peer.py check %s", PYTHON, tree, folder), 0);
}

static void an_exported_file_is_onnx_by_its_own_description(void **state) {
    export_file("cut", "zip", "--format onnx", "picture.onnx");
    assert_int_equal(run("protoc --proto_path=/usr/include/onnx --decode=onnx.ModelProto "
                         "onnx.proto <%s/cut.picture.onnx >%s/cut.text",
                         folder, folder),
                     0);
    // Nothing that the description does not know: such fields are shown as numbers.
    assert_int_equal(run("! grep -qE '^ *[0-9]+[:{ ]' %s/cut.text", folder), 0);
    assert_int_equal(run("grep -q 'version: 17' %s/cut.text && grep -q 'ir_version: 8' %s/cut.text "
                         "&& grep -q 'dim_param: \"batch\"' %s/cut.text && grep -q 'dim_param: "
                         "\"height\"' %s/cut.text",
                         folder, folder, folder, folder),
                     0);
}

// ---- runs ----

static int import_run(const char *words) {
    (void)run("rm -rf %s/run", folder);
    return run("cd %s && %s/import --run %s/run %s >>log 2>&1", folder, bin, folder, words);
}

static void a_pair_becomes_a_run(void **state) {
    (void)run("mkdir -p %s/nets && cp %s/resnet_9.zip.pth %s/nets/latest_net_G_A.pth && cp "
              "%s/resnet_9.legacy.pth %s/nets/latest_net_G_B.pth && cp %s/basic.zip.pth "
              "%s/nets/latest_net_D_A.pth",
              folder, folder, folder, folder, folder, folder, folder);
    assert_int_equal(import_run("nets"), 0);
    assert_int_equal(run("cd %s/run/checkpoints/latest && ls | tr '\\n' ' ' | grep -qx "
                         "'D_A.safetensors G_A.safetensors G_B.safetensors '",
                         folder),
                     0);
    export_file("resnet_9", "zip", "--format safetensors", "zip.safetensors");
    assert_int_equal(run("cmp %s/run/checkpoints/latest/G_B.safetensors "
                         "%s/resnet_9.zip.safetensors",
                         folder, folder),
                     0);
    assert_int_equal(run("%s/export --run %s/run --direction BtoA --format onnx %s/back.onnx "
                         ">>%s/log",
                         bin, folder, folder, folder),
                     0);
    assert_int_not_equal(
        run("cd %s && %s/import --run %s/run nets 2>/dev/null >&2", folder, bin, folder),
        0); // there is one
}

static void what_is_of_several_trainings_is_refused(void **state) {
    assert_int_not_equal(import_run("resnet_9.zip.pth G_B=resnet_3.zip.pth"), 0);
    assert_int_not_equal(import_run("resnet_9.zip.pth G_B=resnet_6_batch.zip.pth"), 0);
    assert_int_not_equal(import_run("cut.zip.pth G_B=cut.zip.pth"), 0);
    assert_int_not_equal(import_run("resnet_9.zip.pth pixel_none.zip.pth"), 0);
    assert_int_not_equal(import_run("resnet_9.zip.pth D_A=resnet_9.zip.pth"), 0);
    assert_int_not_equal(import_run("basic.zip.pth"), 0);
    assert_int_equal(run("test ! -e %s/run", folder), 0);
    assert_int_equal(import_run("unet_128_batch.zip.pth n_layers_2_batch.zip.pth"), 0);
    assert_int_equal(run("grep -q 'model = \"pix2pix\"' %s/run/pipeline.conf", folder), 0);
    assert_int_equal(import_run("cut.zip.pth basic_cut.zip.pth"), 0);
    assert_int_equal(run("grep -q 'model = \"cut\"' %s/run/pipeline.conf", folder), 0);
}

static int set_up(void **state) {
    if (!mkdtemp(folder))
        return 1;
    printf("PyTorch writes its files\n");
    return run("%s %s/tests/trainer/weights/torch_peer.py write %s", PYTHON, tree, folder);
}

static int tear_down(void **state) {
    return fs_remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pytorch_s_generators_translate_as_there),
        cmocka_unit_test(architectures_are_recognised),
        cmocka_unit_test(what_is_exported_loads_and_runs_elsewhere),
        cmocka_unit_test(an_exported_file_is_onnx_by_its_own_description),
        cmocka_unit_test(a_pair_becomes_a_run),
        cmocka_unit_test(what_is_of_several_trainings_is_refused),
    };
    char here[512], programs[600];
    const char *build = getenv("BUILD");
    if (!getcwd(here, sizeof here))
        return 1;
    (void)snprintf(programs, sizeof programs, "%s/%s/bin", here, build ? build : "build"); // fits
    tree = here;
    bin = programs;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
