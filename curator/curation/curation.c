// curation - the order of the steps; the rules themselves are in duplicates, select and pictures/.
// Every step reads and writes the one sorted list walk.found.
#include "curation/curation.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "curation/duplicates.h"
#include "curation/refusal.h"
#include "curation/select.h"
#include "pictures/cache.h"
#include "pictures/inspect.h"

// Changes with what pictures/inspect.c measures: older caches are ignored.
#define INSPECT_VERSION 4
#define CACHE_EVERY_US (60 * 1000000LL)

void curation_init(struct curation *c, const struct curator *kind) {
    c->curator = kind;
    c->cut = NAN;
}

void curation_fini(struct curation *c) {
    walk_fini(&c->walk);
    free(c->root);
    free(c->folder);
    free(c->aside);
    free(c->sources);
    free(c->summary);
    if (c->partner)
        curation_fini(c->partner);
    free(c->partner);
    c->partner = NULL;
}

// ---- folders ----

// The path without "..", "." and double slashes, so that texts can be compared. Links stay as
// written, except where a ".." has to be resolved. NULL, with the error set, if that fails.
static char *normal_folder(const char *path) {
    bool dots = false;
    char *copy = xstrdup(path), *rest = NULL;
    struct text folder = {0};
    // The first text_add makes the buffer, so "/" alone gives "" rather than NULL.
    text_add(&folder, "%s", "");
    for (char *part = strtok_r(copy, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        dots |= strcmp(part, "..") == 0;
        if (strcmp(part, ".") != 0)
            text_add(&folder, "/%s", part);
    }
    free(copy);
    // Only a ".." needs the disk: behind a link it does not mean the folder written before it.
    if (!dots)
        return folder.bytes;
    free(folder.bytes);
    char *real = realpath(path, NULL);
    if (!real)
        (void)err_set(ERR_DATA, "folder '%s': %s", path, strerror(errno)); // the caller's code
    return real;
}

// Length of the deepest folder that holds both.
static size_t common_length(const char *a, const char *b) {
    size_t common = 0;
    for (size_t i = 0;; i++) {
        bool ends_a = !a[i] || a[i] == '/', ends_b = !b[i] || b[i] == '/';
        if (ends_a && ends_b)
            // A cut is allowed only where both names end a part: "ab" and "ac" share no folder.
            common = i;
        if (a[i] != b[i] || !a[i])
            return common;
    }
}

static char *path_below(const char *folder, size_t root_length) {
    const char *rest = folder + root_length;
    return xstrdup(*rest == '/' ? rest + 1 : rest);
}

static void set_folders(struct curation *c, const char *folder, const char *aside) {
    // Paths of the manifest are relative to one root, so it has to hold both folders.
    size_t n = aside ? common_length(folder, aside) : strlen(folder);
    c->folder = path_below(folder, n);
    c->aside = aside ? path_below(aside, n) : NULL;
    // n is 0 where the folders share nothing but "/".
    c->root = n ? xasprintf("%.*s", (int)n, folder) : xstrdup("/");
}

static int as_set(struct curation *c, char **ret_folder, char **ret_aside) {
    *ret_folder = xstrdup(c->settings->root);
    *ret_aside = *c->settings->held_out ? xstrdup(c->settings->held_out) : NULL;
    return ERR_OK;
}

static int locate_folders(struct curation *c) {
    char *given_folder = NULL, *given_aside = NULL;
    int err = (c->curator->locate ? c->curator->locate : as_set)(c, &given_folder, &given_aside);
    if (err)
        return err;
    // A bug of the kind: locate succeeded without its result.
    if (!given_folder)
        BUG("curator %s tells no folder", c->settings->use);
    char *folder = normal_folder(given_folder);
    char *aside = folder && given_aside ? normal_folder(given_aside) : NULL;
    if (!folder || (given_aside && !aside))
        err = ERR_DATA;
    else if (aside && strcmp(folder, aside) == 0)
        err = err_set(ERR_CONFIG, "root and held_out are the same folder '%s'", folder);
    else
        set_folders(c, folder, aside);
    free(folder);
    free(aside);
    free(given_folder);
    free(given_aside);
    return err;
}

// ---- find ----

// Moves the pictures of a list to c's; `aside` says whether they lie in the held_out folder.
static void take_pictures(struct curation *c, struct pictures *from, bool aside) {
    for (size_t i = 0; i < from->count; i++) {
        struct picture *p = pictures_add(&c->walk.found);
        *p = from->items[i];
        p->aside = aside;
    }
    from->count = 0; // their texts are the other list's now
}

static int find_aside(struct curation *c) {
    struct walk w = {0};
    // Where held_out contains the training folder, that folder is skipped: its files are known.
    int err = walk_folder(c->root, c->aside, *c->folder ? c->folder : NULL, &w);
    if (!err) {
        take_pictures(c, &w.found, true);
        take_pictures(c, &w.linked, true);
    }
    walk_fini(&w);
    // struct curator promises sift a sorted list.
    pictures_sort(&c->walk.found);
    return err;
}

static int find_pictures(struct curation *c) {
    int err = locate_folders(c);
    if (!err)
        err = c->curator->scan(c);
    if (!err && c->walk.found.count == 0)
        err = refusal_no_files(c);
    if (!err && c->aside)
        err = find_aside(c);
    // Last of the three, because labels may cover held-out pictures too.
    if (!err && c->curator->sift)
        err = c->curator->sift(c);
    // Kinds look at files alone, so linked folders come last.
    take_pictures(c, &c->walk.linked, false);
    pictures_sort(&c->walk.found);
    return err ? err_prefix(err, "curator.%s", c->domain) : ERR_OK;
}

static void say_nothing(void *context, const char *level, const char *code, const char *text) {
}

static int find_partner(struct curation *c) {
    struct curation *p = xcalloc(1, sizeof *p);
    // The partner has the settings of its own domain. It needs no points, no cache of labels, no
    // sheet.
    *p = (struct curation){.domain = {c->domain[0] == 'A' ? 'B' : 'A'},
                           .seed = c->seed,
                           .settings = c->other,
                           .other = c->settings,
                           .reading = c->reading,
                           .cancel = c->cancel,
                           .say = say_nothing};
    c->partner = p;
    curation_init(p, c->curator); // config_check: both domains of pairs have one kind
    // Not curation_find: that would make a partner of the partner, without end.
    return find_pictures(p);
}

int curation_find(struct curation *c) {
    int err = find_pictures(c);
    if (!err && c->curator->pair && !c->half)
        err = find_partner(c);
    if (!err && c->partner)
        c->curator->pair(c);
    return err;
}

// Threads and time-outs change no verdict, so they are no part of the state.
static void add_setting(void *context, const char *name, const char *value) {
    if (strcmp(name, "threads") != 0 && strcmp(name, "timeout_s") != 0)
        text_add(context, "%s %s\n", name, value);
}

static const char *word(const char *setting) {
    return setting ? setting : "";
}

// How pictures are decoded, as text; malloc'ed.
static char *reading_text(const struct curation *c) {
    static const struct config_loader none;
    const struct config_loader *r = c->reading ? c->reading : &none;
    return xasprintf("%s %s %s", word(r->exif), word(r->alpha), word(r->truncated));
}

static void add_state(struct text *t, const struct curation *c) {
    text_add(t, "%s\n%s\n%s\n%s\n%llu %d\n", c->domain, c->root, c->folder,
             c->aside ? c->aside : "", (unsigned long long)c->seed, c->half);
    config_each_of_curator(c->settings, t, add_setting);
    if (c->half)
        config_each_of_curator(c->other, t, add_setting); // each half has its own bounds
    char *reading = reading_text(c);
    text_add(t, "%s\n", reading);
    if (c->reading) // check_crop and pairs ask for these; measurements in the cache do not depend
                    // on them
        text_add(t, "%s %lld %s\n", word(c->reading->preprocess), (long long)c->reading->crop_size,
                 word(c->reading->dataset_mode));
    free(reading);
    text_add(t, "%s", c->sources ? c->sources : "");
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        text_add_bytes(t, p->path, strlen(p->path) + 1); // with its 0, which no path contains
        text_add(t, "%llu %lld\n", (unsigned long long)p->size, (long long)p->mtime_ns);
    }
}

