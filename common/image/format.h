// format - which files are images: by their first bytes, or else by the ends of their names. The
// one list for curators, translate and the decoder.
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include "image/image.h"

// A format known by its first bytes. Not every one is read.
struct image_signature {
    const char *bytes; // a '?' stands for any byte
    int length;
    enum image_format format; // IMAGE_UNKNOWN: never read
    const char *name;         // "JPEG"
    const char *prefix;       // ImageMagick's word for it; "": `tool` converts it
    const char *tool;
};

// The format that the bytes begin with, lent; NULL: none of the known ones.
const struct image_signature *image_signature_of(const uint8_t *bytes, size_t size);

// Whether the name ends like an image's (.jpg, .JPEG, .jfif, .heic, ...), in letters of any case.
// Also formats that are not read: the refusal then names the file and the command that converts it.
bool image_is_named(const char *path);

// Whether a file is to be looked at as an image: its name ends like one, or its first bytes begin
// like one. Opens only regular files of other names; one that cannot be opened is none.
//   folder  a descriptor that `path` is relative to, as for openat; AT_FDCWD
bool image_is_candidate(int folder, const char *path);

// Length of the path without an image's ending: "a/1.JPG" -> 3, "a/1.2" -> 5, ".jpg" -> 4.
size_t image_stem_length(const char *path);

#endif
