// format - file formats by their first bytes, and by the endings of their names.
#include "image/format.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

enum { HEAD_BYTES = 12 }; // as many as the longest signature has

// First match wins.
static const struct image_signature signatures[] = {
    {"\xff\xd8\xff", 3, IMAGE_JPEG, "JPEG", "jpeg", ""},
    {"\x89PNG\r\n\x1a\n", 8, IMAGE_PNG, "PNG", "png", ""},
    {"RIFF????WEBP", 12, IMAGE_WEBP, "WebP", "webp", ""},
    // The zeros behind the size tell a bitmap from a text that begins with BM.
    {"BM????\0\0\0\0", 10, IMAGE_BMP, "BMP", "bmp", ""},
    {"GIF8", 4, IMAGE_GIF, "GIF", "gif", ""},
    {"II*\0", 4, IMAGE_TIFF, "TIFF", "tiff", ""},
    {"MM\0*", 4, IMAGE_TIFF, "TIFF", "tiff", ""},
    {"II+\0", 4, IMAGE_TIFF, "BigTIFF", "tiff64", ""},
    {"P3", 2, IMAGE_UNKNOWN, "PPM", "ppm", ""},
    {"P5", 2, IMAGE_UNKNOWN, "PGM", "pgm", ""},
    {"P6", 2, IMAGE_UNKNOWN, "PPM", "ppm", ""},
    {"????ftypavif", 12, IMAGE_UNKNOWN, "AVIF", "", "heif-convert"},
    {"????ftyphei", 11, IMAGE_UNKNOWN, "HEIC", "", "heif-convert"},
    {"????ftypmif1", 12, IMAGE_UNKNOWN, "HEIF", "", "heif-convert"},
    {"\0\0\0\fjP  \r\n\x87\n", 12, IMAGE_UNKNOWN, "JPEG 2000", "jp2", ""},
    {"\0\0\0\fJXL \r\n\x87\n", 12, IMAGE_UNKNOWN, "JPEG XL", "", "djxl"},
    {"\xff\n", 2, IMAGE_UNKNOWN, "JPEG XL", "", "djxl"},
    {"8BPS", 4, IMAGE_UNKNOWN, "Photoshop", "psd", ""},
    {"%PDF", 4, IMAGE_UNKNOWN, "PDF", "pdf", ""},
};

// Also endings of formats that are refused: users then learn how to convert them.
static const char *const endings[] = {
    "jpg", "jpeg", "jpe", "jfif", "png",  "webp", "bmp", "dib", "gif", "tif", "tiff", "ppm",
    "pgm", "pnm",  "pbm", "heic", "heif", "avif", "jp2", "j2k", "jxl", "psd", "tga",
};

static bool matches(const struct image_signature *s, const uint8_t *bytes, size_t size) {
    if (size < (size_t)s->length)
        return false;
    for (int i = 0; i < s->length; i++)
        if (s->bytes[i] != '?' && (uint8_t)s->bytes[i] != bytes[i])
            return false;
    return true;
}

const struct image_signature *image_signature_of(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < COUNT(signatures); i++)
        if (matches(&signatures[i], bytes, size))
            return &signatures[i];
    return NULL;
}

size_t image_stem_length(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    // A name that is only an ending (".png") is a hidden file without one.
    for (size_t i = 0; dot && dot != name && i < COUNT(endings); i++)
        if (strcasecmp(dot + 1, endings[i]) == 0)
            return (size_t)(dot - path);
    return strlen(path);
}

bool image_is_named(const char *path) {
    return path[image_stem_length(path)] != 0;
}

// Two letters alone ("BM", "P6") begin many a text: of these, only what no text has counts.
static bool begins_as_image(const uint8_t *bytes, size_t size) {
    const struct image_signature *s = image_signature_of(bytes, size);
    return s && s->length > 2 && strcmp(s->name, "PDF") != 0;
}

bool image_is_candidate(int folder, const char *path) {
    uint8_t head[HEAD_BYTES];
    struct stat st;
    if (image_is_named(path))
        return true;
    // Opening a device or a pipe may wait or have effects, so only a regular file is opened.
    if (fstatat(folder, path, &st, 0) || !S_ISREG(st.st_mode))
        return false;
    // O_NONBLOCK: the file may have become a pipe since fstatat.
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, head, sizeof head);
    (void)close(fd); // only read from
    return n > 0 && begins_as_image(head, (size_t)n);
}
