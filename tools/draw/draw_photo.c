// draw_photo - a face of ellipses and curves, from back to front. All choices are made first, so
// that drawing is a function of them.
#include "draw/draw_photo.h"

#include <math.h>

#include "base/util.h"

// A face in pixels, relative to the middle between its eyes. Means and standard deviations of the
// points are those of the first 330 rows of the real data set's table.
struct face {
    double eye_x, nose_x, nose_y, mouth_x, mouth_y, mouth_half; // eyes at (-eye_x, 0), (eye_x, 0)
    double yaw;                                                 // -1 looks left, 1 looks right
    double light;                                               // from the left (-1) or right (1)
    double rx, ry, smile;
    struct colour skin, hair, iris, lips;
    bool long_hair;
};

// Several colours of one kind, since people differ within it.
// kind 0: black, 1: brown, 2: blond; the table of attributes has a column for each.
static const struct {
    struct colour colour;
    int kind;
} hair_colours[] = {
    {{28, 22, 20}, 0},  {{44, 34, 30}, 0},   {{74, 48, 32}, 1},    {{98, 66, 42}, 1},
    {{126, 78, 48}, 1}, {{196, 158, 98}, 2}, {{222, 190, 130}, 2},
};

static const struct colour skins[] = {
    {240, 206, 182}, {228, 186, 158}, {214, 168, 136},
    {190, 140, 106}, {150, 104, 76},  {112, 74, 54},
};

static const struct colour irises[] = {{70, 46, 30}, {50, 38, 34}, {84, 112, 132}, {88, 104, 66}};

// Towards black.
static struct colour shade(struct colour c, double factor) {
    return colour_mix((struct colour){0, 0, 0}, c, factor);
}

// Towards a warm white.
static struct colour tint(struct colour c, double amount) {
    return colour_mix(c, (struct colour){255, 250, 240}, amount);
}

static struct paint flat_paint(struct colour c, double alpha) {
    return (struct paint){c, c, alpha};
}

static struct face choose_face(struct chance *c, bool outlier, struct photo *photo) {
    struct face f = {.yaw = MIN(MAX(chance_normal(c, 0, 0.4), -1), 1)};
    if (outlier)
        // An outlier looks farther aside than the clamp above allows.
        f.yaw = chance_happens(c, 0.5) ? 1.4 : -1.4;
    f.eye_x = chance_normal(c, 19.2, 0.8);
    // The nose turns more than the mouth: it is nearer to the viewer.
    f.nose_x = 9 * f.yaw;
    f.nose_y = chance_normal(c, 24, 3);
    f.mouth_x = 4 * f.yaw;
    f.mouth_y = chance_normal(c, 41, 1.5);
    f.mouth_half = chance_normal(c, 17, 1.6);
    f.light = chance_between(c, -1, 1);
    f.rx = chance_normal(c, 43, 2);
    f.ry = chance_normal(c, 60, 2.5);
    f.smile = chance_between(c, -2, 7);
    int hair = chance_below(c, COUNT(hair_colours));
    f.hair = hair_colours[hair].colour;
    // A mix of two skins gives more tones than the table has.
    f.skin = colour_mix(skins[chance_below(c, COUNT(skins))],
                        // The darkest two are excluded here, so that mixes stay light on average.
                        skins[chance_below(c, COUNT(skins) - 2)], 0.4);
    f.iris = irises[chance_below(c, COUNT(irises))];
    f.lips = colour_mix(f.skin, (struct colour){176, 52, 60}, chance_between(c, 0.35, 0.75));
    f.long_hair = chance_happens(c, 0.55);
    photo->black_hair = hair_colours[hair].kind == 0;
    photo->brown_hair = hair_colours[hair].kind == 1;
    photo->blond_hair = hair_colours[hair].kind == 2;
    // The same bound as in draw_mouth: the label says what is drawn.
    photo->smiling = f.smile > 3;
    photo->bangs = chance_happens(c, 0.25);
    photo->eyeglasses = chance_happens(c, 0.08);
    return f;
}

static void draw_background(struct canvas *c, struct chance *r) {
    double hue = chance_between(r, 0, 1);
    struct paint wall = {
        colour_hsv(hue, chance_between(r, 0.05, 0.45), chance_between(r, 0.3, 0.9)),
        colour_hsv(hue + chance_normal(r, 0, 0.08), chance_between(r, 0.05, 0.5),
                   chance_between(r, 0.15, 0.7)),
        1};
    canvas_fill(c, &wall);
    // Out-of-focus things behind the head.
    int spots = 3 + chance_below(r, 5);
    for (int i = 0; i < spots; i++) {
        struct blob spot = {chance_between(r, -90, 90), chance_between(r, -110, 110),
                            chance_between(r, 8, 45),   chance_between(r, 8, 60),
                            chance_between(r, -1, 1),   0,
                            chance_between(r, 4, 26)};
        struct paint paint =
            flat_paint(colour_hsv(hue + chance_normal(r, 0, 0.2), chance_between(r, 0, 0.5),
                                  chance_between(r, 0.2, 1)),
                       chance_between(r, 0.15, 0.6));
        canvas_blob(c, &spot, &paint, NULL);
    }
}

