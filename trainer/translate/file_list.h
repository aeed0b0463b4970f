// file_list - the images to translate, and the path of each result.
#ifndef FILE_LIST_H
#define FILE_LIST_H

#include <stdbool.h>

#include "translate/output_record.h"

struct file_list_item {
    char *in, *out;
    const char *in_name, *out_name; // the same, relative to IN and OUT
};

struct file_list {
    int n;
    struct file_list_item *items; // folder by folder, sorted by name
    struct output_record *record; // which input an output is of; NULL: OUT is a file
    int present;                  // outputs that existed and are kept
    int linked;                   // links to folders below IN, which are not followed
};

enum file_list_existing { FILE_LIST_REFUSE, FILE_LIST_REPLACE, FILE_LIST_KEEP };

struct file_list_options {
    const char *in, *out;
    const char *format; // "png", "jpg"; NULL: by the end of OUT's name, else `usual`
    const char *usual;  // the default format
    bool recursive;     // also the folders under IN
    enum file_list_existing existing;
};

// Images are found by image_is_candidate: by the ending of their names or by their first bytes.
// Formats that cannot be read are refused later. Hidden files and links to folders are skipped. So
// is OUT if it lies in IN. IN/a/b.jpg becomes OUT/a/b.png. Of b.jpg and b.png in one folder the
// later becomes b.png.png. A single image may become a file: OUT is not a folder and ends in .png,
// .jpg or .jpeg.
//
// An output keeps the name that it got first, even if other images come beside its input later
// (output_record.h). With FILE_LIST_KEEP an existing output is kept if it was made from the present
// bytes of its input, or if no record tells its input.
//
// Makes the folders of the outputs. ERR_IO: IN is missing or holds no images, or a folder cannot be
// read, made or written to. ERR_USAGE: outputs exist with FILE_LIST_REFUSE (the text counts them),
// or OUT holds inputs, or the ending of OUT contradicts `format`. On failure *ret is empty.
int file_list_make(const struct file_list_options *options, struct file_list *ret);
void file_list_fini(struct file_list *l);

// Whether a path is to be written as JPEG.
bool file_list_is_jpeg(const char *path);

#endif
