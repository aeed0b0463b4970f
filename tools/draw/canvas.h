// canvas - soft-edged shapes painted over each other, for pictures that the product draws itself.
//
// Shapes are given in drawing units; the view says where these lie on the pixels. Edges are
// antialiased from the signed distance to the shape. x goes right, y goes down.
#ifndef CANVAS_H
#define CANVAS_H

#include <stdint.h>

#include "image/image.h"

struct colour {
    float r, g, b; // 0..255
};

// t = 0 is a, 1 is b.
struct colour colour_mix(struct colour a, struct colour b, double t);

// Hue in turns (any number), saturation and value 0..1.
struct colour colour_hsv(double hue, double saturation, double value);

// Random numbers of one picture: RNG_DRAW, each call the next `sub`.
struct chance {
    uint64_t seed, index;
    uint32_t sub;
};
double chance_between(struct chance *c, double low, double high);
double chance_normal(struct chance *c, double mean, double deviation);
int chance_below(struct chance *c, int n);
bool chance_happens(struct chance *c, double probability);

struct canvas {
    int w, h;
    double x, y, cos, sin, scale; // pixel of drawing (0, 0); rotation; pixels a drawing unit
    struct colour *pixels;
};

// All pixels black, the view in pixels.
void canvas_init(struct canvas *c, int w, int h);
void canvas_fini(struct canvas *c);

void canvas_view(struct canvas *c, double x, double y, double angle, double scale);

// The pixel position of a point in drawing units.
void canvas_place(const struct canvas *c, double x, double y, double *ret_x, double *ret_y);

// An ellipse, turned by `angle`; with taper > 0 it is a drop, narrow below: its half width at the
// relative height v in [-1,1] is multiplied with 1 - taper * v. `soft` is the width of its edge (0:
// one pixel).
struct blob {
    double x, y, rx, ry, angle, taper, soft;
};

// From `top` of a shape to its `bottom`; alpha 0..1.
struct paint {
    struct colour top, bottom;
    double alpha;
};

// Paints a blob; only within `clip` unless that is NULL.
void canvas_blob(struct canvas *c, const struct blob *blob, const struct paint *paint,
                 const struct blob *clip);

// A quadratic Bezier curve of width `width`; `thin` 0..1 says how much thinner its ends are.
struct curve {
    double x0, y0, control_x, control_y, x1, y1, width, thin;
};
void canvas_curve(struct canvas *c, const struct curve *curve, struct colour colour, double alpha);

// Fills everything, from top to bottom.
void canvas_fill(struct canvas *c, const struct paint *paint);

// Adds about normal noise of that standard deviation, the same to the three channels.
void canvas_noise(struct canvas *c, const struct chance *chance, double deviation);

void canvas_image(const struct canvas *c, struct image *ret_image);

#endif
