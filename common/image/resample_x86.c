// The kernels for AVX2 and for AVX-512 with VNNI, which multiplies four bytes by four and adds.
#if defined(__x86_64__) && defined(__GNUC__)
#include "image/resample_kernels.h"

#include <immintrin.h>
#include <string.h>

#include "base/instructions.h"

#define AVX2 __attribute__((target("avx2")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

#define INLINE static inline __attribute__((always_inline))

#define HALF (1 << (TAPS_BITS - 1))

// ---- rows to bands ----

// Rows of four dwords become columns.
AVX2 static inline void transpose(__m128i v[4]) {
    __m128i a = _mm_unpacklo_epi32(v[0], v[1]), b = _mm_unpacklo_epi32(v[2], v[3]);
    __m128i c = _mm_unpackhi_epi32(v[0], v[1]), d = _mm_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm_unpacklo_epi64(a, b);
    v[1] = _mm_unpackhi_epi64(a, b);
    v[2] = _mm_unpacklo_epi64(c, d);
    v[3] = _mm_unpackhi_epi64(c, d);
}

// Four columns of colour, 12 bytes of each row; 16 are read.
AVX2 static inline void spread_colour(const uint8_t *in, size_t stride, uint8_t *ret) {
    const __m128i planes =
        _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -128, -128, -128, -128);
    for (int g = 0; g < KERNEL_ROWS / 4; g++) {
        __m128i v[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++, in += stride)
            v[r] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)in), planes);
        transpose(v);
#pragma GCC unroll 3
        for (int ch = 0; ch < 3; ch++)
            _mm_storeu_si128((__m128i *)(ret + ch * KERNEL_ROWS * 4 + g * 16), v[ch]);
    }
}

// Sixteen columns of gray.
AVX2 static inline void spread_gray(const uint8_t *in, size_t stride, uint8_t *ret) {
    for (int g = 0; g < KERNEL_ROWS / 4; g++) {
        __m128i v[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++, in += stride)
            v[r] = _mm_loadu_si128((const __m128i *)in);
        transpose(v);
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            _mm_storeu_si128((__m128i *)(ret + q * KERNEL_ROWS * 4 + g * 16), v[q]);
    }
}

AVX2 static void spread(const struct kernel_rows *rows, uint8_t *ret_band) {
    const uint8_t *in = rows->first, *end = in + (size_t)rows->w * (size_t)rows->c;
    if (rows->c == 3)
        for (; in < end; in += 12, ret_band += 12 * KERNEL_ROWS)
            spread_colour(in, rows->stride, ret_band);
    else
        for (; in < end; in += 16, ret_band += 16 * KERNEL_ROWS)
            spread_gray(in, rows->stride, ret_band);
}

// 16 rows of up to three channels into four quads of rows; writes 16 bytes a quad.
AVX2 static inline void store_rows(__m128i v[4], size_t quad_bytes, uint8_t *ret) {
    transpose(v);
#pragma GCC unroll 4
    for (size_t q = 0; q < 4; q++)
        _mm_storeu_si128((__m128i *)(ret + q * quad_bytes), v[q]);
}

// ---- AVX2: 16-bit pairs ----

// Even and odd bytes times their weights' upper and lower parts, onto two sums of eight lanes.
AVX2 static inline void add_quad(const uint8_t *in, const int16_t *w, __m256i sum[2]) {
    __m256i v = _mm256_loadu_si256((const __m256i *)in), even, odd;
    __m128i all = _mm_loadu_si128((const __m128i *)w);
    even = _mm256_and_si256(v, _mm256_set1_epi16(255));
    odd = _mm256_srli_epi16(v, 8);
    __m256i h0 = _mm256_broadcastd_epi32(all);
    __m256i h1 = _mm256_broadcastd_epi32(_mm_shuffle_epi32(all, 0x55));
    __m256i l0 = _mm256_broadcastd_epi32(_mm_shuffle_epi32(all, 0xaa));
    __m256i l1 = _mm256_broadcastd_epi32(_mm_shuffle_epi32(all, 0xff));
    sum[0] = _mm256_add_epi32(
        sum[0], _mm256_add_epi32(_mm256_madd_epi16(even, h0), _mm256_madd_epi16(odd, h1)));
    sum[1] = _mm256_add_epi32(
        sum[1], _mm256_add_epi32(_mm256_madd_epi16(even, l0), _mm256_madd_epi16(odd, l1)));
}

