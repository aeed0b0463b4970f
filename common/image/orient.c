// EXIF orientation: read by libexif, applied by moving pixels.
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#include <libexif/exif-data.h> // last: it has a MIN and MAX of its own

static const uint8_t header[6] = "Exif\0";

static int orientation_of(ExifData *data) {
    ExifEntry *e = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (!e || e->format != EXIF_FORMAT_SHORT || e->components < 1 || e->size < 2)
        return 1;
    int value = exif_get_short(e->data, exif_data_get_byte_order(data));
    return value >= 1 && value <= 8 ? value : 1;
}

int image_orientation(const uint8_t *exif, size_t size) {
    bool has_header = size >= sizeof header && memcmp(exif, header, sizeof header) == 0;
    size_t skip = has_header ? sizeof header : 0;
    // An EXIF block of a JPEG has at most 64 KiB; larger ones are ignored.
    ExifData *data = size - skip > 0xffff ? NULL : exif_data_new();
    if (!data)
        return 1;
    // libexif needs the header. Its repairs are off: they could invent an orientation.
    uint8_t *block = xmalloc(sizeof header + size);
    memcpy(block, header, sizeof header);
    memcpy(block + sizeof header, exif + skip, size - skip);
    exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
    exif_data_load_data(data, block, (unsigned)(sizeof header + size - skip));
    int orientation = orientation_of(data);
    exif_data_unref(data);
    free(block);
    return orientation;
}

// The source of pixel (x, y) of the result.
struct source_of {
    bool swap, from_right, from_bottom; // of the stored image: x is y, counted from the right ...
};

static const struct source_of sources[9] = {
    [1] = {false, false, false}, [2] = {false, true, false}, [3] = {false, true, true},
    [4] = {false, false, true},  [5] = {true, false, false}, [6] = {true, false, true},
    [7] = {true, true, true},    [8] = {true, true, false},
};

void image_orient(const struct image *im, int orientation, struct image *ret_image) {
    if (orientation < 1 || orientation > 8)
        BUG("orientation %d", orientation);
    struct source_of from = sources[orientation];
    struct image out;
    size_t c = (size_t)im->c;
    image_init(&out, from.swap ? im->h : im->w, from.swap ? im->w : im->h, im->c);
    uint8_t *to = out.pixels;
    // In the order of the result: writes are sequential, reads may jump.
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++, to += c) {
            int sx = from.swap ? y : x, sy = from.swap ? x : y;
            sx = from.from_right ? im->w - 1 - sx : sx;
            sy = from.from_bottom ? im->h - 1 - sy : sy;
            memcpy(to, im->pixels + ((size_t)sy * (size_t)im->w + (size_t)sx) * c, c);
        }
    *ret_image = out;
}
