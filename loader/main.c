// loader - decodes and augments images into the batches that the trainer requests.
//
//   DEALER  connects ipc://s/curator-A, ipc://s/curator-B   manifest     peer: curator
//   DEALER  connects ipc://s/trainer                        tickets      peer: trainer
//   DEALER  connects ipc://s/monitor                        points       peer: monitor (points.h)
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "items.h"
#include "link/link.h"
#include "proc.h"
#include "records.h"
#include "sizes.h"
#include "source.h"
#include "work.h"

static const struct flags flags = {
    .program = "loader",
    .intro = "loader - decodes and augments pictures into the batches that the trainer requests\n"
             "\n"
             "  loader --run DIR [--instance N] [--incarnation N]\n",
    .notes = "Started by ./pipeline up. Settings: section loader of DIR/pipeline.conf.\n",
};

struct loader {
    struct proc *proc;
    struct link_options link_options;
    struct manifest *manifest[2]; // of sides A and B; lent by records
    struct items items;
    struct source source;
    struct work *work;
    struct link *trainer;
    uint64_t session; // of the trainer's link; batches of an older one are discarded
    int64_t idle_since_us;
    struct work_batch *unsent; // finished, but the socket was full
};

// ---- manifests ----

// Both manifests are fetched at once; the loop ends with the slower one.
static int fetch_step(struct records *records[2], bool *ret_done) {
    bool done[2];
    for (int d = 0; d < 2; d++) {
        int err = records_step(records[d], &done[d]);
        if (err)
            return err;
    }
    *ret_done = done[0] && done[1];
    return ERR_OK;
}

// A link that has its manifest is closed and has no socket any more.
static int fetch_wait(struct proc *p, struct records *records[2]) {
    zmq_pollitem_t items[2];
    int n = 0;
    for (int d = 0; d < 2; d++)
        if (records_socket(records[d]))
            items[n++] =
                (zmq_pollitem_t){.socket = records_socket(records[d]), .events = ZMQ_POLLIN};
    // records_due_us is INT64_MAX once its link is closed.
    return proc_poll(p, items, n, MIN(records_due_us(records[0]), records_due_us(records[1])));
}

static int fetch_manifests(struct loader *l, struct records *records[2]) {
    points_state(l->proc->points, STATE_WAITING, 0);
    bool done = false;
    while (!done) {
        int err = fetch_step(records, &done);
        if (!err && !done)
            err = fetch_wait(l->proc, records);
        if (!err && l->proc->stop)
            err = ERR_STOPPED;
        if (err)
            return err;
    }
    return ERR_OK;
}

static int begin_items(struct loader *l) {
    const struct config *c = l->proc->config;
    int err = items_init(&l->items, c, l->manifest);
    if (!err)
        err = sizes_check(c, l->manifest);
    if (err)
        return err;
    // From here on, run_loader's end has to free the source.
    source_init(&l->source, c, &l->items, l->manifest, l->proc->points);
    // Twice the credits: batches of the previous session may still be in flight.
    l->work = work_new(&l->source, (int)c->loader.threads, 2 * (int)c->loader.prefetch);
    return ERR_OK;
}

// ---- tickets ----

static int send_ready(struct loader *l) {
    struct msg m = {.type = MSG_loader_ready};
    struct msg_loader_ready *r = &m.loader_ready;
    // Credits bound the tickets that the trainer may have in flight here.
    r->credits = (uint64_t)l->proc->config->loader.prefetch;
    (void)text_copy(r->digest_a, sizeof r->digest_a, l->manifest[0]->digest);
    (void)text_copy(r->digest_b, sizeof r->digest_b, l->manifest[1]->digest);
    r->count_a = l->items.n_all[0];
    r->count_b = l->items.n_all[1];
    r->held_a = l->items.held[0];
    r->held_b = l->items.held[1];
    return link_send(l->trainer, &m, NULL);
}

