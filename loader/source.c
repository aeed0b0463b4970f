// source - from a record to an image ready for its batch. Failures are handled here: the caller
// gets an image, or learns that none is left.
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "image/settings.h"

// As image_load's limit; curated files are below it.
#define FILE_MAX ((size_t)512 << 20)

static size_t records_of(const struct manifest *m) {
    return m->count + m->held_out;
}

static bool is_paired(const struct config *config) {
    return strcmp(config->curator[0].use, "paired") == 0 &&
           strcmp(config->curator[1].use, "paired") == 0;
}

static bool same_files(const struct manifest *a, const struct manifest *b) {
    // The first path stands for all: equal lists of files were curated as halves.
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
        // With BtoA side 1 is domain A, and the left half belongs to it.
        .lead = strcmp(manifests[0]->domain, "A") != 0,
    };
    s->how = image_settings_how(&config->loader,
                                // The curators of both domains may have accepted images up to their
                                // own limit.
                                MAX(config->curator[0].max_pixels, config->curator[1].max_pixels));
    if (!preprocess_from_name(config->loader.preprocess, &s->preprocess))
        BUG("preprocess '%s' passed the settings' check", config->loader.preprocess);
    // Training and held-out records are resized differently, but each record belongs to one part:
    // so its number is enough as a key.
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
    // The exchange lets one thread report it, the first.
    // Relaxed: only the flag itself is exchanged between the threads.
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
    // The digest is checked on every read: a file may be replaced during a run.
    if (size == r->size && memcmp(sha256, r->sha256, sizeof sha256) == 0)
        return ERR_OK;
    free(*ret_bytes);
    *ret_bytes = NULL;
    return err_set(ERR_DATA, "'%s' has changed since the pictures were chosen", path);
}

struct size {
    int w, h;
};

// The size of an image before the crop. Held-out images are not cropped, so they are scaled to
// crop_size at once.
static int target_size(const struct source *s, struct size full, bool augment,
                       struct size *ret_size) {
    // Held-out images need no room for a random crop.
    int size = augment ? s->load_size : s->crop_size;
    int err = preprocess_check(s->preprocess, full.w, full.h, size, s->crop_size);
    if (!err)
        preprocess_scaled_size(s->preprocess, full.w, full.h, size, s->crop_size, &ret_size->w,
                               &ret_size->h);
    return err;
}

// Reads a record's file; reports a failure.
static int read_record(struct source *s, int side, uint64_t record, uint8_t **ret_bytes,
                       struct source_times *times) {
    const struct manifest *m = s->manifest[side];
    char *path = xasprintf("%s/%s", m->root, m->records[record].path);
    int64_t start = now_us();
    int err = read_checked(&m->records[record], path, ret_bytes);
    if (err)
        report(s, side, record, path);
    times->read_us += now_us() - start;
    free(path);
    return err;
}

// ---- cache of decoded and resized images ----

static size_t cache_key(const struct source *s, int side, uint64_t record) {
    // Side B's keys follow all keys of side A.
    return (size_t)record + (side ? records_of(s->manifest[0]) : 0);
}

// A training record that stands in for a held-out one has another size, so it bypasses the cache.
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

static void put_cached(struct source *s, int side, uint64_t record, bool augment,
                       const struct image *im) {
    if (is_cached(s, side, record, augment))
        cache_put(s->cache, cache_key(s, side, record), im);
}

// Decodes a file with one image. The manifest has its size, so the decoder can scale at once.
static int decode_whole(struct source *s, int side, uint64_t record, bool augment,
                        const uint8_t *bytes, struct image *ret_image, struct source_times *times) {
    const struct manifest_record *r = &s->manifest[side]->records[record];
    struct image_how how = s->how;
    struct size target;
    int64_t start = now_us(), resize_us = 0;
    int err = target_size(s, (struct size){r->w, r->h}, augment, &target);
    if (err)
        return err;
    // Scaled decoding of JPEG is faster, but its bytes differ from the reference's.
    if (!s->exact) {
        how.fit_w = target.w;
        how.fit_h = target.h;
    }
    err = image_decode_resized(r->path, bytes, r->size, &how, s->channels[side], target.w, target.h,
                               ret_image, &resize_us);
    times->resize_us += resize_us;
    times->decode_us += now_us() - start - resize_us;
    return err;
}

// Cuts one side's half out of a decoded file and resizes it.
static int take_half(struct source *s, int side, bool augment, const struct image *file,
                     struct image *ret_image) {
    struct image half;
    struct size target;
    if (file->w < 2)
        return err_set(ERR_DATA, "one pixel wide: no two pictures side by side");
    image_cut_half(file, side == s->lead ? IMAGE_LEFT : IMAGE_RIGHT, &half);
    int err = target_size(s, (struct size){half.w, half.h}, augment, &target);
    if (!err)
        image_resize(&half, target.w, target.h, ret_image);
    image_fini(&half);
    return err;
}

// Decodes a file once and makes the wanted halves from it.
static int decode_halves(struct source *s, const bool wanted[2], uint64_t record, bool augment,
                         const uint8_t *bytes, struct image ret_images[2],
                         struct source_times *times) {
    // Both sides name the same file, so either record will do.
    int first = wanted[0] ? 0 : 1, err;
    const struct manifest_record *r = &s->manifest[first]->records[record];
    struct image file;
    int64_t start = now_us();
    // Halves are decoded in full: the sizes after the cut decide on the scaling.
    err = image_decode_how(r->path, bytes, r->size, &s->how, s->channels[first], &file);
    if (err)
        return err;
    int64_t was_decoded = now_us();
    for (int side = 0; side < 2 && !err; side++)
        if (wanted[side])
            err = take_half(s, side, augment, &file, &ret_images[side]);
    image_fini(&file);
    times->decode_us += was_decoded - start;
    times->resize_us += now_us() - was_decoded;
    return err;
}

