// points - what a process has to tell the monitor. Never blocks, never fails its caller, never
// loses: a record is in a memory-mapped ring file before the call returns, and the file outlives
// `kill -9`. A thread of its own sends the ring to the monitor and frees what the monitor has
// committed. A full ring is continued in a spill file; beyond its limit records are counted as lost
// and an event says so.
//
// runs/NAME/ring/PROCESS-INSTANCE.ring begins with a page that others may read at any time
// (struct points_page): `ctl status` needs no monitor. Sequence numbers count on across
// incarnations, so a successor resends what its predecessor left, first.
#ifndef POINTS_H
#define POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/msg.h"
#include "points/ring.h"

struct points_options {
    void *zmq;            // NULL: records go into the ring only (sent by who comes later)
    const char *endpoint; // "ipc://s/monitor"
    const char *run;
    const char *ring_dir; // "ring"
    struct msg_peer self;
    size_t ring_bytes, spill_bytes;
};

struct points;

// Maps or makes the ring. ERR_IO, ERR_SPACE (the file is reserved in full), ERR_BUSY (another
// process has it).
int points_open(const struct points_options *options, struct points **ret_points);
// Waits up to timeout_ms until the monitor has committed everything; ERR_TIMEOUT leaves the rest in
// the ring. timeout 0: does not wait.
int points_flush(struct points *p, int timeout_ms);
void points_close(struct points *p);

// All of these may be called from any thread and with p == NULL (then they do nothing).
void points_put(struct points *p, const struct msg *record);
void points_metric(struct points *p, const char *key, bool replayable, uint64_t step, double value);
void points_sample(struct points *p, uint64_t step, const char *kind, const char *path);
void points_event(struct points *p, const char *level, const char *code, uint64_t step,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
void points_param(struct points *p, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void points_state(struct points *p, enum process_state state, uint64_t step);
uint64_t points_step(const struct points *p); // the step last given to points_state; NULL: 0
void points_beat(struct points *p);           // from the main loop, often; costs a store
void points_line(struct points *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Reads the page of a ring file. ERR_IO, ERR_FORMAT.
int points_read_page(const char *path, struct points_page *ret_page);

// Walks the unacknowledged records of a ring file and its spill file without a monitor (the
// monitor's --drain). `take` returns ERR_OK to go on. From time to time, and at the end if there
// was anything, it is called with record NULL: when that returns ERR_OK, all it took before is
// durable and is marked as acknowledged. ERR_BUSY: the process is alive. ERR_IO, ERR_FORMAT.
int points_drain(const char *ring_path,
                 int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                             const uint8_t *record, size_t size),
                 void *context);

// The same for one's own ring, opened with zmq NULL: the monitor's.
int points_take(struct points *p,
                int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                            const uint8_t *record, size_t size),
                void *context);

#endif
