// What is read of files of weights, and what is refused: files of PyTorch (torch_peer.py) and
// pickles spelt out here.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "weights/pickle.h"
#include "weights/recognise.h"
#include "weights/safetensors.h"
#include "weights/to_pth.h"
#include "weights/to_safetensors.h"
#include "weights/weights.h"

#define PYTHON "/usr/bin/python3"

static char folder[] = "/tmp/test_weights_XXXXXX";
static const char *tree;

static const char *path_of(const char *name) {
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name); // short
    return path;
}

// The file as one of ours, in memory; NULL with err_text if it is refused. Caller frees.
static uint8_t *rewritten(const char *name, size_t *ret_size) {
    struct weights *w;
    struct recognised r;
    uint8_t *bytes = NULL;
    char out[512];
    (void)snprintf(out, sizeof out, "%s/out", folder);
    if (weights_open(path_of(name), &w))
        return NULL;
    int err = recognise(w, &r);
    if (!err)
        err = weights_to_safetensors(w, &r, out);
    weights_close(w);
    if (!err)
        assert_int_equal(fs_read(out, 1 << 24, &bytes, ret_size), ERR_OK);
    return bytes;
}

static void expect_same(const char *name, const char *as) {
    size_t size, size_as;
    uint8_t *want = rewritten(as, &size_as), *got = rewritten(name, &size);
    if (!want || !got)
        fail_msg("%s: %s", name, err_text());
    if (size != size_as || memcmp(want, got, size) != 0)
        fail_msg("%s is not as %s", name, as);
    free(want);
    free(got);
}

static void expect_notes(const char *name, const char *part) {
    struct weights *w;
    assert_int_equal(weights_open(path_of(name), &w), ERR_OK);
    if (!strstr(weights_notes(w), part))
        fail_msg("%s: '%s'", name, weights_notes(w));
    weights_close(w);
}

// ---- what is understood ----

static void both_containers_and_every_way_to_say_the_same_give_the_same(void **state) {
    static const char *const names[] = {
        "deflated.pth",       "zip64.pth",           "module.zip.pth",
        "module.legacy.pth",  "parameters.zip.pth",  "parameters.legacy.pth",
        "double.zip.pth",     "double.legacy.pth",   "nested.zip.pth",
        "nested.legacy.pth",  "other_name.zip.pth",  "other_name.legacy.pth",
        "training.zip.pth",   "training.legacy.pth", "strided.zip.pth",
        "strided.legacy.pth", "one_storage.zip.pth", "one_storage.legacy.pth",
        "stale.zip.pth",      "stale.legacy.pth",    "two.zip.pth#a",
        "two.legacy.pth#a",   "plain.safetensors",   "python2.pth",
        "before_0_4.pth",
    };
    for (size_t i = 0; i < COUNT(names); i++)
        expect_same(names[i], "plain.pth");
}

static void half_the_bits_become_the_floats_they_are(void **state) {
    expect_same("half.zip.pth", "half_rounded.zip.pth");
    expect_same("half.legacy.pth", "half_rounded.legacy.pth");
    expect_same("bfloat16.zip.pth", "bfloat16_rounded.zip.pth");
    expect_same("bfloat16.legacy.pth", "bfloat16_rounded.legacy.pth");
    expect_same("half.safetensors", "half_rounded.zip.pth");
}

// Every one of the 65536, against the compiler's own.
static void every_half_is_read_right(void **state) {
    static uint16_t halves[0x10000];
    static float floats[0x10000];
    struct weights *w;
    size_t n = 0;
    for (uint32_t i = 0; i < 0x10000; i++)
        if ((i >> 10 & 31) != 31) // not finite: refused
            halves[n++] = (uint16_t)i;
    struct safetensor t = {.name = "t", .type = SAFETENSORS_F16, .rank = 1, .data = halves};
    t.dims[0] = (int64_t)n;
    assert_int_equal(safetensors_write(path_of("halves"), &t, 1), ERR_OK);
    assert_int_equal(weights_open(path_of("halves"), &w), ERR_OK);
    assert_int_equal(weights_read(w, weights_at(w, 0), floats), ERR_OK);
    weights_close(w);
    for (size_t i = 0; i < n; i++) {
        double exponent = halves[i] >> 10 & 31, fraction = halves[i] & 1023;
        double want = exponent > 0 ? (1 + fraction / 1024) * __builtin_exp2(exponent - 15)
                                   : fraction * 0x1p-24;
        if ((double)floats[i] != (halves[i] & 0x8000 ? -want : want))
            fail_msg("%04x is %g", halves[i], (double)floats[i]);
    }
}

