// replay_rule - the rule of the replay buffer, without the buffer.
//
// A table takes every new picture until it is full and gives it back at once. From then on a coin
// is thrown for each picture that comes: above 1/2 it changes places with a stored one, else it
// passes through. Pictures of a batch are handled in order, so one that came early in a batch may
// be given back later in it. Source: Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3, as
// Zhu et al. 2017 (arXiv:1703.10593), section 4, use it: a history of 50 pictures.
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

struct exchange_action {
    bool gives;        // what stands at `position` is given back; else the new picture is
    bool stores;       // the new picture goes to `position`
    uint64_t position; // 0 if neither
};

// What becomes of a new picture.
//   capacity, filled   of the table; capacity 0: everything passes through
//   coin               in [0, 1]; exactly 1/2 does not swap. Not looked at before the table is full
//   position           below capacity; looked at only if the coin swaps
struct exchange_action exchange_rule(uint64_t capacity, uint64_t filled, double coin,
                                     uint64_t position);

// The draws for the picture that meets the full table as number `met`, from 0.
double exchange_coin(uint64_t seed, uint32_t table, uint64_t met);
uint64_t exchange_position(uint64_t seed, uint32_t table, uint64_t met, uint64_t capacity);

#endif
