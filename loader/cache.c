#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define NONE SIZE_MAX

// A table of slots, one per key, that are also a list from the most to the least recently used.
struct slot {
    struct image image; // pixels NULL: not kept
    size_t newer, older;
};

struct cache {
    pthread_mutex_t lock;
    size_t budget, bytes, entries;
    size_t newest, oldest;
    struct slot *slots;
};

struct cache *cache_new(size_t budget_bytes, size_t entries) {
    struct cache *c = xcalloc(1, sizeof *c);
    (void)pthread_mutex_init(&c->lock, NULL); // cannot fail with default attributes
    c->budget = budget_bytes;
    c->entries = entries;
    c->newest = c->oldest = NONE;
    c->slots = xcalloc(entries, sizeof *c->slots);
    return c;
}

void cache_free(struct cache *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->entries; i++)
        image_fini(&c->slots[i].image);
    free(c->slots);
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

static void list_remove(struct cache *c, size_t key) {
    struct slot *s = &c->slots[key];
    *(s->newer == NONE ? &c->newest : &c->slots[s->newer].older) = s->older;
    *(s->older == NONE ? &c->oldest : &c->slots[s->older].newer) = s->newer;
}

static void list_push(struct cache *c, size_t key) {
    struct slot *s = &c->slots[key];
    s->newer = NONE;
    s->older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->slots[c->newest].newer) = key;
    c->newest = key;
}

static void drop(struct cache *c, size_t key) {
    list_remove(c, key);
    c->bytes -= image_bytes(&c->slots[key].image);
    image_fini(&c->slots[key].image);
}

bool cache_get(struct cache *c, size_t key, struct image *ret_image) {
    (void)pthread_mutex_lock(&c->lock);
    bool found = key < c->entries && c->slots[key].image.pixels;
    if (found) {
        image_copy(&c->slots[key].image, ret_image);
        list_remove(c, key);
        list_push(c, key);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return found;
}

void cache_put(struct cache *c, size_t key, const struct image *im) {
    size_t size = image_bytes(im);
    if (key >= c->entries || size > c->budget)
        return;
    (void)pthread_mutex_lock(&c->lock);
    if (c->slots[key].image.pixels)
        drop(c, key);
    while (c->bytes + size > c->budget)
        drop(c, c->oldest);
    image_copy(im, &c->slots[key].image);
    c->bytes += size;
    list_push(c, key);
    (void)pthread_mutex_unlock(&c->lock);
}

size_t cache_bytes(struct cache *c) {
    (void)pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    (void)pthread_mutex_unlock(&c->lock);
    return bytes;
}
