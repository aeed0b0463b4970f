// records - the manifest of one domain, fetched from its curator.
//
// A curator on the same machine leaves the finished manifest as a file in the run's folder. If that
// file has the announced digest, nothing else is transferred. Otherwise the records come in chunks,
// one in flight at a time, and are saved to a file of this loader's own.
#ifndef RECORDS_H
#define RECORDS_H

#include "link/link.h"
#include "manifest.h"

struct records;

// domain: "A" or "B". Opens the link to the curator (ipc://s/curator-A), which is closed as soon as
// the manifest is complete. `common` gives the link's options except the endpoint.
int records_open(const struct link_options *common, const char *domain, struct records **ret);
void records_close(struct records *r);

// Handles the messages that have arrived. *ret_done: the manifest is complete. ERR_DATA with the
// curator's text if it refused; ERR_PEER; ERR_MISMATCH if the received records have another digest.
int records_step(struct records *r, bool *ret_done);
struct manifest *records_manifest(struct records *r); // owned by r; NULL before it is done
void *records_socket(struct records *r);              // NULL when done
int64_t records_due_us(const struct records *r);

#endif
