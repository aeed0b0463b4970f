// Damaged label files, landmark files, lists and verdicts: each is taken or refused with a reason
// that names it, within a second and in bounded memory.
//
//   MUTANTS=20000 make SAN=1 test T=mutations
//
// makes 20000 of them under the sanitizers; without MUTANTS there are 2000. Mutant i depends on i
// alone. The one at work lies in $TMPDIR/mutant-PID.
#include <sys/resource.h>
#include <time.h>

#include "curator/curator_test.h"

#include "base/script.h"
#include "kinds/celeba_lists.h"
#include "kinds/labels.h"
#include "kinds/landmarks.h"

#define MUTANTS 2000
#define SIZE_MAX_BYTES ((size_t)1 << 20)
#define LIMIT_US 1000000
// Above what the program has before. The address sanitizer keeps a note of every place that takes
// memory, and freed memory for a while, by default 256 MiB of it.
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_MAX_MIB 400
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "quarantine_size_mb=8";
}
#else
#define MEMORY_MAX_MIB 16
#endif

static char data_folder[256], mutant_path[256];

// ---- sources ----

enum family { LABEL_FILES, LANDMARK_FILES, LISTS, VERDICTS, FAMILIES };

struct source {
    enum family family;
    int kind;         // of a list (celeba_lists.h)
    const char *text; // or
    const char *file; // under the real data; used where it is
};

#define POINTS                                                                                     \
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "             \
    "rightmouth_x rightmouth_y\n"
#define FRAME(name, time)                                                                          \
    "{\"name\": \"" name "\", \"attributes\": {\"weather\": \"clear\", \"timeofday\": \"" time     \
    "\"},\n \"timestamp\": 10000, \"labels\": [{\"id\": 7, \"poly2d\": [{\"vertices\": "           \
    "[[1.5e2, -3]], \"closed\": false}], \"attributes\": {\"a\": null}}]}"

static struct source sources[] = {
    {LABEL_FILES, 0, "[" FRAME("a-1.jpg", "night") ",\n" FRAME("\\u00e9\xc3\xa9", "undefined") "]",
     NULL},
    {LABEL_FILES, 0,
     "{\"name\":\"b\",\"frames\":[{\"objects\":[]}],\"attributes\":{\"scene\":"
     "\"tunnel\"}}",
     NULL},
    {LABEL_FILES, 0, "{\"frames\":[" FRAME("c", "daytime") "],\"config\":{}}", NULL},
    {LABEL_FILES, 0, NULL, "bdd100k/labels/det_20/det_train.json"},
    {LABEL_FILES, 0, NULL, "bdd100k/labels/100k/test/d4d6d0df-f5feebb2.json"},
    {LANDMARK_FILES, 0,
     "2\n" POINTS "1.jpg 69 109 106 113 77 142 73 152 108 154\n"
     "2.jpg 69 110.25 107 112 81 -135 70 151 108 1e2\n",
     NULL},
    {LANDMARK_FILES, 0, NULL, "celeba/list_landmarks_align_celeba.txt"},
    {LANDMARK_FILES, 0, NULL, "celeba/list_landmarks_align_celeba.csv"},
    {LISTS, 0, "2\nMale Smiling Young\n1.jpg 1 -1 1\n2.jpg -1  1 1\n", NULL},
    {LISTS, 0, "image_id,Male,Smiling,Young\n1.jpg,1,-1,1\n2.jpg,-1,1,1\n", NULL},
    {LISTS, 1, "1.jpg 0\n2.jpg 2\n", NULL},
    {LISTS, 2, "2\nimage_id x_1 y_1 width height\n1.jpg 9 7 226 313\n2.jpg 7 9 221 306\n", NULL},
    {LISTS, 3, "1.jpg 2880\n2.jpg 2937\n", NULL},
    {VERDICTS, 0,
     "{\"path\":\"a.jpg\",\"keep\":true}\n\n{\"path\":\"b/\\\"c\\\".jpg\",\"keep\":"
     "false,\"reason\":\"dark\",\"score\":-12.5e1,\"more\":[1,null,{\"x\":\"\\u00e9\"}]}"
     "\n",
     NULL},
};

static void load_sources(void) {
    for (size_t i = 0; i < COUNT(sources); i++) {
        char *path = xasprintf("%s/%s", data_folder, sources[i].file ? sources[i].file : "");
        uint8_t *bytes;
        size_t size;
        if (sources[i].file && fs_read(path, SIZE_MAX_BYTES, &bytes, &size) == ERR_OK)
            sources[i].text = (char *)bytes; // until the program ends
        free(path);
    }
}

