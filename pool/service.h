// service - answers the requests of the exchange stream. Knows no sockets.
//
// A trainer that starts sends pool_open and pool_restore, then exchange with step + 1, step + 2,
// ... for each table, and pool_save when all tables are at the step of a checkpoint. Every request
// may be sent again and is answered alike. A trainer that meets a new incarnation of the pool sends
// pool_open, and its last request again; it restores nothing, the arena has outlived the pool.
#ifndef SERVICE_H
#define SERVICE_H

#include "arena.h"
#include "link/link.h"
#include "points/points.h"

struct service {
    const char *arena_path;
    uint64_t memory_bytes; // limit of the arena
    uint64_t seed;
    struct points *points;     // NULL: nobody is told
    struct arena *arena;       // NULL before pool_open
    struct link_frame *frames; // [batch], of the last answer
    int64_t exchange_us;       // spent on exchanges since the last step was complete
};

// Closes the arena; who still has frames of an answer keeps its memory.
void service_fini(struct service *s);

// The answer to one request of the trainer of this incarnation. Every failure is a refuse.
//   frame, size   the raw frame of an exchange
// Returns msg_raw_frames(ret_reply) frames, until the next call: pictures in the arena, each with
// its free_fn. Unless they are sent call that yourself.
const struct link_frame *service_answer(struct service *s, uint64_t incarnation,
                                        const struct msg *request, const void *frame, size_t size,
                                        struct msg *ret_reply);

#endif
