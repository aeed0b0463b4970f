// Damaged files of weights, ONNX files and checkpoints: each is refused with a reason that names
// it, or is imported as it was. Nothing takes more memory than the file has bytes and 1 MiB
// besides.
//
//   MUTANTS=2000 make SAN=1 test T=weight_mutations
//
// makes 2000 of them under the sanitizers; without MUTANTS there are 700. Mutant i depends on i
// alone. The one at work lies in $TMPDIR/test_mutants_XXXXXX while the test runs.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/state.h"
#include "config/config.h"
#include "trainer/weights/meter.h"
#include "weights/onnx.h"
#include "weights/recognise.h"
#include "weights/to_safetensors.h"
#include "weights/weights.h"

#define PYTHON "/usr/bin/python3"
#define MUTANTS 700
#define BESIDES ((int64_t)1 << 20)
#define LIMIT_US 2000000
#define SIZE_MAX_BYTES ((size_t)1 << 20)

static char folder[] = "/tmp/test_mutants_XXXXXX";
static const char *tree;

// ---- what is mutated ----

// How a mutant is judged: what an import of it may be, if it is taken.
enum judge {
    CHECKED,  // has check sums: as the source
    BARE,     // has none: as the source but for the bytes touched
    REPACKED, // the pickle is damaged and the archive around it is whole: any net
    ALIEN,    // is always refused
    CHECKPOINT
};

struct source {
    const char *name;
    enum judge judge;
    uint8_t *bytes, *import; // import: the file that import makes of it
    size_t size, import_size;
};

static struct source sources[] = {
    {.name = "plain.pth", .judge = CHECKED},
    {.name = "plain.legacy.pth", .judge = BARE},
    {.name = "deflated.pth", .judge = CHECKED},
    {.name = "plain.pth", .judge = REPACKED},
    {.name = "nested.zip.pth", .judge = CHECKED},
    {.name = "strided.zip.pth", .judge = REPACKED},
    {.name = "training.legacy.pth", .judge = BARE},
    {.name = "half.zip.pth", .judge = REPACKED},
    {.name = "zip64.pth", .judge = CHECKED},
    {.name = "plain.safetensors", .judge = BARE},
    {.name = "half.safetensors", .judge = BARE},
    {.name = "python2.pth", .judge = BARE},
    {.name = "stale.legacy.pth", .judge = BARE},
    {.name = "plain.onnx", .judge = ALIEN},
    {.name = "state.json", .judge = CHECKPOINT},
    {.name = "G_A.safetensors", .judge = CHECKPOINT},
    {.name = "optimizer.safetensors", .judge = CHECKPOINT},
};

static const char *path_of(const char *name) {
    static char path[2][512];
    static int i;
    i = !i;
    (void)snprintf(path[i], sizeof path[i], "%s/%s", folder, name); // short
    return path[i];
}

// ---- mutants ----

struct mutant {
    uint64_t index, draws, touched;
    uint8_t *bytes;
    size_t size;
};

static size_t below(struct mutant *m, size_t n) {
    return n ? (size_t)rng_below(12, RNG_TEST, m->index, (uint32_t)m->draws++, n) : 0;
}

// 1 to n, and at most `limit`.
static size_t length(struct mutant *m, size_t n, size_t limit) {
    size_t drawn = 1 + below(m, n); // MIN would draw twice
    return MIN(drawn, limit);
}

// Mostly where files say what they are: at the beginning and at the end.
static size_t place(struct mutant *m) {
    size_t edge = MIN(m->size, (size_t)6000);
    switch (below(m, 4)) {
    case 0:
        return below(m, m->size);
    case 1:
        return m->size - edge + below(m, edge);
    default:
        return below(m, edge);
    }
}

static void replace(struct mutant *m, size_t at, size_t gone, const void *with, size_t size) {
    if (m->size - gone + size > SIZE_MAX_BYTES)
        return;
    uint8_t *bytes = xmalloc(m->size - gone + size + 1);
    memcpy(bytes, m->bytes, at);
    memcpy(bytes + at, with, size);
    memcpy(bytes + at + size, m->bytes + at + gone, m->size - at - gone);
    free(m->bytes);
    m->bytes = bytes;
    m->size += size - gone;
    m->touched += MAX(gone, size);
}

static void put_number(struct mutant *m, size_t at) {
    const uint64_t numbers[] = {0,         1,          UINT64_MAX,        INT64_MAX,
                                INT32_MAX, UINT32_MAX, (uint64_t)1 << 40, 0x10000,
                                0xffff,    m->size,    m->size + 1,       below(m, m->size)};
    uint64_t number = numbers[below(m, COUNT(numbers))];
    size_t width = (size_t)1 << below(m, 4), bytes = MIN(width, m->size - at);
    replace(m, at, bytes, &number, bytes);
}

