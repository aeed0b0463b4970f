// Recognises the format of a file, checks the limits, and decodes through the format's codec.
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "image/format.h"
#include "image/resample.h"

enum { FILE_MAX_BYTES = 512 << 20 };

// A format without a codec is recognised but refused with a hint.
static const struct image_codec *const codecs[] = {
    [IMAGE_JPEG] = &image_codec_jpeg,
    [IMAGE_PNG] = &image_codec_png,
    [IMAGE_WEBP] = &image_codec_webp,
};

// A file name as one word of the shell.
static char *quoted(const char *text) {
    struct text t = {0};
    text_add(&t, "'");
    // Inside single quotes only the quote itself is special.
    for (const char *c = text; *c; c++)
        text_add_bytes(&t, *c == '\'' ? "'\\''" : c, *c == '\'' ? 4 : 1);
    text_add(&t, "'");
    return t.bytes;
}

// The name with another ending, which is never the name itself.
// A name that begins with its only dot has no ending.
static char *converted_name(const char *name) {
    const char *slash = strrchr(name, '/'), *dot = strrchr(name, '.');
    bool has_ending = dot && dot > name && (!slash || dot > slash + 1);
    int stem = (int)(has_ending ? dot - name : (ptrdiff_t)strlen(name));
    const char *ending = has_ending && strcmp(dot, ".png") == 0 ? ".converted.png" : ".png";
    return xasprintf("%.*s%s", stem, name, ending);
}

// Proposes a command that converts the first image of the file. The format is given to
// ImageMagick's `convert`, since the name may have a wrong ending.
static int refuse_format(const struct image_file *file, const struct image_signature *s) {
    char *to = converted_name(file->name);
    char *from = *s->prefix ? xasprintf("%s:%s[0]", s->prefix, file->name) : xstrdup(file->name);
    char *word_from = quoted(from), *word_to = quoted(to);
    int err = err_set(ERR_FORMAT, "'%s': %s is not read; convert it: %s %s %s", file->name, s->name,
                      *s->prefix ? "convert" : s->tool, word_from, word_to);
    free(word_from);
    free(word_to);
    free(from);
    free(to);
    return err;
}

