// rings - records that nobody sends: the monitor's own, and those of processes that are gone.
#ifndef RINGS_H
#define RINGS_H

#include "ingest.h"
#include "points/points.h"

// Takes what lies in the monitor's own ring and commits it. ERR_AGAIN, ERR_BUSY, ERR_SPACE, ERR_IO:
// the rest stays there, try again later.
int rings_take_own(struct ingest *g, struct points *own);

// Takes the rings of processes that died some seconds ago and were not started again. Errors as
// above.
int rings_take_dead(struct ingest *g, const char *ring_dir);

// Takes every ring of the folder whose process does not hold it. Waits for other monitors.
int rings_take_all(struct ingest *g, const char *ring_dir);

#endif
