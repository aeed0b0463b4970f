// celeba_lists - one engine for four tables, each described by a row of `kinds`. Each list is read,
// applied and freed before the next, so one is in memory at a time.
#include "kinds/celeba_lists.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "kinds/names.h"
#include "kinds/table.h"

#define WANTED_MAX 40

// The order of `kinds`; celeba_lists_check takes these numbers.
enum { ATTRIBUTES, PARTITION, BOXES, IDENTITIES };

struct wanted {
    char name[64]; // of the column
    int sign;      // 1, -1
    int column;    // field of a row
};

struct list {
    const struct kind *kind;
    const struct config_curator *settings;
    struct names names; // value: its meaning depends on the kind
    struct wanted wanted[WANTED_MAX];
    int wanted_count;
    int fields; // of a row
};

struct kind {
    const char *file, *what, *none; // none: reason for a picture without a row
    int fields;                     // of a row; 0: as the header says
    bool (*is_set)(const struct config_curator *s);
    // Checks the header; sets *ret_is_row if the line is a row already. ERR_DATA.
    int (*header)(struct list *l, const struct table *t, bool *ret_is_row);
    // Reads a row into the value kept for its name. ERR_DATA.
    int (*row)(struct list *l, const struct table *t, uint32_t *ret_value);
    void (*sift)(const struct list *l, uint32_t value, struct picture *p); // NULL: all at once
};

// ---- attributes: value is 0, or which of the wanted ones is other, from 1 ----

static bool attributes_are_set(const struct config_curator *s) {
    return *s->attributes != 0;
}

static int parse_wanted(struct list *l) {
    const char *at = l->settings->attributes, *item;
    size_t size;
    while (config_list_next(&at, &item, &size)) {
        struct wanted *w = &l->wanted[l->wanted_count];
        const char *equals = memchr(item, '=', size);
        size_t name = equals ? (size_t)(equals - item) : size;
        while (name && item[name - 1] == ' ')
            name--;
        // config_list_next does not end its items with a 0, but table_number needs one.
        char *sign = xasprintf("%.*s", equals ? (int)(item + size - equals - 1) : 0,
                               equals ? equals + 1 : "");
        double value = 0;
        // Only 1 and -1: the list has no other values.
        bool ok = name > 0 && name < sizeof w->name &&
                  table_number(sign + strspn(sign, " "), &value) && fabs(value) == 1;
        free(sign);
        if (!ok || l->wanted_count == WANTED_MAX)
            return err_set(ERR_DATA,
                           "attributes: '%.*s' is not NAME=1 or NAME=-1 (at most %d of them)",
                           (int)size, item, WANTED_MAX);
        memcpy(w->name, item, name);
        w->name[name] = 0;
        w->sign = (int)value;
        l->wanted_count++;
    }
    return ERR_OK;
}

static int refuse_column(const struct table *t, const char *name) {
    struct text names = {0};
    for (int i = 0; i < t->count; i++)
        text_add(&names, "%s%s", i ? ", " : "", t->fields[i]);
    int err = table_refuse(t, "there is no column '%s'; there are: %s", name, names.bytes);
    free(names.bytes);
    return err;
}

// parse_wanted comes first: without it no column can be looked up.
static int attributes_header(struct list *l, const struct table *t, bool *ret_is_row) {
    int shift = strcmp(t->fields[0], "image_id") == 0
                    ? 0
                    : 1; // the official layout does not name its first column
    int err = parse_wanted(l);
    for (int i = 0; !err && i < l->wanted_count; i++) {
        int k = 0;
        while (k < t->count && strcmp(t->fields[k], l->wanted[i].name) != 0)
            k++;
        l->wanted[i].column = k + shift;
        if (k == t->count)
            err = refuse_column(t, l->wanted[i].name);
    }
    // Every row then has to have as many fields as the header promises.
    l->fields = t->count + shift;
    *ret_is_row = false;
    return err;
}

static int attributes_row(struct list *l, const struct table *t, uint32_t *ret_value) {
    *ret_value = 0;
    for (int i = 0; i < l->wanted_count; i++) {
        const struct wanted *w = &l->wanted[i];
        const char *field = t->fields[w->column];
        bool plus = strcmp(field, "1") == 0;
        if (!plus && strcmp(field, "-1") != 0)
            return table_refuse(t, "%s is '%s', not 1 or -1", w->name, field);
        // Only the first mismatch is kept: one number a row, and one reason.
        if (!*ret_value && plus != (w->sign > 0))
            *ret_value = (uint32_t)i + 1;
    }
    return ERR_OK;
}

static void attributes_sift(const struct list *l, uint32_t value, struct picture *p) {
    const struct wanted *w = value ? &l->wanted[value - 1] : NULL;
    if (w)
        picture_reject(p, "attributes", NAN, "%s is %d, %d is wanted", w->name, -w->sign, w->sign);
    // -sign is the value that the row has, because fields are 1 or -1 only.
}

// ---- partition: value is 0 to 2 ----

static const char *const parts[] = {"train", "val", "test"};

