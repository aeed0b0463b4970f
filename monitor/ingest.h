// ingest - writes the records of the processes into the database, each exactly once.
//
// ingest_add keeps records in memory. ingest_commit writes them in one transaction, together with a
// cursor for each process: the number of its last committed record. A record whose number is not
// above the cursor is a duplicate and is dropped. A failed transaction (disk full, another writer)
// loses nothing and is tried again. The database is locked for moments only, so several monitors
// can share it. A repeated step overwrites its row.
//
// A record that cannot be read, or that the tables refuse, is counted in `refused` and skipped: a
// broken producer does not stop the others.
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

// Finds or inserts the run's row. `db` and `config` are lent until ingest_free.
int ingest_new(sqlite3 *db, const struct config *config, const char *conf_text,
               struct ingest **ret_ingest);
void ingest_free(struct ingest *g); // drops pending records: their rings still have them

// Marks the run as running and stores its settings and the version of the code, in one transaction.
int ingest_begin_run(struct ingest *g);

// Keeps `count` records (ring.h) with numbers from `first` on. ERR_AGAIN: no room before the next
// commit. ERR_PEER: the bytes are not these records; none is kept.
int ingest_add(struct ingest *g, const struct msg_peer *from, uint64_t first, uint64_t count,
               const void *bytes, size_t size);
// The same for one record's body, as points_drain gives it.
int ingest_add_body(struct ingest *g, const struct msg_peer *from, uint64_t seq,
                    const uint8_t *body, size_t length);
bool ingest_has_room(const struct ingest *g);    // for one more message
uint64_t ingest_pending(const struct ingest *g); // records

// Writes the pending records. ERR_BUSY, ERR_SPACE, ERR_IO: try again later. ERR_FORMAT: the
// database is broken or was removed. The next monitor then makes a new one, and the processes send
// again whatever was not acknowledged.
int ingest_commit(struct ingest *g);

// The number of the process's last committed record; 0: none.
uint64_t ingest_cursor(const struct ingest *g, const struct msg_peer *from);

const struct ingest_counts *ingest_counts(const struct ingest *g);

#endif
