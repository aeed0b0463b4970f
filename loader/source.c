#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "err.h"
#include "fs.h"
#include "image_settings.h"
#include "util.h"

#define FILE_MAX ((size_t)512 << 20)

static size_t records_of(const struct manifest *m) {
    return m->count + m->held_out;
}

static bool is_paired(const struct config *config) {
    return strcmp(config->curator[0].use, "paired") == 0 &&
           strcmp(config->curator[1].use, "paired") == 0;
}

static bool same_files(const struct manifest *a, const struct manifest *b) {
    return records_of(a) == records_of(b) && strcmp(a->root, b->root) == 0 && records_of(a) > 0 &&
           strcmp(a->records[0].path, b->records[0].path) == 0;
}

void source_init(struct source *s, const struct config *config, const struct items *items,
                 struct manifest *const manifests[2], struct points *points) {
    *s = (struct source){
        .items = items,
        .manifest = {manifests[0], manifests[1]},
        .channels = {(int)config->trainer.input_nc, (int)config->trainer.output_nc},
        .load_size = (int)config->loader.load_size,
        .crop_size = (int)config->loader.crop_size,
        .exact = config->loader.exact_decode,
        .points = points,
        .halves = is_paired(config) && same_files(manifests[0], manifests[1]),
        .lead = strcmp(manifests[0]->domain, "A") != 0,
    };
    s->how = image_settings_how(&config->loader,
                                MAX(config->curator[0].max_pixels, config->curator[1].max_pixels));
    if (!preprocess_from_name(config->loader.preprocess, &s->preprocess))
        BUG("preprocess '%s' passed the settings' check", config->loader.preprocess);
    // Training and held-out records are resized differently: two keys cannot collide, since a
    // record belongs to one part.
    s->cache = cache_new((size_t)config->loader.cache,
                         records_of(manifests[0]) + records_of(manifests[1]));
    for (int side = 0; side < 2; side++)
        s->reported[side] = xcalloc(records_of(manifests[side]), 1);
}

void source_fini(struct source *s) {
    cache_free(s->cache);
    for (int side = 0; side < 2; side++)
        free(s->reported[side]);
    *s = (struct source){0};
}

static void report(struct source *s, int side, uint64_t record, const char *path) {
    // Two threads may both find it unset: then it is told twice, which harms nobody.
    if (__atomic_exchange_n(&s->reported[side][record], 1, __ATOMIC_RELAXED))
        return;
    points_event(s->points, "warn", "picture_replaced", 0, "%s: %s", path, err_text());
}

static int read_checked(const struct manifest_record *r, const char *path, uint8_t **ret_bytes) {
    size_t size;
    int err = fs_read(path, FILE_MAX, ret_bytes, &size);
    if (err)
        return err;
    uint8_t sha256[32];
    digest_bytes(*ret_bytes, size, sha256);
    if (size == r->size && memcmp(sha256, r->sha256, sizeof sha256) == 0)
        return ERR_OK;
    free(*ret_bytes);
    *ret_bytes = NULL;
    return err_set(ERR_DATA, "'%s' has changed since the pictures were chosen", path);
}

struct size {
    int w, h;
};

// What a picture of `full` pixels becomes before it is cropped.
static int target_size(const struct source *s, struct size full, bool augment,
                       struct size *ret_size) {
    int size = augment ? s->load_size : s->crop_size;
    int err = preprocess_check(s->preprocess, full.w, full.h, size, s->crop_size);
    if (!err)
        preprocess_scaled_size(s->preprocess, full.w, full.h, size, s->crop_size, &ret_size->w,
                               &ret_size->h);
    return err;
}

// Whether the file may be decoded smaller than it is: a half's place in it must be exact.
static bool may_shrink(const struct source *s) {
    return !s->exact && !s->halves;
}

static struct size size_of(const struct manifest_record *r) {
    return (struct size){r->w, r->h};
}

static int read_and_decode(struct source *s, int side, uint64_t record, bool augment,
                           struct image *ret_image, struct source_times *times) {
    const struct manifest *m = s->manifest[side];
    const struct manifest_record *r = &m->records[record];
    char *path = xasprintf("%s/%s", m->root, r->path);
    uint8_t *bytes = NULL;
    int64_t start = now_us();
    int err = read_checked(r, path, &bytes);
    if (err)
        goto out;
    int64_t was_read = now_us();
    struct image_how how = s->how;
    struct size fit = {0, 0};
    if (may_shrink(s))
        err = target_size(s, size_of(r), augment, &fit);
    how.fit_w = fit.w;
    how.fit_h = fit.h;
    if (!err)
        err = image_decode_how(path, bytes, (size_t)r->size, &how, s->channels[side], ret_image);
    if (err)
        goto out;
    times->read_us += was_read - start;
    times->decode_us += now_us() - was_read;

out:
    if (err)
        report(s, side, record, path);
    free(bytes);
    free(path);
    return err;
}

// The side's part of a decoded file, resized.
static int finish(struct source *s, int side, uint64_t record, bool augment,
                  const struct image *decoded, struct image *ret_image,
                  struct source_times *times) {
    int64_t start = now_us();
    struct image half = {0};
    const struct image *im = s->halves ? &half : decoded;
    struct size target;
    int err = ERR_OK;
    if (s->halves && decoded->w < 2)
        err = err_set(ERR_DATA, "one pixel wide: no two pictures side by side");
    else if (s->halves)
        image_cut_half(decoded, side == s->lead ? IMAGE_LEFT : IMAGE_RIGHT, &half);
    if (!err)
        err = target_size(s,
                          may_shrink(s) ? size_of(&s->manifest[side]->records[record])
                                        : (struct size){im->w, im->h},
                          augment, &target);
    if (!err)
        image_resize(im, target.w, target.h, ret_image);
    if (err)
        report(s, side, record, s->manifest[side]->records[record].path);
    image_fini(&half);
    times->resize_us += now_us() - start;
    return err;
}

