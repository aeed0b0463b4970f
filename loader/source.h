// source - one image of a domain, ready for its batch: read, checked against the manifest,
// decoded, resized (or taken from the cache), cropped, mirrored.
//
// An image that cannot be decoded, or is not what the manifest says any more, is replaced by the
// next record (items_next), so that every loader replaces it by the same one; it is reported once
// by name. Of a pair both are replaced. Any thread may call source_get and source_get_pair.
//
// Images that lie side by side in one file (both domains are `paired` and list the same files of
// the same root) are cut before they are resized; A is the left one.
#ifndef SOURCE_H
#define SOURCE_H

#include "cache.h"
#include "config/config.h"
#include "items.h"
#include "manifest.h"
#include "points/points.h"

struct source_times {
    int64_t read_us, decode_us, resize_us;
    uint64_t cache_hits;
};

struct source {
    const struct items *items;
    const struct manifest *manifest[2]; // of sides A and B
    int channels[2];
    bool halves; // the files hold two images side by side
    int lead;    // the side of domain A: of a pair, its size is what crops are drawn for
    enum preprocess preprocess;
    int load_size, crop_size;
    struct image_how how;
    bool exact; // decode in full size, not only as large as is wanted
    struct cache *cache;
    struct points *points;
    uint8_t *reported[2]; // one byte a record, set when its trouble has been told
};

// Fills a source; the manifests, items and points stay the caller's. The cache is the source's.
void source_init(struct source *s, const struct config *config, const struct items *items,
                 struct manifest *const manifests[2], struct points *points);
void source_fini(struct source *s);

// Fails with ERR_DATA when no record of the domain can be used.
//   ret_record   the record used in the end
int source_get(struct source *s, const struct item *item, int side, struct image *ret_image,
               uint64_t *ret_record, struct source_times *times);

// Both images of an aligned item, by index of the side; a file that holds both is decoded once.
// ERR_DATA when no pair can be used.
int source_get_pair(struct source *s, const struct item *item, struct image ret_images[2],
                    uint64_t *ret_record, struct source_times *times);

#endif
