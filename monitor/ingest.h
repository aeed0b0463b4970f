// ingest - records of the processes become rows, each exactly once.
//
// Records are first only kept in memory (ingest_add), then written in one transaction together with
// the cursors that say how far each process has come (ingest_commit). So the database is locked for
// moments only, several monitors share it, and a transaction that fails (disk full, another writer)
// is simply tried again: nothing is given up. What has a number not above its process's cursor has
// been taken before and is left out. A repeated step overwrites its row.
//
// A record that cannot be read, or that the tables refuse, is counted in `refused` and passed over:
// a broken producer does not stop the others.
#ifndef INGEST_H
#define INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "config/config.h"
#include "link/msg.h"

#define INGEST_BYTES (8 << 20) // kept in memory at most
#define INGEST_ROWS 20000      // a transaction is due with so many

struct ingest;

struct ingest_counts {
    uint64_t records, duplicates, refused, commits, failures; // since ingest_open
};

// Finds the run's row or makes it. `db` is lent until ingest_free.
int ingest_new(sqlite3 *db, const struct config *config, const char *conf_text,
               struct ingest **ret_ingest);
void ingest_free(struct ingest *g); // what is not committed is forgotten: its ring has it

// The run begins (again): status, settings, version of the code. One transaction.
int ingest_begin_run(struct ingest *g);

// Keeps `count` records (ring.h) numbered from `first` on. ERR_AGAIN: no room before the next
// commit. ERR_PEER: they are not what the message said; nothing is kept.
int ingest_add(struct ingest *g, const struct msg_peer *from, uint64_t first, uint64_t count,
               const void *bytes, size_t size);
// The same for one record's body, as points_drain gives it.
int ingest_add_body(struct ingest *g, const struct msg_peer *from, uint64_t seq,
                    const uint8_t *body, size_t length);
bool ingest_has_room(const struct ingest *g);    // for one more message
uint64_t ingest_pending(const struct ingest *g); // records

// Writes what is kept. ERR_BUSY, ERR_SPACE, ERR_IO: try again later; ERR_FORMAT: the database is
// broken or was removed; a successor makes a new one and gets all that was not acknowledged.
int ingest_commit(struct ingest *g);

// The last number of this process that is committed; 0: none.
uint64_t ingest_cursor(const struct ingest *g, const struct msg_peer *from);

const struct ingest_counts *ingest_counts(const struct ingest *g);

#endif
