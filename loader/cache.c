// cache - a table with one entry per record. The lock guards the table; pixels are copied in and
// out, because the loader crops and flips its images in place.
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct cache {
    pthread_mutex_t lock;
    size_t budget, bytes, entries;
    struct image *images; // by key; pixels NULL: not cached. A cached image never changes.
};

struct cache *cache_new(size_t budget_bytes, size_t entries) {
    struct cache *c = xcalloc(1, sizeof *c);
    (void)pthread_mutex_init(&c->lock, NULL); // cannot fail with default attributes
    c->budget = budget_bytes;
    c->entries = entries;
    c->images = xcalloc(entries, sizeof *c->images);
    return c;
}

void cache_free(struct cache *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->entries; i++)
        image_fini(&c->images[i]);
    free(c->images);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static size_t image_bytes(const struct image *im) {
    return (size_t)im->w * (size_t)im->h * (size_t)im->c;
}

static void image_copy(const struct image *im, struct image *ret_image) {
    *ret_image = *im;
    ret_image->pixels = xmalloc(image_bytes(im));
    memcpy(ret_image->pixels, im->pixels, image_bytes(im));
}

bool cache_get(struct cache *c, size_t key, struct image *ret_image) {
    struct image found = {0};
    (void)pthread_mutex_lock(&c->lock);
    if (key < c->entries)
        found = c->images[key];
    (void)pthread_mutex_unlock(&c->lock);
    if (!found.pixels)
        return false;
    image_copy(&found, ret_image); // without the lock: entries neither change nor leave
    return true;
}

void cache_put(struct cache *c, size_t key, const struct image *im) {
    size_t size = image_bytes(im);
    (void)pthread_mutex_lock(&c->lock);
    // Two threads may decode one image at once; the second finds the entry taken.
    if (key < c->entries && !c->images[key].pixels && size <= c->budget - c->bytes) {
        image_copy(im, &c->images[key]);
        c->bytes += size;
    }
    (void)pthread_mutex_unlock(&c->lock);
}

size_t cache_bytes(struct cache *c) {
    (void)pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    (void)pthread_mutex_unlock(&c->lock);
    return bytes;
}
