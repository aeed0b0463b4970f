// landmarks - CelebA's five points per face, and how far each face is from the mean one.
//
// Two layouts of the same table, told apart by the first line (reference: the data set's README):
//
//   official .txt                                 Kaggle .csv
//   202599                                        image_id,lefteye_x,...,rightmouth_y
//   lefteye_x lefteye_y ... rightmouth_y          000001.jpg,69,109,106,113,77,142,...
//   000001.jpg   69  109  106  113   77 ...
//
//   score = sum over the 10 coordinates of ((x - mean) / std)^2
//
// with mean and population standard deviation over all rows of the file; a coordinate of std 0
// counts 0. The pictures are aligned by the eyes, so that these hardly vary; the scaling gives
// every coordinate the same say.
#ifndef LANDMARKS_H
#define LANDMARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANDMARK_COORDINATES 10

struct landmark_row {
    const char *name; // as in the file
    int line;
    double score;
};

struct landmarks {
    char *text;                // what the names point into
    struct landmark_row *rows; // by name without extension
    size_t count;
    double mean[LANDMARK_COORDINATES], std[LANDMARK_COORDINATES];
};

// Reads, checks and scores. ERR_DATA with file:line for a malformed line, a row that occurs twice,
// a count that does not hold; for an attribute file the text names the file that has positions.
int landmarks_load(const char *path, struct landmarks **ret_landmarks);
void landmarks_free(struct landmarks *l);

// The row of a file name, whatever the extension of either (the set exists as PNG too); or NULL.
const struct landmark_row *landmarks_find(const struct landmarks *l, const char *name);

// Indexes of the n rows (or all there are) of the least score, the nearest first, ties by name;
// malloc'ed.
uint32_t *landmarks_nearest(const struct landmarks *l, size_t n);

// The positions look like those of the unaligned pictures (list_landmarks_celeba).
bool landmarks_are_unaligned(const struct landmarks *l);

#endif
