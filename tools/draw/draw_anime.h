// draw_anime - a drawn face in the manner of cartoons: flat bright colours, outlines, huge eyes.
#ifndef DRAW_ANIME_H
#define DRAW_ANIME_H

#include "draw/canvas.h"

// A picture of size x size pixels, a function of seed and index. Ended with image_fini.
void draw_anime(uint64_t seed, uint64_t index, int size, struct image *ret_image);

#endif
