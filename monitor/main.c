// monitor - takes the points of every process of a run into metrics.sqlite and shows them.
//
//   ROUTER  ipc://s/monitor  bind     points <- every process, points_ack ->
//   TCP     monitor.listen   listen   the dashboard (http.h)
//
// With --drain: takes what the rings of the run's folder still hold, and ends.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "http.h"
#include "ingest.h"
#include "link/link.h"
#include "proc.h"
#include "rings.h"
#include "schema.h"

#define DATABASE "../metrics.sqlite"
#define RINGS "ring"
#define URL_FILE "dashboard.url"
#define CONF_MAX (1 << 20)
#define OWN_US 250000    // between two looks at our own ring
#define DEAD_US 1000000  // between two looks for rings of the dead
#define RETRY_US 1000000 // after a disk was full
#define PEER_TIMEOUT_US 10000000
#define FRAME_MAX (128 << 10)

static const char intro[] =
    "monitor - writes the metrics of a run into its database and serves the dashboard\n"
    "\n"
    "  monitor --run DIR [--drain] [--instance N] [--incarnation N]\n";
static const char notes[] =
    "Stores metrics, samples, verdicts and events of every process of the run in\n"
    "DIR/../metrics.sqlite. The address of the dashboard is in DIR/dashboard.url.\n";

struct monitor {
    struct proc proc;
    sqlite3 *db;
    struct ingest *ingest;
    struct hub *hub;
    struct http *http; // NULL: no dashboard
    uint64_t *acked;   // of each client of the hub
    int n_acked;
    int64_t first_us; // of the records that are kept; 0: none
    int64_t retry_us, own_us, dead_us;
    uint64_t commits; // the dashboard knows of
    bool paused;
};

// ---- commit and acknowledge ----

static bool may_pass(int err) {
    return err == ERR_BUSY || err == ERR_SPACE || err == ERR_IO || err == ERR_AGAIN;
}

// The world failed; what is kept stays kept, producers go on in their rings.
static int pause_for(struct monitor *m, int err) {
    if (!may_pass(err))
        return err;
    m->retry_us = now_us() + (err == ERR_BUSY ? 0 : RETRY_US);
    if (!m->paused && err != ERR_BUSY && err != ERR_AGAIN) {
        m->paused = true;
        log_line("waiting: %s", err_text());
        points_event(m->proc.points, "warn", "database_waits", 0, "%s", err_text());
    }
    return ERR_OK;
}

static int commit(struct monitor *m) {
    if (!ingest_pending(m->ingest))
        return ERR_OK;
    int err = ingest_commit(m->ingest);
    if (err)
        return pause_for(m, err);
    if (m->paused)
        log_line("the database takes rows again");
    m->paused = false;
    return ERR_OK;
}

static int64_t commit_due_us(const struct monitor *m) {
    if (!ingest_pending(m->ingest))
        return INT64_MAX;
    if (ingest_pending(m->ingest) >= INGEST_ROWS)
        return m->retry_us;
    return MAX(m->retry_us, m->first_us + m->proc.config->monitor.commit_ms * 1000);
}

static void acknowledge(struct monitor *m) {
    for (int i = 0; i < m->n_acked && i < hub_clients(m->hub); i++) {
        const struct msg_peer *peer = hub_peer(m->hub, i);
        uint64_t cursor = peer ? ingest_cursor(m->ingest, peer) : 0;
        if (cursor <= m->acked[i])
            continue;
        struct msg ack;
        ack.type = MSG_points_ack;
        ack.points_ack.last = cursor;
        if (!hub_send(m->hub, i, &ack, NULL))
            m->acked[i] = cursor; // else at the next turn
    }
}

// ---- the hub ----

