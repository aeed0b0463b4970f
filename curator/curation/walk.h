// walk - the picture files of a folder.
//
// Candidates are files named *.jpg .jpeg .png .webp, and .bmp .ppm .tif .tiff (which are then
// refused by content, with a way to convert them); small or capital letters, as the reference has
// it. Hidden files and folders are skipped. Links to files are followed, links to folders are not.
#ifndef WALK_H
#define WALK_H

#include "pictures/picture.h"

struct walk {
    struct pictures found;
    size_t others;         // files of other names
    char example[256];     // one of them
    size_t linked_folders; // not followed
};

void walk_fini(struct walk *w);

// Adds the pictures under root/folder, sorted by path.
//   root    absolute; paths are relative to it
//   folder  relative to root; "" is root itself
//   skip    a folder relative to root that is not entered; NULL: none
// ERR_DATA names a folder that cannot be read and why.
int walk_folder(const char *root, const char *folder, const char *skip, struct walk *w);

#endif
