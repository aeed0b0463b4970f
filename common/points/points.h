// points - a process's metrics, events and other records, on their way to the monitor.
//
// A call never blocks and never fails. The record is in a memory-mapped ring file before the call
// returns, and the file survives `kill -9`. A thread sends the records to the monitor and frees
// those that the monitor has committed. A full ring continues in a spill file. Beyond that file's
// limit records are lost; they are counted, and an event reports it.
//
// runs/NAME/ring/PROCESS-INSTANCE.ring begins with a page (struct points_page) that other processes
// may read at any time: `ctl status` needs no monitor. Sequence numbers continue across
// incarnations: a restarted process first sends the records that its predecessor left.
#ifndef POINTS_H
#define POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/msg.h"
#include "points/ring.h"

struct points_options {
    void *zmq;            // NULL: no sender; the records stay in the ring
    const char *endpoint; // "ipc://s/monitor"
    const char *run;
    const char *ring_dir; // "ring"
    struct msg_peer self;
    size_t ring_bytes, spill_bytes;
};

struct points;

// Maps or makes the ring. ERR_IO; ERR_SPACE: the file is allocated in full at the start; ERR_BUSY:
// another process has it.
int points_open(const struct points_options *options, struct points **ret_points);
// Waits up to timeout_ms until the monitor has committed every record. ERR_TIMEOUT: the rest stays
// in the ring. With timeout_ms 0 it does not wait.
int points_flush(struct points *p, int timeout_ms);
void points_close(struct points *p);

// Any thread may call these. With p == NULL they do nothing.
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

// Reads the page of a ring file, also of another process. ERR_IO, ERR_FORMAT.
int points_read_page(const char *path, struct points_page *ret_page);

// Hands the unacknowledged records of a ring file and its spill file to `take`, for the monitor's
// --drain. Now and then, and at the end, `take` is called with record NULL: it must make all
// earlier records durable before it returns ERR_OK, and they are then marked as acknowledged. Any
// other result ends the walk and is returned. ERR_BUSY: the process is alive. ERR_IO, ERR_FORMAT.
int points_drain(const char *ring_path,
                 int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                             const uint8_t *record, size_t size),
                 void *context);

// The same for this process's own ring, opened with zmq NULL. Only the monitor does this.
int points_take(struct points *p,
                int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                            const uint8_t *record, size_t size),
                void *context);

#endif