static int begin_ticket(struct loader *l, const struct msg_ticket *ticket) {
    int err = work_begin(l->work, ticket, l->session);
    if (err != ERR_LIMIT)
        // ERR_LIMIT is no fault of this session, so it does not end the process.
        return err;
    // Batches of the previous session still hold slots. The trainer repeats the ticket after its
    // time-out.
    log_line("ticket dropped: %s", err_text());
    return ERR_OK;
}

static int take_event(struct loader *l, struct link_in *in) {
    switch (in->event) {
    case LINK_UP:
        // A new session makes all batches of the old one stale.
        l->session++;
        log_line("connected to trainer %llu", (unsigned long long)in->peer.incarnation);
        return send_ready(l);
    case LINK_DOWN:
    case LINK_FIN:
        l->session++;
        return ERR_OK;
    case LINK_MSG:
        if (in->msg.type == MSG_ticket)
            return begin_ticket(l, &in->msg.ticket);
        if (in->msg.type == MSG_refuse)
            // A mismatch needs other settings; another start with these would not help.
            return err_set((int)in->msg.refuse.err == ERR_MISMATCH ? ERR_MISMATCH : ERR_PEER,
                           "the trainer refuses: %s", in->msg.refuse.text);
        return err_set(ERR_PEER, "the trainer sent a %s", msg_name(in->msg.type));
    default:
        return ERR_OK;
    }
}

static int take_events(struct loader *l) {
    for (;;) {
        struct link_in in;
        int err = link_next(l->trainer, &in);
        if (err || in.event == LINK_NONE)
            return err;
        err = take_event(l, &in);
        link_in_fini(&in);
        if (err && err != ERR_AGAIN) // a full socket: the session times out and comes up again
            return err;
    }
}

static void report_times(struct loader *l, const struct work_batch *b) {
    if (b->ticket.split != ITEMS_TRAIN)
        return;
    // Epochs count from 1, batches from 0.
    uint64_t step = (b->ticket.epoch - 1) * items_batches(&l->items) + b->ticket.index + 1;
    struct points *p = l->proc->points;
    points_metric(p, "loader/read_us", false, step, (double)b->times.read_us);
    points_metric(p, "loader/decode_us", false, step, (double)b->times.decode_us);
    points_metric(p, "loader/resize_us", false, step, (double)b->times.resize_us);
    // Time that the batch waited: for a free thread, and at the end for the socket.
    points_metric(p, "loader/queue_us", false, step,
                  (double)(b->started_us - b->begun_us + now_us() - b->done_us));
    points_metric(p, "loader/batch_us", false, step, (double)(b->done_us - b->begun_us));
    points_metric(p, "loader/cache_hit_share", false, step,
                  // Two images for each item of the ticket.
                  (double)b->times.cache_hits / (2.0 * (double)b->ticket.count));
    points_state(p, STATE_RUNNING, step);
}

static int send_batch(struct loader *l, struct work_batch *b) {
    // A message has some 64 KiB, so it is not on the stack.
    struct msg *m = xmalloc(sizeof *m);
    struct link_frame frames[2];
    int err = work_pack(b, m, frames);
    if (!err) {
        m->batch.time_us[4] = (uint64_t)(b->begun_us - l->idle_since_us);
        err = link_send(l->trainer, m, frames);
        // After a failure the frames are still ours.
        for (int side = 0; err && side < 2; side++)
            free(frames[side].bytes);
    }
    free(m);
    return err;
}

// ERR_AGAIN: the socket is full; the batch is still the caller's.
static int deliver(struct loader *l, struct work_batch *b) {
    // A batch without its images cannot be repaired: the process ends with the reason.
    if (b->err)
        return err_set(b->err, "%s", b->text);
    // Batches of an old session are dropped: the trainer repeats its tickets.
    if (b->session == l->session) {
        int err = send_batch(l, b);
        if (err)
            return err;
        report_times(l, b);
        l->idle_since_us = now_us();
    }
    work_batch_free(l->work, b);
    return ERR_OK;
}

