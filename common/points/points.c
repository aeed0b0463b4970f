// points - the API: fills a record, packs it, and hands it to the backlog. No caller ever waits for
// the monitor.
#include "points/points.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "points/backlog.h"
#include "points/sender.h"

#define LOCK_WAIT_MS 2000 // the monitor may be draining our predecessor's ring

struct points {
    struct backlog backlog;
    struct msg_peer self;
    struct sender *sender; // NULL: opened without ZeroMQ
    struct points_page *page;
};

// Written once by the owner; readers of the page accept that it may be half new.
static void fill_page(struct points_page *page, const struct msg_peer *self) {
    memset(page->process, 0, sizeof page->process);
    (void)text_copy(page->process, sizeof page->process, self->process); // as long there
    page->line[0] = 0;
    page->pid = (uint64_t)getpid();
    page->instance = self->instance;
    page->incarnation = self->incarnation;
    page->state = STATE_STARTING;
    page->step = 0;
    page->beat_us = now_us();
}

int points_open(const struct points_options *options, struct points **ret_points) {
    struct points *p = xcalloc(1, sizeof *p);
    char *path = xasprintf("%s/%s-%" PRIu64 ".ring", options->ring_dir, options->self.process,
                           options->self.instance);
    int err = fs_mkdirs(options->ring_dir, 0700);
    if (!err)
        err = backlog_open(path, options->ring_bytes, options->spill_bytes, LOCK_WAIT_MS,
                           &p->backlog);
    if (err)
        goto fail;
    p->self = options->self;
    p->page = p->backlog.ring.page;
    fill_page(p->page, &options->self);
    if (options->zmq) {
        struct sender_options o = {options->zmq, options->endpoint, options->run, options->self,
                                   &p->backlog};
        err = sender_start(&o, &p->sender);
        if (err)
            goto fail;
    }
    free(path);
    *ret_points = p;
    return ERR_OK;

fail:
    free(path);
    points_close(p);
    return err;
}

int points_flush(struct points *p, int timeout_ms) {
    if (!p || backlog_wait_empty(&p->backlog, p->sender ? timeout_ms : 0))
        return ERR_OK;
    // The rest is sent by the next incarnation, or drained by the monitor.
    return err_set(ERR_TIMEOUT, "the monitor has not taken every point in %d ms", timeout_ms);
}

void points_close(struct points *p) {
    if (!p)
        return;
    // The sender uses the backlog until its thread has ended.
    sender_stop(p->sender);
    backlog_close(&p->backlog);
    free(p);
}

// ---- records ----

static enum backlog_put put_record(struct points *p, const struct msg *record) {
    uint8_t body[RING_BODY_MAX];
    size_t size = 0;
    // Records are built from bounded fields, so they always fit.
    if (msg_pack_record(record, body, sizeof body, &size))
        BUG("a record of type %s: %s", msg_name(record->type), err_text());
    return backlog_put(&p->backlog, body, size);
}

static void fill_event(struct msg *m, const char *level, const char *code, uint64_t step) {
    m->type = MSG_event;
    m->event.ts_us = wall_us();
    m->event.step = step;
    // A text that is too long is cut.
    (void)text_copy(m->event.level, sizeof m->event.level, level);
    (void)text_copy(m->event.code, sizeof m->event.code, code);
}

// At the first spilled record only.
static void report_spill(struct points *p) {
    struct msg m;
    fill_event(&m, "warn", "points_spill", 0);
    (void)snprintf(m.event.message, sizeof m.event.message,
                   "%s: the ring of points is full, a file takes over: is the monitor running?",
                   p->self.process);
    (void)put_record(p, &m);
}

static void report_lost(struct points *p) {
    struct msg m;
    uint64_t n = backlog_lost(&p->backlog);
    if (!n)
        return;
    fill_event(&m, "error", "points_lost", 0);
    (void)snprintf(m.event.message, sizeof m.event.message,
                   "%s: %" PRIu64 " records lost: the spill file was at its limit or the disk full",
                   p->self.process, n);
    // The report had no room either, so the losses are counted as unreported again.
    if (put_record(p, &m) == BACKLOG_LOST)
        backlog_lost_again(&p->backlog, n);
}

void points_put(struct points *p, const struct msg *record) {
    if (!p)
        return;
    enum backlog_put result = put_record(p, record);
    if (result == BACKLOG_SPILL_BEGINS)
        report_spill(p);
    if (result != BACKLOG_LOST) // there is room again: a report of earlier losses fits
        report_lost(p);
    // After the record is in the ring: the thread finds it.
    if (p->sender)
        sender_nudge(p->sender);
}