// NULL after err_set with ERR_FORMAT.
static const struct image_codec *find_codec(const struct image_file *file) {
    const struct image_signature *s = image_signature_of(file->bytes, file->size);
    if (s && (size_t)s->format < COUNT(codecs) && codecs[s->format])
        return codecs[s->format];
    if (s)
        (void)refuse_format(file, s); // sets the text
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
    // Divided rather than multiplied, so no size overflows.
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
// Copied on success only.

int image_probe(const char *name, const uint8_t *bytes, size_t size,
                const struct image_limits *limits, struct image_info *ret_info) {
    const struct image_codec *codec = NULL;
    return probe(&(struct image_file){name, bytes, size}, limits, &codec, ret_info);
}

// Converts `im` to the channels and the orientation, and frees it.
// At most two conversions; each frees what it replaces.
static void deliver(struct image im, int channels, int orientation, struct image *ret_image) {
    struct image next = {0};
    if (im.c != channels) {
        (channels == 1 ? image_gray : image_rgb)(&im, &next);
        image_fini(&im);
        im = next;
    }
    if (orientation != 1) {
        image_orient(&im, orientation, &next);
        image_fini(&im);
        im = next;
    }
    *ret_image = im;
}

int image_file_orientation(const char *name, const uint8_t *bytes, size_t size) {
    struct image_file file = {name, bytes, size};
    const struct image_codec *codec = find_codec(&file);
    return codec ? codec->orientation(&file) : 1;
}

int image_decode_how(const char *name, const uint8_t *bytes, size_t size,
                     const struct image_how *how, int channels, struct image *ret_image) {
    if (channels != 1 && channels != 3)
        BUG("%d channels asked for", channels);
    struct image_file file = {name, bytes, size};
    const struct image_codec *codec = NULL;
    struct image_info info;
    struct image_how stored = *how;
    struct image im;
    int err = probe(&file, &how->limits, &codec, &info);
    if (err)
        return err;
    int orientation = how->apply_exif ? codec->orientation(&file) : 1;
    // Orientations from 5 on swap the sides, so the wanted size is swapped too.
    if (orientation >= 5) {
        stored.fit_w = how->fit_h;
        stored.fit_h = how->fit_w;
    }
    err = codec->decode(&file, &stored, &info, &im);
    if (err)
        return err;
    deliver(im, channels, orientation, ret_image);
    return ERR_OK;
}

// ---- decoding into a resize ----

struct shrinking {
    int w, h;
    struct resample *resample; // NULL before begin
};

// The resize needs the decoded size, which JPEG's scaling decides.
static void begin_shrinking(void *context, int w, int h, int c) {
    struct shrinking *s = context;
    struct resample_plan plan = {w, h, c, s->w, s->h, {0, 0, s->w, s->h}, NULL};
    s->resample = resample_open(&plan);
}

static uint8_t *row_of_shrinking(void *context, int y) {
    struct shrinking *s = context;
    return resample_row(s->resample, y);
}

// ERR_FORMAT also for files that decoding in full may still rescue (keep_truncated).
// A fast path for the usual file: no image of full size is ever in memory.
static int decode_shrinking(const struct image_file *file, const struct image_how *how,
                            int channels, struct shrinking *s, struct image *ret_image,
                            int64_t *ret_resize_us) {
    const struct image_codec *codec = NULL;
    struct image_info info = {0};
    struct image_sink sink = {s, begin_shrinking, row_of_shrinking};
    int err = probe(file, &how->limits, &codec, &info);
    bool same_size = info.w == s->w && info.h == s->h; // nothing to resize
    // Turned, gray or equal-sized images take the general path.
    if (err || same_size || !codec->decode_rows || (channels == 1 && info.channels != 1) ||
        (how->apply_exif && codec->orientation(file) != 1))
        return ERR_FORMAT;
    err = codec->decode_rows(file, how, &info, &sink);
    if (err)
        return err;
    struct image im;
    int64_t begun = now_us();
    // The time inside resample_row belongs to resizing, not to decoding.
    *ret_resize_us += resample_time_us(s->resample);
    resample_close(s->resample, &im);
    s->resample = NULL;
    deliver(im, channels, 1, ret_image);
    *ret_resize_us += now_us() - begun;
    return ERR_OK;
}

int image_decode_resized(const char *name, const uint8_t *bytes, size_t size,
                         const struct image_how *how, int channels, int w, int h,
                         struct image *ret_image, int64_t *ret_resize_us) {
    struct image_file file = {name, bytes, size};
    struct shrinking s = {.w = w, .h = h};
    struct image im;
    if (decode_shrinking(&file, how, channels, &s, ret_image, ret_resize_us) == ERR_OK)
        return ERR_OK;
    // The half-made resize of a failed fast path is thrown away.
    resample_close(s.resample, NULL);
    int err = image_decode_how(name, bytes, size, how, channels, &im);
    if (err)
        return err;
    if (im.w == w && im.h == h) {
        *ret_image = im;
        return ERR_OK;
    }
    int64_t begun = now_us();
    image_resize(&im, w, h, ret_image);
    image_fini(&im);
    *ret_resize_us += now_us() - begun;
    return ERR_OK;
}

int image_decode(const char *name, const uint8_t *bytes, size_t size,
                 const struct image_limits *limits, int channels, struct image *ret_image) {
    struct image_how how = {.limits = *limits};
    return image_decode_how(name, bytes, size, &how, channels, ret_image);
}

int image_load_how(const char *path, const struct image_how *how, int channels,
                   struct image *ret_image) {
    uint8_t *bytes;
    size_t size;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err;
    err = image_decode_how(path, bytes, size, how, channels, ret_image);
    free(bytes);
    return err;
}

int image_load(const char *path, const struct image_limits *limits, int channels,
               struct image *ret_image) {
    struct image_how how = {.limits = *limits};
    return image_load_how(path, &how, channels, ret_image);
}
