// curate - the only module of the curator that names files in the run's folder. The modules of
// curation/ take paths or data.
#include "curate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "curation/contact.h"
#include "curation/domain.h"
#include "curation/explain.h"
#include "curation/report.h"

#define ROOT_MAX 1024 // bytes of the root in a message (msg.def)
#define SETTINGS_MAX 65536

// ---- what was made before ----

// The summary that the file has for this state; NULL if it was written for another state.
static char *read_settings(const char *path, const char *state) {
    uint8_t *bytes;
    size_t size;
    // A missing file is the usual first start, so its error is not passed on.
    if (fs_read(path, SETTINGS_MAX, &bytes, &size))
        return NULL;
    char *text = (char *)bytes, *summary = NULL;
    // 64 hex digits and a newline precede the summary. A summary of no byte does not occur.
    if (size > 66 && strncmp(text, state, 64) == 0 && text[64] == '\n' && text[size - 1] == '\n') {
        text[size - 1] = 0;
        summary = xstrdup(text + 65);
    }
    free(bytes);
    return summary;
}

// An unreadable manifest counts as changed: it is made anew, and nothing has to be repaired by
// hand.
static bool load_unchanged(struct curation *c, const char *state, struct manifest **ret_manifest) {
    char settings[64], manifest[64];
    (void)snprintf(settings, sizeof settings, "manifest/%s.settings", c->domain); // fits
    (void)snprintf(manifest, sizeof manifest, "manifest/%s.manifest", c->domain);
    c->summary = read_settings(settings, state);
    return c->summary && manifest_load(manifest, ret_manifest) == ERR_OK;
}

// ---- what is made now ----

static void draw_contact(const struct curation *c, struct points *points) {
    // The sheet only helps a person. Without it the run goes on, so its failure is a warning.
    struct image sheet;
    char path[64];
    (void)snprintf(path, sizeof path, "samples/curation_%s.png", c->domain); // fits
    int err = fs_mkdirs("samples", 0755);
    if (!err) {
        contact_image(c, &sheet);
        err = image_save_png(path, &sheet);
        image_fini(&sheet);
    }
    if (err)
        curation_say(c, "warn", "contact_sheet", "no contact sheet: %s", err_text());
    else
        points_sample(points, 0, "contact", path);
}

static int save_manifest(const struct curation *c, const struct manifest *m) {
    // Checked here, before serve.c copies the root into a message of fixed size.
    char path[64];
    if (strlen(m->root) > ROOT_MAX)
        return err_set(ERR_DATA, "curator.%s: the folder's name has more than %d bytes", c->domain,
                       ROOT_MAX);
    (void)snprintf(path, sizeof path, "manifest/%s.manifest", c->domain); // fits
    return manifest_save(m, path);
}

static void path_of(char letter, const char *extension, char ret[64]) {
    (void)snprintf(ret, 64, "manifest/%c.%s", letter, extension); // fits
}

// The other's manifest was written before its .domain; if it is being written again, it warns
// itself.
static void compare_pictures(const struct curation *c, const struct manifest *m) {
    struct manifest *other = NULL;
    char path[64];
    path_of(c->domain[0] == 'A' ? 'B' : 'A', "manifest", path);
    // An absent or damaged manifest of the other domain means that there is nothing to compare yet.
    if (manifest_load(path, &other) == ERR_OK)
        report_shared(c, m, other);
    manifest_free(other);
}

// Both domains' curators may run at once. Each writes its own file before it looks for the other
// one, so at least one of them sees both. make_manifest removed our old file first.
static void compare_domains(const struct curation *c, const struct manifest *m,
                            struct points *points) {
    char own_path[64], other_path[64];
    struct domain own, other;
    bool is_a = c->domain[0] == 'A';
    path_of(c->domain[0], "domain", own_path);
    path_of(is_a ? 'B' : 'A', "domain", other_path);
    // Reported before saving: these numbers are known even if the disk is full.
    domain_of(c, m->digest, &own);
    report_domain(c, &own, points);
    int err = domain_save(&own, own_path);
    bool both = !err && fs_exists(other_path);
    if (both)
        err = domain_load(other_path, &other);
    if (err)
        curation_say(c, "warn", "domain", "no distance between the domains: %s", err_text());
    else if (both)
        report_distance(c, is_a ? &own : &other, is_a ? &other : &own, points);
    if (!err && both && !c->curator->pair) // pairs share files on purpose
        compare_pictures(c, m);
}

