// rng - every number is a block of Philox4x32-10 under a key and a counter; nothing is stored.
#include "base/rng.h"

#include <math.h>

#include <Random123/philox.h>

#include "base/err.h"

struct rng_block rng_block(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub) {
    // The counter holds index, stream and sub, so different uses never share a block.
    philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, sub}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t out = philox4x32(counter, key);
    return (struct rng_block){{out.v[0], out.v[1], out.v[2], out.v[3]}};
}

static uint64_t first64(struct rng_block b) {
    return (uint64_t)b.v[1] << 32 | b.v[0];
}

static double unit(uint64_t bits) {
    // 53 bits fill the mantissa of a double; the result is below 1.
    return (double)(bits >> 11) * 0x1p-53;
}

double rng_uniform(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub) {
    return unit(first64(rng_block(seed, stream, index, sub)));
}

uint64_t rng_below(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub,
                   uint64_t n) {
    if (n == 0)
        BUG("rng_below of nothing");
    uint64_t bits = first64(rng_block(seed, stream, index, sub));
    // The high half of a 128-bit product (Lemire 2019) instead of a division.
    return (uint64_t)((unsigned __int128)bits * n >> 64);
}

void rng_normal2(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub,
                 double ret_pair[2]) {
    struct rng_block b = rng_block(seed, stream, index, sub);
    double u = unit((uint64_t)b.v[1] << 32 | b.v[0]);
    double angle = 2 * M_PI * unit((uint64_t)b.v[3] << 32 | b.v[2]);
    double radius = sqrt(-2 * log(1 - u)); // 1 - u lies in (0, 1]
    ret_pair[0] = radius * cos(angle);
    ret_pair[1] = radius * sin(angle);
}

// A Feistel network permutes whatever its round function is.
static uint64_t feistel(uint64_t seed, enum rng_stream stream, uint64_t index, int half_bits,
                        uint64_t value) {
    uint64_t mask = (1ull << half_bits) - 1;
    uint64_t left = value >> half_bits, right = value & mask;
    for (uint32_t round = 0; round < 6; round++) {
        // The half is at most 24 bits, so round and half share the 32 bits of `sub`.
        uint32_t sub = round << 24 | (uint32_t)right;
        uint64_t f = first64(rng_block(seed, stream, index, sub));
        uint64_t next = left ^ (f & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t rng_permute(uint64_t seed, enum rng_stream stream, uint64_t index, uint64_t n,
                     uint64_t i) {
    if (i >= n || n > 1ull << 48)
        BUG("rng_permute of %llu in %llu", (unsigned long long)i, (unsigned long long)n);
    // The smallest even number of bits that covers n.
    int half_bits = 1;
    while (1ull << (2 * half_bits) < n)
        half_bits++;
    // At most 4 n values exist, so four turns are needed on average at most.
    do {
        i = feistel(seed, stream, index, half_bits, i);
    } while (i >= n);
    return i;
}
