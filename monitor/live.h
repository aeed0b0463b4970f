// live - what the processes of this run are doing now, from the pages of their ring files.
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
        bool alive;         // a process with its pid exists and it has not ended
        uint64_t rss_bytes; // 0: not alive
    } processes[LIVE_MAX];
};

// Reads DIR/*.ring, in the order of their names; files that are no rings are left out.
void live_read(const char *ring_dir, struct live *ret_live);

const char *live_state_name(uint64_t state); // "running"

#endif