AVX2 static inline __m256i whole_sum(const __m256i sum[2]) {
    __m256i s = _mm256_add_epi32(_mm256_slli_epi32(sum[0], 12), sum[1]);
    return _mm256_srai_epi32(_mm256_add_epi32(s, _mm256_set1_epi32(HALF)), TAPS_BITS);
}

// Sixteen lanes, four bytes each, over the quads; the result as 16 bytes.
AVX2 static inline __m128i sum_avx2(const uint8_t *in, size_t step, const int16_t *w, int quads) {
    __m256i low[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int q = 0; q < quads; q++, in += step, w += 8) {
        add_quad(in, w, low);
        add_quad(in + 32, w, high);
    }
    __m256i words = _mm256_packs_epi32(whole_sum(low), whole_sum(high));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

AVX2 static void across_avx2(const uint8_t *band, const struct kernel_span *span, int c,
                             size_t quad_bytes, uint8_t *ret_middle) {
    const struct taps *t = span->taps;
    size_t step = (size_t)c * KERNEL_ROWS * 4;
    for (int i = span->from; i < span->from + span->n; i++, ret_middle += 4 * c) {
        const uint8_t *in = band + (size_t)(t->first_quad[i] - span->base) * step;
        const int16_t *w = t->halves + (size_t)i * (size_t)t->quads * 8;
        __m128i v[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(),
                        _mm_setzero_si128()};
        for (int ch = 0; ch < c; ch++)
            v[ch] = sum_avx2(in + ch * KERNEL_ROWS * 4, step, w, t->quads);
        store_rows(v, quad_bytes, ret_middle);
    }
}

AVX2 static void down_avx2(const uint8_t *middle, const struct kernel_span *span, size_t quad_bytes,
                           size_t lanes, uint8_t *ret_rows) {
    const struct taps *t = span->taps;
    for (int i = span->from; i < span->from + span->n; i++, ret_rows += lanes) {
        const uint8_t *in = middle + (size_t)(t->first_quad[i] - span->base) * quad_bytes;
        const int16_t *w = t->halves + (size_t)i * (size_t)t->quads * 8;
        for (size_t l = 0; l < lanes; l += 16) {
            uint8_t bytes[16];
            __m128i v = sum_avx2(in + l * 4, quad_bytes, w, t->quads);
            if (l + 16 <= lanes) {
                _mm_storeu_si128((__m128i *)(ret_rows + l), v);
                continue;
            }
            _mm_storeu_si128((__m128i *)bytes, v);
            memcpy(ret_rows + l, bytes, lanes - l);
        }
    }
}

static bool has_avx2(void) {
    return instructions_best() >= INSTRUCTIONS_AVX2;
}

const struct kernel kernel_avx2 = {"avx2", has_avx2, spread, across_avx2, down_avx2};

// ---- AVX-512 VNNI: bytes, four at a time, with weights of three digits ----

VNNI static inline __m512i weight(const int8_t *w) {
    int32_t four;
    memcpy(&four, w, 4);
    return _mm512_set1_epi32(four);
}

VNNI static inline void add_digits(const uint8_t *in, const int8_t *w, __m512i sum[3]) {
    __m512i v = _mm512_loadu_si512(in);
#pragma GCC unroll 3
    for (int d = 0; d < 3; d++)
        sum[d] = _mm512_dpbusd_epi32(sum[d], v, weight(w + 4 * d));
}

VNNI static inline __m128i bytes_of(const __m512i sum[3]) {
    __m512i s = _mm512_add_epi32(sum[0], _mm512_slli_epi32(sum[1], 8));
    s = _mm512_add_epi32(s, _mm512_slli_epi32(sum[2], 16));
    s = _mm512_srai_epi32(s, TAPS_BITS);
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(s, _mm512_setzero_si512()));
}

