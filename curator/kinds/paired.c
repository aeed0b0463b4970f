// paired - pictures that belong together: two in one file, side by side, or two files of one name.
//
// Each domain's curator looks at both sides. So both find the same pairs in the same order, and
// they exchange no message.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "config/layout.h"
#include "image/format.h"
#include "kinds/curators.h"

// ---- where ----

// Layouts of files that hold both pictures side by side. The last one fits every folder.
static const struct layout side_by_side[] = {{"train", {"test", "val"}}, {"", {"test", "val"}}};

// In the order of config/layout.h, then the two layouts of this file.
static const struct layout *find_layout(const char *root) {
    const struct layout *l = layout_find(root, "AB");
    if (l)
        return l;
    char *train = layout_folder(root, side_by_side[0].train, 0);
    l = &side_by_side[train ? 0 : 1];
    free(train);
    return l;
}

static char *find_held_out(const struct curation *c, const struct layout *l) {
    const char letters[] = {c->domain[0], c->domain[0] == 'A' ? 'B' : 'A', 0};
    if (*c->settings->held_out)
        return xstrdup(c->settings->held_out);
    return l ? layout_held_out(c->settings->root, l, letters) : NULL;
}

static void report_layout(const struct curation *c, const char *folder, const char *aside) {
    const char *what = c->half ? "pairs side by side, A left and B right, in"
                               : "pairs of two files of one name; this side's are in";
    curation_say(c, "info", "layout", "%s: %s '%s'; held out: %s", c->domain, what, folder,
                 aside ? aside : "a share of them");
}

static int locate_pairs(struct curation *c, char **ret_folder, char **ret_aside) {
    const char *root = c->settings->root;
    // Two roots are two folders of files; no layout can join them.
    bool two_roots = strcmp(root, c->other->root) != 0;
    const struct layout *l = two_roots ? NULL : find_layout(root);
    // A '*' in the layout is the place of the domain's letter: two folders, hence two files.
    if (l && !strchr(l->train, '*'))
        c->half = c->domain[0] == 'A' ? IMAGE_LEFT : IMAGE_RIGHT;
    *ret_folder = l && *l->train ? layout_folder(root, l->train, c->domain[0]) : xstrdup(root);
    *ret_aside = find_held_out(c, l);
    report_layout(c, *ret_folder, *ret_aside);
    return 0;
}

static int scan_side(struct curation *c) {
    return walk_folder(c->root, c->folder, c->aside, &c->walk);
}

// ---- who belongs to whom ----

struct entry {
    bool aside;
    const char *name; // behind the folder; `size` bytes, without the extension
    size_t size;
    struct picture *picture;
};

static struct entry entry_of(const struct curation *c, struct picture *p) {
    // Names are compared below their own folder: trainA/x and trainB/x belong together.
    const char *folder = p->aside ? c->aside : c->folder;
    const char *name = p->path + strlen(folder) + (*folder != 0);
    return (struct entry){p->aside, name, image_stem_length(name), p};
}

static int by_name(const void *a, const void *b) {
    const struct entry *p = a, *q = b;
    // Training and held-out pictures never pair with each other.
    if (p->aside != q->aside)
        return p->aside ? 1 : -1;
    // memcmp, since names are not ended where the extension begins.
    int order = memcmp(p->name, q->name, MIN(p->size, q->size));
    return order ? order : (p->size > q->size) - (p->size < q->size);
}

// What is rejected already (a link to a folder) has no partner. malloc'ed.
static struct entry *sorted_entries(const struct curation *c, const struct entry **ret_end) {
    struct entry *e = xcalloc(c->walk.found.count, sizeof *e);
    size_t n = 0;
    // The merge below needs sorted entries of both sides.
    for (size_t i = 0; i < c->walk.found.count; i++)
        if (c->walk.found.items[i].verdict != VERDICT_REJECT)
            e[n++] = entry_of(c, &c->walk.found.items[i]);
    if (n)
        qsort(e, n, sizeof *e, by_name);
    *ret_end = e + n;
    return e;
}

// How many entries from e on, before end, have the name of e.
static size_t same_name(const struct entry *e, const struct entry *end) {
    size_t n = 0;
    while (e + n < end && by_name(e, e + n) == 0)
        n++;
    return n;
}

static void reject_unmatched(struct picture *p, const char *why, const char *where) {
    picture_reject(p, "unmatched", NAN, "%s '%.160s'", why, where);
}

// Several files of one name: nothing says which of them belong together.
static void reject_run(struct entry *e, size_t n, size_t n_other, const struct curation *other) {
    for (size_t i = 0; i < n; i++)
        // None on the other side, or too many on one of the two.
        if (!n_other)
            reject_unmatched(e[i].picture, "no picture of this name is under",
                             other->settings->root);
        else
            reject_unmatched(e[i].picture, "there is more than one of the name",
                             e[0].picture->path);
}

