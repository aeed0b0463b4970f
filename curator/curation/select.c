// select - ranking, limit and hold-out, all over the good pictures. Each step rejects or marks, and
// the next one asks again which are good.
#include "curation/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "curation/refusal.h"

// Below this number, one held-out picture would be more than 5 % of the set.
enum { FEW_TO_HOLD_OUT = 20 };

// The good pictures, in the order of the list; malloc'ed.
static struct picture **good_pictures(const struct curation *c, size_t *ret_count) {
    struct picture **good = xcalloc(c->walk.found.count, sizeof(struct picture *));
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++)
        // Also leaves out the held_out folder's pictures (picture_is_good).
        if (picture_is_good(&c->walk.found.items[i]))
            good[n++] = &c->walk.found.items[i];
    *ret_count = n;
    return good;
}

// ---- draws ----

struct draw {
    uint64_t number;
    struct picture *picture;
};

static int by_draw(const void *a, const void *b) {
    const struct draw *p = a, *q = b;
    if (p->number != q->number)
        return p->number < q->number ? -1 : 1;
    return strcmp(p->picture->path, q->picture->path); // equal files
}

static uint64_t draw_number(uint64_t seed, enum rng_stream stream, const uint8_t sha256[32]) {
    uint64_t index = 0;
    // The first 8 bytes of the digest are the index: a picture draws alike under any name.
    for (int i = 0; i < 8; i++)
        index = index << 8 | sha256[i];
    struct rng_block block = rng_block(seed, stream, index, 0);
    // Philox gives 32-bit words; two of them make a tie improbable.
    return (uint64_t)block.v[0] << 32 | block.v[1];
}

// Both sides of a pair draw the same number: that of A's picture.
static const uint8_t *draw_key(const struct curation *c, const struct picture *p) {
    return p->partner && c->domain[0] == 'B' ? p->partner->sha256 : p->sha256;
}

// The good pictures in the order of numbers drawn by seed and digest; malloc'ed.
static struct draw *draw_all(const struct curation *c, enum rng_stream stream, size_t *ret_count) {
    // Neither verdicts nor the order of the list influence the numbers.
    struct picture **good = good_pictures(c, ret_count);
    struct draw *draws = xcalloc(*ret_count, sizeof *draws);
    for (size_t i = 0; i < *ret_count; i++)
        draws[i] = (struct draw){draw_number(c->seed, stream, draw_key(c, good[i])), good[i]};
    if (*ret_count)
        qsort(draws, *ret_count, sizeof *draws, by_draw);
    free(good);
    return draws;
}

// ---- rank, limit ----

struct ranking {
    int (*rank)(const struct picture *a, const struct picture *b);
};

static int by_rank(const void *a, const void *b, void *ranking) {
    const struct picture *p = *(struct picture *const *)a, *q = *(struct picture *const *)b;
    int order = ((const struct ranking *)ranking)->rank(p, q);
    // Ties by path make the order total, so qsort_r gives one result on every machine.
    return order ? order : strcmp(p->path, q->path);
}

struct picture **select_ranked(const struct curation *c, size_t *ret_count) {
    struct picture **good = good_pictures(c, ret_count);
    struct ranking ranking = {c->curator->rank};
    if (*ret_count)
        // Callbacks of qsort have no context; qsort_r avoids a global.
        qsort_r(good, *ret_count, sizeof(struct picture *), by_rank, &ranking);
    return good;
}

static int by_pixels(const void *a, const void *b) {
    const struct picture *p = *(struct picture *const *)a, *q = *(struct picture *const *)b;
    int64_t pixels_p = (int64_t)p->w * p->h, pixels_q = (int64_t)q->w * q->h;
    if (pixels_p != pixels_q)
        // Larger copies are preferred: a smaller one is usually a reduced copy.
        return pixels_p > pixels_q ? -1 : 1;
    return strcmp(p->path, q->path);
}

