// made_data - landmark and label files of any size, in the shape of the real ones.
#ifndef MADE_DATA_H
#define MADE_DATA_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

#define MADE_SEED 1

static inline FILE *made_open(const char *path) {
    FILE *out = fopen(path, "wb");
    if (!out)
        BUG("open %s: %m", path);
    return out;
}

static inline void made_close(FILE *out, const char *path) {
    if (fclose(out))
        BUG("write %s: %m", path);
}

// ---- landmarks ----

// Mean and deviation of each column over 60 real rows of the aligned faces (000001.jpg to
// 000060.jpg); the eyes hardly vary, because the faces are aligned by them.
static const struct {
    double mean, std;
} made_columns[10] = {
    {69.37, 1.83},  {111.22, 1.52}, {107.62, 1.98}, {111.12, 1.18}, {87.80, 7.20},
    {135.18, 4.75}, {71.35, 3.03},  {152.02, 1.91}, {105.33, 3.13}, {152.35, 1.97},
};

// A row for each of 000001.jpg to `rows`; the coordinates are drawn independently from normal
// distributions and rounded, as the real ones are whole.
static inline void made_landmarks(const char *path, int rows) {
    FILE *out = made_open(path);
    (void)fprintf(out,
                  "%d\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x "
                  "leftmouth_y rightmouth_x rightmouth_y\n",
                  rows);
    for (int i = 1; i <= rows; i++) {
        (void)fprintf(out, "%06d.jpg", i);
        for (uint32_t k = 0; k < 10; k += 2) {
            double z[2];
            rng_normal2(MADE_SEED, RNG_TEST, (uint64_t)i, k, z);
            for (uint32_t n = 0; n < 2; n++)
                (void)fprintf(out, " %4.0f",
                              made_columns[k + n].mean + z[n] * made_columns[k + n].std);
        }
        (void)fprintf(out, "\n");
    }
    made_close(out, path);
}

// Attributes of the same pictures: 40 columns of 1 and -1 under the data set's first names and
// others.
static inline void made_attributes(const char *path, int rows) {
    FILE *out = made_open(path);
    (void)fprintf(out, "%d\n5_o_Clock_Shadow Smiling Eyeglasses", rows);
    for (int k = 3; k < 40; k++)
        (void)fprintf(out, " Attribute_%d", k);
    (void)fprintf(out, " \n");
    for (int i = 1; i <= rows; i++) {
        struct rng_block b = rng_block(MADE_SEED, RNG_TEST, (uint64_t)i, 100);
        (void)fprintf(out, "%06d.jpg", i);
        for (int k = 0; k < 40; k++)
            (void)fputs(b.v[k / 20] >> k % 20 & 1 ? "  1" : " -1", out);
        (void)fprintf(out, "\n");
    }
    made_close(out, path);
}

// ---- labels ----

static const char *const made_times[] = {"daytime", "night", "dawn/dusk", "undefined"};
static const char *const made_weathers[] = {"clear",         "overcast", "rainy",    "snowy",
                                            "partly cloudy", "foggy",    "undefined"};
static const char *const made_scenes[] = {"city street", "highway", "residential",
                                          "parking lot", "tunnel",  "gas stations"};

// A number of the draw `sub` of a frame, below n.
static inline unsigned made_number(uint64_t frame, uint32_t sub, uint64_t n) {
    return (unsigned)rng_below(MADE_SEED, RNG_TEST, frame, sub, n);
}

// Shares as in the official counts of the training labels: 36728, 27971, 5027, 137 of 69863.
static inline const char *made_timeofday(uint64_t frame) {
    unsigned n = made_number(frame, 1, 69863);
    return made_times[n < 36728 ? 0 : n < 64699 ? 1 : n < 69726 ? 2 : 3];
}

static inline void made_name(uint64_t frame, char ret[32]) {
    struct rng_block b = rng_block(MADE_SEED, RNG_TEST, frame, 0);
    (void)snprintf(ret, 32, "%08x-%08x.jpg", b.v[0], b.v[1]);
}

static inline void made_object_head(FILE *out, unsigned id, const char *category) {
    (void)fprintf(out,
                  "            {\n                \"category\": \"%s\",\n"
                  "                \"attributes\": {\n                    \"occluded\": false,\n"
                  "                    \"truncated\": false,\n"
                  "                    \"trafficLightColor\": \"none\"\n                },\n"
                  "                \"manualShape\": true,\n"
                  "                \"manualAttributes\": true,\n                \"id\": %u,\n",
                  category, id);
}

static inline void made_box(FILE *out, const unsigned n[4]) {
    (void)fprintf(out,
                  "                \"box2d\": {\n                    \"x1\": %u.%06u,\n"
                  "                    \"y1\": %u.%06u,\n                    \"x2\": %u.%06u,\n"
                  "                    \"y2\": %u.%06u\n                }\n            }",
                  n[0] % 1280, n[0] % 999983, n[1] % 720, n[1] % 999983, n[2] % 1280, n[2] % 999983,
                  n[3] % 720, n[3] % 999983);
}

static inline void made_polygon(FILE *out, const unsigned n[4]) {
    (void)fprintf(out, "                \"poly2d\": [\n                    {\n"
                       "                        \"vertices\": [\n");
    for (unsigned i = 0; i < 4; i++)
        (void)fprintf(out,
                      "                            [\n                                %u.%06u,\n"
                      "                                %u.%06u\n                            ]%s\n",
                      n[i] % 1280, n[i] % 999983, n[i] / 7 % 720, n[i] / 7 % 999983,
                      i < 3 ? "," : "");
    (void)fprintf(out, "                        ],\n                        \"types\": \"LLLL\",\n"
                       "                        \"closed\": false\n                    }\n"
                       "                ]\n            }");
}

static inline void made_frame(FILE *out, uint64_t frame) {
    char name[32];
    made_name(frame, name);
    (void)fprintf(out,
                  "    {\n        \"name\": \"%s\",\n        \"attributes\": {\n"
                  "            \"weather\": \"%s\",\n            \"scene\": \"%s\",\n"
                  "            \"timeofday\": \"%s\"\n        },\n        \"timestamp\": 10000,\n"
                  "        \"labels\": [\n",
                  name, made_weathers[made_number(frame, 2, COUNT(made_weathers))],
                  made_scenes[made_number(frame, 3, COUNT(made_scenes))], made_timeofday(frame));
    unsigned boxes = 8 + made_number(frame, 4, 13), polygons = 4 + made_number(frame, 5, 9);
    for (unsigned i = 0; i < boxes + polygons; i++) {
        struct rng_block b = rng_block(MADE_SEED, RNG_TEST, frame, 16 + i);
        made_object_head(out, i, i < boxes ? "car" : "lane");
        if (i < boxes)
            made_box(out, b.v);
        else
            made_polygon(out, b.v);
        (void)fprintf(out, "%s\n", i + 1 < boxes + polygons ? "," : "");
    }
    (void)fprintf(out, "        ]\n    }");
}

// A list of frames as in bdd100k_labels_images_train.json, of `bytes` bytes or a little more: 14
// boxes and 8 polygons a frame on average, about 17 KB, as 1.2 GB of 69863 are. Returns how many.
static inline uint64_t made_labels(const char *path, uint64_t bytes) {
    FILE *out = made_open(path);
    uint64_t frames = 0;
    (void)fprintf(out, "[\n");
    while (!frames || (uint64_t)ftell(out) < bytes) {
        if (frames)
            (void)fprintf(out, ",\n");
        made_frame(out, frames++);
    }
    (void)fprintf(out, "\n]\n");
    made_close(out, path);
    return frames;
}

#endif
