// records - the manifest of one domain, fetched from its curator.
//
// The curator on the same machine leaves the finished manifest as a file in the run's folder; where
// its digest is the announced one, nothing but the digest travels. Otherwise the records come in
// chunks, one under way at a time, and are kept in a file of this loader's own.
#ifndef RECORDS_H
#define RECORDS_H

#include "link/link.h"
#include "manifest.h"

struct records;

// domain "A" or "B". The link to the curator (ipc://s/curator-A) is made here and ended when the
// manifest is complete.
int records_open(const struct link_options *common, const char *domain, struct records **ret);
void records_close(struct records *r);

// Takes what has come. ERR_OK and *ret_done when the manifest is complete. ERR_DATA if the curator
// refused (its text), ERR_PEER.
int records_step(struct records *r, bool *ret_done);
struct manifest *records_manifest(struct records *r); // owned by r; NULL before it is done
void *records_socket(struct records *r);              // NULL when done
int64_t records_due_us(const struct records *r);

#endif
