#include "draw/draw_anime.h"

#include "base/util.h"

enum { LOCKS_MAX = 9 };

// A face in hundredths of the picture, relative to its middle.
struct face {
    struct colour skin, hair, dark_hair, iris, line;
    double eye_x, eye_y, eye_rx, eye_ry, width;
    int locks;
    struct blob lock[LOCKS_MAX];
    bool long_hair, tails, open_mouth, ribbon;
};

static struct paint flat_paint(struct colour c, double alpha) {
    return (struct paint){c, c, alpha};
}

static struct colour shade(struct colour c, double factor) {
    return colour_mix((struct colour){20, 0, 30}, c, factor);
}

static struct colour tint(struct colour c, double amount) {
    return colour_mix(c, (struct colour){255, 255, 255}, amount);
}

static struct colour choose_hair(struct chance *r) {
    static const double hues[] = {0.95, 0.9, 0.6, 0.55, 0.45, 0.35, 0.76, 0.13, 0.12, 0.02, 0.07};
    if (chance_happens(r, 0.1))
        return (struct colour){205, 208, 222};
    if (chance_happens(r, 0.1))
        return (struct colour){62, 56, 78};
    return colour_hsv(hues[chance_below(r, COUNT(hues))] + chance_normal(r, 0, 0.012),
                      chance_between(r, 0.4, 0.72), chance_between(r, 0.78, 0.98));
}

static void choose_locks(struct chance *r, struct face *f) {
    f->locks = 5 + chance_below(r, LOCKS_MAX - 4);
    double step = 2 * 26.0 / (f->locks - 1), lean = chance_between(r, -0.25, 0.25);
    for (int i = 0; i < f->locks; i++) {
        double x = -26 + i * step;
        f->lock[i] = (struct blob){x * 0.95,
                                   -20 + 0.008 * x * x,
                                   step * 0.7,
                                   chance_between(r, 16, 21),
                                   lean - x * 0.008,
                                   0.85,
                                   0};
    }
}

static struct face choose_face(struct chance *r) {
    struct face f = {.skin = {255, 228, 208}, .hair = choose_hair(r)};
    f.skin = colour_mix(f.skin, (struct colour){250, 205, 178}, chance_between(r, 0, 0.6));
    f.dark_hair = shade(f.hair, 0.74);
    f.line = shade(f.hair, 0.32);
    f.iris = colour_hsv(chance_between(r, 0, 1), chance_between(r, 0.6, 0.95),
                        chance_between(r, 0.7, 0.95));
    f.eye_x = chance_between(r, 13.5, 16);
    f.eye_y = chance_between(r, 6, 10);
    f.eye_rx = chance_between(r, 7, 8.6);
    f.eye_ry = chance_between(r, 8.5, 11);
    f.width = chance_between(r, 28, 31);
    choose_locks(r, &f);
    f.long_hair = chance_happens(r, 0.6);
    f.tails = chance_happens(r, 0.3);
    f.open_mouth = chance_happens(r, 0.4);
    f.ribbon = chance_happens(r, 0.35);
    return f;
}

// Fills a blob and draws an outline of width `edge`: a larger blob of its colour lies below.
static void draw_outlined(struct canvas *c, const struct blob *blob, struct colour fill,
                          struct colour line, double edge) {
    struct blob outer = *blob;
    outer.rx += edge;
    outer.ry += edge;
    struct paint outline = flat_paint(line, 1), paint = flat_paint(fill, 1);
    canvas_blob(c, &outer, &outline, NULL);
    canvas_blob(c, blob, &paint, NULL);
}

static void draw_background(struct canvas *c, struct chance *r) {
    double hue = chance_between(r, 0, 1), saturation = chance_between(r, 0, 0.35);
    struct paint sky = {colour_hsv(hue, saturation, chance_between(r, 0.88, 1)),
                        colour_hsv(hue + 0.08, saturation * 0.7, 1), 1};
    canvas_fill(c, &sky);
    int dots = chance_happens(r, 0.4) ? 8 : 0;
    for (int i = 0; i < dots; i++) {
        double size = chance_between(r, 2, 8);
        struct blob dot = {
            chance_between(r, -50, 50), chance_between(r, -50, 50), size, size, 0, 0, 0};
        struct paint paint = flat_paint((struct colour){255, 255, 255}, 0.6);
        canvas_blob(c, &dot, &paint, NULL);
    }
}

