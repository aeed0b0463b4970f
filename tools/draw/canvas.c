// canvas - shapes as signed distances, blended in floats. Bytes come last, so that many thin layers
// do not add up rounding errors.
#include "draw/canvas.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/util.h"

// Drawing takes far fewer numbers than NOISE_SUB.
enum { CURVE_PIECES = 8, NOISE_SUB = 1 << 24 };

// In float: colours need no more, and tables stay small.
struct colour colour_mix(struct colour a, struct colour b, double t) {
    float s = (float)t;
    return (struct colour){a.r + s * (b.r - a.r), a.g + s * (b.g - a.g), a.b + s * (b.b - a.b)};
}

static float hue_channel(double hue, double saturation, double value) {
    // The standard piecewise-linear form of HSV.
    double distance = fabs((hue - floor(hue)) * 6 - 3); // 3 at the channel's own hue
    double full = MIN(MAX(distance - 1, 0), 1);
    return (float)(255 * value * (1 - saturation * (1 - full)));
}

struct colour colour_hsv(double hue, double saturation, double value) {
    return (struct colour){hue_channel(hue, saturation, value),
                           hue_channel(hue - 1.0 / 3, saturation, value),
                           hue_channel(hue + 1.0 / 3, saturation, value)};
}

double chance_between(struct chance *c, double low, double high) {
    // Each draw takes the next sub-stream, so pictures do not share numbers.
    return low + (high - low) * rng_uniform(c->seed, RNG_DRAW, c->index, c->sub++);
}

double chance_normal(struct chance *c, double mean, double deviation) {
    double pair[2];
    rng_normal2(c->seed, RNG_DRAW, c->index, c->sub++, pair);
    return mean + deviation * pair[0];
}

int chance_below(struct chance *c, int n) {
    return (int)rng_below(c->seed, RNG_DRAW, c->index, c->sub++, (uint64_t)n);
}

bool chance_happens(struct chance *c, double probability) {
    return chance_between(c, 0, 1) < probability;
}

void canvas_init(struct canvas *c, int w, int h) {
    *c = (struct canvas){.w = w, .h = h};
    c->pixels = xcalloc((size_t)w * (size_t)h, sizeof *c->pixels);
    // The identity view.
    canvas_view(c, 0, 0, 0, 1);
}

void canvas_fini(struct canvas *c) {
    free(c->pixels);
    *c = (struct canvas){0};
}

void canvas_view(struct canvas *c, double x, double y, double angle, double scale) {
    c->x = x;
    c->y = y;
    c->cos = cos(angle);
    c->sin = sin(angle);
    c->scale = scale;
}

// Rotation, scale, then translation.
void canvas_place(const struct canvas *c, double x, double y, double *ret_x, double *ret_y) {
    *ret_x = c->x + c->scale * (c->cos * x - c->sin * y);
    *ret_y = c->y + c->scale * (c->sin * x + c->cos * y);
}

// A blob in pixel coordinates.
struct placed {
    double x, y, rx, ry, cos, sin, taper, soft;
};

static struct placed place_blob(const struct canvas *c, const struct blob *b) {
    struct placed p = {.rx = b->rx * c->scale, .ry = b->ry * c->scale, .taper = b->taper};
    canvas_place(c, b->x, b->y, &p.x, &p.y);
    p.cos = c->cos * cos(b->angle) - c->sin * sin(b->angle);
    p.sin = c->sin * cos(b->angle) + c->cos * sin(b->angle);
    // At least one pixel, which is the width of antialiasing.
    p.soft = MAX(1, b->soft * c->scale);
    return p;
}

// The share of a pixel that the blob covers, 0..1, and the relative height there, -1 (top) to 1.
// The distance to an ellipse has no closed form. To first order it is k (k - 1) / |grad|, where k
// is the length of the point divided by the radii.
static double coverage(const struct placed *p, double px, double py, double *ret_height) {
    double dx = px - p->x, dy = py - p->y;
    double x = p->cos * dx + p->sin * dy, y = p->cos * dy - p->sin * dx;
    double v = y / p->ry;
    // The radius at this height, never 0.
    double rx = p->rx * MAX(0.02, 1 - p->taper * MIN(MAX(v, -1), 1));
    double u = x / rx, k = sqrt(u * u + v * v);
    *ret_height = v;
    // In the centre the gradient is 0: the point is inside by at least the smaller radius.
    double gradient = sqrt(u / rx * (u / rx) + v / p->ry * (v / p->ry));
    double distance = gradient > 0 ? k * (k - 1) / gradient : -MIN(rx, p->ry);
    double t = MIN(MAX(0.5 - distance / p->soft, 0), 1);
    return t * t * (3 - 2 * t); // smooth at both ends, so that no edge shows a ring
}

static void blend_pixel(struct colour *pixel, struct colour colour, double alpha) {
    *pixel = colour_mix(*pixel, colour, alpha);
}

