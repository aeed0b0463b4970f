// sheet - a grid of pictures with texts, drawn in one pass when it is asked for. Pictures are
// resized when they are put, so large ones are not kept.
#include "image/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "image/font.h"

// Pixels, and a gray level for the paper.
enum { MARGIN = 6, GAP = 4, PAPER = 250, BIG_CELL = 200 };
static const uint8_t ink[3] = {40, 40, 48};

struct sheet {
    int columns, rows, cell_w, cell_h;
    int scale; // of the text
    char *caption;
    char **titles, **labels, **notes; // NULL: none
    struct image *cells;              // RGB, not larger than a cell; no pixels: empty
};

// Positions in pixels, computed from the contents of the sheet.
struct layout {
    int left, top;      // of cell 0, 0
    int row_h;          // from one row of cells to the next
    int text_w, text_h; // one character with its gap
    int title_y, total_w, total_h;
};

struct sheet *sheet_new(int columns, int rows, int cell_w, int cell_h) {
    if (columns < 1 || rows < 1 || cell_w < 1 || cell_h < 1)
        BUG("sheet of %dx%d cells of %dx%d", columns, rows, cell_w, cell_h);
    struct sheet *s = xcalloc(1, sizeof *s);
    size_t cells = (size_t)columns * (size_t)rows;
    *s = (struct sheet){columns, rows, cell_w, cell_h, .scale = cell_w >= BIG_CELL ? 2 : 1};
    s->titles = xcalloc((size_t)columns, sizeof *s->titles);
    s->labels = xcalloc((size_t)rows, sizeof *s->labels);
    s->notes = xcalloc(cells, sizeof *s->notes);
    s->cells = xcalloc(cells, sizeof *s->cells);
    return s;
}

