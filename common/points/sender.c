// sender - one thread that owns the link to the monitor. Producers only append to the ring and may
// wake it.
#include "points/sender.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "link/link.h"

#define GATHER_US 20000   // a record waits so long for others to share its message
#define REOPEN_US 1000000 // after an error of the link
#define STOP_US 500000    // for the peer's fin_ack
#define PEER_TIMEOUT_US 10000000
#define WINDOW_RECORDS (128 * 256) // in flight without an acknowledgement

struct sender {
    struct sender_options options;
    pthread_t thread;
    int wake_fd;
    atomic_bool asleep, stop;
    // below: the thread's own
    struct link *link;
    struct ring_place next; // record to send
    int64_t send_us, reopen_us, stop_us;
    bool fin_sent, ended;
    struct backlog_batch batch;
};

static void drop_link(struct sender *s) {
    link_close(s->link);
    s->link = NULL;
    s->reopen_us = now_us() + REOPEN_US;
}

static bool is_up(const struct sender *s) {
    return s->link && link_is_up(s->link);
}

static void take_ack(struct sender *s, uint64_t last) {
    // 0 and numbers beyond the range of the database are no answers of a monitor.
    if (last && last < INT64_MAX)
        backlog_ack(s->options.backlog, last);
}

static void take_message(struct sender *s, const struct msg *m) {
    if (m->type == MSG_points_ack)
        take_ack(s, m->points_ack.last);
    else if (m->type == MSG_refuse)
        drop_link(s); // the ring keeps the records; the next attempt follows in REOPEN_US
}

static void take_events(struct sender *s) {
    struct link_in in = {0};
    if (!s->link && now_us() >= s->reopen_us) {
        struct link_options o = {.zmq = s->options.zmq,
                                 .endpoint = s->options.endpoint,
                                 .run = s->options.run,
                                 .self = s->options.self,
                                 .hwm = 256,
                                 .peer_timeout_us = PEER_TIMEOUT_US,
                                 .frame_max_bytes = 2 * BACKLOG_BATCH_BYTES};
        if (link_open(&o, &s->link))
            drop_link(s);
    }
    while (s->link) {
        if (link_next(s->link, &in)) {
            drop_link(s);
            return;
        }
        if (in.event == LINK_NONE)
            return;
        // A new session starts at the oldest record that was not acknowledged.
        if (in.event == LINK_UP)
            s->next = backlog_oldest(s->options.backlog);
        else if (in.event == LINK_MSG)
            take_message(s, &in.msg);
        // After our fin, any end of the session is the end.
        else if (s->fin_sent)
            s->ended = true;
        link_in_fini(&in);
    }
}

// Bounds the records that a monitor may have to take again after a restart.
static bool window_is_open(struct sender *s) {
    return s->next.seq < backlog_oldest(s->options.backlog).seq + WINDOW_RECORDS;
}

static void send_batches(struct sender *s) {
    while (is_up(s) && window_is_open(s)) {
        struct ring_place after = s->next;
        if (!backlog_copy(s->options.backlog, &after, &s->batch))
            break;
        struct msg m;
        m.type = MSG_points;
        m.points.first = s->batch.first;
        m.points.count = s->batch.count;
        struct link_frame frame = {.bytes = s->batch.bytes, .size = s->batch.size};
        if (link_send(s->link, &m, &frame))
            break;       // full: tried again after the next event or pause
        s->next = after; // the ring still has the records; a new session starts at the oldest
    }
    s->send_us = now_us() + GATHER_US;
}

// When the thread must wake up without an event.
static int64_t due_us(struct sender *s) {
    int64_t due = s->link ? link_due_us(s->link) : s->reopen_us;
    if (is_up(s) && window_is_open(s) && backlog_count_from(s->options.backlog, s->next.seq))
        due = MIN(due, s->send_us);
    else if (atomic_load(&s->stop))
        due = MIN(due, s->stop_us);
    return due;
}

static void sleep_until_event(struct sender *s) {
    zmq_pollitem_t items[] = {
        {.fd = s->wake_fd, .events = ZMQ_POLLIN},
        {.socket = s->link ? link_socket(s->link) : NULL, .events = ZMQ_POLLIN}};
    uint64_t ignored;
    // Set before due_us reads the backlog: a record that comes later finds it set and wakes us.
    atomic_store(&s->asleep, true);
    int64_t due = due_us(s), wait_ms = (due - now_us() + 999) / 1000;
    if (wait_ms > 0)
        (void)zmq_poll(items, s->link ? 2 : 1, (long)MIN(wait_ms, 1000)); // EINTR: one more turn
    atomic_store(&s->asleep, false);
    if (read(s->wake_fd, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
        BUG("eventfd: %s", strerror(errno));
}

static void end_session(struct sender *s) {
    if (!is_up(s))
        s->ended = true;
    else if (!s->fin_sent)
        s->fin_sent = !link_fin(s->link);
    if (!s->stop_us)
        s->stop_us = now_us() + STOP_US;
    if (now_us() >= s->stop_us)
        s->ended = true;
}

static void *run_thread(void *argument) {
    struct sender *s = argument;
    while (!s->ended) {
        take_events(s);
        if (atomic_load(&s->stop))
            end_session(s);
        else if (now_us() >= s->send_us)
            send_batches(s);
        if (!s->ended)
            sleep_until_event(s);
    }
    link_close(s->link);
    return NULL;
}

// The thread inherits a full signal mask: signals go to the main loop.
static int start_thread(struct sender *s) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&s->thread, NULL, run_thread, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure ? err_set(ERR_IO, "start a thread: %s", strerror(failure)) : ERR_OK;
}

static void free_all(struct sender *s) {
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd); // an eventfd loses nothing
    free((char *)s->options.endpoint);
    free((char *)s->options.run);
    free(s);
}

int sender_start(const struct sender_options *options, struct sender **ret_sender) {
    struct sender *s = xcalloc(1, sizeof *s);
    int err = ERR_OK;
    s->options = *options;
    s->options.endpoint = xstrdup(options->endpoint);
    s->options.run = xstrdup(options->run);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        err = err_set(ERR_IO, "eventfd: %s", strerror(errno));
    if (!err)
        err = start_thread(s);
    if (err) {
        free_all(s);
        return err;
    }
    *ret_sender = s;
    return ERR_OK;
}

static void wake(struct sender *s) {
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        BUG("eventfd: %s", strerror(errno));
}

void sender_nudge(struct sender *s) {
    if (atomic_load_explicit(&s->asleep, memory_order_seq_cst) &&
        atomic_exchange(&s->asleep, false))
        wake(s);
}

void sender_stop(struct sender *s) {
    if (!s)
        return;
    atomic_store(&s->stop, true);
    wake(s);
    (void)pthread_join(s->thread, NULL); // ours, and joined once
    free_all(s);
}
