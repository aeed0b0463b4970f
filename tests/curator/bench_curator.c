// bench_curator - how fast landmarks are ranked and pictures judged. JSON lines; see --help.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "curation/curation.h"
#include "curation/duplicates.h"
#include "curator/default_settings.h"
#include "curator/made_data.h"
#include "image/image.h"
#include "kinds/celeba_lists.h"
#include "kinds/curators.h"
#include "kinds/labels.h"
#include "kinds/landmarks.h"

#define ROWS 202599 // CelebA
#define NEAREST 1600
#define LABELS_MB 120
#define PICTURES 2000
#define REPEATS 5

static const char help[] =
    "bench_curator [--labels-mb N] [WHAT] - how fast tables are read and pictures judged\n"
    "\n"
    "A JSON line per measurement, of 5 repetitions each; WHAT: only this one:\n"
    "  what       landmarks: a made file of 202599 rows is read, ranked, and the nearest 1600 cut\n"
    "             attributes: a made file of as many rows and 40 columns is read\n"
    "             labels: a made label file of N MB (120; the real one has 1200) is read, and "
    "beside\n"
    "             it by yajl with nobody to listen\n"
    "             sift (with labels): as many candidates are found and sifted by that file\n"
    "             judge: 2000 made 178x218 JPEGs are read, hashed, decoded, measured; one thread a "
    "core\n"
    "             cached: the same, known from the cache\n"
    "             quick: the same as judge, under quick = true\n"
    "             hash: 2000 such JPEGs in memory are decoded at 1/8 in gray and hashed; one\n"
    "             thread, its processor time\n"
    "             duplicates: of 200000 hashes, a tenth of them within 6 bits of another, those\n"
    "             are kept that are more than 6 bits apart; one thread, its processor time;\n"
    "             5000 of them are checked by comparing all pairs\n"
    "             duplicates_of_faces: the same where half of the bits are the same in all\n"
    "  count      rows, frames or pictures\n"
    "  median_s, min_s, max_s, per_s (of the median); peak_rss_mib of the process that reads\n";

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

// One line; what is more about it is given as ",\"key\":value".
static void print_more(const char *what, int count, double seconds[REPEATS], const char *more, ...)
    __attribute__((format(printf, 4, 5)));
static void print_more(const char *what, int count, double seconds[REPEATS], const char *more,
                       ...) {
    va_list args;
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    (void)printf("{\"what\":\"%s\",\"count\":%d,\"median_s\":%.4f,\"min_s\":%.4f,\"max_s\":%.4f,"
                 "\"per_s\":%.0f",
                 what, count, seconds[REPEATS / 2], seconds[0], seconds[REPEATS - 1],
                 count / seconds[REPEATS / 2]);
    va_start(args, more);
    (void)vprintf(more, args);
    va_end(args);
    (void)printf("}\n");
    (void)fflush(stdout); // it is shown as it comes
}

static void print(const char *what, int count, double seconds[REPEATS]) {
    print_more(what, count, seconds, "%s", "");
}

static void draw_picture(uint64_t index, struct image *ret_image) {
    image_init(ret_image, 178, 218, 3);
    for (int i = 0; i < 178 * 218 * 3; i++) // soft waves and some grain, as a photo
        ret_image->pixels[i] = (uint8_t)(128 + (i / 534 * (int)(index % 7) + i % 534 / 3) % 100 +
                                         (int)(((unsigned)i * 2654435761U) >> 29));
}

static void draw(const char *path, uint64_t index) {
    struct image im;
    draw_picture(index, &im);
    if (image_save_jpeg(path, &im, 90))
        BUG("%s", err_text());
    image_fini(&im);
}

static void say(void *context, const char *level, const char *code, const char *text) {
}

static double judge_once(const struct config_curator *settings, const char *cache) {
    struct curation c = {.domain = "A", .settings = settings, .say = say};
    int64_t begun = now_us();
    curation_init(&c, curator_find(c.settings->use));
    if (curation_find(&c) || curation_decide(&c, cache))
        BUG("%s", err_text());
    double seconds = (double)(now_us() - begun) / 1e6;
    curation_fini(&c);
    return seconds;
}

