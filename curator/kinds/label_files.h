// label_files - where BDD100K's label files are.
#ifndef LABEL_FILES_H
#define LABEL_FILES_H

#include <stddef.h>

struct label_files {
    char **paths; // in the order they are to be read
    size_t count, capacity;
};

// What `labels` names: a file, or all *.json of a folder and its folders, by path; if it is "",
// what is found at the places where the data set's packings have them, seen from `root` or one of
// its parents: labels/, bdd100k/labels/, bdd100k_labels_release/bdd100k/labels/, or the folder
// itself. There: bdd100k_labels_images_*.json, det_20/det_*.json, det_v2_*_release.json,
// 100k/**/*.json, and (in one called labels) other *.json; a place with any of them ends the
// search. No files is no error. ERR_DATA: a folder that cannot be read.
int label_files_find(const char *labels, const char *root, struct label_files *ret);

void label_files_fini(struct label_files *f);

#endif
