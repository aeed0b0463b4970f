// font - a 5x7 bitmap font of the printable ASCII characters.
//
// font_glyph(ch)[x] is column x (0..4) from left to right; bit y (0..6) is the pixel in row y from
// the top. Any other character has the glyph of '?'.
#ifndef FONT_H
#define FONT_H

#include <stdint.h>

enum { FONT_COLUMNS = 5, FONT_ROWS = 7 };

const uint8_t *font_glyph(char ch);

#endif
