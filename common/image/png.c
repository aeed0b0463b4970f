// PNG through libspng.
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#include <spng.h>
#include <zlib.h>

#include "base/err.h"
#include "base/util.h"

enum { CHUNK_MAX = 16 << 20, CACHE_MAX = 32 << 20 }; // bounds for profiles and texts

static int failed(const struct image_file *file, int code) {
    return err_set(ERR_FORMAT, "'%s': damaged PNG: %s", file->name, spng_strerror(code));
}

// Freed with spng_ctx_free, also when it fails.
static int open_png(const struct image_file *file, struct spng_ihdr *ret_header, spng_ctx **ret) {
    spng_ctx *png = spng_ctx_new(0);
    if (!png)
        return err_set(ERR_FORMAT, "'%s': libspng refuses to start", file->name);
    *ret = png;
    // A wrong checksum of a text or profile does not affect the pixels.
    int code = spng_set_crc_action(png, SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
    if (!code)
        code = spng_set_chunk_limits(png, CHUNK_MAX, CACHE_MAX);
    if (!code)
        code = spng_set_png_buffer(png, file->bytes, file->size);
    if (!code)
        code = spng_get_ihdr(png, ret_header);
    return code ? failed(file, code) : ERR_OK;
}

// Palettes become RGB; gray with alpha is treated like RGBA.
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
    // Only the header was read.
    spng_ctx_free(png);
    if (err)
        return err;
    *ret_info = (struct image_info){IMAGE_PNG, (int)header.width, (int)header.height,
                                    channels_of(header.color_type), header.bit_depth};
    return ERR_OK;
}

// ---- orientation ----

// ImageMagick writes the EXIF block as text: a name, its length, then hexadecimal digits in lines.
static uint8_t *bytes_from_hex(const char *text, size_t *ret_size) {
    uint8_t *bytes = xmalloc(strlen(text) / 2 + 1);
    size_t digits = 0;
    // Three lines precede the digits: an empty one, the name and the length.
    for (int lines = 0; *text && lines < 3; text++)
        lines += *text == '\n';
    for (; *text; text++) {
        static const char hex[] = "0123456789abcdef";
        const char *digit = strchr(hex, *text | 0x20);
        if (!digit)
            continue;
        uint8_t value = (uint8_t)(digit - hex);
        // The first digit of a byte is the high half.
        bytes[digits / 2] = (uint8_t)(digits % 2 ? bytes[digits / 2] | value : value << 4);
        digits++;
    }
    *ret_size = digits / 2;
    return bytes;
}

static int orientation_from_texts(spng_ctx *png) {
    uint32_t n = 0;
    int orientation = 1;
    if (spng_get_text(png, NULL, &n) || n == 0)
        return 1;
    struct spng_text *texts = xcalloc(n, sizeof *texts);
    if (spng_get_text(png, texts, &n))
        n = 0;
    for (uint32_t i = 0; i < n; i++) {
        // The first such text counts.
        if (strcmp(texts[i].keyword, "Raw profile type exif") != 0)
            continue;
        size_t size;
        uint8_t *bytes = bytes_from_hex(texts[i].text, &size);
        orientation = image_orientation(bytes, size);
        free(bytes);
        break;
    }
    free(texts);
    return orientation;
}

static int orientation(const struct image_file *file) {
    struct spng_ihdr header;
    struct spng_exif exif;
    spng_ctx *png = NULL;
    int found = 1;
    if (open_png(file, &header, &png) == ERR_OK)
        // The eXIf chunk is the standard; the text is an older habit.
        found = spng_get_exif(png, &exif) == 0
                    ? image_orientation((const uint8_t *)exif.data, exif.length)
                    : orientation_from_texts(png);
    spng_ctx_free(png);
    return found;
}

// ---- pixels ----

// The format in which libspng returns rows, and their conversion.
struct plan {
    int format, flags;                                          // libspng's
    size_t pixel_bytes;                                         // as libspng gives them
    int channels;                                               // of the image
    void (*convert)(const uint8_t *in, size_t n, uint8_t *ret); // NULL: as they are
};

// Deep gray keeps its high byte, as deep colour does. libspng itself reduces colour only.
static void high_byte_of_gray16(const uint8_t *in, size_t n, uint8_t *ret) {
    for (size_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, in + 2 * i, 2); // libspng has put it into the host's order
        ret[i] = (uint8_t)(v >> 8);
    }
}