VNNI static inline void begin(__m512i sum[3]) {
    sum[0] = _mm512_set1_epi32(HALF);
    sum[1] = sum[2] = _mm512_setzero_si512();
}

// One output column: 16 rows of c channels. c is a constant where this is called.
VNNI INLINE void column_vnni(const uint8_t *in, size_t step, const int8_t *w, int quads, int c,
                             __m128i ret[4]) {
    __m512i r[3], g[3], b[3];
    begin(r);
    begin(g);
    begin(b);
    for (int q = 0; q < quads; q++, in += step, w += 12) {
        add_digits(in, w, r);
        if (c == 1)
            continue;
        add_digits(in + KERNEL_ROWS * 4, w, g);
        add_digits(in + KERNEL_ROWS * 8, w, b);
    }
    ret[0] = bytes_of(r);
    ret[1] = c == 1 ? _mm_setzero_si128() : bytes_of(g);
    ret[2] = c == 1 ? _mm_setzero_si128() : bytes_of(b);
    ret[3] = _mm_setzero_si128();
}

VNNI static void across_vnni(const uint8_t *band, const struct kernel_span *span, int c,
                             size_t quad_bytes, uint8_t *ret_middle) {
    const struct taps *t = span->taps;
    size_t step = (size_t)c * KERNEL_ROWS * 4;
    for (int i = span->from; i < span->from + span->n; i++, ret_middle += 4 * c) {
        const uint8_t *in = band + (size_t)(t->first_quad[i] - span->base) * step;
        const int8_t *w = t->digits + (size_t)i * (size_t)t->quads * 12;
        __m128i v[4];
        if (c == 3)
            column_vnni(in, 3 * KERNEL_ROWS * 4, w, t->quads, 3, v);
        else
            column_vnni(in, KERNEL_ROWS * 4, w, t->quads, 1, v);
        store_rows(v, quad_bytes, ret_middle);
    }
}

// n registers of 16 lanes of one output row; n is a constant where this is called.
VNNI INLINE void lanes_vnni(const uint8_t *in, size_t step, const int8_t *w, int quads, int n,
                            __m128i *ret) {
    __m512i sum[4][3];
#pragma GCC unroll 4
    for (int k = 0; k < n; k++)
        begin(sum[k]);
    for (int q = 0; q < quads; q++, in += step, w += 12)
#pragma GCC unroll 4
        for (int k = 0; k < n; k++)
            add_digits(in + 64 * k, w, sum[k]);
#pragma GCC unroll 4
    for (int k = 0; k < n; k++)
        ret[k] = bytes_of(sum[k]);
}

VNNI static void down_vnni(const uint8_t *middle, const struct kernel_span *span, size_t quad_bytes,
                           size_t lanes, uint8_t *ret_rows) {
    const struct taps *t = span->taps;
    for (int i = span->from; i < span->from + span->n; i++, ret_rows += lanes) {
        const uint8_t *in = middle + (size_t)(t->first_quad[i] - span->base) * quad_bytes;
        const int8_t *w = t->digits + (size_t)i * (size_t)t->quads * 12;
        size_t l = 0;
        __m128i v[4];
        for (; l + 64 <= lanes; l += 64) {
            lanes_vnni(in + l * 4, quad_bytes, w, t->quads, 4, v);
            for (int k = 0; k < 4; k++)
                _mm_storeu_si128((__m128i *)(ret_rows + l) + k, v[k]);
        }
        for (; l < lanes; l += 16) {
            lanes_vnni(in + l * 4, quad_bytes, w, t->quads, 1, v);
            __mmask16 mask = l + 16 <= lanes ? 0xffff : (__mmask16)((1u << (lanes - l)) - 1);
            _mm_mask_storeu_epi8(ret_rows + l, mask, v[0]);
        }
    }
}

static bool has_vnni(void) {
    return instructions_best() >= INSTRUCTIONS_AVX512 && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

const struct kernel kernel_vnni = {"avx512-vnni", has_vnni, spread, across_vnni, down_vnni};
#endif