// ---- perceptual hashes: making them, and finding near duplicates ----

#define HASHES 200000
#define HASHES_CHECKED 5000

static double thread_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); // there is one
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double hash_once(uint8_t *const *files, const size_t *sizes) {
    struct image_how how = {image_default_limits, .fit_w = 16, .fit_h = 16};
    double begun = thread_s();
    for (int i = 0; i < PICTURES; i++) {
        struct image gray;
        struct dhash hash;
        if (image_decode_how("made", files[i], sizes[i], &how, 1, &gray))
            BUG("%s", err_text());
        dhash_of(&gray, &hash);
        image_fini(&gray);
    }
    return thread_s() - begun;
}

static void bench_hash(void) {
    static uint8_t *files[PICTURES];
    static size_t sizes[PICTURES];
    double seconds[REPEATS];
    size_t bytes = 0;
    for (int i = 0; i < PICTURES; i++) {
        struct image im;
        draw_picture((uint64_t)i, &im);
        if (image_encode_jpeg(&im, 90, &files[i], &sizes[i]))
            BUG("%s", err_text());
        image_fini(&im);
        bytes += sizes[i];
    }
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = hash_once(files, sizes);
    print_more("hash", PICTURES, seconds, ",\"mean_bytes\":%zu", bytes / PICTURES);
    for (int i = 0; i < PICTURES; i++)
        free(files[i]);
}

static struct dhash random_hash(uint64_t i) {
    struct rng_block b = rng_block(1, RNG_TEST, i, 1);
    return (struct dhash){(uint64_t)b.v[0] << 32 | b.v[1], (uint64_t)b.v[2] << 32 | b.v[3]};
}

static struct dhash flip(struct dhash h, uint64_t i, int bits) {
    for (int k = 0; k < bits; k++) {
        uint64_t bit = rng_below(2, RNG_TEST, i, (uint32_t)k, DHASH_BITS);
        *(bit < 64 ? &h.rows : &h.columns) ^= 1ULL << bit % 64;
    }
    return h;
}

// Every tenth is planted: it differs in 0 to 6 bits from one of the others before it.
static void make_hashes(bool alike, uint64_t count, struct pictures *list) {
    struct dhash face = random_hash(0);
    for (uint64_t i = 0; i < count; i++) {
        struct picture *p = pictures_add(list);
        struct dhash h = random_hash(i + 1);
        p->path = xasprintf("%06d.jpg", (int)i);
        p->known = true;
        if (alike) { // half of the bits are those of one face
            h.rows = (h.rows & 0xaaaaaaaaaaaaaaaa) | (face.rows & 0x5555555555555555);
            h.columns = (h.columns & 0xaaaaaaaaaaaaaaaa) | (face.columns & 0x5555555555555555);
        }
        uint64_t of = rng_below(3, RNG_TEST, i, 0, MAX(i, 1));
        if (i % 10 == 9)
            h = flip(list->items[of - (of % 10 == 9)].hash, i, (int)(i / 10 % 7));
        p->hash = h;
        memcpy(p->sha256, &i, sizeof i);
    }
}

// All of them in the order of the list, without verdicts.
static struct picture **in_order(struct pictures *list) {
    struct picture **ordered = xcalloc(list->count, sizeof(struct picture *));
    for (size_t i = 0; i < list->count; i++) {
        ordered[i] = &list->items[i];
        list->items[i].verdict = VERDICT_OPEN;
    }
    return ordered;
}

// Comparing all pairs says the same of each.
static void check_by_brute_force(const struct curation *c, bool alike) {
    struct pictures list = {0};
    bool rejected[HASHES_CHECKED] = {0};
    make_hashes(alike, HASHES_CHECKED, &list);
    struct picture **ordered = in_order(&list);
    (void)duplicates_reject(c, ordered, list.count); // its verdicts are looked at
    for (size_t i = 0; i < list.count; i++) {
        for (size_t k = 0; k < i && !rejected[i]; k++)
            rejected[i] = !rejected[k] && dhash_distance(list.items[i].hash, list.items[k].hash) <=
                                              c->settings->near_duplicates;
        if (rejected[i] != (list.items[i].verdict == VERDICT_REJECT))
            BUG("hash %zu: all pairs say %d", i, rejected[i]);
    }
    free(ordered);
    pictures_fini(&list);
}