static struct plan plan_of(spng_ctx *png, const struct image_how *how,
                           const struct image_info *info) {
    struct spng_trns trns;
    if (info->channels == 1 && info->bits == 16)
        return (struct plan){SPNG_FMT_PNG, 0, 2, 1, high_byte_of_gray16};
    if (how->alpha_on_white && (info->channels == 4 || spng_get_trns(png, &trns) == 0))
        return (struct plan){SPNG_FMT_RGBA8, SPNG_DECODE_TRNS, 4, 3, image_rgb_on_white};
    if (info->channels == 1)
        return (struct plan){SPNG_FMT_G8, 0, 1, 1, NULL};
    return (struct plan){SPNG_FMT_RGB8, 0, 3, 3, NULL};
}

// Rows of w * plan->pixel_bytes; those of interlaced images are written several times. Returns
// libspng's code; *ret_rows is how many were decoded.
static int read_rows(spng_ctx *png, const struct plan *plan, const struct image *im, uint8_t *rows,
                     uint64_t *ret_rows) {
    size_t stride = (size_t)im->w * plan->pixel_bytes;
    int code = spng_decode_image(png, NULL, 0, plan->format, plan->flags | SPNG_DECODE_PROGRESSIVE);
    struct spng_row_info row;
    *ret_rows = 0;
    while (!code) {
        code = spng_get_row_info(png, &row);
        if (!code)
            code = spng_decode_row(png, rows + row.row_num * stride, stride);
        *ret_rows += !code || code == SPNG_EOI;
    }
    return code == SPNG_EOI ? 0 : code;
}

static int decode_rows(spng_ctx *png, const struct plan *plan, struct image *im,
                       uint64_t *ret_rows) {
    if (!plan->convert)
        return read_rows(png, plan, im, im->pixels, ret_rows);
    size_t n = (size_t)im->w * (size_t)im->h;
    uint8_t *rows = xcalloc(n, plan->pixel_bytes);
    int code = read_rows(png, plan, im, rows, ret_rows);
    plan->convert(rows, n, im->pixels);
    free(rows);
    return code;
}

static uint32_t big_endian(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void put_big_endian(uint32_t v, uint8_t *ret) {
    for (int i = 0; i < 4; i++)
        ret[i] = (uint8_t)(v >> (24 - 8 * i));
}

// libspng reads whole chunks. If the file ends within one, this makes a copy of the file in which
// that chunk is shorter and complete. A chunk is its length, a name of 4 bytes, the data, the
// checksum of name and data. False: no chunk is cut.
static bool close_cut_chunk(const struct image_file *file, struct image_file *ret_file) {
    size_t at = 8, end = file->size;
    // Whole chunks are skipped; the loop ends at a chunk that the file cuts.
    while (at + 12 <= end && big_endian(file->bytes + at) <= end - at - 12)
        at += 12 + (size_t)big_endian(file->bytes + at);
    // Only picture data is worth rescuing.
    if (at + 12 > end || memcmp(file->bytes + at + 4, "IDAT", 4) != 0)
        return false;
    uint8_t *bytes = xmalloc(end + 4);
    memcpy(bytes, file->bytes, end);
    // The rest of the chunk, without its length and name.
    put_big_endian((uint32_t)(end - at - 8), bytes + at);
    put_big_endian((uint32_t)crc32(0, bytes + at + 4, (uInt)(end - at - 4)), bytes + end);
    *ret_file = (struct image_file){file->name, bytes, end + 4};
    return true;
}

static int decode_whole(const struct image_file *file, const struct image_how *how,
                        const struct image_info *info, struct image *ret_image) {
    struct spng_ihdr header;
    struct image im = {0};
    spng_ctx *png = NULL;
    uint64_t rows = 0;
    int err = open_png(file, &header, &png);
    if (err)
        goto fail;
    struct plan plan = plan_of(png, how, info);
    image_init(&im, info->w, info->h, plan.channels);
    int code = decode_rows(png, &plan, &im, &rows);
    if (code && !(how->keep_truncated && rows > 0)) {
        err = failed(file, code);
        goto fail;
    }
    *ret_image = im;
    // The caller has the pixels; image_fini below must not free them.
    im.pixels = NULL;

fail:
    image_fini(&im);
    spng_ctx_free(png);
    return err;
}

static int decode(const struct image_file *file, const struct image_how *how,
                  const struct image_info *info, struct image *ret_image) {
    struct image_file closed;
    if (!how->keep_truncated || !close_cut_chunk(file, &closed))
        return decode_whole(file, how, info, ret_image);
    int err = decode_whole(&closed, how, info, ret_image);
    free((void *)closed.bytes); // the copy of close_cut_chunk
    return err;
}

const struct image_codec image_codec_png = {
    .probe = probe, .decode = decode, .orientation = orientation};
