// listing - the pictures that are to be translated, and where each result goes.
#ifndef LISTING_H
#define LISTING_H

#include <stdbool.h>

struct listing_item {
    char *in, *out;
};

struct listing {
    int n;
    struct listing_item *items; // sorted by `in` within a folder
    int present;                // outputs that were there and are left as they are
    int linked;                 // folders below IN that are links, which are not followed
};

enum listing_existing { LISTING_REFUSE, LISTING_REPLACE, LISTING_KEEP };

struct listing_options {
    const char *in, *out;
    const char *format; // "png", "jpg"; NULL: by the end of OUT's name, else `usual`
    const char *usual;
    bool recursive; // also the folders under IN
    enum listing_existing existing;
};

// All files that image_is_candidate names: by the end of their name or by their first bytes.
// Formats that are not read are reported when their turn comes. Hidden files and linked folders are
// left out, and so is OUT if it lies under IN. IN/a/b.jpg becomes OUT/a/b.png; if b.png and b.jpg
// lie side by side, the later becomes b.png.png. A single picture may become a file OUT: one whose
// name ends in .png, .jpg or .jpeg and is no folder.
//
// Folders of outputs are made. ERR_IO: nothing there, no pictures, a folder that cannot be read or
// made. ERR_USAGE: with LISTING_REFUSE an output exists (says how many); the format of OUT's name
// and `format` differ. On failure *ret is empty.
int listing_make(const struct listing_options *options, struct listing *ret);
void listing_fini(struct listing *l);

// Whether a path is to be written as JPEG.
bool listing_is_jpeg(const char *path);

#endif
