// items - the draws of the loader, without any image. Every number is keyed by epoch and position,
// so a batch can be made again by any loader.
#include "items.h"

#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

int items_init(struct items *it, const struct config *config, struct manifest *const manifests[2]) {
    // 0 or less sets no limit.
    int64_t max = config->loader.max_dataset_size;
    *it =
        (struct items){.seed = (uint64_t)config->top.seed,
                       .serial = config->loader.serial_batches,
                       .flip = !config->loader.no_flip,
                       .aligned = strcmp(config->loader.dataset_mode, "aligned") == 0,
                       .jitter = {config->loader.jitter_brightness, config->loader.jitter_contrast,
                                  config->loader.jitter_saturation, config->loader.jitter_hue},
                       .batch_size = (uint64_t)config->loader.batch_size};
    for (int side = 0; side < 2; side++) {
        it->n_all[side] = manifests[side]->count;
        it->n[side] = max > 0 ? MIN(it->n_all[side], (uint64_t)max) : it->n_all[side];
        it->held[side] = manifests[side]->held_out;
    }
    return items_check(it);
}

uint64_t items_per_epoch(const struct items *it) {
    return MAX(it->n[0], it->n[1]);
}

uint64_t items_batches(const struct items *it) {
    return (items_per_epoch(it) + it->batch_size - 1) / it->batch_size;
}

uint64_t items_in_batch(const struct items *it, uint64_t index) {
    uint64_t first = index * it->batch_size, all = items_per_epoch(it);
    // Beyond the last batch, not a short one.
    return first >= all ? 0 : MIN(it->batch_size, all - first);
}

int items_check(const struct items *it) {
    for (int side = 0; side < 2; side++)
        // Without images every modulo below would divide by 0.
        if (!it->n[side])
            return err_set(ERR_DATA, "side %c has no picture to train on", "AB"[side]);
    if (it->aligned && (it->n_all[0] != it->n_all[1] || it->held[0] != it->held[1]))
        return err_set(ERR_DATA,
                       "aligned: %llu and %llu pictures, %llu and %llu held out, are no pairs",
                       (unsigned long long)it->n_all[0], (unsigned long long)it->n_all[1],
                       (unsigned long long)it->held[0], (unsigned long long)it->held[1]);
    return ERR_OK;
}

// The sub-stream of a side's random draws; aligned sides share one.
static uint32_t draw_of(const struct items *it, int side) {
    // Sub-streams: aligned sides share the draws of side A.
    return it->aligned ? 0 : (uint32_t)side;
}

static struct item training_item(const struct items *it, uint64_t epoch, uint64_t p) {
    // One permutation of the longer side; the shorter one is walked several times in an epoch.
    uint64_t order =
        it->serial ? p : rng_permute(it->seed, RNG_SHUFFLE, epoch, items_per_epoch(it), p);
    // "unaligned" draws B at random with replacement, as the reference does.
    uint64_t partner = it->aligned ? order
                       : it->serial
                           ? order % it->n[1]
                           // The epoch in the high half: positions stay below 2^32.
                           : rng_below(it->seed, RNG_PARTNER, epoch << 32 | p, 0, it->n[1]);
    return (struct item){
        .record = {order % it->n[0], partner}, .position = p, .epoch = epoch, .augment = true};
}

// Held-out records lie behind all training records of the manifest, also behind those that
// max_dataset_size leaves out.
static uint64_t held_out_record(const struct items *it, int side, uint64_t p) {
    return it->held[side] ? it->n_all[side] + p % it->held[side] : p % it->n[side];
}

struct item items_get(const struct items *it, enum items_split split, uint64_t epoch,
                      uint64_t index, uint64_t j) {
    if (!it->n[0] || !it->n[1])
        BUG("items of an empty domain");
    if (split == ITEMS_TRAIN)
        return training_item(it, epoch, index * it->batch_size + j);
    // A held-out ticket names its first image rather than a batch.
    uint64_t p = index + j;
    return (struct item){.record = {held_out_record(it, 0, p), held_out_record(it, 1, p)},
                         .position = p,
                         .epoch = epoch};
}

int items_crop(const struct items *it, const struct item *item, int side, int axis, int range) {
    if (!item->augment || range <= 0)
        return 0;
    uint32_t sub = draw_of(it, side) * 2 + (uint32_t)axis;
    // Inclusive range: the last offset still has a whole crop.
    return (int)rng_below(it->seed, RNG_CROP, item->epoch << 32 | item->position, sub,
                          (uint64_t)range + 1);
}

bool items_flip(const struct items *it, const struct item *item, int side) {
    return item->augment && it->flip &&
           rng_uniform(it->seed, RNG_FLIP, item->epoch << 32 | item->position, draw_of(it, side)) <
               0.5;
}

static double jitter_factor(enum jitter_kind kind, double reach, double u) {
    // Hue is an offset around 0; the others are factors around 1 (torchvision's ColorJitter).
    double low = kind == JITTER_HUE ? -reach : MAX(0.0, 1 - reach);
    double high = kind == JITTER_HUE ? reach : 1 + reach;
    return low + u * (high - low);
}

bool items_jitter(const struct items *it, const struct item *item, int side,
                  struct jitter *ret_jitter) {
    uint64_t index = item->epoch << 32 | item->position;
    uint32_t sub = draw_of(it, side) * 8;
    struct jitter j = {0};
    bool any = false;
    for (uint32_t k = 0; k < JITTER_KINDS; k++) {
        j.on[k] = item->augment && it->jitter[k] > 0;
        j.factor[k] =
            // Drawn for switched-off kinds too: each kind has its own sub-stream, so others do not
            // shift.
            jitter_factor(k, it->jitter[k], rng_uniform(it->seed, RNG_JITTER, index, sub + k));
        any |= j.on[k];
    }
    // 24 = 4!, the orders of four changes.
    jitter_order(rng_below(it->seed, RNG_JITTER, index, sub + JITTER_KINDS, 24), j.order);
    *ret_jitter = j;
    return any;
}

uint64_t items_next(const struct items *it, int side, uint64_t record) {
    // A training record never replaces a held-out one, or the reverse.
    if (record < it->n_all[side])
        return (record + 1) % it->n[side];
    return it->n_all[side] + (record - it->n_all[side] + 1) % it->held[side];
}