static void damage(struct mutant *m) {
    static const char instructions[] = "().NKMJGXTUabcehjqrstu}]QR\x80\x85\x86\x87\x88\x89\x8a"
                                       "0123456789{}[],:\"";
    size_t at = place(m), left = m->size - at, part = length(m, 40, left);
    uint8_t byte;
    switch (below(m, 9)) {
    case 0:
    case 1:
        byte = left ? (uint8_t)(m->bytes[at] ^ 1 << below(m, 8)) : 0;
        replace(m, at, left > 0, &byte, left > 0);
        break;
    case 2:
        byte = (uint8_t)below(m, 256);
        replace(m, at, left > 0, &byte, left > 0);
        break;
    case 3:
        byte = (uint8_t)instructions[below(m, sizeof instructions - 1)];
        replace(m, at, left > 0, &byte, left > 0);
        break;
    case 4:
        put_number(m, at);
        break;
    case 5:
        replace(m, at, part, "", 0);
        break;
    case 6: { // a piece of itself
        size_t from = place(m), size = length(m, 400, m->size - from);
        uint8_t *piece = xmalloc(size + 1);
        memcpy(piece, m->bytes + from, size);
        replace(m, at, below(m, 2) ? MIN(size, left) : 0, piece, size);
        free(piece);
        break;
    }
    case 7:
        replace(m, at, below(m, 8) ? 0 : left, "", 0); // cut off, or nothing
        break;
    default: // a digit of a text
        for (; at < m->size && (m->bytes[at] < '0' || m->bytes[at] > '9'); at++)
            ;
        byte = (uint8_t)('0' + below(m, 10));
        if (at < m->size)
            replace(m, at, 1, &byte, 1);
    }
}

static void mutate(const struct source *s, uint64_t index, struct mutant *ret) {
    *ret = (struct mutant){.index = index, .size = s->size};
    ret->bytes = xmalloc(s->size + 1);
    memcpy(ret->bytes, s->bytes, s->size);
    for (size_t n = 1 + below(ret, 4); n > 0; n--)
        damage(ret);
}

static void put(const char *name, const void *bytes, size_t size) {
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static uint8_t *get(const char *name, size_t *ret_size) {
    uint8_t *bytes;
    if (fs_read(path_of(name), (size_t)1 << 26, &bytes, ret_size))
        fail_msg("%s", err_text());
    return bytes;
}

// ---- an archive around a damaged pickle ----

#define ENTRIES_MAX 64

struct entry {
    char name[64];
    uint8_t *bytes;
    size_t size;
};

// Of each source that is REPACKED.
static struct entry entries[COUNT(sources)][ENTRIES_MAX];

// Takes an archive apart; its pickle becomes what is damaged.
static void take_apart(int k) {
    struct source *s = &sources[k];
    zip_t *zip = zip_open(path_of(s->name), ZIP_RDONLY, NULL);
    assert_non_null(zip);
    assert_true(zip_get_num_entries(zip, 0) < ENTRIES_MAX);
    for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); i++) {
        struct entry *e = &entries[k][i];
        zip_stat_t stat;
        assert_int_equal(zip_stat_index(zip, (zip_uint64_t)i, 0, &stat), 0);
        assert_true(text_copy(e->name, sizeof e->name, stat.name));
        e->size = stat.size;
        e->bytes = xmalloc(e->size + 1);
        zip_file_t *f = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        assert_int_equal(zip_fread(f, e->bytes, e->size), e->size);
        assert_int_equal(zip_fclose(f), 0);
        if (strstr(e->name, "/data.pkl")) {
            free(s->bytes);
            s->bytes = xmalloc(e->size + 1);
            s->size = e->size;
            memcpy(s->bytes, e->bytes, e->size);
        }
    }
    zip_discard(zip);
}

// Source: PKWARE, APPNOTE.TXT 4.3.7 and 4.3.12.
struct zip_local {
    uint32_t magic;
    uint16_t version, flags, method, time, date;
    uint32_t crc, packed, size;
    uint16_t name, extra;
} __attribute__((packed));
struct zip_central {
    uint32_t magic;
    uint16_t by;
    struct {
        uint16_t version, flags, method, time, date;
        uint32_t crc, packed, size;
        uint16_t name, extra;
    } __attribute__((packed)) as;
    uint16_t comment, disk, internal;
    uint32_t external, place;
} __attribute__((packed));
struct zip_end {
    uint32_t magic;
    uint16_t disk, first, here, all;
    uint32_t size, place;
    uint16_t comment;
} __attribute__((packed));