static void bench_duplicates(const char *what, bool alike) {
    double seconds[REPEATS];
    const struct config_curator settings = {.near_duplicates = 6};
    const struct curation c = {.settings = &settings};
    struct pictures list = {0};
    size_t left = 0;
    check_by_brute_force(&c, alike);
    make_hashes(alike, HASHES, &list);
    for (int i = 0; i < REPEATS; i++) {
        struct picture **ordered = in_order(&list);
        double begun = thread_s();
        left = duplicates_reject(&c, ordered, list.count);
        seconds[i] = thread_s() - begun;
        free(ordered);
    }
    if (left > HASHES - HASHES / 10)
        BUG("%zu are left", left); // the planted ones at least have to go
    print_more(what, HASHES, seconds, ",\"kept\":%zu", left);
    pictures_fini(&list);
}

// ---- tables: each run in a process of its own, whose peak memory is told ----

// Runs `work` on the file; its seconds and the process's peak.
static double in_child(void (*work)(const char *path), const char *path, double *peak_mib) {
    struct rusage usage;
    int status;
    (void)fflush(stdout);
    int64_t begun = now_us();
    pid_t pid = fork();
    if (pid == 0) {
        work(path);
        _exit(0);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) < 0 || status)
        BUG("the child that reads %s", path);
    double seconds = (double)(now_us() - begun) / 1e6;
    *peak_mib = MAX(*peak_mib, (double)usage.ru_maxrss / 1024);
    return seconds;
}

static void rank_landmarks(const char *path) {
    struct landmarks *l;
    if (landmarks_load(path, &l))
        BUG("%s", err_text());
    uint32_t *nearest = landmarks_nearest(l, NEAREST);
    if (!(l->rows[nearest[0]].score <= l->rows[nearest[NEAREST - 1]].score))
        BUG("ranked wrongly");
    free(nearest);
    landmarks_free(l);
}

static void read_attributes(const char *path) {
    struct config_curator settings = default_settings;
    settings.attributes = "Smiling=1\nEyeglasses=-1\n";
    if (celeba_lists_check(0, &settings, path))
        BUG("%s", err_text());
}

static void read_labels(const char *path) {
    struct labels l = {0};
    if (labels_read(&l, path, NULL))
        BUG("%s", err_text());
    labels_fini(&l);
}

