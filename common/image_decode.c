// Which format it is, whether it may be decoded, and the way from a file to an image.
#include "image_codec.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fs.h"
#include "util.h"

enum { FILE_MAX_BYTES = 512 << 20 };

// First match wins. A '?' stands for any byte.
static const struct signature {
    const char *bytes;
    int length;
    enum image_format format;
    const char *name;
} signatures[] = {
    {"\xff\xd8\xff", 3, IMAGE_JPEG, "JPEG"},
    {"\x89PNG\r\n\x1a\n", 8, IMAGE_PNG, "PNG"},
    {"RIFF????WEBP", 12, IMAGE_WEBP, "WebP"},
    {"BM????\0\0\0\0", 10, IMAGE_BMP, "BMP"},
    {"GIF8", 4, IMAGE_GIF, "GIF"},
    {"II*\0", 4, IMAGE_TIFF, "TIFF"},
    {"MM\0*", 4, IMAGE_TIFF, "TIFF"},
    {"II+\0", 4, IMAGE_TIFF, "BigTIFF"},
    {"P3", 2, IMAGE_UNKNOWN, "PPM"},
    {"P5", 2, IMAGE_UNKNOWN, "PGM"},
    {"P6", 2, IMAGE_UNKNOWN, "PPM"},
    {"????ftypavif", 12, IMAGE_UNKNOWN, "AVIF"},
    {"????ftyphei", 11, IMAGE_UNKNOWN, "HEIC"},
    {"????ftypmif1", 12, IMAGE_UNKNOWN, "HEIF"},
    {"\0\0\0\fjP  \r\n\x87\n", 12, IMAGE_UNKNOWN, "JPEG 2000"},
    {"\0\0\0\fJXL \r\n\x87\n", 12, IMAGE_UNKNOWN, "JPEG XL"},
    {"\xff\n", 2, IMAGE_UNKNOWN, "JPEG XL"},
    {"8BPS", 4, IMAGE_UNKNOWN, "Photoshop"},
    {"%PDF", 4, IMAGE_UNKNOWN, "PDF"},
};

static const struct image_codec *const codecs[] = {
    [IMAGE_JPEG] = &image_codec_jpeg,
    [IMAGE_PNG] = &image_codec_png,
    [IMAGE_WEBP] = &image_codec_webp,
};

static bool matches(const struct signature *s, const struct image_file *file) {
    if (file->size < (size_t)s->length)
        return false;
    for (int i = 0; i < s->length; i++)
        if (s->bytes[i] != '?' && (uint8_t)s->bytes[i] != file->bytes[i])
            return false;
    return true;
}

static const struct signature *sniff(const struct image_file *file) {
    for (size_t i = 0; i < COUNT(signatures); i++)
        if (matches(&signatures[i], file))
            return &signatures[i];
    return NULL;
}

static int refuse_format(const struct image_file *file, const char *format) {
    const char *slash = strrchr(file->name, '/'), *dot = strrchr(file->name, '.');
    int stem = dot && (!slash || dot > slash + 1) && dot > file->name ? (int)(dot - file->name)
                                                                      : (int)strlen(file->name);
    return err_set(ERR_FORMAT, "'%s': %s is not read; convert it: convert '%s' '%.*s.png'",
                   file->name, format, file->name, stem, file->name);
}

// NULL after err_set with ERR_FORMAT.
static const struct image_codec *find_codec(const struct image_file *file) {
    const struct signature *s = file->size ? sniff(file) : NULL;
    if (s && (size_t)s->format < COUNT(codecs) && codecs[s->format])
        return codecs[s->format];
    if (s)
        (void)refuse_format(file, s->name); // sets the text
    else
        (void)err_set(ERR_FORMAT, "'%s': %s", file->name, file->size ? "not a picture" : "empty");
    return NULL;
}

static int check_limits(const struct image_file *file, const struct image_limits *limits,
                        const struct image_info *info) {
    int64_t pixels = (int64_t)info->w * info->h;
    if (info->w < 1 || info->h < 1)
        return err_set(ERR_FORMAT, "'%s': %dx%d pixels", file->name, info->w, info->h);
    if (pixels > limits->max_pixels)
        return err_set(ERR_FORMAT, "'%s': %dx%d pixels, more than the limit of %lld", file->name,
                       info->w, info->h, (long long)limits->max_pixels);
    if (pixels / limits->max_pixels_per_byte > (int64_t)file->size)
        return err_set(ERR_FORMAT, "'%s': %dx%d pixels in %zu bytes: a decompression bomb",
                       file->name, info->w, info->h, file->size);
    return ERR_OK;
}

static int probe(const struct image_file *file, const struct image_limits *limits,
                 const struct image_codec **ret_codec, struct image_info *ret_info) {
    const struct image_codec *codec = find_codec(file);
    if (!codec)
        return ERR_FORMAT;
    struct image_info info;
    int err = codec->probe(file, &info);
    if (err)
        return err;
    err = check_limits(file, limits, &info);
    if (err)
        return err;
    *ret_codec = codec;
    *ret_info = info;
    return ERR_OK;
}

int image_probe(const char *name, const uint8_t *bytes, size_t size,
                const struct image_limits *limits, struct image_info *ret_info) {
    const struct image_codec *codec = NULL;
    return probe(&(struct image_file){name, bytes, size}, limits, &codec, ret_info);
}

int image_decode(const char *name, const uint8_t *bytes, size_t size,
                 const struct image_limits *limits, int channels, struct image *ret_image) {
    if (channels != 1 && channels != 3)
        BUG("%d channels asked for", channels);
    struct image_file file = {name, bytes, size};
    const struct image_codec *codec = NULL;
    struct image_info info;
    int err = probe(&file, limits, &codec, &info);
    if (err)
        return err;
    struct image im;
    err = codec->decode(&file, &info, &im);
    if (err)
        return err;
    if (im.c == channels) {
        *ret_image = im;
        return ERR_OK;
    }
    (channels == 1 ? image_gray : image_rgb)(&im, ret_image);
    image_fini(&im);
    return ERR_OK;
}

int image_load(const char *path, const struct image_limits *limits, int channels,
               struct image *ret_image) {
    uint8_t *bytes;
    size_t size;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err;
    err = image_decode(path, bytes, size, limits, channels, ret_image);
    free(bytes);
    return err;
}