static void write_local(FILE *f, const char *name, const uint8_t *bytes, size_t size,
                        struct zip_central *ret) {
    uint32_t crc = (uint32_t)crc32(0, bytes, (uInt)size), n = (uint32_t)size;
    uint16_t length = (uint16_t)strlen(name);
    struct zip_local local = {0x04034b50, 20, 0, 0, 0, 0x21, crc, n, n, length, 0};
    *ret = (struct zip_central){.magic = 0x02014b50,
                                .by = 20,
                                .as = {20, 0, 0, 0, 0x21, crc, n, n, length, 0},
                                .place = (uint32_t)ftell(f)};
    assert_int_equal(fwrite(&local, sizeof local, 1, f), 1);
    assert_int_equal(fwrite(name, length, 1, f), 1);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
}

// What is stored as PyTorch stores it, with true check sums.
static void repack(int k, const struct mutant *m) {
    struct zip_central central[ENTRIES_MAX];
    struct zip_end end = {.magic = 0x06054b50};
    FILE *f = fopen(path_of("mutant"), "wb");
    assert_non_null(f);
    int n = 0;
    for (; entries[k][n].bytes; n++) {
        const struct entry *e = &entries[k][n];
        bool pickle = strstr(e->name, "/data.pkl") != NULL;
        write_local(f, e->name, pickle ? m->bytes : e->bytes, pickle ? m->size : e->size,
                    &central[n]);
    }
    end.place = (uint32_t)ftell(f);
    for (int i = 0; i < n; i++) {
        assert_int_equal(fwrite(&central[i], sizeof central[i], 1, f), 1);
        assert_int_equal(fwrite(entries[k][i].name, central[i].as.name, 1, f), 1);
    }
    end.size = (uint32_t)ftell(f) - end.place;
    end.here = end.all = (uint16_t)n;
    assert_int_equal(fwrite(&end, sizeof end, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

// ---- importing ----

// As the program import does it, without a run around it.
static int import(const char *name) {
    struct weights *w;
    struct recognised r;
    int err = weights_open(path_of(name), &w);
    if (err)
        return err;
    err = recognise(w, &r);
    if (!err)
        err = weights_to_safetensors(w, &r, path_of("import"));
    weights_close(w);
    return err;
}

static int64_t bytes_of(const char *name) {
    size_t size;
    free(get(name, &size));
    return (int64_t)size;
}

static void check_refusal(int k, const struct mutant *m, int err, const char *name) {
    if (err != ERR_FORMAT && err != ERR_MISMATCH && err != ERR_LIMIT && err != ERR_IO)
        fail_msg("mutant %llu of %s: %s", (unsigned long long)m->index, sources[k].name,
                 err_name(err));
    if (!strstr(err_text(), name))
        fail_msg("mutant %llu of %s is not named: %s", (unsigned long long)m->index,
                 sources[k].name, err_text());
}

// Numbers may be other where bytes were touched; a half's become two floats' bytes.
static bool is_near(const struct source *s, const uint8_t *import, size_t size,
                    const struct mutant *m) {
    uint64_t differ = 0;
    if (size != s->import_size)
        return false;
    for (size_t i = 0; i < size; i++)
        differ += import[i] != s->import[i];
    return differ <= 4 * m->touched;
}

static struct progress_bar {
    int refused, same, other;
    int64_t worst; // bytes taken beyond the file's size
    int64_t slowest_us;
} tallies[COUNT(sources)];

static void judge_import(int k, const struct mutant *m) {
    const struct source *s = &sources[k];
    struct progress_bar *t = &tallies[k];
    size_t size;
    uint8_t *import = get("import", &size);
    bool same = size == s->import_size && !memcmp(import, s->import, size);
    if (s->judge == ALIEN || (s->judge == CHECKED && !same) ||
        (s->judge == BARE && !same && !is_near(s, import, size, m)))
        fail_msg("mutant %llu of %s became another net", (unsigned long long)m->index, s->name);
    t->same += same;
    t->other += !same;
    free(import);
}

static void note_cost(int k, int64_t before, int64_t file, int64_t begun_us,
                      const struct mutant *m) {
    struct progress_bar *t = &tallies[k];
    int64_t took = meter.peak - before - file, us = now_us() - begun_us;
    t->worst = MAX(t->worst, took);
    t->slowest_us = MAX(t->slowest_us, us);
    if (took > BESIDES)
        fail_msg("mutant %llu of %s takes %lld bytes more than it has",
                 (unsigned long long)m->index, sources[k].name, (long long)took);
    if (us > LIMIT_US)
        fail_msg("mutant %llu of %s takes %lld ms", (unsigned long long)m->index, sources[k].name,
                 (long long)us / 1000);
}

static void try_file(int k, const struct mutant *m) {
    if (sources[k].judge == REPACKED)
        repack(k, m);
    else
        put("mutant", m->bytes, m->size);
    int64_t file = bytes_of("mutant"), begun_us = now_us(), before = meter_reset();
    int err = import("mutant");
    note_cost(k, before, file, begun_us, m);
    if (!err) {
        judge_import(k, m);
        return;
    }
    tallies[k].refused++;
    check_refusal(k, m, err, "mutant");
}

// ---- checkpoints ----

#define PARAMS 12
#define NUMBERS 8

static float values[PARAMS][3][NUMBERS];
static int64_t adam_steps;
static struct model_param params[PARAMS];
static char keys[PARAMS][32];
static struct model_net net = {.name = "G_A", .n_params = PARAMS, .params = params};
static struct model_net *const nets[] = {&net};

static void fill(float value) {
    float *v = &values[0][0][0];
    for (size_t i = 0; i < sizeof values / sizeof *v; i++)
        v[i] = value + (float)i / 64;
    adam_steps = (int64_t)value;
}

static bool is_filled(float value) {
    const float *v = &values[0][0][0];
    for (size_t i = 0; i < sizeof values / sizeof *v; i++)
        if (v[i] != value + (float)i / 64)
            return false;
    return adam_steps == (int64_t)value;
}

static void write_checkpoint(void) {
    char work[CHECKPOINT_PATH];
    struct config *config = config_new();
    struct state s = {.step = 7,
                      .epoch = 1,
                      .images = 7,
                      .scheduled = 1,
                      .device = "cpu",
                      .n_init = 1,
                      .manifest = {{"aa", 5, 1}, {"bb", 6, 2}}};
    (void)text_copy(s.init[0].net, sizeof s.init[0].net, "G_A"); // fits
    memset(s.init[0].digest, 'a', 64);
    net.adam_steps = &adam_steps;
    for (int i = 0; i < PARAMS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "model.%d.weight", i); // fits
        params[i] = (struct model_param){.key = keys[i],
                                         .rank = 4,
                                         .dims = {2, 4, 1, 1},
                                         .count = NUMBERS,
                                         .w = values[i][0],
                                         .m = values[i][1],
                                         .v = values[i][2]};
    }
    fill(3);
    struct checkpoint_content content = {
        .nets = nets, .n_nets = 1, .config = config, .kernels = "conv: gemm\n"};
    assert_int_equal(checkpoint_begin(path_of("checkpoints"), 7, work), ERR_OK);
    assert_int_equal(checkpoint_write(work, &content, &s), ERR_OK);
    assert_int_equal(checkpoint_commit(path_of("checkpoints"), work, 7), ERR_OK);
    config_free(config);
}

static const char *in_checkpoint(const char *name) {
    static char path[128];
    (void)snprintf(path, sizeof path, "checkpoints/step_00000007/%s", name); // short
    return path;
}

static char refusal[1024];

static void on_refusal(void *context, const char *dir, const char *reason) {
    (void)snprintf(refusal, sizeof refusal, "%s: %s", dir, reason); // cut at most
}

static int find_and_load(void) {
    struct checkpoint_refusals refusals = {.refused = on_refusal};
    struct state s;
    char path[CHECKPOINT_PATH];
    int err = checkpoint_find(path_of("checkpoints"), &refusals, path, &s);
    return err ? err : checkpoint_load(path, nets, 1);
}

// Without a state.json nothing has a digest: what translate does with weights alone.
static int load_alone(void) {
    return checkpoint_load_net(path_of("checkpoints/step_00000007"), &net);
}

static void try_checkpoint(int k, const struct mutant *m) {
    const char *path = in_checkpoint(sources[k].name);
    bool alone = !strcmp(sources[k].name, "G_A.safetensors") && m->index % 2;
    put(path, m->bytes, m->size);
    if (alone)
        assert_int_equal(rename(path_of(in_checkpoint("state.json")), path_of("state.json")), 0);
    fill(-1);
    refusal[0] = 0;
    // The other files of the folder are read too, in pieces.
    int64_t file = (int64_t)m->size, begun_us = now_us(), before = meter_reset();
    int err = alone ? load_alone() : find_and_load();
    note_cost(k, before, file, begun_us, m);
    if (alone)
        assert_int_equal(rename(path_of("state.json"), path_of(in_checkpoint("state.json"))), 0);
    put(path, sources[k].bytes, sources[k].size);
    tallies[k].refused += err != 0;
    tallies[k].same += !err && !alone;
    tallies[k].other += !err && alone;
    if (!err && !alone && !is_filled(3))
        fail_msg("mutant %llu of %s: other weights", (unsigned long long)m->index, sources[k].name);
    if (err)
        check_refusal(k, m, err, "checkpoints");
    if (err && !alone && !strlen(refusal))
        fail_msg("mutant %llu of %s: no reason", (unsigned long long)m->index, sources[k].name);
}

// ---- the whole ----

static void load_source(int k) {
    struct source *s = &sources[k];
    s->bytes = get(s->judge == CHECKPOINT ? in_checkpoint(s->name) : s->name, &s->size);
    if (s->judge == CHECKPOINT || s->judge == ALIEN)
        return;
    if (import(s->name))
        fail_msg("%s", err_text());
    s->import = get("import", &s->import_size);
    if (s->judge == REPACKED)
        take_apart(k);
}

static void write_onnx(void) {
    struct weights *w;
    struct recognised r;
    assert_int_equal(weights_open(path_of("plain.pth"), &w), ERR_OK);
    assert_int_equal(recognise(w, &r), ERR_OK);
    assert_int_equal(onnx_write(w, &r, false, path_of("plain.onnx")), ERR_OK);
    weights_close(w);
}

static void mutants_are_refused_or_imported_as_they_were(void **state) {
    const char *wanted = getenv("MUTANTS");
    uint64_t n = wanted ? strtoull(wanted, NULL, 10) : MUTANTS;
    for (uint64_t i = 0; i < n; i++) {
        struct mutant m;
        int k = (int)(i % COUNT(sources));
        mutate(&sources[k], i, &m);
        if (sources[k].judge == CHECKPOINT)
            try_checkpoint(k, &m);
        else
            try_file(k, &m);
        free(m.bytes);
    }
    for (size_t k = 0; k < COUNT(sources); k++) {
        const struct progress_bar *t = &tallies[k];
        printf("%-22s %s %4d refused %3d as before %3d other  %5lld KiB more than the file  %4lld "
               "ms\n",
               sources[k].name, sources[k].judge == REPACKED ? "(pickle)" : "        ", t->refused,
               t->same, t->other, (long long)t->worst / 1024, (long long)t->slowest_us / 1000);
        assert_true(n < MUTANTS || t->refused > 0);
    }
}

// Made on purpose (torch_peer.py): each of them wants memory, time or a way out.
static void files_made_to_harm_are_refused(void **state) {
    struct dirent **found;
    int n = scandir(path_of("hostile"), &found, NULL, alphasort);
    assert_true(n > 12);
    for (int i = 0; i < n; i++) {
        char name[300];
        if (found[i]->d_name[0] != '.') {
            struct mutant m = {0};
            (void)snprintf(name, sizeof name, "hostile/%s", found[i]->d_name); // fits
            int64_t file = bytes_of(name), begun_us = now_us(), before = meter_reset();
            int err = import(name);
            int64_t took = meter.peak - before - file;
            printf("%-24s %6lld KiB more than the file: %.150s\n", found[i]->d_name,
                   (long long)took / 1024, err ? strrchr(err_text(), '/') : "taken");
            if (!err || took > BESIDES || now_us() - begun_us > LIMIT_US)
                fail_msg("%s: %d, %lld bytes, %lld us", name, err, (long long)took,
                         (long long)(now_us() - begun_us));
            check_refusal(0, &m, err, name);
        }
        free(found[i]);
    }
    free(found);
}

static int set_up(void **state) {
    char command[600];
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(command, sizeof command,
                   "%s %s/tests/trainer/weights/torch_peer.py odd %s 2 && %s "
                   "%s/tests/trainer/weights/torch_peer.py hostile %s/hostile",
                   PYTHON, tree, folder, PYTHON, tree, folder);
    if (system(command))
        return 1;
    write_onnx();
    write_checkpoint();
    for (size_t k = 0; k < COUNT(sources); k++)
        load_source((int)k);
    (void)import("plain.pth"); // what libraries take once
    return 0;
}

static int tear_down(void **state) {
    for (size_t k = 0; k < COUNT(sources); k++) {
        free(sources[k].bytes);
        free(sources[k].import);
        for (int i = 0; i < ENTRIES_MAX; i++)
            free(entries[k][i].bytes);
    }
    return fs_remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutants_are_refused_or_imported_as_they_were),
        cmocka_unit_test(files_made_to_harm_are_refused),
    };
    static char here[512];
    if (!getcwd(here, sizeof here))
        return 1;
    tree = here;
    meter_start();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
