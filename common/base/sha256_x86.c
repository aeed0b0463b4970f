// sha256_x86 - SHA-256 with the processor's SHA extension (FIPS 180-4). Compiled for the extension
// in these functions only, and called after a check at run time.
#include "base/sha256_x86.h"

#include <string.h>

#include "base/instructions.h"

#include "base/err.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

#define SHA __attribute__((target("sha,sse4.1,ssse3")))

enum { BLOCK = 64, ROUNDS = 64 };

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// On a virtual machine CPUID takes microseconds, so the answer is kept. -1: not known yet.
bool sha256_x86_usable(void) {
    static int usable = -1;
    int known = __atomic_load_n(&usable, __ATOMIC_RELAXED);
    if (known < 0) {
        unsigned a, b, c, d;
        known = instructions_best() > INSTRUCTIONS_PLAIN && __builtin_cpu_supports("sse4.1") &&
                // Leaf 7, EBX bit 29: SHA.
                __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
        __atomic_store_n(&usable, known, __ATOMIC_RELAXED); // any thread finds the same
    }
    return known;
}

// The state in the order of the instructions: a b e f and c d g h, highest word first.
struct state {
    __m128i abef, cdgh;
};

// Four rounds with the words of the message schedule that `words` holds.
SHA static inline void four_rounds(struct state *s, __m128i words, const uint32_t *k) {
    __m128i sum = _mm_add_epi32(words, _mm_loadu_si128((const __m128i *)k));
    // The instruction uses the two low words of `sum`; the shuffle brings the high ones down.
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, sum);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

// W[t] .. W[t+3] from the sixteen before, in w[0] .. w[3].
SHA static inline __m128i next_words(const __m128i w[4]) {
    __m128i sum = _mm_sha256msg1_epu32(w[0], w[1]);
    sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[3], w[2], 4));
    return _mm_sha256msg2_epu32(sum, w[3]);
}

SHA static void hash_blocks(struct state *s, const uint8_t *bytes, size_t blocks) {
    // The message is big-endian, the processor little-endian.
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    for (; blocks > 0; blocks--, bytes += BLOCK) {
        struct state before = *s;
        __m128i w[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_loadu_si128((const __m128i *)(bytes + 16 * i));
            w[i] = _mm_shuffle_epi8(w[i], big_endian);
            four_rounds(s, w[i], constants + 4 * i);
        }
#pragma GCC unroll 12
        for (int t = 16; t < ROUNDS; t += 4) {
            __m128i next = next_words(w);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
            four_rounds(s, next, constants + t);
        }
        // The Davies-Meyer step: the block's result is added to the state before it.
        s->abef = _mm_add_epi32(s->abef, before.abef);
        s->cdgh = _mm_add_epi32(s->cdgh, before.cdgh);
    }
}

static void put_big_endian(uint32_t v, uint8_t *ret) {
    for (int i = 0; i < 4; i++)
        ret[i] = (uint8_t)(v >> (24 - 8 * i));
}

// Padding (FIPS 180-4, 5.1.1): the last bytes, a one bit, zeros, the length in bits. One block or
// two.
static size_t pad_tail(const uint8_t *rest, size_t n, uint64_t size, uint8_t ret[2 * BLOCK]) {
    // 9 bytes: the one bit and the length.
    size_t blocks = n + 9 <= BLOCK ? 1 : 2;
    memset(ret, 0, 2 * BLOCK);
    if (n)
        memcpy(ret, rest, n);
    ret[n] = 0x80;
    // The length in bits, 64-bit big-endian.
    put_big_endian((uint32_t)(size >> 29), ret + blocks * BLOCK - 8);
    put_big_endian((uint32_t)(size << 3), ret + blocks * BLOCK - 4);
    return blocks;
}

SHA void sha256_x86(const uint8_t *bytes, size_t size, uint8_t ret[32]) {
    uint8_t tail[2 * BLOCK];
    uint32_t abef[4], cdgh[4];
    // The initial state: square roots of the first 8 primes, in the order of the instructions.
    struct state s = {.abef =
                          _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
                      .cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)};
    size_t whole = size / BLOCK;
    hash_blocks(&s, bytes, whole);
    hash_blocks(&s, tail, pad_tail(bytes + whole * BLOCK, size % BLOCK, size, tail));
    _mm_storeu_si128((__m128i *)abef, s.abef);
    _mm_storeu_si128((__m128i *)cdgh, s.cdgh);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2],
                               abef[1], abef[0], cdgh[1], cdgh[0]};
    for (int i = 0; i < 8; i++)
        put_big_endian(words[i], ret + 4 * i);
}

#else
bool sha256_x86_usable(void) {
    return false;
}

void sha256_x86(const uint8_t *bytes, size_t size, uint8_t ret[32]) {
    BUG("no such instructions");
}
#endif
