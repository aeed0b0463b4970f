// service - answers the requests of the exchange stream. Knows no sockets.
//
// A trainer sends pool_open and pool_restore at its start. Then it sends exchange for step + 1,
// step + 2, ... of each table, and pool_save when all tables are at the step of a checkpoint. Every
// request may be repeated and gets the same answer. After a restart of the pool the trainer sends
// pool_open and repeats its last request. It restores nothing: the arena outlives the pool.
#ifndef SERVICE_H
#define SERVICE_H

#include "arena.h"
#include "link/link.h"
#include "points/points.h"

struct service {
    const char *arena_path;
    uint64_t memory_bytes; // limit of the arena
    uint64_t seed;
    struct points *points;     // NULL: no metrics
    struct arena *arena;       // NULL before pool_open
    struct link_frame *frames; // [batch], of the last answer
    int64_t exchange_us;       // time of the exchanges since the last complete step
};

// Closes the arena. Frames of an answer that are still in flight keep its memory.
void service_fini(struct service *s);

// Answers one request of the trainer of this incarnation. Every failure becomes MSG_refuse.
//   frame, size   the raw frame of an exchange
// Returns msg_raw_frames(ret_reply) frames: images in the arena, each with its free_fn, lent until
// the next call. If the caller does not send them it calls free_fn itself.
const struct link_frame *service_answer(struct service *s, uint64_t incarnation,
                                        const struct msg *request, const void *frame, size_t size,
                                        struct msg *ret_reply);

#endif
