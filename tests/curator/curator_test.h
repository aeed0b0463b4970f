// curator_test - a folder of pictures made for a test, and a curation of it.
#ifndef CURATOR_TEST_H
#define CURATOR_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "curate.h"
#include "curator/default_settings.h"
#include "image/image.h"
#include "kinds/curators.h"

static char folder[64];      // of the test; the working directory is its run/
static char heard[16][1024]; // what the last curation said, "level code text"
static int n_heard;
static struct config_curator settings;
static struct curation curation;

static inline char *in_folder(const char *name) {
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static inline int setup(void **state) {
    strcpy(folder, "/tmp/curator-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(fs_mkdirs(in_folder("run"), 0755), ERR_OK);
    assert_int_equal(fs_mkdirs(in_folder("data"), 0755), ERR_OK);
    settings = default_settings;
    settings.root = xstrdup(in_folder("data"));
    settings.threads = 1;
    return chdir(in_folder("run"));
}

static inline int teardown(void **state) {
    curation_fini(&curation);
    curation = (struct curation){0};
    free(settings.root);
    return chdir("/") || fs_remove_tree(folder);
}

static inline void write_text(const char *path, const char *text) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

// A JPEG of its own content under data/.
static inline void draw(const char *name, int w, int h) {
    char path[512];
    struct image im;
    static uint64_t drawn;
    (void)snprintf(path, sizeof path, "%s/data/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(fs_mkdirs(path, 0755), ERR_OK);
    *slash = '/';
    image_init(&im, w, h, 3);
    struct rng_block colour = rng_block(7, RNG_TEST, drawn++, 0);
    for (int i = 0; i < w * h * 3; i++)
        im.pixels[i] = (uint8_t)(colour.v[i % 3] + (uint32_t)i / 8);
    assert_int_equal(image_save_jpeg(path, &im, 90), ERR_OK);
    image_fini(&im);
}

static inline void draw_many(const char *format, int n) {
    char name[64];
    for (int i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, format, i);
        draw(name, 16, 16);
    }
}

static inline void hear(void *context, const char *level, const char *code, const char *text) {
    if (n_heard < (int)COUNT(heard))
        (void)snprintf(heard[n_heard++], sizeof heard[0], "%s %s %s", level, code, text);
}

static inline const char *heard_with(const char *part) {
    for (int i = 0; i < n_heard; i++)
        if (strstr(heard[i], part))
            return heard[i];
    return NULL;
}

static inline void begin(void) {
    curation_fini(&curation);
    n_heard = 0;
    curation = (struct curation){.domain = "A", .seed = 42, .settings = &settings, .say = hear};
    curation_init(&curation, curator_find(curation.settings->use));
}

// Finds and judges; `cache` may be NULL.
static inline int judge_all_with(const char *cache) {
    begin();
    int err = curation_find(&curation);
    return err ? err : curation_decide(&curation, cache);
}

static inline int judged(void) {
    return judge_all_with(NULL);
}

static inline const struct picture *picture(const char *path) {
    const struct picture *p = pictures_find(&curation.walk.found, path);
    if (!p)
        fail_msg("no candidate '%s'", path);
    return p;
}

static inline void assert_reason(const char *path, const char *reason) {
    assert_string_equal(picture(path)->reason, reason);
}

static inline size_t count_of(enum verdict v) {
    size_t n = 0;
    for (size_t i = 0; i < curation.walk.found.count; i++)
        n += curation.walk.found.items[i].verdict == v;
    return n;
}

// The manifest of the last curation as a file's bytes; malloc'ed.
static inline char *manifest_bytes(void) {
    uint8_t *bytes;
    size_t size;
    struct manifest *m = curation_manifest(&curation);
    assert_int_equal(manifest_save(m, "test.manifest"), ERR_OK);
    assert_int_equal(fs_read("test.manifest", 1 << 24, &bytes, &size), ERR_OK);
    manifest_free(m);
    return (char *)bytes;
}

#endif
