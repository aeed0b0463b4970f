// http - the dashboard's server: GET and HEAD only, in the monitor's own loop, never blocking.
//
//   /  /page.css  /page.js     the page (page.h)
//   /dygraph.min.js, .css      Debian's dygraphs; 404 if it is not installed: the page shows tables
//   /api/...                   api.h
//   /events                    server-sent events: "change" whenever rows have been committed
//   /files/RUN/PATH            a PNG, if a row of `sample` names it
//   /metrics  /healthz
//
// At most 64 connections, 32 of them /events.
#ifndef HTTP_H
#define HTTP_H

#include <stdint.h>

#include "api.h"

struct http;

struct http_options {
    const char *listen; // a numeric address
    int port;           // 0: any; if it is taken, the next 99 are tried
    const char *database, *runs_dir, *run, *ring_dir;
    const struct ingest_counts *counts;
};

// Options are copied, `counts` is lent until http_close. ERR_IO, ERR_BUSY (no port), ERR_CONFIG
// (address).
int http_open(const struct http_options *options, struct http **ret_http);
void http_close(struct http *h);

const char *http_url(const struct http *h); // "http://127.0.0.1:8097/"
int http_fd(const struct http *h);          // for poll: when it is readable, call http_run
int64_t http_due_us(struct http *h);        // now_us() by which http_run wants to be called
void http_run(struct http *h);              // handles what is ready, without waiting
void http_changed(struct http *h);          // call after a commit: sends "change" to /events

#endif