static void reset_acked(struct monitor *m, int client) {
    if (client >= m->n_acked) {
        m->acked = xrealloc(m->acked, (size_t)(client + 1) * sizeof *m->acked);
        memset(m->acked + m->n_acked, 0, (size_t)(client + 1 - m->n_acked) * sizeof *m->acked);
        m->n_acked = client + 1;
    }
    m->acked[client] = 0; // it wants to hear how far we have come
}

static int take_points(struct monitor *m, struct link_in *in) {
    if (in->msg.type != MSG_points)
        return err_set(ERR_PEER, "%s does not belong here", msg_name(in->msg.type));
    if (!m->first_us)
        m->first_us = now_us();
    return ingest_add(m->ingest, &in->peer, in->msg.points.first, in->msg.points.count,
                      zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]));
}

static void complain(struct monitor *m, const struct link_in *in) {
    log_line("%s %llu: %s", in->peer.process, (unsigned long long)in->peer.instance, err_text());
    points_event(m->proc.points, "error", "points_broken", 0, "from %s %llu: %s", in->peer.process,
                 (unsigned long long)in->peer.instance, err_text());
}

static int take_messages(struct monitor *m) {
    static struct link_in in; // large, so not on the stack
    while (ingest_has_room(m->ingest) && ingest_pending(m->ingest) < INGEST_ROWS) {
        int err = hub_next(m->hub, &in);
        if (err)
            return err;
        if (in.event == LINK_NONE)
            break;
        if (in.event == LINK_UP)
            reset_acked(m, in.client);
        else if (in.event == LINK_MSG && take_points(m, &in))
            complain(m, &in);
        link_in_fini(&in);
    }
    return ERR_OK;
}

// ---- rings nobody sends ----

static int take_rings(struct monitor *m) {
    int64_t now = now_us();
    int err = ERR_OK;
    if (m->paused)
        return ERR_OK;
    if (now >= m->own_us) {
        m->own_us = now + OWN_US;
        err = rings_take_own(m->ingest, m->proc.points);
    }
    if (!err && now >= m->dead_us) {
        m->dead_us = now + DEAD_US;
        err = rings_take_dead(m->ingest, RINGS);
    }
    return err ? pause_for(m, err) : ERR_OK;
}

// ---- loop ----

static int wait_for_events(struct monitor *m) {
    zmq_pollitem_t items[2] = {0};
    int n = 0;
    int64_t until = MIN(m->own_us, commit_due_us(m));
    if (ingest_has_room(m->ingest) && ingest_pending(m->ingest) < INGEST_ROWS) {
        items[n++] = (zmq_pollitem_t){.socket = hub_socket(m->hub), .events = ZMQ_POLLIN};
        until = MIN(until, hub_due_us(m->hub));
    }
    if (m->http) {
        items[n++] = (zmq_pollitem_t){.fd = http_fd(m->http), .events = ZMQ_POLLIN};
        until = MIN(until, http_due_us(m->http));
    }
    return proc_poll(&m->proc, items, n, until);
}

static void show(struct monitor *m) {
    uint64_t commits = ingest_counts(m->ingest)->commits;
    if (commits != m->commits)
        http_changed(m->http);
    m->commits = commits;
    http_run(m->http);
}

static int turn(struct monitor *m) {
    int err = take_messages(m);
    if (!err && now_us() >= commit_due_us(m))
        err = commit(m);
    if (!err)
        err = take_rings(m);
    acknowledge(m);
    if (!ingest_pending(m->ingest))
        m->first_us = 0;
    if (m->http)
        show(m);
    return err;
}

// The first commits of several monitors may meet.
static int begin_run(struct monitor *m) {
    int64_t until = now_us() + 10 * RETRY_US;
    int err = ingest_begin_run(m->ingest);
    while (err == ERR_BUSY && now_us() < until)
        err = ingest_begin_run(m->ingest);
    return err;
}