// yajl alone, with nobody to listen: what the reader could do at best.
static void read_bare(const char *path) {
    static uint8_t bytes[256 << 10];
    static const yajl_callbacks deaf;
    yajl_handle yajl = yajl_alloc(&deaf, NULL, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        if (yajl_parse(yajl, bytes, (size_t)n) != yajl_status_ok)
            BUG("%s is no JSON", path);
    if (yajl_complete_parse(yajl) != yajl_status_ok)
        BUG("%s ends too early", path);
    (void)close(fd);
    yajl_free(yajl);
}

static void bench_rows(const char *folder, const char *what, void (*make)(const char *, int),
                       void (*work)(const char *path)) {
    double seconds[REPEATS], peak = 0;
    char *path = xasprintf("%s/%s.txt", folder, what);
    make(path, ROWS);
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = in_child(work, path, &peak);
    print_more(what, ROWS, seconds, ",\"peak_rss_mib\":%.1f", peak);
    (void)unlink(path);
    free(path);
}

// Candidates for every frame, found and sifted by the labels beside them.
static void sift_frames(const char *labels) {
    struct config_curator settings = default_settings;
    struct curation c = {.domain = "A", .settings = &settings, .say = say};
    settings.use = "bdd100k";
    settings.root = xasprintf("%.*s/frames", (int)(strrchr(labels, '/') - labels), labels);
    settings.labels = (char *)labels;
    settings.timeofday = "night\n";
    curation_init(&c, curator_find(c.settings->use));
    if (curation_find(&c))
        BUG("%s", err_text());
    curation_fini(&c);
    free(settings.root);
}

// Empty files named as the frames.
static void make_frames(const char *folder, uint64_t frames) {
    char name[32], *path = xasprintf("%s/frames", folder);
    if (fs_mkdirs(path, 0755))
        BUG("%s", err_text());
    for (uint64_t i = 0; i < frames; i++) {
        made_name(i, name);
        char *file = xasprintf("%s/%s", path, name);
        made_close(made_open(file), file);
        free(file);
    }
    free(path);
}

static void bench_labels(const char *folder, double megabytes) {
    double seconds[REPEATS], bare[REPEATS], sifting[REPEATS], peak = 0, bare_peak = 0;
    double sift_peak = 0;
    char *path = xasprintf("%s/labels.json", folder);
    uint64_t frames = made_labels(path, (uint64_t)(megabytes * 1e6));
    struct stat st;
    if (stat(path, &st))
        BUG("stat %s", path);
    double size = (double)st.st_size / 1e6;
    for (int i = 0; i < REPEATS; i++) { // in turns: a busy machine is busy for both
        seconds[i] = in_child(read_labels, path, &peak);
        bare[i] = in_child(read_bare, path, &bare_peak);
    }
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    qsort(bare, REPEATS, sizeof *bare, by_value);
    print_more("labels", (int)frames, seconds,
               ",\"mb\":%.1f,\"mb_per_s\":%.0f,\"bare_yajl_mb_per_s\":%.0f,\"peak_rss_mib\":%.1f",
               size, size / seconds[REPEATS / 2], size / bare[REPEATS / 2], peak);
    make_frames(folder, frames);
    for (int i = 0; i < REPEATS; i++)
        sifting[i] = in_child(sift_frames, path, &sift_peak);
    print_more("sift", (int)frames, sifting, ",\"peak_rss_mib\":%.1f", sift_peak);
    (void)unlink(path);
    free(path);
}

static void bench_judge(const char *folder) {
    double seconds[REPEATS];
    struct config_curator settings = default_settings;
    settings.root = xasprintf("%s/pictures", folder);
    char *cache = xasprintf("%s/cache", folder);
    if (fs_mkdirs(settings.root, 0755))
        BUG("%s", err_text());
    for (int i = 0; i < PICTURES; i++) {
        char *path = xasprintf("%s/%06d.jpg", settings.root, i);
        draw(path, (uint64_t)i);
        free(path);
    }
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = judge_once(&settings, NULL);
    print("judge", PICTURES, seconds);
    (void)judge_once(&settings, cache);
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = judge_once(&settings, cache);
    print("cached", PICTURES, seconds);
    settings.quick = true;
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = judge_once(&settings, NULL);
    print("quick", PICTURES, seconds);
    free(settings.root);
    free(cache);
}

static bool wanted(const char *what, const char *name) {
    return !what || strcmp(what, name) == 0;
}

int main(int argc, char **argv) {
    const char *what = NULL;
    double megabytes = LABELS_MB;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--labels-mb") == 0 && i + 1 < argc) {
            megabytes = strtod(argv[++i], NULL);
        } else if (*argv[i] != '-') {
            what = argv[i];
        } else {
            (void)fputs(help, stdout);
            return strcmp(argv[i], "--help") ? 2 : 0;
        }
    }
    char folder[] = "/tmp/bench_curator_XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    if (wanted(what, "landmarks"))
        bench_rows(folder, "landmarks", made_landmarks, rank_landmarks);
    if (wanted(what, "attributes"))
        bench_rows(folder, "attributes", made_attributes, read_attributes);
    if (wanted(what, "labels"))
        bench_labels(folder, megabytes);
    if (wanted(what, "judge") || wanted(what, "cached") || wanted(what, "quick"))
        bench_judge(folder);
    if (wanted(what, "hash"))
        bench_hash();
    if (wanted(what, "duplicates"))
        bench_duplicates("duplicates", false);
    if (wanted(what, "duplicates_of_faces"))
        bench_duplicates("duplicates_of_faces", true);
    return fs_remove_tree(folder) ? 1 : 0;
}
