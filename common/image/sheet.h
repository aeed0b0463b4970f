// sheet - one image of many: a grid of cells with titles, row labels and a caption.
//
//      margin
//     +---------------------------------------------+
//     |  caption line(s), cut at the right edge     |
//     |            title 0      title 1             |
//     |  label 0  +--------+   +--------+           |
//     |           |  cell  |   |  cell  |           |  cell_w x cell_h, `gap` between
//     |           +--------+   +--------+           |
//     |  label 1  ...                               |
//     +---------------------------------------------+
//
// Text is printable ASCII in a 5x7 font, 6 pixels a character (12 in big sheets: cells of 200
// pixels and more); other bytes show as '?'. Titles, labels and the caption take room only if there
// are any.
#ifndef SHEET_H
#define SHEET_H

#include "image/image.h"

struct sheet;

// columns, rows, cell sizes >= 1. Freed with sheet_free.
struct sheet *sheet_new(int columns, int rows, int cell_w, int cell_h);
void sheet_free(struct sheet *s);

// Text above a column, left of a row, at the top; copied. The caption is broken at '\n'.
void sheet_title(struct sheet *s, int column, const char *text);
void sheet_label(struct sheet *s, int row, const char *text);
void sheet_caption(struct sheet *s, const char *text);

// Text under one cell, e.g. a file's name or the reason it was refused; copied, cut at the cell.
void sheet_note(struct sheet *s, int column, int row, const char *text);

// Copies an image into a cell: in its own size if it is the cell's, else resized to fit with its
// aspect kept, centred. Gray is replicated. A second put replaces the first.
void sheet_put(struct sheet *s, int column, int row, const struct image *im);

// The whole sheet, RGB; the caller ends it with image_fini.
void sheet_image(const struct sheet *s, struct image *ret_image);

// Draws `text` at (x, y) (upper left corner of the first character) in size `scale` (1: 5x7
// pixels), cut at the edges of the image. c = 1 uses colour[0].
void sheet_text(struct image *im, int x, int y, int scale, const uint8_t colour[3],
                const char *text);

#endif