// Writes the tensors of plain.safetensors under "PREFIX.NAME" for each prefix, and one more tensor.
static void write_prefixed(const char *to, const char *const *prefixes, int n_prefixes,
                           bool extra) {
    struct safetensors f;
    static struct safetensor tensors[256];
    int n = 0;
    assert_int_equal(safetensors_open(path_of("plain.safetensors"), &f), ERR_OK);
    for (int k = 0; k < n_prefixes; k++)
        for (int i = 0; i < f.count; i++) {
            void *data = malloc(f.tensors[i].bytes + 1);
            assert_int_equal(safetensors_read(&f, &f.tensors[i], data), ERR_OK);
            tensors[n] = f.tensors[i];
            tensors[n].name = xasprintf("%s.%s", prefixes[k], f.tensors[i].name);
            tensors[n++].data = data;
        }
    int named = n;
    static const float label[1] = {1};
    if (extra)
        tensors[n++] = (struct safetensor){
            .name = "criterionGAN.real_label", .rank = 1, .dims = {1}, .data = label};
    assert_int_equal(safetensors_write(path_of(to), tensors, n), ERR_OK);
    for (int i = 0; i < named; i++) {
        free((char *)tensors[i].name);
        free((void *)tensors[i].data);
    }
    safetensors_close(&f);
}

static void prefixes_of_wrappers_and_models_are_taken_off(void **state) {
    static const char *const each[] = {"_orig_mod",        "module._orig_mod",
                                       "_orig_mod.module", "netG_A",
                                       "module.netG",      "netG_A.module",
                                       "netG._orig_mod",   "G_A",
                                       "generator.module", "gen"};
    for (size_t i = 0; i < COUNT(each); i++) {
        write_prefixed("prefixed.safetensors", &each[i], 1, i % 2);
        if (i % 2 == 0 || strncmp(each[i], "module", 6) != 0)
            expect_same("prefixed.safetensors", "plain.pth");
    }
    write_prefixed("prefixed.safetensors", &each[3], 1, true);
    expect_notes("prefixed.safetensors", "\"netG_A.\" taken off every name");
    expect_notes("prefixed.safetensors", "1 tensors outside of netG_A are left out");
    write_prefixed("prefixed.safetensors", &each[0], 1, false);
    expect_notes("prefixed.safetensors", "\"_orig_mod.\" taken off every name");
}

static void exported_state_dict_reads_back(void **state) {
    static const char *const files[] = {"exported.pth", "again.pth"};
    uint8_t *bytes[2];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        struct weights *w;
        struct recognised r;
        assert_int_equal(weights_open(path_of("plain.pth"), &w), ERR_OK);
        assert_int_equal(recognise(w, &r), ERR_OK);
        assert_int_equal(weights_to_pth(w, &r, path_of(files[i])), ERR_OK);
        weights_close(w);
        assert_int_equal(fs_read(path_of(files[i]), 1 << 24, &bytes[i], &size[i]), ERR_OK);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]); // no time is in it
    free(bytes[0]);
    free(bytes[1]);
    expect_same("exported.pth", "plain.pth");
    expect_notes("exported.pth", "");
}

static void one_net_of_a_model_is_chosen(void **state) {
    static const char *const two[] = {"netG_A", "netG_B.module"};
    struct weights *w;
    write_prefixed("model.safetensors", two, 2, true);
    expect_same("model.safetensors#netG_A", "plain.pth");
    expect_same("model.safetensors#netG_B", "plain.pth");
    expect_same("model.safetensors#G_B", "plain.pth");
    assert_int_equal(weights_open(path_of("model.safetensors"), &w), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "several nets (netG_A, netG_B); choose with '"));
    assert_int_equal(weights_open(path_of("model.safetensors#netG_C"), &w), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "no state dict named 'netG_C'; its nets: netG_A, netG_B"));
    assert_int_equal(weights_open(path_of("plain.safetensors#x"), &w), ERR_FORMAT);
}

static void what_was_done_is_said(void **state) {
    expect_notes("module.zip.pth", "\"module.\" taken off");
    expect_notes("half.zip.pth", "36 tensors of float16");
    expect_notes("nested.legacy.pth", "from the dict state_dict");
    expect_notes("other_name.zip.pth", "the only one");
    expect_notes("strided.zip.pth", "other strides");
    expect_notes("stale.zip.pth", "running statistics of instance norms dropped");
    expect_notes("plain.pth", "");
}

static void zip64_was_tested(void **state) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(fs_read(path_of("zip64.pth"), 1 << 24, &bytes, &size), ERR_OK);
    assert_non_null(memmem(bytes, size, "PK\6\6", 4));
    assert_non_null(memmem(bytes, size, "PK\6\7", 4));
    free(bytes);
}