static void free_texts(char **texts, int n) {
    for (int i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

void sheet_free(struct sheet *s) {
    if (!s)
        return;
    int cells = s->columns * s->rows;
    free_texts(s->titles, s->columns);
    free_texts(s->labels, s->rows);
    free_texts(s->notes, cells);
    for (int i = 0; i < cells; i++)
        image_fini(&s->cells[i]);
    free(s->cells);
    free(s->caption);
    free(s);
}

static void set_text(char **slot, const char *text) {
    free(*slot);
    *slot = xstrdup(text);
}

// One function for all positions, so a wrong one is found at the call.
static int cell_index(const struct sheet *s, int column, int row) {
    if (column < 0 || column >= s->columns || row < 0 || row >= s->rows)
        BUG("cell %d, %d of a sheet of %dx%d", column, row, s->columns, s->rows);
    return row * s->columns + column;
}

void sheet_title(struct sheet *s, int column, const char *text) {
    set_text(&s->titles[cell_index(s, column, 0)], text);
}

void sheet_label(struct sheet *s, int row, const char *text) {
    set_text(&s->labels[cell_index(s, 0, row) / s->columns], text);
}

void sheet_caption(struct sheet *s, const char *text) {
    set_text(&s->caption, text);
}

void sheet_note(struct sheet *s, int column, int row, const char *text) {
    set_text(&s->notes[cell_index(s, column, row)], text);
}

// The largest size of the image's aspect within the cell.
static void fit_size(const struct sheet *s, const struct image *im, int *ret_w, int *ret_h) {
    double scale = MIN((double)s->cell_w / im->w, (double)s->cell_h / im->h);
    // At least one pixel, for extreme aspects.
    *ret_w = MAX(1, MIN(s->cell_w, (int)(im->w * scale + 0.5)));
    *ret_h = MAX(1, MIN(s->cell_h, (int)(im->h * scale + 0.5)));
}

void sheet_put(struct sheet *s, int column, int row, const struct image *im) {
    struct image *cell = &s->cells[cell_index(s, column, row)];
    struct image fitted;
    int w, h;
    fit_size(s, im, &w, &h);
    image_resize(im, w, h, &fitted);
    image_fini(cell);
    image_rgb(&fitted, cell);
    image_fini(&fitted);
}

static int longest(char *const *texts, int n) {
    size_t length = 0;
    for (int i = 0; i < n; i++)
        if (texts[i])
            length = MAX(length, strlen(texts[i]));
    // Bounds the left margin; longer labels are cut.
    return (int)MIN(length, 200);
}

static int lines(const char *text) {
    int n = text ? 1 : 0;
    for (; text && *text; text++)
        n += *text == '\n';
    return n;
}

static struct layout layout_of(const struct sheet *s) {
    struct layout l = {.text_w = (FONT_COLUMNS + 1) * s->scale,
                       .text_h = (FONT_ROWS + 2) * s->scale};
    int label = longest(s->labels, s->rows) * l.text_w;
    // Rows of notes take no room where there is none.
    int note_h = longest(s->notes, s->columns * s->rows) ? l.text_h + 1 : 0;
    int caption = lines(s->caption) * l.text_h;
    l.left = MARGIN + label + (label ? GAP : 0);
    l.title_y = MARGIN + caption + (caption ? GAP : 0);
    l.top = l.title_y + (longest(s->titles, s->columns) ? l.text_h : 0);
    l.row_h = s->cell_h + note_h + GAP;
    l.total_w = l.left + s->columns * (s->cell_w + GAP) - GAP + MARGIN;
    l.total_h = l.top + s->rows * l.row_h - GAP + MARGIN;
    return l;
}

static void fill_rect(struct image *im, struct image_box box, const uint8_t colour[3]) {
    // Clipped, so that texts may reach over the edge.
    for (int y = MAX(0, box.y); y < MIN(im->h, box.y + box.h); y++)
        for (int x = MAX(0, box.x); x < MIN(im->w, box.x + box.w); x++)
            memcpy(im->pixels + ((size_t)y * (size_t)im->w + (size_t)x) * (size_t)im->c, colour,
                   (size_t)im->c);
}

static void draw_glyph(struct image *im, int x, int y, int scale, const uint8_t colour[3],
                       const uint8_t *glyph) {
    for (int i = 0; i < FONT_COLUMNS; i++)
        for (int j = 0; j < FONT_ROWS; j++)
            if (glyph[i] >> j & 1)
                fill_rect(im, (struct image_box){x + i * scale, y + j * scale, scale, scale},
                          colour);
}

void sheet_text(struct image *im, int x, int y, int scale, const uint8_t colour[3],
                const char *text) {
    for (; *text && x < im->w; text++, x += (FONT_COLUMNS + 1) * scale)
        draw_glyph(im, x, y, scale, colour, font_glyph(*text));
}

// At most as many characters as fit into `width` pixels.
static void text_within(struct image *im, const struct sheet *s, int x, int y, int width,
                        const char *text) {
    char cut[256];
    size_t fits = (size_t)(MAX(0, width) / ((FONT_COLUMNS + 1) * s->scale));
    // fits + 1, for the 0 at the end.
    (void)text_copy(cut, MIN(sizeof cut, fits + 1), text); // cuts on purpose
    sheet_text(im, x, y, s->scale, ink, cut);
}

static void draw_caption(struct image *im, const struct sheet *s, const struct layout *l) {
    int y = MARGIN;
    for (const char *at = s->caption; at; y += l->text_h) {
        const char *end = strchrnul(at, '\n');
        char *line = strndup(at, (size_t)(end - at));
        if (line)
            text_within(im, s, MARGIN, y, im->w - 2 * MARGIN, line);
        free(line);
        at = *end ? end + 1 : NULL;
    }
}

static void draw_cell(struct image *im, const struct sheet *s, int x, int y,
                      const struct image *cell) {
    const uint8_t empty[3] = {PAPER - 16, PAPER - 16, PAPER - 16};
    fill_rect(im, (struct image_box){x, y, s->cell_w, s->cell_h}, empty);
    if (!cell->pixels)
        return;
    // Centred in its cell.
    x += (s->cell_w - cell->w) / 2;
    y += (s->cell_h - cell->h) / 2;
    for (int i = 0; i < cell->h; i++)
        memcpy(im->pixels + ((size_t)(y + i) * (size_t)im->w + (size_t)x) * 3,
               cell->pixels + (size_t)i * (size_t)cell->w * 3, (size_t)cell->w * 3);
}

static void draw_row(struct image *im, const struct sheet *s, const struct layout *l, int row) {
    int y = l->top + row * l->row_h;
    if (s->labels[row])
        text_within(im, s, MARGIN, y + (s->cell_h - l->text_h) / 2, l->left - MARGIN,
                    s->labels[row]);
    for (int column = 0; column < s->columns; column++) {
        int x = l->left + column * (s->cell_w + GAP), i = row * s->columns + column;
        draw_cell(im, s, x, y, &s->cells[i]);
        if (s->notes[i])
            text_within(im, s, x, y + s->cell_h + 2, s->cell_w, s->notes[i]);
    }
}

void sheet_image(const struct sheet *s, struct image *ret_image) {
    struct layout l = layout_of(s);
    struct image im;
    image_init(&im, l.total_w, l.total_h, 3);
    memset(im.pixels, PAPER, (size_t)im.w * (size_t)im.h * 3);
    draw_caption(&im, s, &l);
    for (int column = 0; column < s->columns; column++)
        if (s->titles[column])
            text_within(&im, s, l.left + column * (s->cell_w + GAP), l.title_y, s->cell_w,
                        s->titles[column]);
    for (int row = 0; row < s->rows; row++)
        draw_row(&im, s, &l, row);
    *ret_image = im;
}
