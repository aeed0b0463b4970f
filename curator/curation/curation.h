// curation - from a folder to verdicts and a manifest.
//
//   curation_init -> curation_find -> curation_decide -> curation_manifest -> curation_fini
//
// The result depends on the settings, the files' names and bytes, and the seed; not on threads,
// times or the cache.
//
// A curation goes through its kind in this order; every picture ends with a verdict and a reason:
//   scan    candidates; what a name or a label already excludes is rejected unread
//   sift    the same with the held-out ones among them
//   pair    sets partners, where pictures come in pairs
//   (pictures/inspect.h: bytes, size; the same for all)
//   review  the good ones as a set
//   rank    the best `keep` of the good ones; the rest is rejected as `rank`
//
// pair runs at the end of curation_find, once the candidates of both domains are known.
#ifndef CURATION_H
#define CURATION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "curation/walk.h"
#include "image/image.h"
#include "manifest.h"
#include "pictures/picture.h"

// One curation, as its kind sees it.
struct curation {
    // Given.
    char domain[8];
    uint64_t seed;
    const char *note; // stands on the contact sheet; NULL: none
    const struct config_curator *settings;
    const char *workdir;                 // in which commands run; NULL: the current folder
    const struct config_curator *other;  // of the other domain; what does not pair ignores it
    const struct config_loader *reading; // exif, alpha, truncated; NULL: as the reference
    const struct curator *curator;
    const char *label_cache;   // a file for what label files say; NULL: they are read each time
    const atomic_bool *cancel; // NULL: cannot be stopped
    double warn_distance;      // of the colours of the two domains; 0: never

    // Reports to a person. level is "info" or "warn"; code is short and stable. Never NULL.
    void (*say)(void *context, const char *level, const char *code, const char *text);
    void (*progress)(void *context, size_t done, size_t total); // may be NULL; from any thread
    void *context;

    // Where: `folder` and `aside` (held_out; NULL if there is none) are relative to root.
    char *root, *folder, *aside;

    // What part of each file is the picture.
    // IMAGE_WHOLE, or one half of files that hold a picture of each domain side by side.
    enum image_half half;
    // The other domain's curation, for pairs in two files; otherwise NULL. Owned.
    struct curation *partner;

    // What scan fills in.
    struct walk walk;
    // What else the verdicts depend on, such as digests of list files. Lines of text.
    char *sources;

    // What inspecting fills in.
    size_t files_read; // and decoded; the others were known from the cache, or not asked for

    // What selecting fills in.
    size_t ranked; // good pictures in the ranking
    double cut;    // score of the last one kept; NaN: none was cut
    char *summary; // one line of counts and reasons; NULL before
};

struct curator {
    const char *name;
    const char *help; // one paragraph
    // Says where the pictures are, absolute, ret_aside NULL if none are held out, both malloc'ed;
    // sets c->half. NULL: settings' root and held_out. ERR_DATA.
    int (*locate)(struct curation *c, char **ret_folder, char **ret_aside);
    // Fills walk.found, paths relative to c->root. ERR_DATA.
    int (*scan)(struct curation *c);
    // Rejects by labels, in the sorted walk.found with the held-out pictures. NULL: nothing.
    // ERR_DATA.
    int (*sift)(struct curation *c);
    // Sets the partners among c's and c->partner's pictures and rejects those without one. NULL:
    // pictures do not come in pairs.
    void (*pair)(struct curation *c);
    // Rejects among the good pictures of the sorted c->walk.found. NULL: keeps all. ERR_DATA.
    int (*review)(struct curation *c);
    // Below 0: a is better. Ties are broken by path, not here. NULL: no ranking.
    int (*rank)(const struct picture *a, const struct picture *b);
    // How many the ranking keeps, 0 for all, and the setting that says so. NULL without rank.
    size_t (*keep)(const struct config_curator *settings);
    const char *keep_name;
    // The rank is known from names and labels: pictures are read from the best on, until enough are
    // good; what is cut was not read, and is rejected as `rank` even if it is broken.
    bool ranks_unread;
};

#define CURATION_FEW 500 // pictures; below, a warning
#define CURATION_FLAT 1  // levels of 255, deviation of all pixels; below, a warning

// c is zeroed but for what its caller gives: domain, seed, settings, say, context and, if wanted,
// progress and cancel. The settings are lent until curation_fini.
void curation_init(struct curation *c, const struct curator *kind);
void curation_fini(struct curation *c);

// Lists the candidates. The root is the curator's, or with held_out the deepest folder that holds
// both, so that one manifest has trainA/1.jpg and testA/2.jpg. ERR_DATA.
int curation_find(struct curation *c);

// Hex digest of all that the verdicts depend on, as far as it can be known without reading the
// pictures: settings, seed, sources, and path, size and mtime of every candidate.
void curation_state(const struct curation *c, char ret[65]);

// Gives every picture its verdict. Files that `cache` (a path; NULL: none) knows are not read, and
// the cache is brought up to date. If that fails, a warning says so.
// ERR_DATA with reasons, distributions and the setting to change when nothing is left.
int curation_decide(struct curation *c, const char *cache);

// False after a failure that left pictures without a verdict.
bool curation_is_decided(const struct curation *c);

// The kept and the held-out pictures, sealed; the caller frees it.
struct manifest *curation_manifest(const struct curation *c);

// Adds a line to c->sources.
void curation_depends(struct curation *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The same of a file's contents. ERR_DATA.
int curation_depends_on(struct curation *c, const char *path);

// c->say with a format, cut at 899 bytes.
void curation_say(const struct curation *c, const char *level, const char *code, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

#endif