// ---- mutants ----

struct mutant {
    uint64_t index, draws;
    char *bytes;
    size_t size;
};

static size_t below(struct mutant *m, size_t n) {
    return n ? (size_t)rng_below(11, RNG_TEST, m->index, (uint32_t)m->draws++, n) : 0;
}

// Puts `size` bytes, which may be the mutant's own, in place of `gone` at `at`.
static void replace(struct mutant *m, size_t at, size_t gone, const char *with, size_t size) {
    if (m->size - gone + size > SIZE_MAX_BYTES)
        return;
    char *bytes = xmalloc(m->size - gone + size + 1);
    memcpy(bytes, m->bytes, at);
    memcpy(bytes + at, with, size);
    memcpy(bytes + at + size, m->bytes + at + gone, m->size - at - gone);
    free(m->bytes);
    m->bytes = bytes;
    m->size += size - gone;
}

static void repeat(struct mutant *m, size_t at, size_t part) {
    char *piece = xmalloc(part);
    size_t times = (size_t)1 << below(m, 12);
    memcpy(piece, m->bytes + at, part);
    for (size_t i = 0; i < times && part * times <= 65536; i++)
        replace(m, at, 0, piece, part);
    free(piece);
}

static void damage(struct mutant *m) {
    static const char *const pieces[] = {
        "\"",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "\\",
        "\\u0000",
        "\\ud800",
        "-",
        "1e999",
        "nan",
        "99999999999999999999",
        " ",
        "\t",
        "\r",
        "\xff",
        "\xc3",
        "null",
        "true",
        "\"name\"",
        "/",
        "\"attributes\":",
        "\"frames\":[",
        "[[[[[[[[",
        "{\"a\":{\"a\":",
        "=",
        "\xef\xbb\xbf",
    };
    size_t at = below(m, m->size), left = m->size - at, part = 1 + below(m, MIN(left, 40));
    part = MIN(part, left);
    const char *piece = pieces[below(m, COUNT(pieces))];
    const struct source *other = &sources[below(m, COUNT(sources))];
    switch (below(m, 9)) {
    case 0:
        if (left)
            m->bytes[at] = (char)(m->bytes[at] ^ 1 << below(m, 8));
        break;
    case 1:
        if (left)
            m->bytes[at] = (char)below(m, 256);
        break;
    case 2:
        replace(m, at, part, "", 0);
        break;
    case 3:
    case 4:
        replace(m, at, 0, piece, strlen(piece));
        break;
    case 5:
        replace(m, at, part, piece, strlen(piece));
        break;
    case 6:
        if (left)
            repeat(m, at, part);
        break;
    case 7:
        replace(m, at, left, "", 0);
        break;
    case 8:
        if (other->text)
            replace(m, at, part, other->text, below(m, strlen(other->text)));
        break;
    }
}

static void mutate(const struct source *s, uint64_t index, struct mutant *ret) {
    *ret = (struct mutant){.index = index, .bytes = xstrdup(s->text), .size = strlen(s->text)};
    for (size_t n = 1 + below(ret, 1 + below(ret, 6)); n > 0; n--)
        damage(ret);
}

// ---- readers ----

static const struct mutant *answers; // of the script that is not run

// The linker takes this one: the answers come without a process.
int script_run(const struct script_job *job) {
    const char *at = answers->bytes, *end = at + answers->size;
    int err = ERR_OK;
    while (at < end && !err) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline : end) - at);
        if (n > SCRIPT_LINE_MAX)
            return err_set(ERR_DATA, "a line of %zu bytes", n);
        char *line = xasprintf("%.*s", (int)n, at);
        err = job->take(job->context, line);
        free(line);
        at += n + 1;
    }
    return err;
}

static int read_verdicts(const struct mutant *m) {
    struct config_curator exec = default_settings;
    struct curation c = {.settings = &exec, .say = hear, .root = "/data"};
    exec.command = mutant_path;
    static const char *const names[] = {"a.jpg", "b/\"c\".jpg", "not\xffutf8.jpg"};
    for (size_t i = 0; i < COUNT(names); i++)
        pictures_add(&c.walk.found)->path = xstrdup(names[i]);
    pictures_sort(&c.walk.found);
    answers = m;
    n_heard = 0;
    int err = curator_exec.review(&c);
    for (size_t i = 0; i < c.walk.found.count; i++)
        assert_non_null(memchr(c.walk.found.items[i].reason, 0, 65));
    walk_fini(&c.walk);
    return err;
}

