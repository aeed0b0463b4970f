// resample_taps - which input pixels make an output pixel of a resize, and how much each weighs:
// one direction of Pillow's 8-bit bicubic (its Resample.c), arranged for the kernels.
//
// For output i of `out`, with scale = in / out and stretch = max(scale, 1):
//   center = (i + 0.5) scale, pixels x from (int)(center - 2 stretch + 0.5) below
//   (int)(center + 2 stretch + 0.5), both within the image,
//   weight(x) = cubic((x - center + 0.5) / stretch), a = -0.5, normalised to sum 1,
//   times 2^22, rounded half away from zero.
// Where in = out, the one weight is 2^22: the sum gives back the pixel.
//
// Kernels read aligned groups of four inputs (quads), of every output equally many, so that no
// branch depends on the output. What lies outside the window, or behind the image, weighs 0.
#ifndef IMAGE_TAPS_H
#define IMAGE_TAPS_H

#include <stdbool.h>
#include <stdint.h>

#define TAPS_BITS 22

struct taps {
    int in, out;
    int quads;        // groups of four inputs of each output
    int *first_quad;  // of each output
    int32_t *weights; // [out][quads][4]
    int8_t *digits;   // [out][quads][3][4]: weight = d0 + 2^8 d1 + 2^16 d2, signed
    int16_t *halves;  // [out][quads][8]: h0 h2, h1 h3, l0 l2, l1 l3; weight = 2^12 h + l
    bool small;       // digits and halves hold every weight and no 32-bit sum overflows
};

// Cached per thread: lent until the sixth call after this one, and freed when the thread ends.
const struct taps *taps_get(int in, int out);

#endif
