// service - answers the requests of the exchange stream. Knows no sockets.
//
// A trainer that starts sends pool_open and pool_restore, then exchange with step + 1, step + 2,
// ... for each table, and pool_save when all tables are at the step of a checkpoint. Every request
// may be sent again and is answered alike. A trainer that meets a new incarnation of the pool sends
// pool_open, and its last request again; it restores nothing, the arena has outlived the pool.
#ifndef SERVICE_H
#define SERVICE_H

#include "arena.h"
#include "link.h"
#include "points.h"

struct service {
    const char *arena_path;
    uint64_t memory_bytes; // limit of the arena
    uint64_t seed;
    struct points *points; // NULL: nobody is told
    struct arena *arena;   // NULL before pool_open
    int64_t exchange_us;   // spent on exchanges since the last step was complete
};

// Frees the arena.
void service_fini(struct service *s);

// The answer to one request of the trainer of this incarnation. Every failure is a refuse.
//   frame, size   the raw frame of an exchange
//   ret_frame     of an exchanged: kept memory with its free_fn; unless it is sent call it yourself
void service_answer(struct service *s, uint64_t incarnation, const struct msg *request,
                    const void *frame, size_t size, struct msg *ret_reply,
                    struct link_frame *ret_frame);

#endif
