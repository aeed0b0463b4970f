// codec - the functions of each format. Only decode.c and the formats include it.
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include "image/image.h"

// The bytes of one file and its name for messages.
struct image_file {
    const char *name;
    const uint8_t *bytes;
    size_t size;
};

// Receives the rows of an image as they are decoded, from the top.
struct image_sink {
    void *context;
    void (*begin)(void *context, int w, int h, int c); // once, before the first row
    // The address for row y of w * c bytes; it is written before the next call. NULL: no more rows
    // are needed.
    uint8_t *(*row)(void *context, int y);
};

struct image_codec {
    // Reads the header only; fills w, h, channels, bits. Fails with ERR_FORMAT.
    int (*probe)(const struct image_file *file, struct image_info *ret_info);

    // Decodes to c = 1 (the file is gray) or 3. `info` is what probe said, and within the limits.
    // Of `how`, apply_exif is not its business; fit_w and fit_h are of the pixels as stored.
    int (*decode)(const struct image_file *file, const struct image_how *how,
                  const struct image_info *info, struct image *ret_image);

    // The same into a sink; NULL: this format has no such way. keep_truncated is not its business:
    // what is damaged fails, after some rows.
    int (*decode_rows)(const struct image_file *file, const struct image_how *how,
                       const struct image_info *info, const struct image_sink *sink);

    // The orientation that the file notes, 1..8; 1 if it notes none.
    int (*orientation)(const struct image_file *file);
};

extern const struct image_codec image_codec_jpeg, image_codec_png, image_codec_webp;

#endif