// Reads a file and makes the wanted sides from it: all of them or none.
static int make_images(struct source *s, const bool wanted[2], uint64_t record, bool augment,
                       struct image ret_images[2], struct source_times *times) {
    int first = wanted[0] ? 0 : 1;
    uint8_t *bytes = NULL;
    int err = read_record(s, first, record, &bytes, times);
    if (err)
        return err;
    err = s->halves ? decode_halves(s, wanted, record, augment, bytes, ret_images, times)
                    : decode_whole(s, first, record, augment, bytes, &ret_images[first], times);
    // The compressed bytes are not needed for the cache.
    free(bytes);
    if (err)
        // read_record has reported a failure of reading already.
        report(s, first, record, s->manifest[first]->records[record].path);
    for (int side = 0; side < 2 && !err; side++)
        if (wanted[side])
            put_cached(s, side, record, augment, &ret_images[side]);
    return err;
}

static int load_image(struct source *s, int side, uint64_t record, bool augment,
                      struct image *ret_image, struct source_times *times) {
    struct image images[2] = {0};
    const bool wanted[2] = {side == 0, side == 1};
    if (take_cached(s, side, record, augment, ret_image, times))
        return ERR_OK;
    int err = make_images(s, wanted, record, augment, images, times);
    // Zeroed above, so this takes an image that was never made.
    if (err)
        image_fini(&images[side]);
    else
        *ret_image = images[side];
    return err;
}

static int load_pair(struct source *s, uint64_t record, bool augment, struct image ret_images[2],
                     struct source_times *times) {
    int err = ERR_OK;
    // One decoding serves both halves only if both sides want the same channels.
    bool once = s->halves && s->channels[0] == s->channels[1], wanted[2];
    // Zeroed, so that image_fini at the end takes images that were never made.
    memset(ret_images, 0, 2 * sizeof *ret_images);
    for (int side = 0; side < 2 && !err && !once; side++)
        err = load_image(s, side, record, augment, &ret_images[side], times);
    for (int side = 0; side < 2 && once; side++)
        wanted[side] = !take_cached(s, side, record, augment, &ret_images[side], times);
    if (once && (wanted[0] || wanted[1]))
        err = make_images(s, wanted, record, augment, ret_images, times);
    for (int side = 0; side < 2 && err; side++)
        image_fini(&ret_images[side]);
    return err;
}

// ---- augmentation ----

// The range of the crop's position. For a pair the lead's size gives it, as in the reference's
// aligned_dataset.py.
static void crop_range(const struct source *s, uint64_t record, int side, const struct image *im,
                       int *ret_x, int *ret_y) {
    int w = im->w, h = im->h;
    // Both sides then draw from one range, and one offset fits both.
    if (s->items->aligned && side != s->lead) {
        const struct manifest_record *r = &s->manifest[s->lead]->records[record];
        preprocess_scaled_size(s->preprocess, r->w, r->h, s->load_size, s->crop_size, &w, &h);
    }
    preprocess_crop_range(s->preprocess, w, h, s->crop_size, ret_x, ret_y);
}

static void augment_image(struct source *s, const struct item *item, int side, uint64_t record,
                          struct image *im) {
    int range_x, range_y;
    // First by the image itself: without room for a crop there is nothing to draw.
    preprocess_crop_range(s->preprocess, im->w, im->h, s->crop_size, &range_x, &range_y);
    if (range_x > 0 || range_y > 0) {
        // Cropped after the cache: the cached image serves every epoch.
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
    // Last: only the pixels that remain have to be changed.
    struct jitter jitter;
    if (items_jitter(s->items, item, side, &jitter))
        jitter_apply(&jitter, im);
}

int source_get(struct source *s, const struct item *item, int side, struct image *ret_image,
               uint64_t *ret_record, struct source_times *times) {
    uint64_t record = item->record[side], first = record;
    while (load_image(s, side, record, item->augment, ret_image, times)) {
        record = items_next(s->items, side, record);
        // Back at the first record, all have been tried.
        if (record == first)
            return err_set(ERR_DATA, "no picture of domain %s under '%s' can be read any more",
                           s->manifest[side]->domain, s->manifest[side]->root);
    }
    augment_image(s, item, side, record, ret_image);
    *ret_record = record;
    return ERR_OK;
}

int source_get_pair(struct source *s, const struct item *item, struct image ret_images[2],
                    uint64_t *ret_record, struct source_times *times) {
    uint64_t record = item->record[0], first = record;
    while (load_pair(s, record, item->augment, ret_images, times)) {
        // One index for both sides: aligned sides have equal numbers of records.
        record = items_next(s->items, 0, record);
        if (record == first)
            return err_set(ERR_DATA, "no pair under '%s' and '%s' can be read any more",
                           s->manifest[0]->root, s->manifest[1]->root);
    }
    for (int side = 0; side < 2; side++)
        augment_image(s, item, side, record, &ret_images[side]);
    *ret_record = record;
    return ERR_OK;
}
