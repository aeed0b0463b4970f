// walk - the picture files of a folder.
//
// Candidates are all files that image_is_candidate names: by the end of their name, or by their
// first bytes. Inspecting then refuses the formats that are not read, with a way to convert them.
// Hidden files and folders are skipped. Links to files are followed, links to folders are not.
#ifndef WALK_H
#define WALK_H

#include "pictures/picture.h"

struct walk {
    struct pictures found;
    // Their pictures are counted nowhere; the user has to name the folder.
    struct pictures linked; // links to folders, rejected as `linked_folder`
    size_t others;          // files that are no pictures, neither by name nor by content
    char example[256];      // one of them
};

void walk_fini(struct walk *w);

// Adds the pictures under root/folder, sorted by path.
//   root    absolute; paths are relative to it
//   folder  relative to root; "" is root itself
//   skip    a folder relative to root that is not entered; NULL: none
// ERR_DATA names a folder that cannot be read and why.
int walk_folder(const char *root, const char *folder, const char *skip, struct walk *w);

#endif
