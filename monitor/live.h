// live - the present state of the run's processes, read from the pages of their ring files.
#ifndef LIVE_H
#define LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "points/points.h"

#define LIVE_MAX 128

struct live {
    int count;
    struct live_process {
        char path[280]; // of the ring file
        struct points_page page;
        bool alive;         // its pid exists, and its state is not STATE_ENDED
        uint64_t rss_bytes; // resident memory; 0: not alive
    } processes[LIVE_MAX];
};

// Reads DIR/*.ring in the order of their names; skips files that are no rings. At most LIVE_MAX.
void live_read(const char *ring_dir, struct live *ret_live);

const char *live_state_name(uint64_t state); // "running"

#endif
