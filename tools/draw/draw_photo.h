// draw_photo - a drawn face that resembles an aligned photograph of 178x218 pixels.
#ifndef DRAW_PHOTO_H
#define DRAW_PHOTO_H

#include "draw/canvas.h"

enum { PHOTO_W = 178, PHOTO_H = 218, PHOTO_POINTS = 5 };

struct photo {
    struct image image;
    int points[PHOTO_POINTS][2]; // left eye, right eye, nose, left and right mouth corner: x, y
    bool bangs, black_hair, blond_hair, brown_hair, eyeglasses, smiling;
};

// Every picture is a function of seed and index. About one in 25 is an outlier: turned, small, or
// looking aside. The caller ends image with image_fini.
void draw_photo(uint64_t seed, uint64_t index, struct photo *ret_photo);

#endif
