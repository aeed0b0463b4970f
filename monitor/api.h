// api - the answers of the dashboard's server: JSON and Prometheus text, made from the database and
// the pages of the rings.
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
// Without run= it is the monitor's own run. No answer changes anything.
#ifndef API_H
#define API_H

#include <stdint.h>
#include <stdio.h>

#include <sqlite3.h>

#include "ingest.h"

struct api {
    sqlite3 *db; // opened with schema_open_reader
    const char *run, *ring_dir;
    const struct ingest_counts *counts; // may be NULL
};

struct api_query {
    const char *run, *key; // NULL: not given
    int64_t max_points, from, to;
};

// Writes the answer. ERR_NOT_RUNNING for an unknown path; ERR_TIMEOUT if a query takes more than a
// second; else as schema_failed.
int api_answer(const struct api *api, const char *path, const struct api_query *query, FILE *out);

// ERR_OK if the database lists `path` as a sample of the run, else ERR_NOT_RUNNING.
int api_is_sample(const struct api *api, const char *run, const char *path);

int api_prometheus(const struct api *api, FILE *out);

#endif