// Behind the face: long hair, the back of the head, shoulders, neck.
static void draw_body(struct canvas *c, struct chance *r, const struct face *f) {
    struct colour cloth = colour_hsv(chance_between(r, 0, 1), chance_between(r, 0, 0.7),
                                     chance_between(r, 0.12, 0.85));
    struct blob back = {-3 * f->yaw, 2, f->rx * 1.24, f->ry * 1.12, 0, 0, 3};
    struct blob length = {-3 * f->yaw, 58, f->rx * 1.3, 74, 0, -0.1, 4};
    struct paint hair = {tint(f->hair, 0.06), shade(f->hair, 0.6), 1};
    struct blob shoulders = {-2 * f->yaw, 122, 84, 42, 0, -0.1, 2};
    struct paint shirt = {cloth, shade(cloth, 0.6), 1};
    struct blob neck = {-2 * f->yaw, 76, 23, 38, 0, -0.2, 2};
    struct paint throat = {shade(f->skin, 0.62), shade(f->skin, 0.86), 1};
    if (f->long_hair)
        canvas_blob(c, &length, &hair, NULL);
    canvas_blob(c, &back, &hair, NULL);
    canvas_blob(c, &shoulders, &shirt, NULL);
    canvas_blob(c, &neck, &throat, NULL);
}

// One definition for drawing and clipping: both have to agree.
static struct blob head_blob(const struct face *f) {
    return (struct blob){-2 * f->yaw, 15, f->rx, f->ry, 0, 0.16, 1.5};
}

// Light comes from one side, so that both halves of a face differ as in photographs.
static void draw_skin(struct canvas *c, const struct face *f) {
    struct blob face = head_blob(f);
    struct paint skin = {tint(f->skin, 0.1), shade(f->skin, 0.9), 1};
    struct blob lit = {22 * f->light, -2, 26, 44, 0, 0, 30};
    struct blob dark = {-36 * f->light, 22, 20, 62, 0, 0, 30};
    struct paint glow = flat_paint(tint(f->skin, 0.5), 0.4),
                 dusk = flat_paint(shade(f->skin, 0.5), 0.45);
    struct paint blush = flat_paint(colour_mix(f->skin, (struct colour){220, 90, 80}, 0.5), 0.3);
    for (int side = -1; side <= 1; side += 2) {
        struct blob ear = {-3 * f->yaw + side * (f->rx * 1.01), 12, 6, 13, -0.15 * side, 0, 1.5};
        struct paint lobe = {shade(f->skin, 0.85), shade(f->skin, 0.7), 1};
        canvas_blob(c, &ear, &lobe, NULL);
    }
    // Ears before the face, light after it.
    canvas_blob(c, &face, &skin, NULL);
    canvas_blob(c, &lit, &glow, &face);
    canvas_blob(c, &dark, &dusk, &face);
    for (int side = -1; side <= 1; side += 2) {
        struct blob cheek = {side * 24 + f->yaw * 4, 25, 13, 9, 0, 0, 14};
        canvas_blob(c, &cheek, &blush, &face);
    }
}

// White, iris, pupil and glint are clipped to the eye's opening.
static void draw_eye(struct canvas *c, const struct face *f, double x) {
    struct blob socket = {x, -1, 13, 8, 0, 0, 10}, white = {x, 0, 8.2, 4, 0, 0, 0};
    struct blob iris = {x + 1.2 * f->yaw, -0.3, 3.9, 3.9, 0, 0, 0},
                pupil = {iris.x, iris.y, 1.8, 1.8, 0, 0, 0};
    struct blob glint = {iris.x + 1.2, iris.y - 1.3, 0.9, 0.9, 0, 0, 0};
    struct paint hollow = flat_paint(shade(f->skin, 0.55), 0.5);
    struct paint sclera = {{206, 200, 196}, {244, 240, 236}, 1};
    struct paint ring = {shade(f->iris, 0.5), tint(f->iris, 0.15), 1};
    struct paint black = flat_paint((struct colour){12, 10, 12}, 1),
                 spark = flat_paint((struct colour){255, 255, 255}, 0.9);
    canvas_blob(c, &socket, &hollow, NULL);
    canvas_blob(c, &white, &sclera, NULL);
    canvas_blob(c, &iris, &ring, &white);
    canvas_blob(c, &pupil, &black, &white);
    canvas_blob(c, &glint, &spark, &white);
    struct curve lid = {x - 9.5, 1, x, -7.5, x + 9.5, 1, 2.2, 0.6};
    struct curve under = {x - 8, 2, x, 6.5, x + 8, 2, 1, 0.5};
    struct curve fold = {x - 9, -4, x, -10, x + 9, -4, 1, 0.6};
    canvas_curve(c, &lid, shade(f->hair, 0.5), 0.95);
    canvas_curve(c, &under, shade(f->skin, 0.55), 0.6);
    canvas_curve(c, &fold, shade(f->skin, 0.6), 0.6);
}

