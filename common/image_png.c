// PNG through libspng.
#include "image_codec.h"

#include <stdlib.h>
#include <string.h>

#include <spng.h>

#include "err.h"
#include "util.h"

enum { CHUNK_MAX = 16 << 20, CACHE_MAX = 32 << 20 }; // of profiles and texts, which we never use

static int failed(const struct image_file *file, int code) {
    return err_set(ERR_FORMAT, "'%s': damaged PNG: %s", file->name, spng_strerror(code));
}

// Freed with spng_ctx_free, also when it fails.
static int open_png(const struct image_file *file, struct spng_ihdr *ret_header, spng_ctx **ret) {
    spng_ctx *png = spng_ctx_new(0);
    if (!png)
        return err_set(ERR_FORMAT, "'%s': libspng refuses to start", file->name);
    *ret = png;
    // A wrong checksum of a text or profile damages no pixel.
    int code = spng_set_crc_action(png, SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
    if (!code)
        code = spng_set_chunk_limits(png, CHUNK_MAX, CACHE_MAX);
    if (!code)
        code = spng_set_png_buffer(png, file->bytes, file->size);
    if (!code)
        code = spng_get_ihdr(png, ret_header);
    return code ? failed(file, code) : ERR_OK;
}

static int channels_of(uint8_t color_type) {
    switch (color_type) {
    case SPNG_COLOR_TYPE_GRAYSCALE:
        return 1;
    case SPNG_COLOR_TYPE_INDEXED:
    case SPNG_COLOR_TYPE_TRUECOLOR:
        return 3;
    default:
        return 4;
    }
}

static int probe(const struct image_file *file, struct image_info *ret_info) {
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    int err = open_png(file, &header, &png);
    spng_ctx_free(png);
    if (err)
        return err;
    *ret_info = (struct image_info){IMAGE_PNG, (int)header.width, (int)header.height,
                                    channels_of(header.color_type), header.bit_depth};
    return ERR_OK;
}

static void saturate_gray16(const uint8_t *in, struct image *im) {
    size_t n = (size_t)im->w * (size_t)im->h;
    for (size_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, in + 2 * i, 2); // libspng has put it into the host's order
        im->pixels[i] = (uint8_t)MIN(v, 255);
    }
}

// Deep gray: Pillow keeps the 16 bits and saturates only when converting.
static int decode_gray16(spng_ctx *png, struct image *im) {
    size_t size = (size_t)im->w * (size_t)im->h * 2;
    uint8_t *deep = xmalloc(size);
    int code = spng_decode_image(png, deep, size, SPNG_FMT_PNG, 0);
    if (!code)
        saturate_gray16(deep, im);
    free(deep);
    return code;
}

static int decode(const struct image_file *file, const struct image_info *info,
                  struct image *ret_image) {
    struct spng_ihdr header;
    struct image im = {0};
    spng_ctx *png = NULL;
    int err = open_png(file, &header, &png);
    if (err)
        goto fail;
    bool deep_gray = info->channels == 1 && info->bits == 16;
    bool gray = info->channels == 1 && info->bits <= 8;
    image_init(&im, info->w, info->h, deep_gray || gray ? 1 : 3);
    size_t size = (size_t)im.w * (size_t)im.h * (size_t)im.c;
    int code = deep_gray
                   ? decode_gray16(png, &im)
                   : spng_decode_image(png, im.pixels, size, gray ? SPNG_FMT_G8 : SPNG_FMT_RGB8, 0);
    if (code) {
        err = failed(file, code);
        goto fail;
    }
    *ret_image = im;
    im.pixels = NULL;

fail:
    image_fini(&im);
    spng_ctx_free(png);
    return err;
}

const struct image_codec image_codec_png = {.probe = probe, .decode = decode};