void curation_state(const struct curation *c, char ret[65]) {
    struct text t = {0};
    uint8_t digest[32];
    text_add(&t, "curation %d\n", INSPECT_VERSION);
    for (const struct curation *side = c; side; side = side->partner)
        add_state(&t, side);
    digest_bytes(t.bytes, t.size, digest);
    digest_hex(digest, ret);
    free(t.bytes);
}

// ---- decide ----

struct cache {
    const char *path; // NULL: none
    char key[65];     // what an entry depends on besides the file
};

static void cache_init(struct cache *ret, const struct curation *c, const char *path) {
    uint8_t digest[32];
    char *reading = reading_text(c);
    // Paths are relative: in another root, equal names, sizes and times may be other files.
    char *text = xasprintf("inspect %s %d %d %d %lld %lld %s", c->root, INSPECT_VERSION, c->half,
                           c->settings->quick, (long long)c->settings->max_pixels,
                           (long long)c->settings->max_pixels_per_byte, reading);
    *ret = (struct cache){.path = path};
    digest_bytes(text, strlen(text), digest);
    digest_hex(digest, ret->key);
    free(text);
    free(reading);
}

static void save_cache(const struct curation *c, const struct cache *cache) {
    if (cache->path && cache_save(cache->path, cache->key, &c->walk.found))
        curation_say(c, "warn", "cache", "the next start will read all pictures again: %s",
                     err_text());
}

