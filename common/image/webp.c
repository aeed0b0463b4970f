// WebP, still images only, through libwebp.
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

#include "base/err.h"
#include "base/util.h"

static int damaged(const struct image_file *file) {
    return err_set(ERR_FORMAT, "'%s': damaged WebP", file->name);
}

static int probe(const struct image_file *file, struct image_info *ret_info) {
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(file->bytes, file->size, &f) != VP8_STATUS_OK)
        return damaged(file);
    if (f.has_animation)
        return err_set(ERR_FORMAT,
                       "'%s': animated WebP is not read; take its first picture: webpmux -get "
                       "frame 1 '%s' -o '%s.still.webp'",
                       file->name, file->name, file->name);
    *ret_info = (struct image_info){IMAGE_WEBP, f.width, f.height, f.has_alpha ? 4 : 3, 8};
    return ERR_OK;
}

// The EXIF chunk of the RIFF file: a name of 4 bytes, a size of 4, the bytes, padded to even.
static int orientation(const struct image_file *file) {
    size_t at = 12;
    while (at + 8 <= file->size) {
        const uint8_t *chunk = file->bytes + at;
        size_t size = (size_t)chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 |
                      (size_t)chunk[7] << 24;
        // A wrong size must not read beyond the file.
        if (memcmp(chunk, "EXIF", 4) == 0)
            return image_orientation(chunk + 8, MIN(size, file->size - at - 8));
        // Chunks are padded to even sizes.
        at += 8 + size + (size & 1);
    }
    return 1;
}

// Decodes incrementally, so that the rows before a damage survive. Returns the rows decoded.
static int decode_rows(const struct image_file *file, WEBP_CSP_MODE mode, uint8_t *rows, int w,
                       int h) {
    size_t stride = (size_t)w * (mode == MODE_RGBA ? 4 : 3);
    int done = 0, width, height, step;
    WebPIDecoder *decoder = WebPINewRGB(mode, rows, stride * (size_t)h, (int)stride);
    if (!decoder)
        return 0;
    VP8StatusCode status = WebPIUpdate(decoder, file->bytes, file->size);
    if (status == VP8_STATUS_OK)
        done = h;
    else if (!WebPIDecGetRGB(decoder, &done, &width, &height, &step))
        done = 0;
    WebPIDelete(decoder);
    return done;
}

static int decode(const struct image_file *file, const struct image_how *how,
                  const struct image_info *info, struct image *ret_image) {
    bool blend = how->alpha_on_white && info->channels == 4;
    size_t n = (size_t)info->w * (size_t)info->h;
    struct image im;
    image_init(&im, info->w, info->h, 3);
    // Without blending, the decoder writes straight into the image.
    uint8_t *rows = blend ? xcalloc(n, 4) : im.pixels;
    // The alpha channel is dropped by MODE_RGB.
    int done = decode_rows(file, blend ? MODE_RGBA : MODE_RGB, rows, im.w, im.h);
    if (blend) {
        image_rgb_on_white(rows, n, im.pixels);
        free(rows);
    }
    if (done < im.h && !(how->keep_truncated && done > 0)) {
        image_fini(&im);
        return damaged(file);
    }
    *ret_image = im;
    return ERR_OK;
}

const struct image_codec image_codec_webp = {
    .probe = probe, .decode = decode, .orientation = orientation};