// ---- what is refused ----

static void expect_refused(const char *name, const char *part) {
    size_t size;
    uint8_t *bytes = rewritten(name, &size);
    if (bytes)
        fail_msg("%s was taken", name);
    if (!strstr(err_text(), part))
        fail_msg("%s: %s", name, err_text());
}

static void refusals_say_what_is_wrong(void **state) {
    static const char *const cases[][2] = {
        {"module_object", "a module saved whole, a torch_nets.Resnet"},
        {"module_object", "save net.state_dict()"},
        {"module_inside", "torch_nets.Resnet"},
        {"module_inside", "save net.state_dict()"},
        {"expanded", "share a place"},
        {"nan", "element 0 of model.1.weight is not finite"},
        {"missing", "it has no model.7.weight"},
        {"other_shape", "model.4.weight is [8,4,3,4] there and [8,4,3,3] here"},
        {"extra", "that has no extra"},
        {"integers", "model.1.weight is of type IntStorage"},
        {"one_tensor", "one tensor and no names"},
        {"list", "no dict of tensors"},
        {"no_tensors", "its names: epoch"},
        {"two", "several state dicts (a, b)"},
    };
    char name[64];
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int k = 0; k < 2; k++) {
            (void)snprintf(name, sizeof name, "%s.%s.pth", cases[i][0], k ? "legacy" : "zip");
            expect_refused(name, cases[i][1]);
        }
    expect_refused("two.zip.pth#c", "no state dict named 'c'");
    expect_refused("none.pth", "No such file");
    expect_refused("", "no file that can be read");
}

static void put(const char *name, const void *bytes, size_t size) {
    assert_int_equal(fs_write_atomic(path_of(name), bytes, size), ERR_OK);
}

static void other_files_are_named(void **state) {
    static const struct {
        const char *start, *part;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
        {"<!DOCTYPE html><html>", "a page"},
        {"\x1f\x8b\x08", "gzip"},
        {"\x89HDF\r\n\x1a\n", "HDF5"},
        {"\x80\x04\x95", "bare pickle"},
        {"\x08\x08\x12\x11"
         "cyclegan-pipeline",
         "ONNX"},
        {"", "neither"},
        {"PK\3\4", "without its end"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        put("other", cases[i].start, strlen(cases[i].start));
        expect_refused("other", cases[i].part);
    }
}

static void every_truncation_is_refused(void **state) {
    static const char *const names[] = {"plain.pth", "plain.legacy.pth", "deflated.pth"};
    for (size_t i = 0; i < COUNT(names); i++) {
        uint8_t *bytes, *got;
        size_t size, unused;
        assert_int_equal(fs_read(path_of(names[i]), 1 << 24, &bytes, &size), ERR_OK);
        for (size_t n = 0; n < size; n += 1 + n / 97) {
            put("cut", bytes, n);
            got = rewritten("cut", &unused);
            if (got)
                fail_msg("%s cut to %zu bytes was taken", names[i], n);
        }
        free(bytes);
    }
}

// ---- pickles ----

static int read_pickle(const void *text, size_t size) {
    struct pickle *p;
    size_t used;
    int err = pickle_read("it", text, size, &p, &used);
    if (!err)
        pickle_free(p);
    return err;
}

#define PICKLE(text) read_pickle(text, sizeof text - 1)

static void nothing_is_called(void **state) {
    assert_int_equal(PICKLE("\x80\2cos\nsystem\nX\2\0\0\0id\x85R."), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "os.system"));
    assert_non_null(strstr(err_text(), "byte 2"));
    assert_int_equal(PICKLE("\x80\2cbuiltins\neval\n."), ERR_FORMAT);
    assert_int_equal(PICKLE("\x80\2ctorch\nload\n."), ERR_FORMAT);
    assert_int_equal(PICKLE("\x80\2ctorch.cuda\nload\n."), ERR_FORMAT);
    assert_int_equal(PICKLE("\x80\2ctorch\nFloatStorage\n)R."), ERR_FORMAT);
    assert_int_equal(PICKLE("\x80\2ctorch.cuda\nFloatStorage\n."), ERR_OK);
    assert_int_equal(PICKLE("\x80\2ccollections\nOrderedDict\n)R."), ERR_OK);
    assert_int_equal(PICKLE("\x80\2ccollections\nOrderedDict\n)R}b."), ERR_OK);
    assert_int_equal(PICKLE("\x80\2K\1}b."), ERR_FORMAT);
}