static int deliver_all(struct loader *l) {
    for (;;) {
        // The unsent batch goes first, so the order of completion is kept.
        struct work_batch *b = l->unsent ? l->unsent : work_next(l->work);
        l->unsent = NULL;
        if (!b)
            return ERR_OK;
        int err = deliver(l, b);
        if (err)
            l->unsent = b;
        if (err == ERR_AGAIN)
            return ERR_OK;
        if (err)
            return err;
    }
}

static int serve_tickets(struct loader *l) {
    points_state(l->proc->points, STATE_RUNNING, 0);
    l->idle_since_us = now_us();
    while (!l->proc->stop) {
        int err = take_events(l);
        // Events first: a new session decides which batches are dropped.
        if (!err)
            err = deliver_all(l);
        if (err)
            return err;
        zmq_pollitem_t items[] = {{.socket = link_socket(l->trainer), .events = ZMQ_POLLIN},
                                  {.fd = work_fd(l->work), .events = ZMQ_POLLIN}};
        int64_t due = link_due_us(l->trainer);
        if (l->unsent) // no event says when the socket has room again
            due = MIN(due, now_us() + 10000);
        err = proc_poll(l->proc, items, COUNT(items), due);
        if (err)
            return err;
    }
    return ERR_OK;
}

// A fin spares the trainer its time-out. Without an answer within a second the loader ends anyway.
static void end_session(struct loader *l) {
    if (!link_is_up(l->trainer) || link_fin(l->trainer))
        return;
    // One second at most: the supervisor waits for this process to end.
    int64_t until = now_us() + 1000000;
    for (struct link_in in = {0}; in.event != LINK_FIN && now_us() < until;) {
        zmq_pollitem_t item = {.socket = link_socket(l->trainer), .events = ZMQ_POLLIN};
        (void)zmq_poll(&item, 1, 50); // a signal or time-out only means another turn
        if (link_next(l->trainer, &in))
            return;
        link_in_fini(&in);
        if (in.event == LINK_DOWN)
            return;
    }
}

static int run_loader(struct loader *l) {
    struct proc *p = l->proc;
    bool swapped = strcmp(p->config->top.direction, "BtoA") == 0;
    struct records *records[2] = {0};
    // Side A is what the trainer translates from: with BtoA that is domain B.
    int err = records_open(&l->link_options, swapped ? "B" : "A", &records[0]);
    if (!err)
        err = records_open(&l->link_options, swapped ? "A" : "B", &records[1]);
    if (!err)
        err = fetch_manifests(l, records);
    if (err)
        goto out;
    for (int side = 0; side < 2; side++)
        l->manifest[side] = records_manifest(records[side]);
    err = begin_items(l);
    if (err)
        goto out;
    l->link_options.endpoint = "ipc://s/trainer";
    err = link_open(&l->link_options, &l->trainer);
    if (err)
        goto out;
    err = serve_tickets(l);
    end_session(l);

out:
    // The threads of `work` use the source and the manifests, so these end after it.
    work_batch_free(l->work, l->unsent);
    work_free(l->work);
    link_close(l->trainer);
    // Set by source_init, so it says whether there is a source.
    if (l->source.cache)
        source_fini(&l->source);
    records_close(records[0]);
    records_close(records[1]);
    return err;
}

int main(int argc, char **argv) {
    struct proc proc = {0};
    struct proc_line line;
    // Before any thread exists, since mallopt affects arenas that are made later.
    work_keep_memory();
    int err = proc_read(argc, argv, &flags, &line);
    if (!err)
        err = proc_start(&line, "loader", &proc);
    if (err)
        return proc_end(&proc, err);
    struct loader loader = {
        .proc = &proc,
        .link_options = {.zmq = proc.zmq,
                         .run = proc.config->top.name,
                         .self = proc.self,
                         .hwm = (int)proc.config->loader.prefetch + 16,
                         .peer_timeout_us = proc.config->supervisor.peer_timeout_s * 1000000,
                         .frame_max_bytes = BATCH_BYTES_MAX},
    };
    return proc_end(&proc, run_loader(&loader));
}