static void forget_results(const struct curation *c) {
    char path[64];
    path_of(c->domain[0], "domain", path);
    (void)unlink(path); // there may be none
    // A stop between the two writes would leave these settings beside a manifest of others.
    path_of(c->domain[0], "settings", path);
    (void)unlink(path);
}

// Written last: it marks all files before it as complete.
static int save_settings(const struct curation *c, const char *state) {
    char path[64];
    (void)snprintf(path, sizeof path, "manifest/%s.settings", c->domain); // fits
    char *text = xasprintf("%s\n%s\n", state, c->summary);
    int err = fs_write_atomic(path, text, strlen(text));
    free(text);
    return err;
}

static void report_result(const struct curation *c, const struct manifest *m,
                          struct points *points) {
    char key[64], *looks = report_looks(c);
    curation_say(c, "info", "curated", "%s", c->summary);
    curation_say(c, "info", "data", "%s: %s", c->domain, looks);
    report_few(c);
    report_flat(c);
    report_unread(c);
    report_turned(c);
    report_held_out(c);
    report_verdicts(c, points);
    report_params(c, points);
    compare_domains(c, m, points);
    (void)snprintf(key, sizeof key, "manifest.%s.digest", c->domain); // fits
    points_param(points, key, "%s", m->digest);
    (void)snprintf(key, sizeof key, "data.%s.summary", c->domain);
    points_param(points, key, "%s", c->summary);
    free(looks);
}

static int make_manifest(struct curation *c, const char *state, struct points *points,
                         struct manifest **ret_manifest) {
    char cache[64];
    (void)snprintf(cache, sizeof cache, "manifest/%s.cache", c->domain); // fits
    forget_results(c);
    int err = curation_decide(c, cache);
    if (err == ERR_DATA && curation_is_decided(c))
        report_verdicts(c, points); // every picture was rejected: users query the reasons
    if (err)
        return err;
    // Set where the settings matched but the manifest could not be loaded.
    free(c->summary);
    c->summary = report_line(c);
    struct manifest *m = curation_manifest(c);
    err = save_manifest(c, m);
    if (!err) {
        report_result(c, m, points);
        draw_contact(c, points);
        err = save_settings(c, state);
    }
    // The manifest on disk stays. Without a settings file of this state, the next start makes it
    // anew.
    if (err) {
        manifest_free(m);
        return err;
    }
    *ret_manifest = m;
    return ERR_OK;
}

// The cache of the labels lies beside the manifest.
static int find_pictures(struct curation *c) {
    char *path = xasprintf("manifest/%s.labels", c->domain);
    c->label_cache = path;
    int err = curation_find(c);
    // The curation outlives this path. It must not keep a pointer to freed memory.
    c->label_cache = NULL;
    free(path);
    return err;
}

int curate(struct curation *c, struct points *points, struct manifest **ret_manifest) {
    char state[65];
    int err = fs_mkdirs("manifest", 0755);
    if (!err)
        err = find_pictures(c);
    if (err)
        return err;
    // The digest is complete only after finding: it covers path, size and time of each candidate.
    curation_state(c, state);
    if (!load_unchanged(c, state, ret_manifest))
        return make_manifest(c, state, points, ret_manifest);
    curation_say(c, "info", "unchanged", "%s (unchanged since the last start)", c->summary);
    return ERR_OK;
}

int curate_explain(struct curation *c, const char *file, FILE *out) {
    char cache[64];
    (void)snprintf(cache, sizeof cache, "manifest/%s.cache", c->domain); // fits
    int err = fs_mkdirs("manifest", 0755);
    // The cache and the labels are still written to manifest/; a failure there is only a warning.
    if (!err)
        err = find_pictures(c);
    if (!err)
        err = curation_decide(c, cache);
    // Users ask for an explanation above all when every picture was rejected.
    return err && !curation_is_decided(c) ? err : explain(c, file, out);
}