static bool partition_is_set(const struct config_curator *s) {
    return *s->partition != 0;
}

static int partition_header(struct list *l, const struct table *t, bool *ret_is_row) {
    const char *at = l->settings->partition, *item;
    size_t size;
    // The official layout has no header, so its first line is a row.
    *ret_is_row = strcmp(t->fields[0], "image_id") != 0;
    while (config_list_next(&at, &item, &size)) {
        bool ok = false;
        for (size_t i = 0; i < COUNT(parts); i++)
            ok |= strlen(parts[i]) == size && memcmp(parts[i], item, size) == 0;
        if (!ok)
            return err_set(ERR_DATA, "partition: '%.*s' is none of train, val, test", (int)size,
                           item);
    }
    return ERR_OK;
}

// A digit and nothing else; strtol would allow blanks and signs.
static int partition_row(struct list *l, const struct table *t, uint32_t *ret_value) {
    const char *field = t->fields[1];
    if (field[0] < '0' || field[0] > '2' || field[1])
        return table_refuse(t, "the partition is '%s', not 0, 1 or 2", field);
    *ret_value = (uint32_t)(field[0] - '0');
    return ERR_OK;
}

static void partition_sift(const struct list *l, uint32_t value, struct picture *p) {
    if (!config_list_has(l->settings->partition, parts[value]))
        picture_reject(p, "partition", (double)value, "it is of the %s part", parts[value]);
}

// ---- boxes: value is the shorter side ----

static bool boxes_are_set(const struct config_curator *s) {
    return s->min_face > 0;
}

static int boxes_header(struct list *l, const struct table *t, bool *ret_is_row) {
    *ret_is_row = false;
    if (t->count == 5 && strcmp(t->fields[3], "width") == 0 && strcmp(t->fields[4], "height") == 0)
        return ERR_OK;
    return table_refuse(t, "not a list of boxes: the header image_id x_1 y_1 width height is "
                           "expected here");
}

static int boxes_row(struct list *l, const struct table *t, uint32_t *ret_value) {
    double side[2];
    for (int i = 0; i < 2; i++)
        // 1e6 pixels bound the conversion to an integer below.
        if (!table_number(t->fields[3 + i], &side[i]) || side[i] < 0 || side[i] > 1e6)
            return table_refuse(t, "the %s is '%s', not a number of pixels", i ? "height" : "width",
                                t->fields[3 + i]);
    *ret_value = (uint32_t)MIN(side[0], side[1]);
    return ERR_OK;
}

static void boxes_sift(const struct list *l, uint32_t value, struct picture *p) {
    if ((int64_t)value < l->settings->min_face)
        picture_reject(p, "small_face", (double)value,
                       "the face's box had a shorter side of %u pixels, min_face is %lld", value,
                       (long long)l->settings->min_face);
}

// ---- identities: value is the number ----

static bool identities_are_set(const struct config_curator *s) {
    return s->per_identity > 0;
}

static int identities_header(struct list *l, const struct table *t, bool *ret_is_row) {
    *ret_is_row = strcmp(t->fields[0], "image_id") != 0;
    return ERR_OK;
}

static int identities_row(struct list *l, const struct table *t, uint32_t *ret_value) {
    double number;
    if (!table_number(t->fields[1], &number) || number < 0 || number > UINT32_MAX ||
        number != floor(number))
        return table_refuse(t, "the identity is '%s', not a whole number", t->fields[1]);
    *ret_value = (uint32_t)number;
    return ERR_OK;
}

struct face {
    uint32_t identity;
    struct picture *picture;
};

static int by_identity(const void *a, const void *b) {
    const struct face *p = a, *q = b;
    if (p->identity != q->identity)
        return p->identity < q->identity ? -1 : 1;
    double s = p->picture->score, r = q->picture->score;
    // Comparisons with NaN are false, so the path decides then.
    int order = s < r ? -1 : s > r; // 0 also if there are no scores (NaN)
    return order ? order : strcmp(p->picture->path, q->picture->path);
}

// Sorts by person and score; of each person, all behind the first per_identity are rejected.
// All rows were matched before: a good picture without a row was rejected as no_identity.
static void limit_identities(const struct list *l, struct pictures *found) {
    struct face *faces = xcalloc(found->count, sizeof *faces);
    size_t n = 0, run = 0, most = (size_t)l->settings->per_identity;
    for (size_t i = 0; i < found->count; i++) {
        struct picture *p = &found->items[i];
        // Held-out pictures of the folder are not good, so they neither count nor go.
        if (picture_is_good(p))
            faces[n++] = (struct face){names_find(&l->names, p->path)->value, p};
    }
    if (n)
        qsort(faces, n, sizeof *faces, by_identity);
    for (size_t i = 0; i < n; i++) {
        // `run` counts the pictures of one person, from 0.
        run = i && faces[i].identity == faces[i - 1].identity ? run + 1 : 0;
        if (run >= most)
            picture_reject(faces[i].picture, "identity", (double)faces[i].identity,
                           "picture %zu of person %u, per_identity is %zu", run + 1,
                           faces[i].identity, most);
    }
    free(faces);
}

