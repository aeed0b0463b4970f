// The single place where the trainer blocks. Between ops of a computation it only pumps.
#include "streams/wait.h"

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"

// Small enough for heartbeats and pool answers; a pump costs far less.
#define PUMP_US 1000

int wait_pump(struct wait *w) {
    proc_check_signals(w->proc);
    points_beat(w->proc->points);
    // The error of an earlier call between ops, when it could not be returned.
    int err = w->err ? err_set(w->err, "%s", w->text) : feed_poll(w->feed);
    if (!err)
        err = replay_poll(w->replay);
    w->pumped_us = now_us();
    return err;
}

void wait_between_ops(void *context) {
    struct wait *w = context;
    if (w->err || now_us() - w->pumped_us < PUMP_US)
        return;
    int err = wait_pump(w);
    if (err)
        (void)text_copy(w->text, sizeof w->text, err_text()); // may be cut
    w->err = err;
}

static void report_waiting(struct wait *w, const char *what) {
    log_line("waiting for %s", what);
    points_event(w->proc->points, "warn", "waiting", 0, "waiting for %s", what);
    points_line(w->proc->points, "waiting for %s", what);
}

static int poll_once(struct wait *w, int64_t until_us) {
    zmq_pollitem_t items[2] = {{.socket = feed_socket(w->feed), .events = ZMQ_POLLIN},
                               {.socket = replay_socket(w->replay), .events = ZMQ_POLLIN}};
    int64_t due = MIN(feed_due_us(w->feed), replay_due_us(w->replay));
    // Without a pool there is no second socket.
    return proc_poll(w->proc, items, items[1].socket ? 2 : 1, MIN(due, until_us));
}

int wait_for(struct wait *w, bool (*done)(void *context), void *context, const char *what) {
    int64_t report_us = now_us() + w->report_after_us;
    for (;;) {
        // Pump first: messages that have arrived already give no new socket event.
        int err = wait_pump(w);
        if (err || done(context))
            return err;
        if (now_us() >= report_us) {
            // Once for each wait, so that a long wait does not fill the log.
            report_waiting(w, what);
            report_us = INT64_MAX;
        }
        err = poll_once(w, report_us);
        if (err)
            return err;
    }
}
