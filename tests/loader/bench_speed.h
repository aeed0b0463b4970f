// bench_speed - the loader's way from a JPEG file to a training picture on one core, beside
// libjpeg-turbo's decoding alone, Pillow, torchvision and libvips, taking turns in one run.
#ifndef BENCH_SPEED_H
#define BENCH_SPEED_H

#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <turbojpeg.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "loader/bench_vips.h"
#include "source.h"

enum { SPEED_ROUNDS = 7, SPEED_FILES = 60 };

struct speed_workload {
    const char *name, *pictures; // a glob; where nothing matches, pictures are drawn
    int w, h, load, crop;
    bool exact;
};

static const struct speed_workload speed_workloads[] = {
    {"178x218 to 128", "../shared/data/celeba/img_align_celeba/*.jpg", 178, 218, 128, 128, true},
    {"1280x720 to 286, crop 256", "../shared/data/bdd100k/images/*/*/*.jpg", 1280, 720, 286, 256,
     true},
    {"1280x720 to 286, crop 256, scaled", "../shared/data/bdd100k/images/*/*/*.jpg", 1280, 720, 286,
     256, false},
};

enum speed_way {
    SPEED_DECODE, // libjpeg-turbo, from memory to memory
    SPEED_OURS,
    SPEED_CACHE,
    SPEED_PILLOW,
    SPEED_TORCHVISION,
    SPEED_VIPS,
    SPEED_WAYS
};

struct speed {
    const struct speed_workload *workload;
    char folder[32];
    struct manifest *manifest[2];
    struct config config;
    struct items items;
    struct source source[2]; // without and with a cache
    char *paths[SPEED_FILES];
    uint8_t *bytes[SPEED_FILES];
    size_t sizes[SPEED_FILES];
    size_t n;
    bool drawn, has_vips;
    struct vips vips;
    FILE *to_pillow, *from_pillow;
    pid_t pillow;
    double rate[SPEED_WAYS][SPEED_ROUNDS]; // pictures per second; 0: not there
};

static double speed_cpu_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); // always there
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- pictures ----

// A drawn landscape of grain: about as many bytes a pixel as photographs have.
static int speed_draw(struct speed *s, size_t i) {
    struct image small, im;
    image_init(&small, s->workload->w / 6, s->workload->h / 6, 3);
    for (int p = 0; p < small.w * small.h * 3; p++)
        small.pixels[p] =
            (uint8_t)(p / small.w + (int)rng_block(i, RNG_TEST, (uint64_t)p, 0).v[0] % 60);
    image_resize(&small, s->workload->w, s->workload->h, &im);
    s->paths[i] = xasprintf("%s/%zu.jpg", s->folder, i);
    int err = image_save_jpeg(s->paths[i], &im, 85);
    image_fini(&small);
    image_fini(&im);
    return err;
}

static int speed_find(struct speed *s) {
    glob_t found;
    int err = ERR_OK;
    if (!mkdtemp(strcpy(s->folder, "/tmp/bench_loader_XXXXXX")))
        return err_set(ERR_IO, "no folder under /tmp");
    if (glob(s->workload->pictures, 0, NULL, &found) == 0) {
        s->n = MIN(found.gl_pathc, (size_t)SPEED_FILES);
        for (size_t i = 0; i < s->n; i++)
            s->paths[i] = realpath(found.gl_pathv[i], NULL);
    }
    globfree(&found);
    s->drawn = s->n == 0;
    if (s->drawn)
        for (s->n = 0; s->n < 20 && !err; s->n++)
            err = speed_draw(s, s->n);
    for (size_t i = 0; i < s->n && !err; i++)
        err = fs_read(s->paths[i], 1 << 28, &s->bytes[i], &s->sizes[i]);
    return err;
}

static int speed_manifest(const struct speed *s, const char *domain, struct manifest **ret) {
    struct manifest *m = xcalloc(1, sizeof *m);
    (void)text_copy(m->domain, sizeof m->domain, domain);
    m->root = xstrdup("/");
    m->count = s->n;
    m->records = xcalloc(s->n, sizeof *m->records);
    for (size_t i = 0; i < s->n; i++) {
        struct manifest_record *r = &m->records[i];
        struct image_info info;
        int err = image_probe(s->paths[i], s->bytes[i], s->sizes[i], &image_default_limits, &info);
        if (err)
            return err;
        *r = (struct manifest_record){.size = s->sizes[i], .w = info.w, .h = info.h};
        r->path = xstrdup(s->paths[i] + 1);
        digest_bytes(s->bytes[i], s->sizes[i], r->sha256);
    }
    manifest_seal(m);
    *ret = m;
    return ERR_OK;
}