// ---- all kinds ----

// Cheap conditions first; identities last, because they count only what the others left.
static const struct kind kinds[] = {
    {"list_attr_celeba", "attribute", "no_attributes", 0, attributes_are_set, attributes_header,
     attributes_row, attributes_sift},
    {"list_eval_partition", "partition", "no_partition", 2, partition_is_set, partition_header,
     partition_row, partition_sift},
    {"list_bbox_celeba", "box", "no_box", 5, boxes_are_set, boxes_header, boxes_row, boxes_sift},
    {"identity_CelebA", "identity", "no_identity", 2, identities_are_set, identities_header,
     identities_row, NULL},
};

bool celeba_lists_are_wanted(const struct config_curator *settings) {
    bool any = false;
    for (size_t i = 0; i < COUNT(kinds); i++)
        any |= kinds[i].is_set(settings);
    return any;
}

static int add_row(struct list *l, const struct table *t) {
    bool is_new;
    uint32_t value;
    const char *name = t->fields[0];
    // Checked before row(), which indexes fields without asking.
    if (t->count != l->fields)
        return table_refuse(t, "%d columns, but a name and %d more are expected", t->count,
                            l->fields - 1);
    int err = l->kind->row(l, t, &value);
    if (err)
        return err;
    struct name_row *row = names_add(&l->names, name, strlen(name), &is_new);
    if (!row)
        return table_refuse(t, "%s", err_text());
    // Two rows of one name could disagree; nothing says which is right.
    if (!is_new)
        return table_refuse(t, "'%s' has a row already, in line %u", name, row->line);
    row->line = (uint32_t)t->line;
    row->value = value;
    return ERR_OK;
}

static int read_rows(struct list *l, struct table *t) {
    bool is_row = false;
    l->fields = l->kind->fields;
    int err = table_head(t, l->kind->what);
    if (!err)
        err = l->kind->header(l, t, &is_row);
    if (!err && is_row)
        err = add_row(l, t);
    while (!err && table_next(t))
        err = add_row(l, t);
    return err ? err : table_check_rows(t, l->names.count);
}

static int read_list(struct list *l, const char *path) {
    struct table t;
    int err = table_open(path, &t);
    if (err)
        return err;
    err = read_rows(l, &t);
    table_close(&t);
    return err;
}

static void sift_by_list(const struct list *l, struct curation *c) {
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        if (p->verdict == VERDICT_REJECT)
            continue;
        const struct name_row *row = names_find(&l->names, p->path);
        if (!row)
            picture_reject(p, l->kind->none, NAN, "no row in %s", l->kind->file);
        else if (l->kind->sift)
            l->kind->sift(l, row->value, p);
    }
    // After all pictures without a row are rejected.
    if (!l->kind->sift)
        limit_identities(l, &c->walk.found);
}

static int find_list(const struct config_curator *s, const char *name, char **ret_path) {
    // From root outward: beside the pictures, in the set's folders, and one or two levels up.
    static const char *const folders[] = {"",         "/Anno",    "/Eval", "/..",
                                          "/../Anno", "/../Eval", "/../.."};
    static const char *const extensions[] = {"txt", "csv"};
    size_t count = *s->lists ? 1 : COUNT(folders);
    // Each folder is tried with both extensions.
    for (size_t i = 0; i < count * 2; i++) {
        char *path = xasprintf("%s%s/%s.%s", *s->lists ? s->lists : s->root, folders[i / 2], name,
                               extensions[i % 2]);
        if (fs_exists(path)) {
            *ret_path = path;
            return ERR_OK;
        }
        free(path);
    }
    return err_set(ERR_DATA,
                   "there is no %s.txt or .csv in '%s'%s; set lists to the folder that has it",
                   name, *s->lists ? s->lists : s->root, *s->lists ? "" : ", its Anno/ or Eval/");
}

static int sift_by(struct curation *c, const struct kind *kind) {
    struct list *l = xcalloc(1, sizeof *l);
    char *path = NULL;
    l->kind = kind;
    l->settings = c->settings;
    int err = find_list(c->settings, kind->file, &path);
    if (!err)
        // A changed list gives another manifest.
        err = curation_depends_on(c, path);
    if (!err)
        err = read_list(l, path);
    if (!err)
        sift_by_list(l, c);
    names_fini(&l->names);
    free(l);
    free(path);
    return err;
}

int celeba_lists_sift(struct curation *c) {
    int err = ERR_OK;
    for (size_t i = 0; !err && i < COUNT(kinds); i++)
        if (kinds[i].is_set(c->settings))
            err = sift_by(c, &kinds[i]);
    return err;
}

int celeba_lists_check(int kind, const struct config_curator *settings, const char *path) {
    struct list *l = xcalloc(1, sizeof *l);
    l->kind = &kinds[kind];
    l->settings = settings;
    int err = read_list(l, path);
    names_fini(&l->names);
    free(l);
    return err;
}
