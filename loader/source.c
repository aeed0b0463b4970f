#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "err.h"
#include "fs.h"
#include "util.h"

#define FILE_MAX ((size_t)512 << 20)

static size_t records_of(const struct manifest *m) {
    return m->count + m->held_out;
}

void source_init(struct source *s, const struct config *config, const struct items *items,
                 struct manifest *const manifests[2], struct points *points) {
    *s = (struct source){
        .items = items,
        .manifest = {manifests[0], manifests[1]},
        .channels = {(int)config->trainer.input_nc, (int)config->trainer.output_nc},
        .load_size = (int)config->loader.load_size,
        .crop_size = (int)config->loader.crop_size,
        .limits = image_default_limits,
        .points = points,
    };
    s->limits.max_pixels = MAX(config->curator[0].max_pixels, config->curator[1].max_pixels);
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

static int resize(struct source *s, const struct image *im, bool augment, struct image *ret) {
    int size = augment ? s->load_size : s->crop_size;
    int w, h, err;
    err = preprocess_check(s->preprocess, im->w, im->h, size, s->crop_size);
    if (err)
        return err;
    preprocess_scaled_size(s->preprocess, im->w, im->h, size, s->crop_size, &w, &h);
    image_resize(im, w, h, ret);
    return ERR_OK;
}

// Read, decode, resize: what the cache saves.
static int load(struct source *s, int side, uint64_t record, bool augment, struct image *ret_image,
                struct source_times *times) {
    const struct manifest *m = s->manifest[side];
    const struct manifest_record *r = &m->records[record];
    char *path = xasprintf("%s/%s", m->root, r->path);
    uint8_t *bytes = NULL;
    struct image decoded = {0};
    int64_t start = now_us();
    int err = read_checked(r, path, &bytes);
    if (err)
        goto out;
    int64_t was_read = now_us();
    err = image_decode(path, bytes, (size_t)r->size, &s->limits, s->channels[side], &decoded);
    if (err)
        goto out;
    int64_t was_decoded = now_us();
    err = resize(s, &decoded, augment, ret_image);
    if (err)
        goto out;
    times->read_us += was_read - start;
    times->decode_us += was_decoded - was_read;
    times->resize_us += now_us() - was_decoded;

out:
    if (err)
        report(s, side, record, path);
    image_fini(&decoded);
    free(bytes);
    free(path);
    return err;
}

static int load_cached(struct source *s, int side, uint64_t record, bool augment,
                       struct image *ret_image, struct source_times *times) {
    size_t key = (size_t)record + (side ? records_of(s->manifest[0]) : 0);
    // A domain without held-out pictures lends training ones at another size: not through the cache.
    bool cached = augment || record >= s->items->n_all[side];
    if (cached && cache_get(s->cache, key, ret_image)) {
        times->cache_hits++;
        return ERR_OK;
    }
    int err = load(s, side, record, augment, ret_image, times);
    if (!err && cached)
        cache_put(s->cache, key, ret_image);
    return err;
}

static void augment_picture(struct source *s, const struct item *item, int side,
                            struct image *im) {
    int range_x, range_y;
    preprocess_crop_range(s->preprocess, im->w, im->h, s->crop_size, &range_x, &range_y);
    if (range_x > 0 || range_y > 0) {
        struct image cropped;
        image_crop(im, items_crop(s->items, item, side, 0, range_x),
                   items_crop(s->items, item, side, 1, range_y), s->crop_size, s->crop_size,
                   &cropped);
        image_fini(im);
        *im = cropped;
    }
    if (items_flip(s->items, item, side))
        image_flip(im);
}

int source_get(struct source *s, const struct item *item, int side, struct image *ret_image,
               uint64_t *ret_record, struct source_times *times) {
    uint64_t record = item->record[side], first = record;
    while (load_cached(s, side, record, item->augment, ret_image, times)) {
        record = items_next(s->items, side, record);
        if (record == first)
            return err_set(ERR_DATA, "no picture of domain %s under '%s' can be read any more",
                           s->manifest[side]->domain, s->manifest[side]->root);
    }
    augment_picture(s, item, side, ret_image);
    *ret_record = record;
    return ERR_OK;
}