static int read_label_file(void) {
    struct labels l = {0};
    int err = labels_read(&l, mutant_path, NULL);
    for (size_t i = 0; !err && i < l.names.count; i++) {
        // The name as it is kept may end like a picture's once more.
        char *name = xasprintf("%s.jpg", names_text(&l.names, &l.names.rows[i]));
        assert_ptr_equal(names_find(&l.names, name), &l.names.rows[i]);
        free(name);
    }
    labels_fini(&l);
    return err;
}

static int read_landmarks(void) {
    struct landmarks *l;
    int err = landmarks_load(mutant_path, &l);
    if (err)
        return err;
    uint32_t *nearest = landmarks_nearest(l, 2);
    assert_true(nearest[0] < l->count);
    for (size_t i = 0; i < l->count; i++)
        assert_ptr_equal(landmarks_find(l, l->rows[i].name), &l->rows[i]);
    free(nearest);
    landmarks_free(l);
    return ERR_OK;
}

static int read_mutant(const struct source *s, const struct mutant *m) {
    struct config_curator lists = default_settings;
    lists.attributes = "Smiling=1\nMale=-1\n";
    lists.partition = "train\n";
    switch (s->family) {
    case LABEL_FILES:
        return read_label_file();
    case LANDMARK_FILES:
        return read_landmarks();
    case LISTS:
        return celeba_lists_check(s->kind, &lists, mutant_path);
    default:
        return read_verdicts(m);
    }
}

// ---- all of them ----

static struct { int taken, refused; } counts[FAMILIES];

static double peak_mib(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage); // fails for no process of ours
    return (double)usage.ru_maxrss / 1024;
}

// Of this process: what others do on the machine does not count. No reader waits for anything.
static int64_t cpu_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); // is there
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t try_mutant(uint64_t index) {
    const struct source *s = &sources[index % COUNT(sources)];
    struct mutant m;
    if (!s->text)
        s = &sources[0];
    mutate(s, index, &m);
    FILE *out = fopen(mutant_path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(m.bytes, 1, m.size, out), m.size);
    assert_int_equal(fclose(out), 0);
    int64_t begun = cpu_us();
    int err = read_mutant(s, &m);
    int64_t took = cpu_us() - begun;
    if (err && (err != ERR_DATA || !strstr(err_text(), mutant_path)))
        fail_msg("mutant %llu: error %d '%s' does not name %s", (unsigned long long)index, err,
                 err_text(), mutant_path);
    if (took > LIMIT_US)
        fail_msg("mutant %llu took %.2f s", (unsigned long long)index, (double)took / 1e6);
    counts[s->family].taken += !err;
    counts[s->family].refused += err != 0;
    free(m.bytes);
    return took;
}

static void every_mutant_is_taken_or_refused_with_a_reason(void **state) {
    static const char *const names[] = {"label files", "landmark files", "lists", "verdicts"};
    const char *wish = getenv("MUTANTS");
    uint64_t n = wish ? strtoull(wish, NULL, 10) : MUTANTS;
    double before = peak_mib();
    int64_t slowest = 0;
    load_sources();
    for (uint64_t i = 0; i < n; i++) {
        int64_t took = try_mutant(i);
        slowest = MAX(slowest, took);
    }
    double grown = peak_mib() - before;
    for (int i = 0; i < FAMILIES; i++) {
        printf("%-14s %6d taken, %6d refused with a reason\n", names[i], counts[i].taken,
               counts[i].refused);
        assert_true(counts[i].taken && counts[i].refused); // the mutants reach both ends
    }
    printf("%llu mutants, the slowest took %.4f s, memory grew by %.1f MiB\n",
           (unsigned long long)n, (double)slowest / 1e6, grown);
    assert_true(grown < MEMORY_MAX_MIB);
    assert_int_equal(unlink(mutant_path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mutant_is_taken_or_refused_with_a_reason),
    };
    char cwd[200];
    const char *tmp = getenv("TMPDIR");
    if (!getcwd(cwd, sizeof cwd))
        return 1;
    (void)snprintf(data_folder, sizeof data_folder, "%s/../shared/data", cwd);
    (void)snprintf(mutant_path, sizeof mutant_path, "%.200s/mutant-%d", tmp ? tmp : "/tmp",
                   (int)getpid());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
