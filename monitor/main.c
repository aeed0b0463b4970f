// monitor - stores the points of every process of a run in metrics.sqlite and shows them.
//
//   ROUTER  ipc://s/monitor  bind     points <- every process, points_ack ->
//   TCP     monitor.listen   listen   the dashboard (http.h)
//
// With --drain it stores what the rings of the run's folder still hold, and ends.
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

// All runs of a folder share one database.
#define DATABASE "../metrics.sqlite"
#define RINGS "ring"
#define URL_FILE "dashboard.url"
#define CONF_MAX (1 << 20)
#define OWN_US 250000    // period of reading our own ring
#define DEAD_US 1000000  // period of looking for rings of dead processes
#define RETRY_US 1000000 // pause after a failed commit
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
    int64_t first_us;                  // arrival of the oldest pending record; 0: none
    int64_t retry_us, own_us, dead_us; // when the next attempt of each is due
    uint64_t commits;                  // that the dashboard has been told of
    bool paused;
};

// ---- commit and acknowledge ----

// Anything else cannot be cured by waiting.
static bool is_temporary(int err) {
    return err == ERR_BUSY || err == ERR_SPACE || err == ERR_IO || err == ERR_AGAIN;
}

// A temporary failure: pending records stay pending, and producers continue in their rings.
static int pause_for(struct monitor *m, int err) {
    if (!is_temporary(err))
        return err;
    // Busy: SQLite has waited already, so the next attempt follows at once.
    m->retry_us = now_us() + (err == ERR_BUSY ? 0 : RETRY_US);
    // One message for a pause, not one for each attempt.
    if (!m->paused && err != ERR_BUSY && err != ERR_AGAIN) {
        m->paused = true;
        log_line("waiting: %s", err_text());
        points_event(m->proc.points, "warn", "database_waits", 0, "%s", err_text());
    }
    return ERR_OK;
}

static int commit_pending(struct monitor *m) {
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

// A commit waits until its oldest record is commit_ms old, or until INGEST_ROWS are pending: many
// records share the cost of one fsync.
static int64_t commit_due_us(const struct monitor *m) {
    if (!ingest_pending(m->ingest))
        return INT64_MAX;
    if (ingest_pending(m->ingest) >= INGEST_ROWS)
        return m->retry_us;
    return MAX(m->retry_us, m->first_us + m->proc.config->monitor.commit_ms * 1000);
}

// Only committed records are acknowledged: the producer frees their room in its ring.
static void acknowledge(struct monitor *m) {
    // A client without a session has no peer and gets its number later.
    for (int i = 0; i < m->n_acked && i < hub_clients(m->hub); i++) {
        const struct msg_peer *peer = hub_peer(m->hub, i);
        uint64_t cursor = peer ? ingest_cursor(m->ingest, peer) : 0;
        if (cursor <= m->acked[i])
            continue;
        struct msg ack;
        ack.type = MSG_points_ack;
        ack.points_ack.last = cursor;
        if (!hub_send(m->hub, i, &ack, NULL))
            m->acked[i] = cursor; // if not sent: the next turn tries again
    }
}

// ---- the hub ----

static void reset_acked(struct monitor *m, int client) {
    // Sessions of a reused element begin with no acknowledgement.
    if (client >= m->n_acked) {
        m->acked = xrealloc(m->acked, (size_t)(client + 1) * sizeof *m->acked);
        memset(m->acked + m->n_acked, 0, (size_t)(client + 1 - m->n_acked) * sizeof *m->acked);
        m->n_acked = client + 1;
    }
    m->acked[client] = 0; // a new session needs the cursor again
}

static int take_points(struct monitor *m, struct link_in *in) {
    if (in->msg.type != MSG_points)
        return err_set(ERR_PEER, "%s does not belong here", msg_name(in->msg.type));
    // The age of the oldest record decides when to commit.
    if (!m->first_us)
        m->first_us = now_us();
    return ingest_add(m->ingest, &in->peer, in->msg.points.first, in->msg.points.count,
                      zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]));
}

static void report_broken(struct monitor *m, const struct link_in *in) {
    log_line("%s %llu: %s", in->peer.process, (unsigned long long)in->peer.instance, err_text());
    points_event(m->proc.points, "error", "points_broken", 0, "from %s %llu: %s", in->peer.process,
                 (unsigned long long)in->peer.instance, err_text());
}

// Stops reading when enough is pending. The senders then fill their rings: that is the
// back-pressure.
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
        // The producer is reported, but the session goes on.
        else if (in.event == LINK_MSG && take_points(m, &in))
            report_broken(m, &in);
        link_in_fini(&in);
    }
    return ERR_OK;
}

// ---- rings without a sender ----

static int take_rings(struct monitor *m) {
    int64_t now = now_us();
    int err = ERR_OK;
    // While the database fails, rings would only be read in vain.
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
    // Without room the hub is not polled, or the poll would return at once for ever.
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

static void serve_dashboard(struct monitor *m) {
    uint64_t commits = ingest_counts(m->ingest)->commits;
    if (commits != m->commits)
        http_changed(m->http);
    m->commits = commits;
    http_run(m->http);
}

static int do_turn(struct monitor *m) {
    int err = take_messages(m);
    // Committing follows reading, so that one transaction takes all that has arrived.
    if (!err && now_us() >= commit_due_us(m))
        err = commit_pending(m);
    if (!err)
        err = take_rings(m);
    // In every turn: an acknowledgement may have met a full socket.
    acknowledge(m);
    if (!ingest_pending(m->ingest))
        m->first_us = 0;
    if (m->http)
        serve_dashboard(m);
    return err;
}

// Several monitors may start at once and share the database file.
static int begin_run(struct monitor *m) {
    // Ten seconds: each attempt waits SCHEMA_BUSY_MS inside SQLite.
    int64_t until = now_us() + 10 * RETRY_US;
    int err = ingest_begin_run(m->ingest);
    while (err == ERR_BUSY && now_us() < until)
        err = ingest_begin_run(m->ingest);
    return err;
}

static int run_monitor(struct monitor *m) {
    int err = begin_run(m);
    while (!err && !m->proc.stop) {
        err = do_turn(m);
        if (!err && !m->proc.stop)
            err = wait_for_events(m);
    }
    if (!err)
        err = do_turn(m); // what has arrived since the last turn
    if (!err)
        // Also rows that are younger than commit_ms: the process ends.
        err = commit_pending(m);
    acknowledge(m);
    return err;
}

// ---- start and end ----

static int open_database(const struct config *config, sqlite3 **ret_db,
                         struct ingest **ret_ingest) {
    uint8_t *conf = NULL;
    size_t size = 0;
    // The tables first: without a database nothing else makes sense.
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
    if (err == ERR_BUSY) { // no free port: storing points matters more than showing them
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
        // A stale address would mislead users.
        (void)unlink(URL_FILE); // if it stays, its address merely does not answer
    http_close(m->http);
    hub_close(m->hub);
    ingest_free(m->ingest);
    (void)sqlite3_close(m->db); // every statement is finalized
    free(m->acked);
}

// Without sockets and points: the supervisor calls it when every process has ended.
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
        err = run_monitor(&m);
    // Also after a failed start: every part accepts NULL.
    close_all(&m);
    return proc_end(&m.proc, err);
}