static int run(struct monitor *m) {
    int err = begin_run(m);
    while (!err && !m->proc.stop) {
        err = turn(m);
        if (!err && !m->proc.stop)
            err = wait_for_events(m);
    }
    if (!err)
        err = turn(m); // what has arrived until now
    if (!err)
        err = commit(m);
    acknowledge(m);
    return err;
}

// ---- start and end ----

static int open_database(const struct config *config, sqlite3 **ret_db,
                         struct ingest **ret_ingest) {
    uint8_t *conf = NULL;
    size_t size = 0;
    int err = schema_open(DATABASE, ret_db);
    if (!err)
        err = fs_read("pipeline.conf", CONF_MAX, &conf, &size);
    if (!err)
        err = ingest_new(*ret_db, config, (const char *)conf, ret_ingest);
    free(conf);
    return err;
}

static int open_dashboard(struct monitor *m) {
    const struct config_monitor *c = &m->proc.config->monitor;
    if (!c->dashboard)
        return ERR_OK;
    struct http_options o = {c->listen,
                             (int)c->port,
                             DATABASE,
                             "..",
                             m->proc.config->top.name,
                             RINGS,
                             ingest_counts(m->ingest)};
    int err = http_open(&o, &m->http);
    if (err == ERR_BUSY) { // points matter more than the page
        log_line("no dashboard: %s", err_text());
        points_event(m->proc.points, "warn", "no_dashboard", 0, "%s", err_text());
        return ERR_OK;
    }
    if (err)
        return err;
    char *line = xasprintf("%s\n", http_url(m->http));
    err = fs_write_atomic(URL_FILE, line, strlen(line));
    free(line);
    log_line("dashboard at %s", http_url(m->http));
    points_event(m->proc.points, "info", "dashboard", 0, "%s", http_url(m->http));
    return err;
}

static int open_all(struct monitor *m) {
    struct link_options o = {.zmq = m->proc.zmq,
                             .endpoint = "ipc://s/monitor",
                             .run = m->proc.config->top.name,
                             .self = m->proc.self,
                             .hwm = 256,
                             .peer_timeout_us = PEER_TIMEOUT_US,
                             .frame_max_bytes = FRAME_MAX};
    int err = open_database(m->proc.config, &m->db, &m->ingest);
    if (!err)
        err = hub_open(&o, &m->hub);
    return err ? err : open_dashboard(m);
}

static void close_all(struct monitor *m) {
    if (m->http)
        (void)unlink(URL_FILE); // a left one leads nowhere, no more
    http_close(m->http);
    hub_close(m->hub);
    ingest_free(m->ingest);
    (void)sqlite3_close(m->db); // every statement is finalized
    free(m->acked);
}

static int drain(const char *dir) {
    struct config *config = NULL;
    struct ingest *ingest = NULL;
    sqlite3 *db = NULL;
    log_name("monitor");
    int err = chdir(dir) ? fs_failed("enter", dir) : ERR_OK;
    if (!err)
        err = config_load_effective("pipeline.conf", &config);
    if (!err)
        err = open_database(config, &db, &ingest);
    if (!err)
        err = rings_take_all(ingest, RINGS);
    ingest_free(ingest);
    (void)sqlite3_close(db); // every statement is finalized
    config_free(config);
    if (err)
        log_line("%s", err_text());
    return err_exit_code(err);
}

int main(int argc, char **argv) {
    struct monitor m = {0};
    struct proc_line line;
    bool drain_only = false;
    const struct flag rows[] = {
        {.name = "--drain",
         .on = &drain_only,
         .help = "store the points left in DIR/ring, then end"},
    };
    const struct flags flags = {"monitor", intro, rows, COUNT(rows), notes};
    int err = proc_read(argc, argv, &flags, &line);
    if (!err && drain_only)
        return drain(line.run);
    if (!err)
        err = proc_start(&line, "monitor", &m.proc);
    if (!err)
        err = open_all(&m);
    if (!err)
        err = run(&m);
    close_all(&m);
    return proc_end(&m.proc, err);
}
