// draw_photo - a drawn face that resembles an aligned photograph of 178x218 pixels.
#ifndef DRAW_PHOTO_H
#define DRAW_PHOTO_H

#include "draw/canvas.h"

enum { PHOTO_W = 178, PHOTO_H = 218, PHOTO_POINTS = 5 };

struct photo {
    struct image image;
    int points[PHOTO_POINTS][2]; // x, y of left eye, right eye, nose, left and right mouth corner
    bool bangs, black_hair, blond_hair, brown_hair, eyeglasses, smiling;
};

// The picture depends on seed and index alone. About one in 25 is an outlier: turned, small, or
// facing sideways. The caller ends ret_photo->image with image_fini.
void draw_photo(uint64_t seed, uint64_t index, struct photo *ret_photo);

#endif
