// bench_curator - how fast landmarks are ranked and pictures judged. JSON lines; see --help.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "curation.h"
#include "err.h"
#include "fs.h"
#include "image.h"
#include "landmarks.h"
#include "rng.h"
#include "text.h"
#include "util.h"

#define ROWS 202599 // CelebA
#define PICTURES 2000
#define REPEATS 5

static const char help[] = "bench_curator - how fast landmarks are ranked and pictures judged\n"
                           "\n"
                           "A JSON line per measurement, of 5 repetitions each:\n"
                           "  what       landmarks: a made file of 202599 rows is read and scored\n"
                           "             judge: 2000 made 178x218 JPEGs are read, hashed, decoded, "
                           "measured; one thread a core\n"
                           "             cached: the same, known from the cache\n"
                           "  count      rows or pictures\n"
                           "  median_s, min_s, max_s, per_s (of the median)\n";

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

static void print(const char *what, int count, double seconds[REPEATS]) {
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    printf("{\"what\":\"%s\",\"count\":%d,\"median_s\":%.4f,\"min_s\":%.4f,\"max_s\":%.4f,"
           "\"per_s\":%.0f}\n",
           what, count, seconds[REPEATS / 2], seconds[0], seconds[REPEATS - 1],
           count / seconds[REPEATS / 2]);
}

static void write_landmarks(const char *path) {
    struct text t = {0};
    text_add(&t,
             "%d\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x "
             "leftmouth_y rightmouth_x rightmouth_y\n",
             ROWS);
    for (int i = 1; i <= ROWS; i++) {
        text_add(&t, "%06d.jpg", i);
        for (uint32_t k = 0; k < 10; k++)
            text_add(&t, " %4d", (int)(60 + rng_below(1, RNG_TEST, (uint64_t)i, k, 90)));
        text_add(&t, "\n");
    }
    if (fs_write_atomic(path, t.bytes, t.size))
        BUG("%s", err_text());
    free(t.bytes);
}

static void draw(const char *path, uint64_t index) {
    struct image im;
    image_init(&im, 178, 218, 3);
    for (int i = 0; i < 178 * 218 * 3; i++) // soft waves and some grain, as a photo
        im.pixels[i] = (uint8_t)(128 + (i / 534 * (int)(index % 7) + i % 534 / 3) % 100 +
                                 (int)(((unsigned)i * 2654435761U) >> 29));
    if (image_save_jpeg(path, &im, 90))
        BUG("%s", err_text());
    image_fini(&im);
}

static void say(void *context, const char *level, const char *code, const char *text) {
}

static double judge_once(const struct config_curator *settings, const char *cache) {
    struct curation c = {.domain = "A", .settings = settings, .say = say};
    int64_t begun = now_us();
    curation_init(&c);
    if (curation_find(&c) || curation_judge(&c, cache))
        BUG("%s", err_text());
    double seconds = (double)(now_us() - begun) / 1e6;
    curation_fini(&c);
    return seconds;
}

static void bench_landmarks(const char *folder) {
    double seconds[REPEATS];
    char *path = xasprintf("%s/landmarks.txt", folder);
    write_landmarks(path);
    for (int i = 0; i < REPEATS; i++) {
        struct landmarks *l;
        int64_t begun = now_us();
        if (landmarks_load(path, &l))
            BUG("%s", err_text());
        seconds[i] = (double)(now_us() - begun) / 1e6;
        landmarks_free(l);
    }
    print("landmarks", ROWS, seconds);
    free(path);
}

static void bench_judge(const char *folder) {
    double seconds[REPEATS];
    struct config_curator settings = {
        .use = "folder",
        .root = xasprintf("%s/pictures", folder),
        .held_out = "",
        .min_side = 1,
        .max_side = 65535,
        .max_pixels = 67108864,
    };
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
    free(settings.root);
    free(cache);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        (void)fputs(help, stdout);
        return strcmp(argv[1], "--help") ? 2 : 0;
    }
    char folder[] = "/tmp/bench_curator_XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    bench_landmarks(folder);
    bench_judge(folder);
    return fs_remove_tree(folder) ? 1 : 0;
}
