// image - images in memory: decode, encode, resize, crop, convert.
//
// An image is uint8, H rows of W pixels of C interleaved channels (3 = RGB, 1 = gray), no padding.
// Arithmetic is Pillow's (its bicubic with antialiasing on 8 bits) and is tested against it.
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    int w, h, c;
    uint8_t *pixels; // h * w * c bytes, malloc; owned
};

enum image_format {
    IMAGE_UNKNOWN,
    IMAGE_JPEG,
    IMAGE_PNG,
    IMAGE_WEBP,
    IMAGE_BMP,
    IMAGE_GIF,
    IMAGE_TIFF
};

// The contents of a file's header. The format is recognised from the bytes, never from the name.
struct image_info {
    enum image_format format;
    int w, h;     // as stored (EXIF orientation not applied)
    int channels; // 1 gray, 3 colour, 4 CMYK or with alpha
    int bits;     // per channel
};

// Bounds on the size of an image, checked on the header before anything is allocated.
struct image_limits {
    int64_t max_pixels;          // default 64 Mpx
    int64_t max_pixels_per_byte; // against decompression bombs; default 2000, above any flat image
};
extern const struct image_limits image_default_limits;

// How a file becomes pixels, where there is a choice. All zero but the limits: as the reference
// does it, which is what Pillow's open and convert do.
struct image_how {
    struct image_limits limits;
    bool apply_exif;     // turn and mirror as the camera noted (ImageOps.exif_transpose)
    bool alpha_on_white; // blend with white; else the alpha channel is dropped
    bool keep_truncated; // of a file that ends early or is damaged later on, what decodes
    int fit_w, fit_h;    // JPEG: decode at 1/2, 1/4 or 1/8 of its size, the smallest that is
                         // at least as wide and high as this; 0: in full
};

// An image of zero bytes. Sizes >= 1, c = 1 or 3.
void image_init(struct image *ret_image, int w, int h, int c);

// Frees the pixels and zeroes the struct; accepts a zeroed one.
void image_fini(struct image *im);

// Fails with ERR_FORMAT: not an image, a format we do not read (the message names it and a command
// that converts it), sizes beyond the limits. `name` is used in messages only.
int image_probe(const char *name, const uint8_t *bytes, size_t size,
                const struct image_limits *limits, struct image_info *ret_info);

// Decodes to RGB (channels = 3) or L (channels = 1) as Pillow's convert("RGB")/("L") would: gray
// replicated, palette expanded, alpha dropped, CMYK converted, EXIF orientation ignored. 16 bits
// are cut to the high byte (of gray too, as Pillow does it from 11 on). Of an animated PNG, the
// first image. JPEG: slow integer DCT, fancy upsampling.
// A damaged image fails with ERR_FORMAT: also a truncated one, and one that libjpeg only warns
// of. (Odd bytes, an unknown JFIF version or Adobe code in the header damage no pixel and pass.)
// So does a progressive JPEG whose scans ask for work out of proportion to the file.
int image_decode(const char *name, const uint8_t *bytes, size_t size,
                 const struct image_limits *limits, int channels, struct image *ret_image);

// The same with choices. What keep_truncated keeps is, of JPEG and WebP, everything before the
// damage, the rest gray (of a progressive one: whole, but coarse) or black; of PNG the rows before
// it, the rest black. Where nothing was decoded it is refused even so.
int image_decode_how(const char *name, const uint8_t *bytes, size_t size,
                     const struct image_how *how, int channels, struct image *ret_image);

// What image_decode_how and then image_resize to w x h would give, faster: a JPEG goes row by row
// from the decoder into the resize.
//   ret_resize_us  added to: the time the resize took
int image_decode_resized(const char *name, const uint8_t *bytes, size_t size,
                         const struct image_how *how, int channels, int w, int h,
                         struct image *ret_image, int64_t *ret_resize_us);

// Reads a whole regular file (up to 512 MiB, else ERR_LIMIT) and decodes it. ERR_IO names path and
// reason.
int image_load(const char *path, const struct image_limits *limits, int channels,
               struct image *ret_image);
int image_load_how(const char *path, const struct image_how *how, int channels,
                   struct image *ret_image);

// The bytes of a PNG / JPEG file (quality 1..100, 4:4:4), c = 1 or 3, freed with free(). ERR_IO.
int image_encode_png(const struct image *im, uint8_t **ret_bytes, size_t *ret_size);
int image_encode_jpeg(const struct image *im, int quality, uint8_t **ret_bytes, size_t *ret_size);

// Writes PNG / JPEG (quality 1..100, 4:4:4) to `path` through a temporary file beside it and
// rename: a reader sees the old file or the whole new one. c = 1 or 3. Fails with ERR_IO.
// The folder must be there.
int image_save_png(const char *path, const struct image *im);
int image_save_jpeg(const char *path, const struct image *im, int quality);

// Bicubic, a = -0.5, antialiased when shrinking; horizontal pass first, rounded to bytes, then
// vertical; a pass is skipped when that side is unchanged. Equals Pillow's resize((w,h), BICUBIC).
// w, h >= 1; linear in input and output pixels.
void image_resize(const struct image *im, int w, int h, struct image *ret_image);

struct image_box {
    int x, y, w, h;
};

// The part `box` of image_resize(im, w, h) without computing the rest; the box lies inside.
void image_resize_box(const struct image *im, int w, int h, struct image_box box,
                      struct image *ret_image);

// Pillow's "L": (19595 R + 38470 G + 7471 B + 32768) >> 16.
void image_gray(const struct image *im, struct image *ret_image);

// Gray to RGB by replication.
void image_rgb(const struct image *im, struct image *ret_image);

// `n` pixels of RGBA onto white: Pillow's paste with a mask, (a * v + (255 - a) * 255) / 255
// rounded.
void image_rgb_on_white(const uint8_t *rgba, size_t n, uint8_t *ret_rgb);

// The box [x, x+w) x [y, y+h); what lies outside the image is 0.
void image_crop(const struct image *im, int x, int y, int w, int h, struct image *ret_image);

// Of two images side by side, cut at int(w/2): the left one, or the right one, which is wider by
// a pixel if w is odd. w >= 2.
enum image_half { IMAGE_WHOLE, IMAGE_LEFT, IMAGE_RIGHT };
void image_cut_half(const struct image *im, enum image_half half, struct image *ret_image);

// Left-right mirror, in place.
void image_flip(struct image *im);

// As a viewer would show an image of EXIF orientation 1..8 (CIPA DC-008, tag 0x0112): 1 as it is,
// 2 mirrored, 3 turned by 180 degrees, 4 upside down, 5 transposed, 6 turned right, 7 transposed
// the other way, 8 turned left. From 5 on, width and height change places.
void image_orient(const struct image *im, int orientation, struct image *ret_image);

// The orientation that an EXIF block notes (TIFF bytes, or those after "Exif" and two zeros); 1 if
// it notes none, or one that does not exist.
int image_orientation(const uint8_t *exif, size_t size);

// The orientation that an image file notes, 1..8; 1 if it notes none, or is no image that is read.
int image_file_orientation(const char *name, const uint8_t *bytes, size_t size);

// to_tensor[v] = (v/255 - 0.5)/0.5, each operation rounded to float: [-1,1].
// 256 entries, lent for ever.
const float *image_to_tensor_table(void);

// Back: (x+1)/2*255 in float, truncated (the reference truncates), limited to 0..255; NaN is 0.
uint8_t image_from_tensor(float x);

#endif