void points_metric(struct points *p, const char *key, bool replayable, uint64_t step,
                   double value) {
    struct msg m; // not zeroed: it is large, and only the fields of its type are read
    if (!p)
        return;
    m.type = MSG_metric;
    m.metric.replayable = replayable;
    m.metric.step = step;
    m.metric.ts_us = wall_us();
    m.metric.value = value;
    // Cutting a key would merge two metrics.
    if (!text_copy(m.metric.key, sizeof m.metric.key, key))
        BUG("a key as long as '%s'", key);
    points_put(p, &m);
}

void points_sample(struct points *p, uint64_t step, const char *kind, const char *path) {
    struct msg m;
    if (!p)
        return;
    m.type = MSG_sample;
    m.sample.step = step;
    if (!text_copy(m.sample.kind, sizeof m.sample.kind, kind) ||
        !text_copy(m.sample.path, sizeof m.sample.path, path))
        BUG("a sample '%s' as long as '%s'", kind, path);
    points_put(p, &m);
}

void points_event(struct points *p, const char *level, const char *code, uint64_t step,
                  const char *format, ...) {
    struct msg m;
    va_list args;
    if (!p)
        return;
    fill_event(&m, level, code, step);
    va_start(args, format);
    (void)vsnprintf(m.event.message, sizeof m.event.message, format, args); // may be cut
    va_end(args);
    points_put(p, &m);
}

void points_param(struct points *p, const char *key, const char *format, ...) {
    struct msg m;
    va_list args;
    if (!p)
        return;
    m.type = MSG_param;
    if (!text_copy(m.param.key, sizeof m.param.key, key))
        BUG("a key as long as '%s'", key);
    va_start(args, format);
    (void)vsnprintf(m.param.value, sizeof m.param.value, format, args); // may be cut
    va_end(args);
    points_put(p, &m);
}

// ---- the page ----

void points_state(struct points *p, enum process_state state, uint64_t step) {
    if (!p)
        return;
    // Relaxed: readers want recent values, not an order between them.
    __atomic_store_n(&p->page->state, (uint64_t)state, __ATOMIC_RELAXED);
    __atomic_store_n(&p->page->step, step, __ATOMIC_RELAXED);
    points_beat(p);
}

uint64_t points_step(const struct points *p) {
    return p ? __atomic_load_n(&p->page->step, __ATOMIC_RELAXED) : 0;
}

void points_beat(struct points *p) {
    if (p)
        __atomic_store_n(&p->page->beat_us, now_us(), __ATOMIC_RELAXED);
}

void points_line(struct points *p, const char *format, ...) {
    va_list args;
    if (!p)
        return;
    va_start(args, format);
    (void)vsnprintf(p->page->line, sizeof p->page->line, format, args); // may be cut
    va_end(args);
}

int points_read_page(const char *path, struct points_page *ret_page) {
    struct points_page page;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(ERR_IO, "open '%s': %m", path);
    // One read: the page is copied in one piece as far as the kernel can.
    ssize_t n = pread(fd, &page, sizeof page, 0);
    (void)close(fd); // only read from
    if (n != sizeof page || page.magic != RING_MAGIC || page.version != RING_VERSION)
        return err_set(ERR_FORMAT, "'%s' is not a ring of points", path);
    // Another process may be writing these texts.
    page.process[sizeof page.process - 1] = 0;
    page.line[sizeof page.line - 1] = 0;
    *ret_page = page;
    return ERR_OK;
}

// ---- without a sender ----

int points_take(struct points *p,
                int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                            const uint8_t *record, size_t size),
                void *context) {
    if (p->sender)
        BUG("the sender frees these records");
    return backlog_drain(&p->backlog, &p->self, take, context);
}

int points_drain(const char *ring_path,
                 int (*take)(void *context, const struct msg_peer *from, uint64_t seq,
                             const uint8_t *record, size_t size),
                 void *context) {
    struct points_page page;
    struct backlog backlog;
    int err = points_read_page(ring_path, &page); // backlog_open would make a missing file
    if (err)
        return err;
    // The file exists, so its own size counts; the spill may be of any size.
    err = backlog_open(ring_path, 0, SIZE_MAX, 0, &backlog);
    if (err)
        return err;
    struct msg_peer from = {.instance = page.instance, .incarnation = page.incarnation};
    (void)text_copy(from.process, sizeof from.process, page.process); // as long there
    err = backlog_drain(&backlog, &from, take, context);
    backlog_close(&backlog);
    return err;
}