static int speed_sources(struct speed *s) {
    for (int side = 0; side < 2; side++) {
        int err = speed_manifest(s, side ? "B" : "A", &s->manifest[side]);
        if (err)
            return err;
        s->config.curator[side].use = "folder";
        s->config.curator[side].max_pixels = image_default_limits.max_pixels;
    }
    s->config.loader.load_size = s->workload->load;
    s->config.loader.crop_size = s->workload->crop;
    s->config.loader.exact_decode = s->workload->exact;
    s->config.loader.preprocess = "resize_and_crop";
    s->config.loader.dataset_mode = "unaligned";
    s->config.loader.batch_size = 1;
    s->config.trainer.input_nc = s->config.trainer.output_nc = 3;
    int err = items_init(&s->items, &s->config, s->manifest);
    for (int k = 0; k < 2 && !err; k++) {
        s->config.loader.cache = k ? 1 << 30 : 0;
        source_init(&s->source[k], &s->config, &s->items, s->manifest, NULL);
    }
    return err;
}

// ---- Pillow ----

static void speed_start_pillow(struct speed *s) {
    int to[2], from[2];
    if (system("/usr/bin/python3 -c 'import PIL' 2>/dev/null") || pipe(to) || pipe(from))
        return;
    s->pillow = fork();
    if (s->pillow == 0) {
        char *arguments[SPEED_FILES + 3] = {"/usr/bin/python3", "tests/loader/pillow_speed.py"};
        for (size_t i = 0; i < s->n; i++)
            arguments[i + 2] = s->paths[i];
        (void)dup2(to[0], 0);
        (void)dup2(from[1], 1);
        (void)close(to[1]);
        (void)close(from[0]);
        (void)execv(arguments[0], arguments);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    s->to_pillow = fdopen(to[1], "w");
    s->from_pillow = fdopen(from[0], "r");
}

static double speed_ask_pillow(struct speed *s, const char *way, double seconds) {
    char line[64];
    if (!s->pillow)
        return 0;
    (void)fprintf(s->to_pillow, "%s %d %d %g\n", way, s->workload->load, s->workload->crop,
                  seconds);
    (void)fflush(s->to_pillow);
    return fgets(line, sizeof line, s->from_pillow) ? atof(line) : 0; // "none" is 0
}

// ---- one picture of each way ----

static bool speed_decode(struct speed *s, size_t i) {
    static tjhandle handle;
    static uint8_t *pixels;
    if (!handle) {
        handle = tjInitDecompress();
        pixels = xmalloc(64 << 20);
    }
    return tjDecompress2(handle, s->bytes[i], s->sizes[i], pixels, 0, 0, 0, TJPF_RGB, 0) == 0;
}

static bool speed_get(struct speed *s, int with_cache, size_t i, uint64_t epoch) {
    struct item item = {.record = {i, i}, .position = i, .epoch = epoch, .augment = true};
    struct source_times times = {0};
    struct image im;
    uint64_t record;
    if (source_get(&s->source[with_cache], &item, 0, &im, &record, &times) || record != i)
        return false;
    image_fini(&im);
    return true;
}

static bool speed_one(struct speed *s, enum speed_way way, size_t i, uint64_t epoch) {
    switch (way) {
    case SPEED_DECODE:
        return speed_decode(s, i);
    case SPEED_OURS:
        return speed_get(s, 0, i, epoch);
    case SPEED_CACHE:
        return speed_get(s, 1, i, epoch);
    case SPEED_VIPS:
        return vips_picture(&s->vips, s->bytes[i], s->sizes[i], s->workload->exact ? 1 : 2,
                            s->workload->load, s->workload->crop);
    default:
        return false;
    }
}

static double speed_measure(struct speed *s, enum speed_way way, double seconds) {
    if (way == SPEED_VIPS && !s->has_vips)
        return 0;
    double begun = speed_cpu_s(), spent = 0;
    uint64_t done = 0;
    for (; spent < seconds; spent = speed_cpu_s() - begun)
        for (size_t i = 0; i < s->n; i++, done++)
            if (!speed_one(s, way, i, done / s->n + 1))
                return 0;
    return (double)done / spent;
}

static void speed_round(struct speed *s, int round, double seconds) {
    bool exact = s->workload->exact;
    for (enum speed_way way = 0; way < SPEED_WAYS; way++)
        if (way == SPEED_PILLOW)
            s->rate[way][round] = speed_ask_pillow(s, exact ? "pillow" : "draft", seconds);
        else if (way == SPEED_TORCHVISION)
            s->rate[way][round] =
                speed_ask_pillow(s, exact ? "torchvision" : "torchvision_draft", seconds);
        else
            s->rate[way][round] = speed_measure(s, way, seconds);
}

// ---- what came out ----

static int speed_by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double speed_median(const double rates[SPEED_ROUNDS]) {
    double sorted[SPEED_ROUNDS];
    memcpy(sorted, rates, sizeof sorted);
    qsort(sorted, SPEED_ROUNDS, sizeof *sorted, speed_by_size);
    return sorted[SPEED_ROUNDS / 2];
}

// Median over the rounds of one way's rate over another's in the same round; 0: not there.
static double speed_ratio(const struct speed *s, enum speed_way a, enum speed_way b) {
    double ratios[SPEED_ROUNDS];
    for (int r = 0; r < SPEED_ROUNDS; r++)
        ratios[r] = s->rate[b][r] > 0 ? s->rate[a][r] / s->rate[b][r] : 0;
    return speed_median(ratios);
}

static void speed_print(struct speed *s) {
    qsort(s->rate[SPEED_OURS], SPEED_ROUNDS, sizeof(double), speed_by_size); // after the ratios
    printf("\"low\":%.0f,\"high\":%.0f}\n", s->rate[SPEED_OURS][0],
           s->rate[SPEED_OURS][SPEED_ROUNDS - 1]);
}

static void speed_report(struct speed *s) {
    static const char *const names[SPEED_WAYS] = {"decode", "loader",      "cache",
                                                  "pillow", "torchvision", "vips"};
    printf("{\"bench\":\"loader\",\"workload\":\"%s\",\"pictures\":\"%s\",", s->workload->name,
           s->drawn ? "drawn" : "real");
    for (int way = 0; way < SPEED_WAYS; way++)
        printf("\"%s\":%.0f,", names[way], speed_median(s->rate[way]));
    printf("\"share_of_decode\":%.3f,", speed_ratio(s, SPEED_OURS, SPEED_DECODE));
    printf("\"times_pillow\":%.2f,", speed_ratio(s, SPEED_OURS, SPEED_PILLOW));
    printf("\"times_torchvision\":%.2f,", speed_ratio(s, SPEED_OURS, SPEED_TORCHVISION));
    printf("\"times_vips\":%.2f,", speed_ratio(s, SPEED_OURS, SPEED_VIPS));
    printf("\"cache_times_pillow\":%.1f,", speed_ratio(s, SPEED_CACHE, SPEED_PILLOW));
    speed_print(s);
    (void)fflush(stdout);
}

static void speed_fini(struct speed *s) {
    if (s->pillow) {
        (void)fclose(s->to_pillow); // the end of its input ends it
        (void)fclose(s->from_pillow);
        (void)waitpid(s->pillow, NULL, 0);
    }
    for (int k = 0; k < 2; k++) {
        if (s->source[k].cache)
            source_fini(&s->source[k]);
        manifest_free(s->manifest[k]);
    }
    for (size_t i = 0; i < s->n; i++) {
        free(s->paths[i]);
        free(s->bytes[i]);
    }
    (void)fs_remove_tree(s->folder);
}

static int speed_run(const struct speed_workload *w, double seconds) {
    struct speed s = {.workload = w};
    int err = speed_find(&s);
    if (!err)
        err = speed_sources(&s);
    if (!err) {
        speed_start_pillow(&s);
        s.has_vips = vips_find(&s.vips);
        for (int round = 0; round < SPEED_ROUNDS; round++)
            speed_round(&s, round, seconds);
        speed_report(&s);
    }
    speed_fini(&s);
    return err;
}

static int speed_all(double seconds) {
    cpu_set_t one;
    int err = ERR_OK;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof one, &one); // CPU time is measured in any case
    for (size_t i = 0; i < COUNT(speed_workloads) && !err; i++)
        err = speed_run(&speed_workloads[i], seconds);
    return err;
}

#endif
