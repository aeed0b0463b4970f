// canvas - paints soft-edged shapes over each other. The demonstration's pictures are made of them.
//
// Shapes have drawing units. The view maps these to pixels: pixel = (x, y) + scale * R(angle) * p.
// Edges are antialiased by the signed distance to the shape. x points right, y points down.
// Nothing here fails: memory that is missing ends the process.
#ifndef CANVAS_H
#define CANVAS_H

#include <stdint.h>

#include "image/image.h"

struct colour {
    float r, g, b; // 0..255
};

// a + t (b - a): t = 0 gives a, t = 1 gives b.
struct colour colour_mix(struct colour a, struct colour b, double t);

// Hue in turns (any number; 0 red, 1/3 green), saturation and value in 0..1.
struct colour colour_hsv(double hue, double saturation, double value);

// Random numbers of one picture, from the stream RNG_DRAW. Each call takes the next `sub`, so a
// picture depends on (seed, index) alone, not on those drawn before it.
struct chance {
    uint64_t seed, index;
    uint32_t sub;
};
double chance_between(struct chance *c, double low, double high); // uniform in [low, high)
double chance_normal(struct chance *c, double mean, double deviation);
int chance_below(struct chance *c, int n); // uniform in 0 .. n - 1
bool chance_happens(struct chance *c, double probability);

struct canvas {
    int w, h;
    double x, y, cos, sin, scale; // pixel of drawing (0, 0); rotation; pixels a drawing unit
    struct colour *pixels;        // [h,w], the canvas owns them
};

// All pixels black; a drawing unit is a pixel until canvas_view.
void canvas_init(struct canvas *c, int w, int h);
void canvas_fini(struct canvas *c);

// Puts drawing (0, 0) at the pixel (x, y), turned by `angle` radians, `scale` pixels a unit.
void canvas_view(struct canvas *c, double x, double y, double angle, double scale);

// The pixel position of a point in drawing units.
void canvas_place(const struct canvas *c, double x, double y, double *ret_x, double *ret_y);

// An ellipse with the radii rx and ry, turned by `angle`. With taper > 0 it is a drop, narrow
// below: at the relative height v in [-1,1] rx is multiplied by 1 - taper * v. `soft` is the width
// of its edge; 0 stands for one pixel.
struct blob {
    double x, y, rx, ry, angle, taper, soft;
};

// A colour gradient from the top of a shape to its bottom. alpha is in 0..1.
struct paint {
    struct colour top, bottom;
    double alpha;
};

// Paints a blob, and only its part inside `clip` unless that is NULL.
void canvas_blob(struct canvas *c, const struct blob *blob, const struct paint *paint,
                 const struct blob *clip);

// A quadratic Bezier curve of width `width`. Its ends are thinner by the factor 1 - thin.
struct curve {
    double x0, y0, control_x, control_y, x1, y1, width, thin;
};
void canvas_curve(struct canvas *c, const struct curve *curve, struct colour colour, double alpha);

// Fills the whole canvas.
void canvas_fill(struct canvas *c, const struct paint *paint);

// Adds nearly normal noise of that standard deviation, the same to all three channels.
void canvas_noise(struct canvas *c, const struct chance *chance, double deviation);

// The canvas as an image of 8 bits, 3 channels. The caller ends it with image_fini.
void canvas_image(const struct canvas *c, struct image *ret_image);

#endif