// The instructions are those that pickletools lists, less ours.
static void every_other_instruction_is_refused_by_name(void **state) {
    static const uint8_t ours[] = "().NKMJGXTUabcehjqrstu}]QR\x80\x85\x86\x87\x88\x89\x8a";
    for (int op = 0; op < 256; op++) {
        const uint8_t text[] = {0x80, 2, (uint8_t)op, 0, 0, 0, 0, '.'};
        int err = read_pickle(text, sizeof text);
        bool is_ours = op && memchr(ours, op, sizeof ours - 1);
        bool named = err && strstr(err_text(), "at byte 2 is not one of");
        if (named == is_ours)
            fail_msg("0x%02x: %s", op, err ? err_text() : "taken");
    }
    assert_int_equal(PICKLE("\x80\2\x8b\1\0\0\0\1."), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "LONG4"));
    assert_int_equal(PICKLE("\x80\4."), ERR_FORMAT);
    assert_non_null(strstr(err_text(), "protocol 4"));
}

static void the_stack_and_the_memo_hold(void **state) {
    static const char *const bad[] = {
        "t.",
        "(.",
        "(",
        "\x85.",
        "s.",
        "u.",
        "}(K\1u.",
        "}K\1K\1a.",
        "]K\1K\1s.",
        "h\5.",
        "R.",
        "NN.",
        "Q.",
        "NQ.",
        "q\1N.",
        "\x8a\11\1\1\1\1\1\1\1\1\1.",
        "X\377\377\377\377a.",
        "U\5a.",
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        if (read_pickle(bad[i], strlen(bad[i])) != ERR_FORMAT)
            fail_msg("case %zu: %s", i, err_text());
    assert_int_equal(PICKLE("Nr\0\0\0\x10."), ERR_LIMIT);
    assert_int_equal(PICKLE("}q\0N}q\1K\1h\0su."), ERR_FORMAT);
    assert_int_equal(PICKLE("}q\0K\1h\0s."), ERR_OK); // a dict in itself
}

static void bombs_are_refused(void **state) {
    size_t size = PICKLE_BYTES_MAX + 10;
    char *text = xmalloc(size);
    static const char ops[] = "N(})]\x88";
    for (const char *op = ops; *op; op++) {
        memset(text, *op, size);
        assert_int_equal(read_pickle(text, size), ERR_LIMIT);
    }
    memset(text, 'N', size); // "N a" would grow for ever
    text[0] = ']';
    for (size_t i = 2; i < size; i += 2)
        text[i] = 'a';
    assert_int_equal(read_pickle(text, size), ERR_LIMIT);
    free(text);
}

static void numbers_are_those_of_python(void **state) {
    static const struct {
        const char *text;
        size_t size;
        int64_t value;
    } cases[] = {
#define CASE(text, value) {text, sizeof text - 1, value}
        CASE("K\xff.", 255),
        CASE("M\xff\xff.", 65535),
        CASE("J\xfe\xff\xff\xff.", -2),
        CASE("J\0\0\0\x80.", INT32_MIN),
        CASE("\x8a\0.", 0),
        CASE("\x8a\1\x80.", -128),
        CASE("\x8a\2\x80\0.", 128),
        CASE("\x8a\x08\0\0\0\0\0\0\0\x80.", INT64_MIN),
        CASE("\x88.", 1),
        CASE("\x89.", 0),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pickle *p;
        size_t used;
        assert_int_equal(
            pickle_read("it", (const uint8_t *)cases[i].text, cases[i].size, &p, &used), ERR_OK);
        assert_true(pickle_int(p, pickle_root(p)) == cases[i].value);
        assert_int_equal(used, cases[i].size);
        pickle_free(p);
    }
}

static int set_up(void **state) {
    char command[600];
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(command, sizeof command, "%s %s/tests/trainer/weights/torch_peer.py odd %s",
                   PYTHON, tree, folder);
    return system(command);
}

static int tear_down(void **state) {
    return fs_remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_containers_and_every_way_to_say_the_same_give_the_same),
        cmocka_unit_test(half_the_bits_become_the_floats_they_are),
        cmocka_unit_test(every_half_is_read_right),
        cmocka_unit_test(what_was_done_is_said),
        cmocka_unit_test(prefixes_of_wrappers_and_models_are_taken_off),
        cmocka_unit_test(one_net_of_a_model_is_chosen),
        cmocka_unit_test(exported_state_dict_reads_back),
        cmocka_unit_test(zip64_was_tested),
        cmocka_unit_test(refusals_say_what_is_wrong),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(nothing_is_called),
        cmocka_unit_test(every_other_instruction_is_refused_by_name),
        cmocka_unit_test(the_stack_and_the_memo_hold),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(numbers_are_those_of_python),
    };
    static char here[512];
    if (!getcwd(here, sizeof here))
        return 1;
    tree = here;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
