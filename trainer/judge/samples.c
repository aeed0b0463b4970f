// Renders sheets of translated images, and the page that shows them.
#include "judge/samples.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pixels.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "image/sheet.h"

enum { REAL, FAKE, REC, IDT, COLUMNS };
// The columns with one generator: real A, fake B, and the real B of the same number.
enum { REAL_B = FAKE + 1, COLUMNS_ONE_WAY };

// One row of a sheet as floats: an image of domain `side` and its translations.
struct row {
    int h, w, c, c_other, columns;
    float *x[COLUMNS];
};

static void row_init(struct row *r, const struct image *real, int c_other, int generators) {
    size_t pixels = (size_t)real->h * (size_t)real->w;
    *r = (struct row){.h = real->h, .w = real->w, .c = real->c, .c_other = c_other};
    // The identity needs equal channels: it feeds a generator its own output domain.
    r->columns = generators == 1 ? FAKE + 1 : r->c == c_other ? IDT + 1 : REC + 1;
    for (int i = 0; i < r->columns; i++)
        r->x[i] = xaligned(pixels * (size_t)(i == FAKE ? c_other : real->c) * sizeof(float));
    pixels_to_floats(real->pixels, pixels * (size_t)real->c, r->x[REAL]);
}

static void row_fini(struct row *r) {
    for (int i = 0; i < r->columns; i++)
        free(r->x[i]);
}

static int row_compute(struct model *m, struct row *r, int side) {
    int err = model_translate(m, side, 1, r->h, r->w, r->x[REAL], r->x[FAKE]);
    if (!err && r->columns > REC)
        err = model_translate(m, 1 - side, 1, r->h, r->w, r->x[FAKE], r->x[REC]);
    // The other generator on the real image should change nothing.
    if (!err && r->columns > IDT)
        err = model_translate(m, 1 - side, 1, r->h, r->w, r->x[REAL], r->x[IDT]);
    return err;
}

static void row_put(const struct row *r, struct sheet *sheet, int y) {
    for (int i = 0; i < r->columns; i++) {
        struct image im;
        pixels_to_image(r->x[i], r->h, r->w, i == FAKE ? r->c_other : r->c, &im);
        sheet_put(sheet, i, y, &im);
        image_fini(&im);
    }
}

static int put_probe(struct model *m, const struct held_out *held, int side, int i,
                     struct sheet *sheet, int y) {
    struct row r;
    char label[32];
    row_init(&r, &held->real[side][i], held->real[1 - side][0].c, model_n_generators(m));
    int err = row_compute(m, &r, side);
    if (!err)
        row_put(&r, sheet, y);
    // Not a translation: for comparison only.
    if (model_n_generators(m) == 1 && i < held->count[1])
        sheet_put(sheet, REAL_B, y, &held->real[1][i]);
    row_fini(&r);
    (void)snprintf(label, sizeof label, "%c %d", held_out_domain(held, side), i); // fits
    sheet_label(sheet, y, label);
    return err;
}

static void put_titles(struct sheet *sheet, const struct samples_options *options, int generators,
                       char imitated) {
    static const char *const titles[COLUMNS] = {"real", "fake", "rec", "idt"};
    const char *const one_way[COLUMNS_ONE_WAY] = {"real", "fake",
                                                  imitated == 'A' ? "real A" : "real B"};
    char caption[256];
    for (int i = 0; i < (generators == 1 ? COLUMNS_ONE_WAY : COLUMNS); i++)
        sheet_title(sheet, i, generators == 1 ? one_way[i] : titles[i]);
    (void)snprintf(caption, sizeof caption, "%s, step %llu", options->title,
                   (unsigned long long)options->step); // may be cut
    sheet_caption(sheet, caption);
}

static int save_sheet(struct sheet *sheet, uint64_t step, char ret_path[SAMPLES_PATH]) {
    struct image im;
    int err = fs_mkdirs("samples", 0755);
    if (err)
        return err;
    (void)snprintf(ret_path, SAMPLES_PATH, "samples/step_%08llu.png",
                   (unsigned long long)step); // fits
    sheet_image(sheet, &im);
    err = image_save_png(ret_path, &im);
    image_fini(&im);
    return err;
}

int samples_render(struct model *m, const struct held_out *held,
                   const struct samples_options *options, char ret_path[SAMPLES_PATH]) {
    int n[2] = {MIN(options->probes, held->count[0]), MIN(options->probes, held->count[1])};
    if (n[0] < 1 || n[1] < 1)
        return err_set(ERR_SHAPE, "no probe pictures");
    int generators = model_n_generators(m), rows = generators == 1 ? n[0] : n[0] + n[1];
    struct sheet *sheet = sheet_new(generators == 1 ? COLUMNS_ONE_WAY : COLUMNS, rows,
                                    held->real[0][0].w, held->real[0][0].h);
    int err = ERR_OK;
    put_titles(sheet, options, generators, held_out_domain(held, 1));
    for (int y = 0; y < rows && !err; y++) {
        // All probes of side 0 first, then those of side 1.
        int side = y >= n[0];
        err = put_probe(m, held, side, y - side * n[0], sheet, y);
    }
    if (!err)
        err = save_sheet(sheet, options->step, ret_path);
    sheet_free(sheet);
    return err;
}

// ---- the page ----

static int is_sheet(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    // Digits are between; longer names are not ours.
    return n > 9 && n < 40 && strncmp(e->d_name, "step_", 5) == 0 &&
           strcmp(e->d_name + n - 4, ".png") == 0;
}

static int newest_first(const struct dirent **a, const struct dirent **b) {
    unsigned long long x = strtoull((*a)->d_name + 5, NULL, 10);
    unsigned long long y = strtoull((*b)->d_name + 5, NULL, 10);
    return x < y ? 1 : -(x > y);
}

static void print_escaped(FILE *out, const char *text) {
    for (; *text; text++)
        if (strchr("<>&\"'", *text))
            // The title holds the user's note.
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
}

static void print_head(FILE *out, const char *title, int generators) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>", out);
    print_escaped(out, title);
    fputs("</title>\n<style>body{font-family:sans-serif;margin:2em}img{max-width:100%}</style>\n"
          "<h1>",
          out);
    print_escaped(out, title);
    fputs(
        generators == 1
            ? "</h1>\n<p>Columns: real, fake (translated), and the real picture of the same number "
              "in the other domain.</p>\n"
            : "</h1>\n<p>Columns: real, fake (translated), rec (translated back), idt (the other "
              "generator on the same picture). The letter of a row is its domain.</p>\n",
        out);
}

static void print_sheet(FILE *out, const char *file) {
    unsigned long long step = strtoull(file + 5, NULL, 10);
    fprintf(out,
            "<h2 id=\"%llu\">Step %llu</h2>\n<a href=\"samples/%s\">"
            "<img loading=\"lazy\" alt=\"step %llu\" src=\"samples/%s\"></a>\n",
            step, step, file, step, file);
}

int samples_page(const char *title, int generators) {
    struct dirent **files;
    char *text = NULL;
    size_t size = 0;
    int n = scandir("samples", &files, is_sheet, newest_first);
    if (n < 0)
        return err_set(ERR_IO, "read folder 'samples': %s", strerror(errno));
    FILE *out = text_open(&text, &size);
    print_head(out, title, generators);
    for (int i = 0; i < n; i++) {
        print_sheet(out, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    fputs("</html>\n", out);
    text_close(out);
    // Written anew each time: a browser may read it meanwhile.
    int err = fs_write_atomic("index.html", text, size);
    free(text);
    return err;
}
