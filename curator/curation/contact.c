// contact - chooses the pictures of the sheet in rows, then decodes and draws them. Choosing reads
// verdicts alone; put_cell is the only place that opens files.
#include "curation/contact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "curation/explain.h"
#include "curation/report.h"
#include "image/settings.h"
#include "image/sheet.h"
#include "pictures/check.h"

// More reasons than rows leave the rarest out, since reasons are sorted by frequency.
enum { MAX_ROWS = 20, CELL = 128 };

struct row {
    char label[96];
    const struct picture *cells[CONTACT_COLUMNS];
    char notes[CONTACT_COLUMNS][64]; // "": the picture's name
    int count;
};

struct rows {
    struct row items[MAX_ROWS];
    int count;
};

// Adds a row of pictures for which is(p, key) holds, spread evenly over them; no row without any.
static void add_spread(struct rows *rows, const struct curation *c, const char *label,
                       bool (*is)(const struct picture *p, const void *key), const void *key) {
    size_t total = 0, seen = 0;
    for (size_t i = 0; i < c->walk.found.count; i++)
        total += is(&c->walk.found.items[i], key);
    if (!total || rows->count == MAX_ROWS)
        return;
    struct row *row = &rows->items[rows->count++];
    // Each of the `wanted` cells takes the picture at an equal step among `total`: no draw is
    // needed.
    size_t wanted = MIN(total, CONTACT_COLUMNS);
    (void)snprintf(row->label, sizeof row->label, "%zu %s", total, label); // may be cut
    // The second test ends the pass at the last cell.
    for (size_t i = 0; i < c->walk.found.count && row->count < (int)wanted; i++) {
        const struct picture *p = &c->walk.found.items[i];
        if (is(p, key) && seen++ == (size_t)row->count * total / wanted)
            row->cells[row->count++] = p;
    }
}

static bool has_verdict(const struct picture *p, const void *key) {
    return p->verdict == *(const enum verdict *)key;
}

static bool is_rejected_for(const struct picture *p, const void *key) {
    return p->verdict == VERDICT_REJECT && strcmp(p->reason, key) == 0;
}

// The pictures of rank first, first + 1, ...
static void add_ranks(struct rows *rows, const struct curation *c, const char *label,
                      size_t first) {
    if (rows->count == MAX_ROWS)
        return;
    struct row *row = &rows->items[rows->count++];
    (void)text_copy(row->label, sizeof row->label, label); // fits
    for (size_t i = 0; i < c->walk.found.count; i++) {
        const struct picture *p = &c->walk.found.items[i];
        // Rank 0 means not ranked. It is below first, which starts at 1.
        if (p->rank < first || p->rank >= first + CONTACT_COLUMNS)
            continue;
        row->cells[p->rank - first] = p;
        row->count = MAX(row->count, (int)(p->rank - first) + 1);
    }
}

// ---- borderline ----

struct close {
    const struct curation *c;
    bool kept;
};

static bool is_close(const struct picture *p, const void *key) {
    const struct close *k = key;
    const char *setting = explain_border(k->c, p);
    bool by_rank = k->c->curator->keep_name && strcmp(setting, k->c->curator->keep_name) == 0;
    return *setting && !by_rank &&
           (p->verdict != VERDICT_REJECT) == k->kept; // rankings have their own rows
}

// "lum 61.2/60 a.jpg": value, bound, name.
static void note_border(const struct curation *c, const struct picture *p, char ret[64]) {
    double margin;
    // The nearest bound is the one that explain_border named, unless that was the near-duplicates.
    const struct check *k = check_nearest(c->settings, p, &margin);
    if (strcmp(explain_border(c, p), "near_duplicates") == 0)
        (void)snprintf(ret, 64, "%d of %lld bits", p->twin_bits,
                       (long long)c->settings->near_duplicates); // fits
    else if (k)
        (void)snprintf(ret, 64, "%.3s %.4g/%g %.20s", k->value_name, k->value(p, &p->stats),
                       // Cells are narrow: 3 letters of the value's name and 20 of the file's.
                       k->bound(c->settings), picture_name(p->path)); // may be cut
}

static void add_close(struct rows *rows, const struct curation *c, bool kept, const char *label) {
    // add_spread may add no row. The index is used only when the count has grown.
    int before = rows->count;
    add_spread(rows, c, label, is_close, &(struct close){c, kept});
    struct row *row = &rows->items[before];
    for (int i = 0; rows->count > before && i < row->count; i++)
        note_border(c, row->cells[i], row->notes[i]);
}

