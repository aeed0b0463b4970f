// WebP, still pictures only, through libwebp.
#include "image_codec.h"

#include <webp/decode.h>

#include "err.h"

static int probe(const struct image_file *file, struct image_info *ret_info) {
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(file->bytes, file->size, &f) != VP8_STATUS_OK)
        return err_set(ERR_FORMAT, "'%s': damaged WebP", file->name);
    if (f.has_animation)
        return err_set(ERR_FORMAT, "'%s': animated WebP is not read; try: webpmux -get frame 1",
                       file->name);
    *ret_info = (struct image_info){IMAGE_WEBP, f.width, f.height, f.has_alpha ? 4 : 3, 8};
    return ERR_OK;
}

static int decode(const struct image_file *file, const struct image_info *info,
                  struct image *ret_image) {
    struct image im;
    image_init(&im, info->w, info->h, 3);
    size_t size = (size_t)im.w * (size_t)im.h * 3;
    if (!WebPDecodeRGBInto(file->bytes, file->size, im.pixels, size, im.w * 3)) {
        image_fini(&im);
        return err_set(ERR_FORMAT, "'%s': damaged WebP", file->name);
    }
    *ret_image = im;
    return ERR_OK;
}

const struct image_codec image_codec_webp = {.probe = probe, .decode = decode};