// ---- the cache: it keeps what was read, decoded and resized ----

static size_t cache_key(const struct source *s, int side, uint64_t record) {
    return (size_t)record + (side ? records_of(s->manifest[0]) : 0);
}

// A domain without held-out pictures lends training ones at another size: not through the cache.
static bool is_cached(const struct source *s, int side, uint64_t record, bool augment) {
    return augment || record >= s->items->n_all[side];
}

static bool take_cached(struct source *s, int side, uint64_t record, bool augment,
                        struct image *ret_image, struct source_times *times) {
    bool hit = is_cached(s, side, record, augment) &&
               cache_get(s->cache, cache_key(s, side, record), ret_image);
    times->cache_hits += hit;
    return hit;
}

static int finish_and_cache(struct source *s, int side, uint64_t record, bool augment,
                            const struct image *decoded, struct image *ret_image,
                            struct source_times *times) {
    int err = finish(s, side, record, augment, decoded, ret_image, times);
    if (!err && is_cached(s, side, record, augment))
        cache_put(s->cache, cache_key(s, side, record), ret_image);
    return err;
}

static int load(struct source *s, int side, uint64_t record, bool augment, struct image *ret_image,
                struct source_times *times) {
    if (take_cached(s, side, record, augment, ret_image, times))
        return ERR_OK;
    struct image decoded;
    int err = read_and_decode(s, side, record, augment, &decoded, times);
    if (err)
        return err;
    err = finish_and_cache(s, side, record, augment, &decoded, ret_image, times);
    image_fini(&decoded);
    return err;
}

// Fills those of ret_images that are empty, from one decoding.
static int load_halves(struct source *s, uint64_t record, bool augment, struct image ret_images[2],
                       struct source_times *times) {
    struct image decoded;
    int err = read_and_decode(s, 0, record, augment, &decoded, times);
    if (err)
        return err;
    for (int side = 0; side < 2 && !err; side++)
        if (!ret_images[side].pixels)
            err = finish_and_cache(s, side, record, augment, &decoded, &ret_images[side], times);
    image_fini(&decoded);
    return err;
}

static int load_pair(struct source *s, uint64_t record, bool augment, struct image ret_images[2],
                     struct source_times *times) {
    int err = ERR_OK;
    bool once = s->halves && s->channels[0] == s->channels[1];
    memset(ret_images, 0, 2 * sizeof *ret_images);
    for (int side = 0; side < 2 && !err && !once; side++)
        err = load(s, side, record, augment, &ret_images[side], times);
    int there = 0;
    for (int side = 0; side < 2 && once; side++)
        there += take_cached(s, side, record, augment, &ret_images[side], times);
    if (once && there < 2)
        err = load_halves(s, record, augment, ret_images, times);
    for (int side = 0; side < 2 && err; side++)
        image_fini(&ret_images[side]);
    return err;
}

// ---- augmentation ----

// What the crop's place is drawn from: of a pair, the lead's size. (In the reference, too.)
static void crop_range(const struct source *s, uint64_t record, int side, const struct image *im,
                       int *ret_x, int *ret_y) {
    int w = im->w, h = im->h;
    if (s->items->aligned && side != s->lead) {
        const struct manifest_record *r = &s->manifest[s->lead]->records[record];
        preprocess_scaled_size(s->preprocess, r->w, r->h, s->load_size, s->crop_size, &w, &h);
    }
    preprocess_crop_range(s->preprocess, w, h, s->crop_size, ret_x, ret_y);
}

static void augment_picture(struct source *s, const struct item *item, int side, uint64_t record,
                            struct image *im) {
    int range_x, range_y;
    preprocess_crop_range(s->preprocess, im->w, im->h, s->crop_size, &range_x, &range_y);
    if (range_x > 0 || range_y > 0) {
        struct image cropped;
        crop_range(s, record, side, im, &range_x, &range_y);
        image_crop(im, items_crop(s->items, item, side, 0, range_x),
                   items_crop(s->items, item, side, 1, range_y), s->crop_size, s->crop_size,
                   &cropped);
        image_fini(im);
        *im = cropped;
    }
    if (items_flip(s->items, item, side))
        image_flip(im);
    struct jitter jitter;
    if (items_jitter(s->items, item, side, &jitter))
        jitter_apply(&jitter, im);
}

int source_get(struct source *s, const struct item *item, int side, struct image *ret_image,
               uint64_t *ret_record, struct source_times *times) {
    uint64_t record = item->record[side], first = record;
    while (load(s, side, record, item->augment, ret_image, times)) {
        record = items_next(s->items, side, record);
        if (record == first)
            return err_set(ERR_DATA, "no picture of domain %s under '%s' can be read any more",
                           s->manifest[side]->domain, s->manifest[side]->root);
    }
    augment_picture(s, item, side, record, ret_image);
    *ret_record = record;
    return ERR_OK;
}

int source_get_pair(struct source *s, const struct item *item, struct image ret_images[2],
                    uint64_t *ret_record, struct source_times *times) {
    uint64_t record = item->record[0], first = record;
    while (load_pair(s, record, item->augment, ret_images, times)) {
        record = items_next(s->items, 0, record);
        if (record == first)
            return err_set(ERR_DATA, "no pair under '%s' and '%s' can be read any more",
                           s->manifest[0]->root, s->manifest[1]->root);
    }
    for (int side = 0; side < 2; side++)
        augment_picture(s, item, side, record, &ret_images[side]);
    *ret_record = record;
    return ERR_OK;
}
