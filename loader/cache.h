// cache - decoded and resized images, up to a number of bytes of pixels. Any thread may call it.
//
// Nothing is evicted. An epoch reads every image once, in a new order. A cache for a share f of the
// set then hits f of the reads; with eviction of the least recently used it would hit only
// f + (1 - f) ln(1 - f). For f = 1/2 these are 0.50 and 0.15.
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

struct cache;

// Keys are 0 .. entries - 1. The table is allocated here, the pixels as they come.
struct cache *cache_new(size_t budget_bytes, size_t entries);
void cache_free(struct cache *c);

// Copies the image into ret_image, which the caller owns. False: it is not cached.
bool cache_get(struct cache *c, size_t key, struct image *ret_image);

// Stores a copy if there is room for it. A key that is cached already keeps its image.
void cache_put(struct cache *c, size_t key, const struct image *im);

size_t cache_bytes(struct cache *c); // of pixels; for tests

#endif