// Shows duplicates in pairs: the kept picture, then the rejected one.
static void show_twins(struct row *row) {
    const struct picture *found[CONTACT_COLUMNS];
    int n = MIN(row->count, CONTACT_COLUMNS / 2);
    // A copy, because pairs are written over the cells that are read.
    memcpy(found, row->cells, sizeof found);
    for (int i = 0; i < n; i++) {
        const struct picture *p = found[i * row->count / n];
        row->cells[2 * i] = p->twin;
        row->cells[2 * i + 1] = p;
        (void)snprintf(row->notes[2 * i], sizeof row->notes[0], "kept: %.40s",
                       picture_name(p->twin->path)); // may be cut
    }
    row->count = 2 * n;
}

static void add_reason(struct rows *rows, const struct curation *c, const char *reason) {
    int before = rows->count;
    add_spread(rows, c, reason, is_rejected_for, reason);
    struct row *row = &rows->items[before];
    // A script of kind exec may give such a reason too, without a twin.
    if (rows->count > before && row->cells[0]->twin && strstr(reason, "duplicate"))
        show_twins(row);
}

static void add_border(struct rows *rows, const struct curation *c) {
    add_close(rows, c, true, "just kept");
    add_close(rows, c, false, "just left out");
    // `keep` is 0 where the kind keeps all; then no cut exists.
    size_t keep = c->curator->rank ? c->curator->keep(c->settings) : 0;
    if (!keep || keep >= c->ranked)
        return;
    add_ranks(rows, c, "last kept", keep > CONTACT_COLUMNS ? keep - CONTACT_COLUMNS + 1 : 1);
    add_ranks(rows, c, "first cut", keep + 1);
}

static void collect_rows(struct rows *rows, const struct curation *c) {
    static const enum verdict keep = VERDICT_KEEP, hold_out = VERDICT_HOLD_OUT;
    size_t n;
    struct reason_count *reasons = report_reasons(c, &n);
    // Rows that most users look for come first. Reasons fill the rows that are left.
    add_spread(rows, c, "to train on", has_verdict, &keep);
    add_spread(rows, c, "held out", has_verdict, &hold_out);
    add_border(rows, c);
    for (size_t i = 0; i < n; i++)
        add_reason(rows, c, reasons[i].reason);
    free(reasons);
}

static void put_cell(struct sheet *s, const struct curation *c, int column, int row,
                     const struct row *r) {
    const struct picture *p = r->cells[column];
    // One picture is decoded at a time: large sets would not fit in memory together.
    struct image im;
    char *full = xasprintf("%s/%s", c->root, p->path);
    sheet_note(s, column, row, *r->notes[column] ? r->notes[column] : picture_name(p->path));
    // The loader's decoding settings apply, so the sheet shows what training sees.
    struct image_how how = image_settings_how(c->reading, image_default_limits.max_pixels);
    if (image_load_how(full, &how, 3, &im) == 0) {
        struct image part;
        // A picture of one column has no halves; it is drawn whole.
        image_cut_half(&im, im.w > 1 ? c->half : IMAGE_WHOLE, &part);
        sheet_put(s, column, row, &part);
        image_fini(&part);
        image_fini(&im);
    }
    free(full);
}

void contact_image(const struct curation *c, struct image *ret_image) {
    struct rows rows = {0};
    collect_rows(&rows, c);
    bool noted = c->note && c->note[0];
    char *line = report_line(c);
    char *caption = xasprintf("domain %s%s%s%s, %s", c->domain, noted ? " (" : "",
                              noted ? c->note : "", noted ? ")" : "", line);
    // A sheet without rows still shows its caption.
    struct sheet *s = sheet_new(CONTACT_COLUMNS, MAX(rows.count, 1), CELL, CELL);
    sheet_caption(s, caption);
    for (int y = 0; y < rows.count; y++) {
        sheet_label(s, y, rows.items[y].label);
        for (int x = 0; x < rows.items[y].count; x++)
            if (rows.items[y].cells[x])
                put_cell(s, c, x, y, &rows.items[y]);
    }
    sheet_image(s, ret_image);
    sheet_free(s);
    free(caption);
    free(line);
}
