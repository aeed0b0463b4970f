// celeba_lists - CelebA's tables besides the landmarks: attributes, partition, boxes, identities.
//
//   list_attr_celeba       name and 40 columns of 1 and -1
//   list_eval_partition    name and 0 train, 1 val, 2 test
//   list_bbox_celeba       name and x_1 y_1 width height in the picture that the face was cut from
//   identity_CelebA        name and the number of who it is
//
// Each as .txt, with the official layout's count and header where it has them, or as Kaggle's .csv.
#ifndef CELEBA_LISTS_H
#define CELEBA_LISTS_H

#include "kinds/curators.h"

// Whether a setting needs one of them.
bool celeba_lists_are_wanted(const struct config_curator *settings);

// Rejects, among the pictures not rejected so far: `attributes`, `partition`, `small_face`,
// `identity` (all but the best of one person, by score, then path; held-out pictures do not count),
// and no_attributes, no_partition, ... for those without a row. ERR_DATA: a setting that names no
// column, a list that is not there, file:line of a malformed row.
int celeba_lists_sift(struct curation *c);

// Reads one list as sifting does, for its checks; kind 0 to 3 in the order above. ERR_DATA.
int celeba_lists_check(int kind, const struct config_curator *settings, const char *path);

#endif
