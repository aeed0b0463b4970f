// rng - random numbers as a pure function of (seed, stream, index, sub), without state.
//
// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Debian's
// Random123): key = seed, counter = (index, stream, sub). All streams are listed here, so that no
// two uses share numbers. `sub` tells draws of the same index apart.
#ifndef RNG_H
#define RNG_H

#include <stdint.h>

enum rng_stream {
    RNG_SHUFFLE = 1, // index = epoch; order of domain A (or of the longer domain)
    RNG_PARTNER,     // index = epoch << 32 | item; the record of B
    RNG_CROP,        // index = epoch << 32 | item, sub = domain * 2 + axis
    RNG_FLIP,        // index = epoch << 32 | item, sub = domain
    RNG_POOL, // index = images that met the full table so far, sub = table * 2 + (0 coin, 1 slot)
    RNG_INIT, // index = element, sub = net << 16 | position in the state dict
    RNG_DROPOUT,    // index = step << 24 | op, sub = element block
    RNG_PROJECTION, // sliced Wasserstein distance: index = projection, sub = element
    RNG_LIMIT,      // curation: random part; index = first 8 bytes of the image's digest
    RNG_DRAW,       // images the product draws itself; index = image, sub = feature
    RNG_TEST,       // tests
    RNG_HOLD_OUT,   // curation: index = first 8 bytes of the image's digest
    RNG_PATCH,      // CUT's patch positions: index = step << 9 | call << 8 | layer; 255: flip
    RNG_PENALTY,    // wgangp: index = step, sub = domain << 16 | image of the batch
    RNG_JITTER,     // index = epoch << 32 | item, sub = domain * 8 + (kind; 4: their order)
    RNG_DEAL, // curation: permutation that deals a perceptual hash's bits into groups; index 0
};

// 128 bits in the order in which Philox gives them.
struct rng_block {
    uint32_t v[4];
};

// 128 random bits.
struct rng_block rng_block(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub);

// [0, 1), 53 bits.
double rng_uniform(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub);

// Uniform integer in [0, n), n >= 1; Lemire's multiply-shift on 64 bits (bias below n / 2^64).
uint64_t rng_below(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub, uint64_t n);

// Standard normal pair by Box and Muller from one block, in double.
void rng_normal2(uint64_t seed, enum rng_stream stream, uint64_t index, uint32_t sub,
                 double ret_pair[2]);

// The image of `i` under a keyed permutation of [0, n), n <= 2^48, without a table: a 6-round
// Feistel network on the next even power of two, repeated until the value is below n ("cycle
// walking"; Black and Rogaway 2002).
uint64_t rng_permute(uint64_t seed, enum rng_stream stream, uint64_t index, uint64_t n, uint64_t i);

#endif
