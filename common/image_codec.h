// image_codec - what image_decode.c asks of each format. Nobody else includes this.
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include "image.h"

// The bytes of one file and its name for messages.
struct image_file {
    const char *name;
    const uint8_t *bytes;
    size_t size;
};

struct image_codec {
    // Reads the header only; fills w, h, channels, bits. Fails with ERR_FORMAT.
    int (*probe)(const struct image_file *file, struct image_info *ret_info);

    // Decodes to c = 1 (the file is gray) or 3. `info` is what probe said, and within the limits.
    int (*decode)(const struct image_file *file, const struct image_info *info,
                  struct image *ret_image);
};

extern const struct image_codec image_codec_jpeg, image_codec_png, image_codec_webp;

#endif