struct picture **select_preferred(const struct curation *c, size_t *ret_count) {
    if (c->curator->rank)
        return select_ranked(c, ret_count);
    struct picture **good = good_pictures(c, ret_count);
    // Both sides of pairs have to prefer the same pair. They share the order of paths, not the
    // sizes.
    if (*ret_count && !c->partner && !c->half)
        qsort(good, *ret_count, sizeof(struct picture *), by_pixels);
    return good;
}

static void keep_best(struct curation *c) {
    size_t count;
    struct picture **good = select_ranked(c, &count);
    size_t keep = c->curator->keep(c->settings);
    // Reported as the size of the ranking, also where nothing is cut.
    c->ranked = count;
    if (keep && keep < count)
        // The last kept score, for explain; without a cut it stays NaN.
        c->cut = good[keep - 1]->score;
    for (size_t i = 0; i < count; i++) {
        good[i]->rank = i + 1;
        if (keep && i >= keep)
            picture_reject(good[i], "rank", good[i]->score, "rank %zu of %zu, %s is %zu", i + 1,
                           count, c->curator->keep_name, keep);
    }
    free(good);
}

static void keep_first(struct curation *c) {
    size_t count, limit = (size_t)c->settings->limit;
    struct picture **good = good_pictures(c, &count);
    for (size_t i = limit; i < count; i++)
        picture_reject(good[i], "limit", NAN, "number %zu of %zu by name, limit is %zu", i + 1,
                       count, limit);
    free(good);
}

static void keep_drawn(struct curation *c) {
    size_t count, limit = (size_t)c->settings->limit;
    struct draw *draws = draw_all(c, RNG_LIMIT, &count);
    for (size_t i = limit; i < count; i++)
        picture_reject(draws[i].picture, "limit", NAN, "drawn as number %zu of %zu, limit is %zu",
                       i + 1, count, limit);
    free(draws);
}

// ---- held out ----

size_t select_hold_out_count(double percent, size_t kept) {
    // llround: half a picture counts as one, the same on all machines.
    size_t count = (size_t)llround(percent * (double)kept / 100);
    return percent > 0 && count == 0 && kept >= FEW_TO_HOLD_OUT ? 1 : count;
}

static void hold_out_by_digest(struct curation *c) {
    size_t count;
    struct draw *draws = draw_all(c, RNG_HOLD_OUT, &count);
    // The draws are sorted, so the first ones have the smallest numbers.
    for (size_t i = 0; i < select_hold_out_count(c->settings->hold_out, count); i++)
        draws[i].picture->verdict = VERDICT_HOLD_OUT;
    free(draws);
}

// False if the folder has no usable picture.
static bool hold_out_folder(struct curation *c) {
    bool any = false;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        // These were never good (aside), so ranking and limit did not touch them.
        if (!p->aside || p->verdict == VERDICT_REJECT)
            continue;
        p->verdict = VERDICT_HOLD_OUT;
        any = true;
    }
    return any;
}

static bool close_verdicts(struct curation *c) {
    bool any = false;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        if (p->verdict == VERDICT_OPEN)
            p->verdict = VERDICT_KEEP;
        // A kind may have noted a reason of its own for a kept picture.
        if (p->verdict != VERDICT_REJECT && !*p->reason)
            (void)text_copy(p->reason, sizeof p->reason, "ok"); // fits
        any |= p->verdict == VERDICT_KEEP;
    }
    return any;
}

int select_pictures(struct curation *c) {
    if (c->curator->rank)
        keep_best(c);
    // The limit follows the ranking: it applies to what the ranking kept.
    if (c->settings->limit && strcmp(c->settings->limit_by, "seed") == 0)
        keep_drawn(c);
    else if (c->settings->limit)
        keep_first(c);
    bool from_folder = c->aside && hold_out_folder(c);
    if (c->aside && !from_folder)
        curation_say(c, "warn", "held_out_empty",
                     "held_out '%s' has no usable picture: %g %% of the kept ones are put aside",
                     c->settings->held_out, c->settings->hold_out);
    // Last, so that the share is of the pictures that are left.
    if (!from_folder)
        hold_out_by_digest(c);
    return close_verdicts(c) ? ERR_OK : refusal_nothing_left(c);
}
