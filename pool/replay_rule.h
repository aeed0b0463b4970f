// replay_rule - the rule of the replay buffer, without the buffer.
//
// Until a table is full it stores every new image and returns it too. A full table throws a coin
// for each new image: above 1/2 it returns a stored image and keeps the new one in its place, else
// it returns the new one. Images of a batch are handled in order, so an early one may be returned
// later in the same batch. Source: Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3; Zhu et
// al. 2017 (arXiv:1703.10593), section 4, use it with a history of 50 images.
#ifndef REPLAY_RULE_H
#define REPLAY_RULE_H

#include <stdbool.h>
#include <stdint.h>

struct replay_action {
    bool gives;        // return the image stored at `position`; else return the new one
    bool stores;       // store the new image at `position`
    uint64_t position; // 0 if neither
};

// Decides on one new image.
//   capacity, filled   of the table; capacity 0: every image passes through
//   coin               in [0, 1]; exactly 1/2 does not swap; ignored until the table is full
//   position           below capacity; ignored unless the coin swaps
struct replay_action replay_rule(uint64_t capacity, uint64_t filled, double coin,
                                 uint64_t position);

// The draws for image number `met`, from 0, of those that found the table full.
double replay_coin(uint64_t seed, uint32_t table, uint64_t met);
uint64_t replay_position(uint64_t seed, uint32_t table, uint64_t met, uint64_t capacity);

#endif