// Behind the face: tails, hair, body and neck.
static void draw_back(struct canvas *c, const struct face *f, struct chance *r) {
    struct blob back = {0, -4, 39, 38, 0, 0, 0}, length = {0, 28, 36, 48, 0, -0.15, 0};
    for (int side = -1; side <= 1 && f->tails; side += 2) {
        struct blob tail = {side * 44, 8, 10, 34, side * 0.25, -0.3, 0};
        draw_outlined(c, &tail, f->dark_hair, f->line, 1.1);
    }
    if (f->long_hair)
        draw_outlined(c, &length, f->dark_hair, f->line, 1.1);
    draw_outlined(c, &back, f->hair, f->line, 1.1);
    struct blob under = {0, 14, 31, 32, 0, 0, 0};
    struct paint dark = flat_paint(f->dark_hair, 1);
    canvas_blob(c, &under, &dark, NULL);
    struct colour cloth =
        colour_hsv(chance_between(r, 0, 1), chance_between(r, 0.1, 0.8), chance_between(r, 0.5, 1));
    struct blob body = {0, 62, 30, 20, 0, -0.2, 0}, neck = {0, 40, 8, 14, 0, 0, 0};
    draw_outlined(c, &body, cloth, f->line, 1);
    draw_outlined(c, &neck, colour_mix(f->skin, (struct colour){225, 150, 140}, 0.4), f->line, 0.8);
}

static struct blob head_blob(const struct face *f) {
    return (struct blob){0, 6, f->width, 31, 0, 0.3, 0};
}

static void draw_skin(struct canvas *c, const struct face *f) {
    struct blob face = head_blob(f);
    struct paint blush = flat_paint((struct colour){255, 140, 140}, 0.45);
    struct paint shadow = flat_paint(colour_mix(f->skin, (struct colour){214, 130, 130}, 0.45), 1);
    draw_outlined(c, &face, f->skin, f->line, 1);
    // Every lock of hair throws a hard shadow on the face, as cartoons have it.
    for (int i = 0; i < f->locks; i++) {
        struct blob below = f->lock[i];
        below.y += 3;
        canvas_blob(c, &below, &shadow, &face);
    }
    for (int side = -1; side <= 1; side += 2) {
        struct blob cheek = {side * 18, 20, 5.5, 3, 0, 0, 3};
        canvas_blob(c, &cheek, &blush, &face);
    }
}

static void draw_eye(struct canvas *c, const struct face *f, int side) {
    double x = side * f->eye_x, y = f->eye_y, rx = f->eye_rx, ry = f->eye_ry;
    struct blob white = {x, y, rx, ry, 0, 0, 0}, iris = {x, y + 0.6, rx * 0.8, ry * 0.9, 0, 0, 0};
    struct blob pupil = {x, y + 0.5, rx * 0.35, ry * 0.42, 0, 0, 0};
    struct blob glint = {x - rx * 0.3, y - ry * 0.4, rx * 0.28, ry * 0.24, 0, 0, 0};
    struct blob second = {x + rx * 0.35, y + ry * 0.4, rx * 0.16, ry * 0.13, 0, 0, 0};
    struct paint sclera = flat_paint((struct colour){255, 255, 255}, 1);
    struct paint colours = {shade(f->iris, 0.35), tint(f->iris, 0.35), 1};
    struct paint black = flat_paint(shade(f->iris, 0.15), 1);
    canvas_blob(c, &white, &sclera, NULL);
    canvas_blob(c, &iris, &colours, &white);
    canvas_blob(c, &pupil, &black, &white);
    canvas_blob(c, &glint, &sclera, &white);
    canvas_blob(c, &second, &sclera, &white);
    struct curve lash = {x - rx * 1.15, y - ry * 0.25, x,   y - ry * 1.75,
                         x + rx * 1.15, y - ry * 0.25, 2.8, 0.4};
    struct curve wing = {x + side * rx * 1.1,
                         y - ry * 0.3,
                         x + side * rx * 1.3,
                         y - ry * 0.2,
                         x + side * rx * 1.4,
                         y + ry * 0.1,
                         1.6,
                         0.5};
    struct curve below = {x - rx * 0.6, y + ry, x, y + ry * 1.15, x + rx * 0.6, y + ry, 0.9, 0.6};
    struct curve brow = {x - rx * 0.9, y - ry * 1.45, x + side * 2, y - ry * 1.85,
                         x + rx * 0.9, y - ry * 1.45, 1.1,          0.6};
    struct colour ink = {46, 24, 40};
    canvas_curve(c, &lash, ink, 1);
    canvas_curve(c, &wing, ink, 1);
    canvas_curve(c, &below, ink, 0.8);
    canvas_curve(c, &brow, f->line, 1);
}

