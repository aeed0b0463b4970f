// pool - keeps old fakes and exchanges them for new ones.
//
//   ROUTER  ipc://s/pool     binds     stream exchange     trainer (DEALER)
//   DEALER  ipc://s/monitor  connects  stream points       monitor (in common/points)
#include <malloc.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "link/link.h"
#include "proc.h"
#include "service.h"

#define HWM 16 // more than one exchange for each table, and its repetition

static const struct flags flags = {
    .program = "pool",
    .intro =
        "pool - the replay buffer: keeps old fakes in a file of fixed size and exchanges them\n"
        "\n"
        "  pool --run DIR [--instance N] [--incarnation N]\n",
    .notes =
        "Started by ./pipeline up. Settings: section pool of DIR/pipeline.conf. The tables lie in\n"
        "DIR/pool.arena and outlive this process. It reports these metrics: pool/filled (pictures\n"
        "in each table), pool/stored_share (share of old pictures among those it returned),\n"
        "pool/age (their mean age in steps), pool/exchange_us (time spent in a step).\n",
};

// Answers one request.
static void serve(struct proc *p, struct hub *hub, struct service *s, const struct link_in *in) {
    // Static: a message has room for its longest list.
    static struct msg reply;
    const void *bytes = in->n_frames ? zmq_msg_data(&in->frames[0]) : NULL;
    size_t size = in->n_frames ? zmq_msg_size(&in->frames[0]) : 0;
    // The incarnation is taken from the session, so a request cannot claim another one.
    const struct link_frame *frames =
        service_answer(s, in->peer.incarnation, &in->msg, bytes, size, &reply);
    if (reply.type == MSG_refuse) {
        log_line("refused %s of %s: %s", msg_name(in->msg.type), in->peer.process,
                 reply.refuse.text);
        points_event(p->points, "error", "request_refused", 0, "%s", reply.refuse.text);
        // The step of the last exchange is this process's progress on the page of its ring.
    } else if (reply.type == MSG_exchanged) {
        points_state(p->points, STATE_RUNNING, reply.exchanged.step);
    }
    if (hub_send(hub, in->client, &reply, frames) == ERR_OK)
        return;
    // Not sent: the client is gone, or its queue is full and it will repeat the request.
    for (uint64_t i = 0; i < msg_raw_frames(&reply); i++)
        frames[i].free_fn(frames[i].bytes, frames[i].hint);
}

static int loop(struct proc *p, struct hub *hub, struct service *s) {
    static struct link_in in; // 64 KiB and more: not on the stack
    int err = ERR_OK;
    while (!err && !p->stop) {
        // Every pending message is answered before the loop sleeps.
        err = hub_next(hub, &in);
        if (err)
            break;
        if (in.event == LINK_MSG)
            serve(p, hub, s, &in);
        else if (in.event == LINK_NOISE)
            points_event(p->points, "warn", "noise", 0, "%s", err_text());
        link_in_fini(&in);
        zmq_pollitem_t item = {.socket = hub_socket(hub), .events = ZMQ_POLLIN};
        if (in.event == LINK_NONE)
            err = proc_poll(p, &item, 1, hub_due_us(hub));
        else
            // While messages keep coming, signals are still noticed.
            proc_check_signals(p);
    }
    return err;
}

static int run_pool(struct proc *p) {
    struct hub *hub = NULL;
    struct service s = {.arena_path = "pool.arena",
                        .memory_bytes = (uint64_t)p->config->pool.memory,
                        .seed = (uint64_t)p->config->top.seed,
                        .points = p->points};
    struct link_options o = {
        .zmq = p->zmq,
        .endpoint = "ipc://s/pool",
        .run = p->config->top.name,
        .self = p->self,
        .hwm = HWM,
        .peer_timeout_us = p->config->supervisor.peer_timeout_s * 1000000,
        // An exchange can be no larger than the whole pool.
        .frame_max_bytes = (size_t)p->config->pool.memory,
    };
    int err = hub_open(&o, &hub);
    if (!err)
        err = loop(p, hub, &s);
    // Frames in flight keep the arena alive by themselves (arena_hold).
    hub_close(hub);
    service_fini(&s);
    return err;
}

// The trainer's credits bound the memory that requests need beside the arena. The heap keeps it,
// one heap for all threads: page faults on fresh memory would cost more than the copy itself.
static void set_heap(void) {
    (void)mallopt(M_ARENA_MAX, 1); // if one of them fails, the pool is only larger or slower
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

int main(int argc, char **argv) {
    struct proc p = {0};
    struct proc_line line;
    // Before any thread exists.
    set_heap();
    int err = proc_read(argc, argv, &flags, &line);
    if (!err)
        err = proc_start(&line, "pool", &p);
    return proc_end(&p, err ? err : run_pool(&p));
}