void canvas_blob(struct canvas *c, const struct blob *blob, const struct paint *paint,
                 const struct blob *clip) {
    struct placed p = place_blob(c, blob), inside = clip ? place_blob(c, clip) : p;
    // Only the bounding square is visited. A taper widens one end by up to 1 + taper.
    double reach = MAX(p.rx * (1 + fabs(p.taper)), p.ry) + p.soft, height, unused;
    int left = (int)MAX(0, p.x - reach), right = (int)MIN(c->w - 1, p.x + reach + 1);
    int top = (int)MAX(0, p.y - reach), bottom = (int)MIN(c->h - 1, p.y + reach + 1);
    for (int y = top; y <= bottom; y++)
        for (int x = left; x <= right; x++) {
            // Most pixels of the square are outside.
            double alpha = coverage(&p, x, y, &height);
            if (alpha <= 0)
                continue;
            if (clip)
                alpha *= coverage(&inside, x, y, &unused);
            struct colour colour =
                colour_mix(paint->top, paint->bottom, MIN(MAX(0.5 + 0.5 * height, 0), 1));
            blend_pixel(&c->pixels[(size_t)y * (size_t)c->w + (size_t)x], colour,
                        alpha * paint->alpha);
        }
}

// The curve as connected line segments in pixel coordinates. Eight look smooth at these sizes.
struct pieces {
    double x[CURVE_PIECES + 1], y[CURVE_PIECES + 1], width, thin;
};
// Pieces are computed once for all pixels.

static struct pieces cut_curve(const struct canvas *c, const struct curve *curve) {
    struct pieces p = {.width = curve->width * c->scale, .thin = curve->thin};
    for (int i = 0; i <= CURVE_PIECES; i++) {
        double t = (double)i / CURVE_PIECES, s = 1 - t;
        double x = s * s * curve->x0 + 2 * s * t * curve->control_x + t * t * curve->x1;
        double y = s * s * curve->y0 + 2 * s * t * curve->control_y + t * t * curve->y1;
        canvas_place(c, x, y, &p.x[i], &p.y[i]);
    }
    return p;
}

static double curve_coverage(const struct pieces *p, double px, double py) {
    // Farther than any pixel.
    double best = 1e9;
    for (int i = 0; i < CURVE_PIECES; i++) {
        double dx = p->x[i + 1] - p->x[i], dy = p->y[i + 1] - p->y[i];
        double square = dx * dx + dy * dy;
        // A point on a segment of no length.
        double along = square > 0 ? ((px - p->x[i]) * dx + (py - p->y[i]) * dy) / square : 0;
        double t = MIN(MAX(along, 0), 1), whole = 2 * (i + t) / CURVE_PIECES - 1;
        // `whole` runs from -1 to 1 along the curve: full width in the middle, thin at the ends.
        double half = 0.5 * p->width * (1 - p->thin * whole * whole);
        double to_x = px - p->x[i] - t * dx, to_y = py - p->y[i] - t * dy;
        best = MIN(best, sqrt(to_x * to_x + to_y * to_y) - half);
    }
    return MIN(MAX(0.5 - best, 0), 1);
}

void canvas_curve(struct canvas *c, const struct curve *curve, struct colour colour, double alpha) {
    struct pieces p = cut_curve(c, curve);
    // The bounding box of the segments; the curve stays within its width of them.
    double left = p.x[0], right = left, top = p.y[0], bottom = top, edge = p.width / 2 + 2;
    for (int i = 1; i <= CURVE_PIECES; i++) {
        left = MIN(left, p.x[i]);
        right = MAX(right, p.x[i]);
        top = MIN(top, p.y[i]);
        bottom = MAX(bottom, p.y[i]);
    }
    for (int y = (int)MAX(0, top - edge); y <= (int)MIN(c->h - 1, bottom + edge); y++)
        for (int x = (int)MAX(0, left - edge); x <= (int)MIN(c->w - 1, right + edge); x++)
            blend_pixel(&c->pixels[(size_t)y * (size_t)c->w + (size_t)x], colour,
                        alpha * curve_coverage(&p, x, y));
}

void canvas_fill(struct canvas *c, const struct paint *paint) {
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++)
            blend_pixel(&c->pixels[(size_t)y * (size_t)c->w + (size_t)x],
                        colour_mix(paint->top, paint->bottom, (double)y / c->h), paint->alpha);
}

// The sum of four bytes is nearly normal: mean 510, standard deviation 147.8.
static float noise_of(uint32_t bits) {
    uint32_t sum = (bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24);
    return ((float)sum - 510) / 147.8f;
}

void canvas_noise(struct canvas *c, const struct chance *chance, double deviation) {
    // Noise covers all pixels, also those that no shape touched.
    size_t n = (size_t)c->w * (size_t)c->h;
    // A block has four words, one for each pixel. NOISE_SUB is past all that shapes draw.
    for (size_t i = 0; i < n; i += 4) {
        struct rng_block b =
            rng_block(chance->seed, RNG_DRAW, chance->index, NOISE_SUB + (uint32_t)(i / 4));
        for (size_t k = 0; k < MIN(4, n - i); k++) {
            float v = (float)deviation * noise_of(b.v[k]);
            struct colour *p = &c->pixels[i + k];
            *p = (struct colour){p->r + v, p->g + v, p->b + v};
        }
    }
}

static uint8_t byte_of(float v) {
    // Rounds to nearest after clipping.
    return (uint8_t)(MIN(MAX(v, 0.0f), 255.0f) + 0.5f);
}

void canvas_image(const struct canvas *c, struct image *ret_image) {
    struct image im;
    image_init(&im, c->w, c->h, 3);
    size_t n = (size_t)c->w * (size_t)c->h;
    for (size_t i = 0; i < n; i++) {
        im.pixels[3 * i] = byte_of(c->pixels[i].r);
        im.pixels[3 * i + 1] = byte_of(c->pixels[i].g);
        im.pixels[3 * i + 2] = byte_of(c->pixels[i].b);
    }
    *ret_image = im;
}
