// rings - reads ring files whose records no process sends: the monitor's own, and those of dead
// processes.
#ifndef RINGS_H
#define RINGS_H

#include "ingest.h"
#include "points/points.h"

// Commits the records of the monitor's own ring. ERR_AGAIN, ERR_BUSY, ERR_SPACE, ERR_IO: the rest
// stays in the ring; try again later.
int rings_take_own(struct ingest *g, struct points *own);

// Commits the rings of processes that died more than 3 s ago and were not restarted. Errors as
// above.
int rings_take_dead(struct ingest *g, const char *ring_dir);

// Commits every ring of the folder that no process has locked. Waits up to a minute for the
// database, which other monitors may be writing.
int rings_take_all(struct ingest *g, const char *ring_dir);

#endif
