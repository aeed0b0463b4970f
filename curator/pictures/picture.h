// picture - one candidate of a domain and its verdict.
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pictures/dhash.h"
#include "pictures/stats.h"

enum verdict { VERDICT_OPEN, VERDICT_KEEP, VERDICT_HOLD_OUT, VERDICT_REJECT };

struct picture {
    char *path;              // relative to the manifest's root; owned
    bool aside;              // comes from the held_out folder
    uint8_t tag;             // the kind's own, from scan or sift to review
    bool later;              // not to be read: better ones suffice so far
    struct picture *partner; // of a pair in two files: the other domain's; lent

    // From the scan; `size` then from what was read.
    uint64_t size;
    int64_t mtime_ns;

    bool bad; // rejected for what its bytes are, which does not depend on other pictures

    // From the bytes; valid if `known`.
    bool known;
    uint8_t sha256[32];
    int w, h;
    struct image_stats stats;
    struct image_stats opposite;       // of a pair in one file: the other half's
    struct dhash hash;                 // of the whole file
    uint8_t orientation;               // that the camera noted, 1..8 (image_orient)
    struct image_histogram *histogram; // owned; NULL if not known

    enum verdict verdict; // OPEN until everything was asked
    char reason[65];      // short code: ok, small, year, rank, broken, ...
    char *detail;         // for a person; NULL: nothing to add; owned
    double score;         // the number the reason is about; NaN: none
    size_t rank;          // from 1, of a ranked curator's good pictures; 0: not ranked

    // The good picture before it that looks most alike, if it is near to be a duplicate; lent.
    const struct picture *twin;
    int twin_bits; // in which their hashes differ
};

// Pointers into `items` are valid until the next pictures_add or sort.
// A growing array; zeroed at the start.
struct pictures {
    struct picture *items;
    size_t count, capacity;
};

// A zeroed picture with score NaN at the end; lent until the next call.
struct picture *pictures_add(struct pictures *list);

// By strcmp of the path.
void pictures_sort(struct pictures *list);

// In a sorted list; NULL if there is none of that path.
struct picture *pictures_find(const struct pictures *list, const char *path);

void pictures_fini(struct pictures *list);

// Sets verdict, reason (cut at 64 bytes), score and detail (cut at 255 bytes; "%s", "" for none).
void picture_reject(struct picture *p, const char *reason, double score, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Sets reason, score and detail, as above, of one that is not rejected.
void picture_note(struct picture *p, const char *reason, double score, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// The part of the path behind its last '/'.
const char *picture_name(const char *path);

// "keep", "hold_out", "reject"; "open" for one not decided.
const char *verdict_name(enum verdict v);

static inline int picture_shorter(const struct picture *p) {
    return p->w < p->h ? p->w : p->h;
}

static inline int picture_longer(const struct picture *p) {
    return p->w > p->h ? p->w : p->h;
}

// Width / height.
static inline double picture_aspect(const struct picture *p) {
    return (double)p->w / p->h;
}

// Fits, and not rejected so far: what ranks, limits and hold-outs choose from.
static inline bool picture_is_good(const struct picture *p) {
    return !p->aside && p->verdict != VERDICT_REJECT;
}

#endif