// Saves the cache every minute and when stopped, so that the next start continues there.
static int inspect_until_done(struct curation *c, struct inspect_job *job, struct cache *cache) {
    struct inspect_done done;
    int err;
    size_t hits;
    if (cache->path && cache_apply(cache->path, cache->key, &c->walk.found, &hits))
        curation_say(c, "warn", "cache", "all pictures are read again: %s", err_text());
    do {
        job->until_us = cache->path ? now_us() + CACHE_EVERY_US : 0;
        err = inspect_all(job, &done);
        c->files_read += done.read;
        if (done.read)
            save_cache(c, cache);
    } while (!err && !done.all);
    return err;
}

// Reads the best `keep` pictures, then as many more as turned out bad, until enough are good.
static int inspect_best(struct curation *c, struct inspect_job *job, struct cache *cache,
                        size_t keep) {
    size_t count, taken = 0, good = 0;
    struct picture **ranked = select_ranked(c, &count);
    int err = ERR_OK;
    for (size_t i = 0; i < count; i++)
        ranked[i]->later = true;
    do { // at least once, because held-out pictures have to be read too
        size_t end = MIN(count, taken + keep - good);
        for (; taken < end; taken++)
            ranked[taken]->later = false;
        err = inspect_until_done(c, job, cache);
        if (!err)
            good = duplicates_reject(c, ranked, taken);
    } while (!err && good < keep && taken < count);
    free(ranked);
    return err;
}

static int inspect_files(struct curation *c, const char *cache_path) {
    struct cache cache;
    cache_init(&cache, c, cache_path);
    struct inspect_job job = {
        .root = c->root,
        .half = c->half,
        .settings = c->settings,
        .reading = c->reading,
        .other = c->other,
        .pictures = &c->walk.found,
        .cancel = c->cancel,
        .progress = c->progress,
        .context = c->context,
    };
    size_t keep = c->curator->ranks_unread ? c->curator->keep(c->settings) : 0;
    return keep ? inspect_best(c, &job, &cache, keep) : inspect_until_done(c, &job, &cache);
}

static int inspect_partner(struct curation *c, const char *cache) {
    char *path = cache ? xasprintf("%s.partner", cache) : NULL;
    int err = inspect_files(c->partner, path);
    free(path);
    return err;
}

// Kinds that rank before reading already removed duplicates in inspect_best.
static void reject_duplicates(struct curation *c) {
    size_t count;
    if (c->curator->ranks_unread && c->curator->keep(c->settings))
        return;
    struct picture **preferred = select_preferred(c, &count);
    (void)duplicates_reject(c, preferred, count); // select_pictures counts again
    free(preferred);
}

// Only now it is known which pictures are held out.
static int check_leaks(struct curation *c) {
    struct leaks l;
    duplicates_find_leaks(c, &l);
    if (!l.example)
        return ERR_OK;
    curation_say(c, c->settings->drop_leaks ? "info" : "warn", "leak",
                 "domain %s: %zu training pictures are held out too, %zu of the same bytes and %zu "
                 "nearly the same ('%s' is '%s'): %s",
                 c->domain, l.equal + l.near, l.equal, l.near, l.example->path,
                 l.example->twin->path,
                 c->settings->drop_leaks ? "they are left out of training (drop_leaks)"
                                         : "scores on them tell little; drop_leaks = true leaves "
                                           "them out of training");
    for (size_t i = 0; i < c->walk.found.count; i++)
        if (c->walk.found.items[i].verdict == VERDICT_KEEP)
            return ERR_OK;
    return refusal_nothing_left(c);
}

int curation_decide(struct curation *c, const char *cache) {
    int err = inspect_files(c, cache);
    if (!err && c->partner)
        err = inspect_partner(c, cache);
    if (!err && c->curator->review)
        err = c->curator->review(c);
    if (err)
        return err_prefix(err, "curator.%s", c->domain);
    reject_duplicates(c);
    err = select_pictures(c);
    return err ? err : check_leaks(c);
}

bool curation_is_decided(const struct curation *c) {
    for (size_t i = 0; i < c->walk.found.count; i++)
        if (c->walk.found.items[i].verdict == VERDICT_OPEN)
            return false;
    return c->walk.found.count > 0;
}

// ---- manifest ----

static size_t fill_records(const struct curation *c, enum verdict verdict,
                           struct manifest_record *ret) {
    size_t n = 0;
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        if (p->verdict != verdict)
            continue;
        ret[n] = (struct manifest_record){.size = p->size, .w = p->w, .h = p->h};
        memcpy(ret[n].sha256, p->sha256, sizeof p->sha256);
        ret[n++].path = xstrdup(p->path);
    }
    return n;
}

struct manifest *curation_manifest(const struct curation *c) {
    struct manifest *m = xcalloc(1, sizeof *m);
    (void)text_copy(m->domain, sizeof m->domain, c->domain); // one letter
    m->root = xstrdup(c->root);
    m->records = xcalloc(c->walk.found.count, sizeof *m->records);
    m->count = fill_records(c, VERDICT_KEEP, m->records);
    m->held_out = fill_records(c, VERDICT_HOLD_OUT, m->records + m->count);
    manifest_seal(m);
    return m;
}
