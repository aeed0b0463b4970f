// cache - decoded and resized images, at most so many bytes of pixels. What is in stays in: an
// epoch takes every image once in a new order, and of such a sequence a cache that holds a share
// f of the set serves f by keeping what it has, but only f + (1 - f) ln(1 - f) by dropping the
// least recently used (a half: 0.50 against 0.15). Any thread may call it.
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

struct cache;

// entries: upper bound of different keys, 0 .. entries - 1; memory for the table is taken now.
struct cache *cache_new(size_t budget_bytes, size_t entries);
void cache_free(struct cache *c);

// A copy of the image into ret_image (owned by the caller); false if it is not there.
bool cache_get(struct cache *c, size_t key, struct image *ret_image);

// Keeps a copy if there is room for it; a key that is there already stays as it is.
void cache_put(struct cache *c, size_t key, const struct image *im);

size_t cache_bytes(struct cache *c);

#endif
