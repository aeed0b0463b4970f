// encode - PNG and JPEG in memory, then through fs_write_atomic: a reader never sees half a
// picture.
#include "image/image.h"

#include <stdio.h>
#include <stdlib.h>

#include <spng.h>
#include <turbojpeg.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

static int encode_png(spng_ctx *png, const struct image *im, uint8_t **ret_bytes,
                      size_t *ret_size) {
    struct spng_ihdr header = {
        .width = (uint32_t)im->w,
        .height = (uint32_t)im->h,
        .bit_depth = 8,
        // No alpha: images have 1 or 3 channels.
        .color_type = im->c == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR,
    };
    size_t size = (size_t)im->w * (size_t)im->h * (size_t)im->c;
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (!code)
        code = spng_set_ihdr(png, &header);
    if (!code)
        code = spng_encode_image(png, im->pixels, size, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    if (!code)
        *ret_bytes = spng_get_png_buffer(png, ret_size, &code);
    return code;
}

int image_encode_png(const struct image *im, uint8_t **ret_bytes, size_t *ret_size) {
    // libspng allocates its buffer with malloc, so free() fits.
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    if (!png)
        return err_set(ERR_IO, "libspng refuses to start");
    int code = encode_png(png, im, ret_bytes, ret_size);
    spng_ctx_free(png);
    return code ? err_set(ERR_IO, "encode PNG: %s", spng_strerror(code)) : ERR_OK;
}

int image_encode_jpeg(const struct image *im, int quality, uint8_t **ret_bytes, size_t *ret_size) {
    int format = im->c == 1 ? TJPF_GRAY : TJPF_RGB, chroma = im->c == 1 ? TJSAMP_GRAY : TJSAMP_444;
    // The largest size that this image can take, so that turbojpeg never reallocates.
    unsigned long size = tjBufSize(im->w, im->h, chroma);
    uint8_t *bytes = xmalloc(size);
    tjhandle jpeg = tjInitCompress();
    if (!jpeg || tjCompress2(jpeg, im->pixels, im->w, 0, im->h, format, &bytes, &size, chroma,
                             // 4:4:4 keeps fine colours; the accurate transform avoids the errors
                             // of the fast one.
                             quality, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC)) {
        int err = err_set(ERR_IO, "encode JPEG: %s", jpeg ? tjGetErrorStr2(jpeg) : tjGetErrorStr());
        if (jpeg)
            (void)tjDestroy(jpeg); // we already have an error
        free(bytes);
        return err;
    }
    (void)tjDestroy(jpeg); // the bytes are complete
    *ret_bytes = bytes;
    *ret_size = size;
    return ERR_OK;
}

static int save_bytes(const char *path, uint8_t *bytes, size_t size) {
    int err = fs_write_atomic(path, bytes, size);
    free(bytes);
    return err;
}

int image_save_png(const char *path, const struct image *im) {
    uint8_t *bytes;
    size_t size;
    int err = image_encode_png(im, &bytes, &size);
    return err ? err : save_bytes(path, bytes, size);
}

int image_save_jpeg(const char *path, const struct image *im, int quality) {
    uint8_t *bytes;
    size_t size;
    int err = image_encode_jpeg(im, quality, &bytes, &size);
    return err ? err : save_bytes(path, bytes, size);
}