// The inner end is lower than the arch.
static void draw_brow(struct canvas *c, const struct face *f, int side) {
    double inner = side * (f->eye_x - 9), outer = side * (f->eye_x + 11);
    struct curve brow = {inner, -11, side * f->eye_x, -17, outer, -10, 3.4, 0.6};
    canvas_curve(c, &brow, shade(f->hair, 0.8), 0.8);
}

static void draw_nose(struct canvas *c, const struct face *f) {
    // The shadow is on the side away from the light.
    double x = f->nose_x, y = f->nose_y, side = f->light < 0 ? 1 : -1;
    struct curve bridge = {side * 4, -2, x * 0.5 + side * 3, y * 0.5, x + side * 6, y - 1, 3, 0.5};
    struct blob tip = {x - side * 1.5, y - 2, 5, 6, 0, 0, 6};
    struct blob below = {x, y + 5, 8, 3, 0, 0, 5};
    struct paint light = flat_paint(tint(f->skin, 0.6), 0.5),
                 dark = flat_paint(shade(f->skin, 0.5), 0.6);
    canvas_curve(c, &bridge, shade(f->skin, 0.66), 0.45);
    canvas_blob(c, &tip, &light, NULL);
    canvas_blob(c, &below, &dark, NULL);
    for (int s = -1; s <= 1; s += 2) {
        struct blob nostril = {x + s * 4, y + 3, 2.2, 1.3, 0.3 * s, 0, 1};
        struct paint hole = flat_paint(shade(f->skin, 0.25), 0.85);
        canvas_blob(c, &nostril, &hole, NULL);
    }
}

static void draw_mouth(struct canvas *c, const struct face *f) {
    double l = f->mouth_x - f->mouth_half, r = f->mouth_x + f->mouth_half, y = f->mouth_y;
    // A quadratic curve passes halfway to its control point: middle * 2 - y puts it at `middle`.
    double middle = y + f->smile, thick = 4.2;
    struct curve upper = {l, y, f->mouth_x, middle * 2 - y - thick, r, y, 4.4, 0.75};
    struct curve lower = {l + 2, y + 1, f->mouth_x, middle * 2 - y + thick * 2,
                          r - 2, y + 1, 5.6,        0.75};
    struct curve line = {l, y, f->mouth_x, middle * 2 - y + 1, r, y, 1.6, 0.6};
    struct blob teeth = {f->mouth_x, middle + 0.5, f->mouth_half * 0.7, 2.4, 0, 0, 1};
    struct paint white = {{232, 226, 220}, {214, 206, 200}, 0.95};
    canvas_curve(c, &lower, f->lips, 0.95);
    canvas_curve(c, &upper, shade(f->lips, 0.82), 0.95);
    if (f->smile > 3)
        // Teeth show in a smile only.
        canvas_blob(c, &teeth, &white, NULL);
    else
        canvas_curve(c, &line, shade(f->lips, 0.4), 0.85);
    struct blob chin = {f->mouth_x, y + 13, 9, 2.5, 0, 0, 6};
    struct paint crease = flat_paint(shade(f->skin, 0.6), 0.4);
    canvas_blob(c, &chin, &crease, NULL);
}

static void draw_strands(struct canvas *c, struct chance *r, const struct face *f) {
    int n = 14;
    for (int i = 0; i < n; i++) {
        double t = 2.0 * i / (n - 1) - 1, x = t * f->rx * 1.1 - 2 * f->yaw;
        // On the outline of the head, an ellipse; strands in its middle end above the eyes.
        double top = 15 - f->ry * sqrt(MAX(0.05, 1 - 0.7 * t * t)) * 1.04;
        double bottom = f->long_hair ? chance_between(r, 30, 80) : chance_between(r, -8, 14);
        if (fabs(t) < 0.75)
            bottom = top + chance_between(r, 6, 16);
        struct curve strand = {x * 0.75, top,    x * 1.08, (top + bottom) / 2,
                               x * 1.12, bottom, 3,        0.7};
        struct colour colour = chance_happens(r, 0.5) ? tint(f->hair, 0.2) : shade(f->hair, 0.6);
        canvas_curve(c, &strand, colour, 0.5);
    }
}

