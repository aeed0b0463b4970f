#include "image/resample_kernels.h"

#include <string.h>

#include "base/util.h"

static bool always(void) {
    return true;
}

static uint8_t byte_of(int32_t sum) {
    int32_t v = sum >> TAPS_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void spread(const struct kernel_rows *rows, uint8_t *ret_band) {
    size_t c = (size_t)rows->c, quads = ((size_t)rows->w + 3) / 4;
    for (size_t q = 0; q < quads; q++)
        for (size_t ch = 0; ch < c; ch++)
            for (size_t r = 0; r < KERNEL_ROWS; r++)
                for (size_t k = 0; k < 4; k++)
                    *ret_band++ = rows->first[r * rows->stride + (q * 4 + k) * c + ch];
}

static const int32_t *weights_of(const struct taps *t, int i) {
    return t->weights + (size_t)i * (size_t)t->quads * 4;
}

// `n` groups of four bytes, `step` bytes to the next quad of them.
static uint8_t sum_quads(const uint8_t *in, size_t step, const int32_t *w, int quads) {
    int32_t sum = 1 << (TAPS_BITS - 1);
    for (int q = 0; q < quads; q++, in += step, w += 4)
        for (int k = 0; k < 4; k++)
            sum += w[k] * in[k];
    return byte_of(sum);
}

static void across(const uint8_t *band, const struct kernel_span *span, int c, size_t quad_bytes,
                   uint8_t *ret_middle) {
    const struct taps *t = span->taps;
    size_t step = (size_t)c * KERNEL_ROWS * 4;
    for (int i = span->from; i < span->from + span->n; i++)
        for (size_t ch = 0; ch < (size_t)c; ch++, ret_middle += 4)
            for (size_t r = 0; r < KERNEL_ROWS; r++) {
                const uint8_t *in = band + (size_t)(t->first_quad[i] - span->base) * step +
                                    (ch * KERNEL_ROWS + r) * 4;
                ret_middle[r / 4 * quad_bytes + r % 4] =
                    sum_quads(in, step, weights_of(t, i), t->quads);
            }
}

static void down(const uint8_t *middle, const struct kernel_span *span, size_t quad_bytes,
                 size_t lanes, uint8_t *ret_rows) {
    const struct taps *t = span->taps;
    for (int i = span->from; i < span->from + span->n; i++)
        for (size_t l = 0; l < lanes; l++)
            *ret_rows++ =
                sum_quads(middle + (size_t)(t->first_quad[i] - span->base) * quad_bytes + l * 4,
                          quad_bytes, weights_of(t, i), t->quads);
}

static const struct kernel plain = {"c", always, spread, across, down};

#if defined(__x86_64__) && defined(__GNUC__)
const struct kernel *const kernels[] = {&plain, &kernel_avx2, &kernel_vnni};
#else
const struct kernel *const kernels[] = {&plain};
#endif
const int kernel_count = COUNT(kernels);