static void draw_mouth(struct canvas *c, const struct face *f) {
    struct colour ink = {130, 50, 56};
    struct curve nose = {-0.3, 19, 0.6, 20, 0, 20.5, 0.9, 0.3};
    struct curve lips = {-4, 26, 0, 29.5, 4, 26, 1.1, 0.4};
    struct blob open = {0, 28, 4.2, 3.2, 0, 0.25, 0};
    canvas_curve(c, &nose, ink, 0.9);
    if (f->open_mouth)
        draw_outlined(c, &open, (struct colour){226, 90, 96}, ink, 0.7);
    else
        canvas_curve(c, &lips, ink, 1);
}

// The cap comes after the locks and covers their upper ends.
static void draw_front_hair(struct canvas *c, const struct face *f) {
    struct blob cap = {0, -24, 32, 17, 0, 0, 0};
    struct paint line = flat_paint(f->line, 1), hair = {f->hair, tint(f->hair, 0.12), 1};
    struct paint root = flat_paint(f->hair, 1);
    for (int side = -1; side <= 1; side += 2) {
        struct blob lock = {side * 29.5, 12, 5.5, f->long_hair ? 36 : 26, side * 0.06, 0.7, 0};
        draw_outlined(c, &lock, f->hair, f->line, 1);
    }
    for (int i = 0; i < f->locks; i++) {
        struct blob outer = f->lock[i];
        outer.rx += 0.9;
        outer.ry += 1.1;
        canvas_blob(c, &outer, &line, NULL);
        canvas_blob(c, &f->lock[i], &hair, NULL);
    }
    canvas_blob(c, &cap, &root, NULL);
    struct curve shine = {-22, -24, 0, -36, 22, -24, 3.4, 0.9};
    canvas_curve(c, &shine, tint(f->hair, 0.65), 0.8);
}

static void draw_ribbon(struct canvas *c, struct chance *r) {
    struct colour cloth = colour_hsv(chance_between(r, 0, 1), 0.75, 0.95), line = shade(cloth, 0.4);
    double x = chance_happens(r, 0.5) ? 24 : -24;
    for (int side = -1; side <= 1; side += 2) {
        struct blob wing = {x + side * 7, -32, 4.5, 8, side * 1.3, -0.6, 0};
        draw_outlined(c, &wing, cloth, line, 0.8);
    }
    struct blob knot = {x, -32, 2.6, 2.6, 0, 0, 0};
    draw_outlined(c, &knot, cloth, line, 0.8);
}

void draw_anime(uint64_t seed, uint64_t index, int size, struct image *ret_image) {
    struct chance r = {seed, index, 0};
    struct canvas c;
    canvas_init(&c, size, size);
    // The order of the calls is part of the picture: each takes the next random numbers.
    struct face f = choose_face(&r);
    canvas_view(&c, size * chance_normal(&r, 0.5, 0.02), size * chance_normal(&r, 0.5, 0.02),
                chance_normal(&r, 0, 0.06), size * chance_between(&r, 0.0092, 0.0112));
    draw_background(&c, &r); // from back to front
    draw_back(&c, &f, &r);
    draw_skin(&c, &f);
    draw_eye(&c, &f, -1);
    draw_eye(&c, &f, 1);
    draw_mouth(&c, &f);
    draw_front_hair(&c, &f);
    if (f.ribbon)
        draw_ribbon(&c, &r);
    canvas_image(&c, ret_image);
    canvas_fini(&c);
}
