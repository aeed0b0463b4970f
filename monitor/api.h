// api - the dashboard's answers: JSON and Prometheus text made from the database and the ring
// pages.
//
//   /api/runs                                    every run, the newest first
//   /api/keys?run=                               every metric with its newest value
//   /api/metrics?run=&key=&max_points=&from=&to= [[step, min, mean, max, special], ...], steps in
//                                                equal buckets, at most max_points of them
//   /api/samples?run=    /api/events?run=    /api/curation?run=    /api/params?run=
//   /api/checkpoints?run=
//   /api/processes?run=                          {"live": [...], "lives": [...]}; live: of this run
//   /metrics                                     Prometheus text 0.0.4
//
// Without run= the monitor's own run is meant. No answer changes anything.
#ifndef API_H
#define API_H

#include <stdint.h>
#include <stdio.h>

#include <sqlite3.h>

#include "ingest.h"

struct api {
    sqlite3 *db; // a reader's
    const char *run, *ring_dir;
    const struct ingest_counts *counts; // may be NULL
};

struct api_query {
    const char *run, *key; // NULL: not given
    int64_t max_points, from, to;
};

// Writes the answer. ERR_NOT_RUNNING: no such path or run; ERR_TIMEOUT: it took too long; else as
// schema_failed.
int api_answer(const struct api *api, const char *path, const struct api_query *query, FILE *out);

// Whether `path` is a sample of the run, as its row says, and may be read.
int api_is_sample(const struct api *api, const char *run, const char *path);

int api_prometheus(const struct api *api, FILE *out);

#endif
