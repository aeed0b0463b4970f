// draw_anime - draws a cartoon face: flat bright colours, outlines, huge eyes.
#ifndef DRAW_ANIME_H
#define DRAW_ANIME_H

#include "draw/canvas.h"

// size x size pixels, 3 channels; depends on seed, index and size alone. The caller ends ret_image
// with image_fini.
void draw_anime(uint64_t seed, uint64_t index, int size, struct image *ret_image);

#endif