static void draw_front_hair(struct canvas *c, struct chance *r, const struct face *f, bool bangs) {
    double part = chance_between(r, -0.5, 0.5), top = 15 - f->ry;
    struct paint hair = {tint(f->hair, 0.14), f->hair, 1};
    // Left and right of the parting.
    for (int side = -1; side <= 1; side += 2) {
        struct blob wing = {side * f->rx * 0.62 + part * 16 - 2 * f->yaw,
                            top + 10,
                            f->rx * (0.66 - 0.2 * part * side),
                            15,
                            side * 0.55,
                            0,
                            2};
        struct blob temple = {side * f->rx * 1.04 - 3 * f->yaw, -8, 8, 34, side * -0.05, 0.3, 2};
        canvas_blob(c, &wing, &hair, NULL);
        canvas_blob(c, &temple, &hair, NULL);
    }
    struct blob crown = {-2 * f->yaw, top + 1, f->rx * 0.86, 14, 0, 0, 2};
    canvas_blob(c, &crown, &hair, NULL);
    for (int i = 0; bangs && i < 7; i++) {
        struct blob lock = {(i - 3) * 11 - 2 * f->yaw, top + 18, 9, 22,
                            chance_normal(r, 0, 0.12), 0.55,     2};
        canvas_blob(c, &lock, &hair, NULL);
    }
    draw_strands(c, r, f);
}

static void draw_glasses(struct canvas *c, const struct face *f) {
    struct colour frame = {30, 28, 30};
    for (int side = -1; side <= 1; side += 2) {
        double x = side * f->eye_x;
        struct curve upper = {x - 13, 0, x, -19, x + 13, 0, 1.8, 0};
        struct curve lower = {x - 13, 0, x, 19, x + 13, 0, 1.4, 0};
        struct curve temple = {x + side * 13, -2, x + side * 20, -4, x + side * 25, -3, 1.8, 0};
        canvas_curve(c, &upper, frame, 0.95);
        canvas_curve(c, &lower, frame, 0.9);
        canvas_curve(c, &temple, frame, 0.9);
    }
    struct curve bridge = {-f->eye_x + 13, -1, 0, -5, f->eye_x - 13, -1, 1.8, 0};
    canvas_curve(c, &bridge, frame, 0.95);
}

// Landmarks as the picture shows them: the view has moved and turned the face.
static void mark_points(const struct canvas *c, const struct face *f, struct photo *photo) {
    // In the order of the table's columns.
    const double points[PHOTO_POINTS][2] = {{-f->eye_x, 0},
                                            {f->eye_x, 0},
                                            {f->nose_x, f->nose_y},
                                            {f->mouth_x - f->mouth_half, f->mouth_y},
                                            {f->mouth_x + f->mouth_half, f->mouth_y}};
    for (int i = 0; i < PHOTO_POINTS; i++) {
        double x, y;
        canvas_place(c, points[i][0], points[i][1], &x, &y);
        photo->points[i][0] = (int)lround(x);
        photo->points[i][1] = (int)lround(y);
    }
}

// The real pictures are aligned by the eyes; an outlier is one whose alignment failed.
static void choose_view(struct canvas *c, struct chance *r, bool outlier) {
    double x = chance_normal(r, 88.5, 0.7), y = chance_normal(r, 111.2, 0.7);
    double angle = chance_normal(r, 0, 0.02), scale = 1;
    if (outlier) {
        x += chance_normal(r, 0, 7);
        y += chance_normal(r, 0, 7);
        angle = chance_between(r, 0.15, 0.4) * (chance_happens(r, 0.5) ? 1 : -1);
        scale = chance_between(r, 0.75, 1.15);
    }
    canvas_view(c, x, y, angle, scale);
}

void draw_photo(uint64_t seed, uint64_t index, struct photo *ret_photo) {
    struct chance r = {seed, index, 0};
    struct photo photo = {0};
    // The order of the calls is part of the picture: each takes the next random numbers.
    bool outlier = chance_happens(&r, 0.04);
    struct canvas c;
    canvas_init(&c, PHOTO_W, PHOTO_H);
    struct face f = choose_face(&r, outlier, &photo);
    choose_view(&c, &r, outlier);
    draw_background(&c, &r); // from back to front
    draw_body(&c, &r, &f);
    draw_skin(&c, &f);
    draw_eye(&c, &f, -f.eye_x);
    draw_eye(&c, &f, f.eye_x);
    draw_brow(&c, &f, -1);
    draw_brow(&c, &f, 1);
    draw_nose(&c, &f);
    draw_mouth(&c, &f);
    draw_front_hair(&c, &r, &f, photo.bangs);
    if (photo.eyeglasses)
        draw_glasses(&c, &f);
    canvas_noise(&c, &r, chance_between(&r, 2, 5));
    mark_points(&c, &f, &photo);
    canvas_image(&c, &photo.image);
    canvas_fini(&c);
    *ret_photo = photo;
}
