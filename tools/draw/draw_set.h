// draw_set - writes drawn faces as files, in the layouts and with the names of the real data sets.
//
//   DIR/celeba/img_align_celeba/000001.jpg ...       178x218; the last 3 are broken
//   DIR/celeba/list_landmarks_align_celeba.txt       count, 10 names, rows; of broken files too
//   DIR/celeba/list_attr_celeba.txt                  count, names, rows of 1 and -1
//   DIR/anime/images/INDEX_YEAR.jpg                  years 2000..2019; 90..120 pixels square, two
//                                                    of 25 have exactly 300 and 301; 3 broken
#ifndef DRAW_SET_H
#define DRAW_SET_H

#include <stdint.h>

struct draw_set {
    const char *folder; // lent
    int celeba, anime;  // number of whole pictures; 0: that set is not made
    uint64_t seed;
};

// Existing files are replaced. The same set gives the same bytes. Fails with ERR_IO.
int draw_set(const struct draw_set *set);

#endif
