// resample_kernels - the inner loops of a resize, as portable C and for wide registers. Whole
// numbers only, so that all give the same bytes.
//
//   band     16 rows of the input, [quad of columns][c][16 rows][4 columns]
//   middle   resized across, [quad of rows][columns * c][4 rows]
//
// Both are read in whole registers. KERNEL_SLACK bytes behind their end are allocated and may have
// any value.
#ifndef IMAGE_KERNELS_H
#define IMAGE_KERNELS_H

#include <stddef.h>

#include "image/resample_taps.h"

enum { KERNEL_ROWS = 16, KERNEL_SLACK = 64 };

struct kernel_rows {
    const uint8_t *first;
    size_t stride; // bytes from one row to the next; 16 rows are there, and behind each of them
                   // 16 bytes that may be read
    int w, c;      // c = 1 or 3
};

struct kernel_span {
    const struct taps *taps;
    int from, n; // outputs [from, from + n)
    int base;    // the quad of the input that is the first one in memory
};

struct kernel {
    const char *name;
    bool (*usable)(void); // on this processor

    // Makes the band of 16 rows, in whole groups of 16 columns. Columns behind the last one have
    // any value.
    void (*spread)(const struct kernel_rows *rows, uint8_t *ret_band);

    // Four quads of rows of the middle, `quad_bytes` apart, each of n * c groups of 4 bytes.
    void (*across)(const uint8_t *band, const struct kernel_span *span, int c, size_t quad_bytes,
                   uint8_t *ret_middle);

    // n rows of `lanes` bytes.
    void (*down)(const uint8_t *middle, const struct kernel_span *span, size_t quad_bytes,
                 size_t lanes, uint8_t *ret_rows);
};

// The fastest last; the first is portable C, and the one for taps that are not `small`.
extern const struct kernel *const kernels[];
extern const int kernel_count;
extern const struct kernel kernel_avx2, kernel_vnni; // on x86-64 alone

#endif
