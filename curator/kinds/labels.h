// labels - reads time of day, weather and scene of frames from BDD100K's label files.
//
// Files are read as a stream. Memory grows by one row for each frame. The layouts:
//
//   [{"name":"x.jpg","attributes":{"weather":..,"scene":..,"timeofday":..},"labels":[..]}, ..]
//        bdd100k_labels_images_train.json (2018), det_20/det_train.json and later releases
//   {"name":"x","frames":[{"timestamp":..,"objects":[..]}],"attributes":{..}}
//        a file for each picture (2018, before August)
//   {"frames":[{"name":"x.jpg","attributes":{..},..}, ..],"config":..}
//        as the data set's tools write it today
//
// The order of the members, names with or without extension and what else there is do not matter.
#ifndef LABELS_H
#define LABELS_H

#include <stdatomic.h>

#include "kinds/names.h"
#include "pictures/picture.h"

enum label { LABEL_TIMEOFDAY, LABEL_WEATHER, LABEL_SCENE, LABELS };

#define LABEL_VALUES 256     // different ones of a kind, with the missing one
#define LABEL_VALUE_BYTES 64 // of one

struct labels {
    struct names names; // value: a byte for each kind, index into `values`; line: 1 once looked up
    char *values[LABELS][LABEL_VALUES]; // [kind][0] is NULL: not said
    int value_count[LABELS];            // besides that one
    size_t files;
    uint64_t bytes;
    size_t conflicts;   // frames of which two files say different things; the first one counts
    char conflict[256]; // the first of these, for a person
};

// Adds what a file says. What is missing or "undefined" so far is filled in.
//   cancel  NULL: cannot be stopped
// ERR_DATA with file:line for what is no JSON or no label file; ERR_IO, ERR_STOPPED.
int labels_read(struct labels *l, const char *path, const atomic_bool *cancel);

// "night", or NULL if it is not said. Lent.
const char *labels_value(const struct labels *l, const struct name_row *row, enum label kind);

// Hex digest of what is said, for those who depend on it.
void labels_digest(const struct labels *l, char ret[65]);

void labels_fini(struct labels *l);

// "timeofday", "weather", "scene".
const char *label_name(enum label kind);

#endif