static void match_names(struct curation *c) {
    const struct entry *own_end, *others_end;
    struct entry *own = sorted_entries(c, &own_end);
    struct entry *others = sorted_entries(c->partner, &others_end);
    struct entry *a = own, *b = others;
    // A merge of two sorted lists: each step consumes one name on one or both sides.
    while (a < own_end || b < others_end) {
        // An exhausted side counts as larger.
        int order = a == own_end ? 1 : b == others_end ? -1 : by_name(a, b);
        size_t n = order <= 0 ? same_name(a, own_end) : 0;
        size_t m = order >= 0 ? same_name(b, others_end) : 0;
        // One file each: the only case without doubt.
        if (n == 1 && m == 1) {
            a->picture->partner = b->picture;
            b->picture->partner = a->picture;
        } else {
            // With a count of 0 this does nothing.
            reject_run(a, n, m, c->partner);
            reject_run(b, m, n, c);
        }
        a += n;
        b += m;
    }
    free(own);
    free(others);
}

// Loaders pair the manifests line by line, and manifests are sorted by path. The extension can make
// the two orders differ: "a.b.jpg" sorts before "a.jpg", but "a.png" may come first on the other
// side. A pair that breaks the order is left out.
// Both sides run this for domain A's order, so both drop the same pairs.
static void check_order(const struct pictures *a, bool aside) {
    const struct picture *last = NULL;
    for (size_t i = 0; i < a->count; i++) {
        struct picture *p = &a->items[i], *q = p->partner;
        if (!q || p->aside != aside)
            continue;
        // The partners of A's pictures, in A's order, have to be ascending too.
        if (!last || strcmp(last->path, q->path) < 0) {
            last = q;
            continue;
        }
        reject_unmatched(p, "its partner is not in the same order; rename", q->path);
        reject_unmatched(q, "its partner is not in the same order; rename", p->path);
        p->partner = q->partner = NULL;
    }
}

static void pair_pictures(struct curation *c) {
    match_names(c);
    const struct curation *a = c->domain[0] == 'A' ? c : c->partner;
    // Training and held-out records are separate lists in a manifest.
    check_order(&a->walk.found, false);
    check_order(&a->walk.found, true);
}

// ---- a bad one takes the other with it ----

// Whether the loader makes both images of a pair the same size. Where it does not resize to a
// square, one crop has to fit both, and a net's output has to cover its target.
static bool sizes_agree(const struct config_loader *reading, const struct picture *p,
                        const struct picture *q) {
    // Without loader settings, both images are resized to a square.
    const char *how = reading && reading->preprocess ? reading->preprocess : "resize";
    bool aligned =
        reading && reading->dataset_mode && strcmp(reading->dataset_mode, "aligned") == 0;
    // resize and resize_and_crop make both images the same square.
    if (!aligned || strncmp(how, "resize", 6) == 0)
        return true;
    if (strncmp(how, "scale_width", 11) == 0) // one width; the height follows the aspect
        // Cross-multiplied, so that no division rounds.
        return (int64_t)p->w * q->h == (int64_t)q->w * p->h;
    return p->w == q->w && p->h == q->h;
}

// Both sides decide alike, since each compares the same two pictures.
static void reject_unequal(const struct curation *c, struct picture *p) {
    const struct picture *q = p->partner;
    if (p->verdict == VERDICT_REJECT || sizes_agree(c->reading, p, q))
        return;
    picture_reject(p, "pair_sizes", NAN,
                   "%dx%d, its partner %dx%d: loader.preprocess = %s needs pairs of one shape",
                   p->w, p->h, q->w, q->h, c->reading->preprocess);
}

// The partner's verdict is final here: its files were inspected before review.
static int reject_halves(struct curation *c) {
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        const struct picture *q = p->partner;
        if (q && q->verdict != VERDICT_REJECT)
            reject_unequal(c, p);
        if (!q || p->verdict == VERDICT_REJECT || q->verdict != VERDICT_REJECT)
            continue;
        // 64 bytes are the limit of a reason; 50 and the prefix fit.
        char reason[65];
        (void)snprintf(reason, sizeof reason, "partner_%.50s", q->reason); // fits
        picture_reject(p, reason, q->score, "'%s/%s': %s", c->partner->root, q->path,
                       q->detail ? q->detail : "");
    }
    return 0;
}

const struct curator curator_paired = {
    .name = "paired",
    .help = "pictures that belong together, for use = \"paired\" in A and B: two in one file,\n"
            "           side by side (root/train), or two files of one name (root/trainA and\n"
            "           root/trainB, root/A and root/B, or a root of each). A picture without a\n"
            "           good partner is left out. Settings: min_side, max_side, limit",
    .locate = locate_pairs,
    .scan = scan_side,
    .pair = pair_pictures,
    .review = reject_halves,
};
