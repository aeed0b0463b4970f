// layout - where a data set's folder has the images of the domains A and B.
//
// The layouts, in the order in which they are tried; * stands for the letter. A name is taken as it
// is written, or else in letters of any case ("TrainA").
//
//   training   held out
//   train*     test*, or val*
//   train/*    test/*, or val/*
//   */train    */test, or */val
//   *          test*, or val*
#ifndef CONFIG_LAYOUT_H
#define CONFIG_LAYOUT_H

struct layout {
    const char *train, *held[2];
};

// The first layout whose training folders of all these letters ("AB") are there; NULL if none is.
const struct layout *layout_find(const char *root, const char *letters);

// The folder of a form ("train*") for a domain's letter, malloc'ed; NULL if it is not there.
char *layout_folder(const char *root, const char *form, char letter);

// The held-out folder of the first of the letters, where all of them have one, malloc'ed; else
// NULL.
char *layout_held_out(const char *root, const struct layout *l, const char *letters);

// What is in a folder without a layout, for a person: "it has photos/, notes.txt", and the folder
// below that has a layout, if there is one. malloc'ed.
char *layout_describe(const char *root);

#endif
