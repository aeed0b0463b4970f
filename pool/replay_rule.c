// Apart from arena.c so that the rule can be read, and tested, without the storage.
#include "replay_rule.h"

#include "base/err.h"
#include "base/rng.h"

struct replay_action replay_rule(uint64_t capacity, uint64_t filled, double coin,
                                 uint64_t position) {
    if (filled > capacity)
        BUG("%llu pictures in a table of %llu", (unsigned long long)filled,
            (unsigned long long)capacity);
    if (filled < capacity) // the new image is stored and also returned
        return (struct replay_action){.stores = true, .position = filled};
    // The reference swaps if random.uniform(0, 1) > 0.5, so exactly 1/2 does not.
    if (capacity == 0 || !(coin > 0.5))
        return (struct replay_action){0};
    if (position >= capacity)
        BUG("position %llu of %llu", (unsigned long long)position, (unsigned long long)capacity);
    return (struct replay_action){.gives = true, .stores = true, .position = position};
}

double replay_coin(uint64_t seed, uint32_t table, uint64_t met) {
    return rng_uniform(seed, RNG_POOL, met, table * 2);
}

uint64_t replay_position(uint64_t seed, uint32_t table, uint64_t met, uint64_t capacity) {
    return rng_below(seed, RNG_POOL, met, table * 2 + 1, capacity);
}
