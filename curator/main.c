// curator - decides about the pictures of one domain and serves its manifest.
//
//   ROUTER  binds     ipc://s/curator-A (or -B)   manifest   peers: loaders, trainer
//   DEALER  connects  ipc://s/monitor             points     peer: monitor (points.h)
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "curate.h"
#include "curation/domain.h"
#include "curation/report.h"
#include "kinds/curators.h"
#include "link/link.h"
#include "proc.h"
#include "serve.h"

// Only bounds the sleep: proc_poll returns at once for a signal or a readable socket.
#define IDLE_US 1000000
#define RETRY_US 10000 // after a full socket
// Clients ask for one chunk at a time, so few messages per socket are ever queued.
#define HUB_HWM 64

static const char intro[] =
    "curator - decides about the pictures of one domain and serves its manifest\n"
    "\n"
    "  curator --run DIR --domain A|B [--instance N] [--incarnation N]\n"
    "  curator --run DIR --domain A|B --once\n"
    "  curator --run DIR --domain A|B --explain FILE\n";
static const char help[] =
    "Started by ./pipeline up and ./pipeline curate. Settings: section curator.A or curator.B of\n"
    "DIR/pipeline.conf; `use` is one of\n"
    "\n";

// The curation runs in a thread of its own. Meanwhile the main loop answers the peers.
struct job {
    struct proc *proc;
    struct curation curation;
    pthread_t thread;
    bool started;
    int event_fd; // readable when it has ended
    atomic_bool cancel;
    // Written by the thread; read after it has ended.
    int err;
    char err_text[1024];
    struct manifest *manifest;
};

struct server {
    struct hub *hub;
    bool asked[HUB_CLIENTS];
    struct msg asks[HUB_CLIENTS]; // one request in flight per client
};

// ---- judging ----

static void report_event(void *context, const char *level, const char *code, const char *text) {
    // Called by the curation's thread; points take calls from any thread (points.h).
    const struct job *job = context;
    log_line("%s%s", strcmp(level, "info") ? "warning: " : "", text);
    points_event(job->proc->points, level, code, 0, "%s", text);
}

static void report_progress(void *context, size_t done, size_t total) {
    const struct job *job = context;
    points_line(job->proc->points, "%zu of %zu pictures read", done, total);
}

static void set_curation(const struct config *config, char domain, struct curation *ret) {
    ret->domain[0] = domain;
    ret->seed = (uint64_t)config->top.seed;
    ret->note = config->top.note;
    ret->warn_distance = config->top.warn_distance;
    // Index 0 is domain A, 1 is B.
    ret->settings = &config->curator[domain == 'B'];
    ret->workdir = config->top.workdir;
    ret->other = &config->curator[domain != 'B'];
    ret->reading = &config->loader;
    curation_init(ret, curator_find(ret->settings->use));
}

static void *curate_in_thread(void *argument) {
    struct job *job = argument;
    // err_text is one buffer per thread. The text has to be copied before this thread ends.
    job->err = curate(&job->curation, job->proc->points, &job->manifest);
    if (job->err)
        (void)text_copy(job->err_text, sizeof job->err_text, err_text()); // as long
    (void)eventfd_write(job->event_fd, 1);                                // cannot be full
    return NULL;
}

static int job_start(struct proc *p, struct job *job) {
    job->proc = p;
    job->curation.say = report_event;
    job->curation.progress = report_progress;
    job->curation.context = job;
    job->curation.cancel = &job->cancel;
    // The process is named curator-A or curator-B: its last letter is the domain.
    set_curation(p->config, p->self.process[strlen(p->self.process) - 1], &job->curation);
    job->event_fd = eventfd(0, EFD_CLOEXEC);
    if (job->event_fd < 0 || pthread_create(&job->thread, NULL, curate_in_thread, job))
        // A file descriptor that was opened is closed by job_end.
        return err_set(ERR_IO, "the thread that reads the pictures cannot be started");
    job->started = true;
    return ERR_OK;
}

// Waits for the thread and returns its error.
static int job_join(struct job *job) {
    if (!job->started)
        return ERR_OK;
    (void)pthread_join(job->thread, NULL); // cannot fail: the thread exists
    job->started = false;
    return job->err ? err_set(job->err, "%s", job->err_text) : ERR_OK;
}

static void job_end(struct job *job) {
    atomic_store(&job->cancel, true);
    (void)job_join(job); // the caller has its error already
    manifest_free(job->manifest);
    curation_fini(&job->curation);
    // The job is zeroed at first, so 0 says that none was opened.
    if (job->event_fd > 0)
        (void)close(job->event_fd);
}

// ---- serving ----

static void take_event(struct server *s, struct link_in *in) {
    if (in->event == LINK_MSG) {
        s->asked[in->client] = true;
        s->asks[in->client] = in->msg;
        // A peer that came, went or finished has no open request: an answer would reach a stranger.
    } else if (in->event == LINK_UP || in->event == LINK_DOWN || in->event == LINK_FIN) {
        s->asked[in->client] = false;
    }
    link_in_fini(in);
}

static int take_events(struct server *s) {
    for (;;) {
        struct link_in in;
        int err = hub_next(s->hub, &in);
        if (err)
            return err;
        if (in.event == LINK_NONE)
            return ERR_OK;
        take_event(s, &in);
    }
}

static int answer_client(struct server *s, const struct manifest *m, int client) {
    struct msg reply = {0};
    char *text;
    size_t size;
    serve_answer(m, &s->asks[client], &reply, &text, &size);
    struct link_frame frame = {.bytes = text, .size = size};
    int err = hub_send(s->hub, client, &reply, text ? &frame : NULL);
    // hub_send copied the bytes or failed; the text is ours in both cases.
    free(text);
    s->asked[client] = err == ERR_AGAIN; // the socket is full: answered later
    return err == ERR_AGAIN ? ERR_OK : err;
}

static int answer_clients(struct server *s, const struct manifest *m, bool *ret_waiting) {
    *ret_waiting = false;
    // An answer that waits for room does not hold up the other clients.
    for (int client = 0; client < hub_clients(s->hub); client++) {
        int err = s->asked[client] ? answer_client(s, m, client) : ERR_OK;
        if (err)
            return err;
        *ret_waiting |= s->asked[client];
    }
    return ERR_OK;
}

static int open_hub(struct proc *p, struct server *s) {
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "ipc://s/%s", p->name); // fits
    struct link_options options = {
        .zmq = p->zmq,
        .endpoint = endpoint,
        .run = p->config->top.name,
        .self = p->self,
        .hwm = HUB_HWM,
        .peer_timeout_us = p->config->supervisor.peer_timeout_s * 1000000,
        .frame_max_bytes = SERVE_FRAME_MAX,
    };
    return hub_open(&options, &s->hub);
}

// Requests wait until the curation has ended. The hub answers pings meanwhile.
static int serve_manifest(struct proc *p, struct job *job, struct server *s) {
    while (!p->stop) {
        bool waiting = false;
        int err = take_events(s);
        // After job_join the manifest is written by no thread and may be read without a lock.
        if (!err && job->manifest && !job->started)
            err = answer_clients(s, job->manifest, &waiting);
        if (err)
            return err;
        zmq_pollitem_t items[] = {
            {.socket = hub_socket(s->hub), .events = ZMQ_POLLIN},
            {.fd = job->event_fd, .events = ZMQ_POLLIN},
        };
        // A socket with room again does not wake the poll here, so full sockets are tried again
        // soon.
        int64_t until_us = MIN(hub_due_us(s->hub), now_us() + (waiting ? RETRY_US : IDLE_US));
        // The thread's event is polled only until it was joined: nobody reads it empty.
        err = proc_poll(p, items, job->started ? 2 : 1, until_us);
        if (!err && job->started && items[1].revents) {
            err = job_join(job);
            points_state(p->points, STATE_RUNNING, 0);
            points_line(p->points, "%s", job->curation.summary ? job->curation.summary : "");
        }
        if (err)
            return err;
    }
    return ERR_STOPPED;
}

// ---- the three ways to run ----

static int run_server(struct proc *p) {
    struct job *job = xcalloc(1, sizeof *job);
    struct server *s = xcalloc(1, sizeof *s);
    points_state(p->points, STATE_STARTING, 0);
    int err = open_hub(p, s);
    if (!err)
        err = job_start(p, job);
    if (!err)
        err = serve_manifest(p, job, s);
    // job_end waits for the thread, which uses the points that proc_end closes.
    char text[1024];
    (void)text_copy(text, sizeof text, err_text()); // job_end may overwrite the error's text
    job_end(job);
    hub_close(s->hub);
    free(s);
    free(job);
    return err ? err_set(err, "%s", text) : ERR_OK;
}

// Prints nothing unless both domains have been curated.
static void print_distance(void) {
    struct domain a, b;
    if (domain_load("manifest/A.domain", &a) || domain_load("manifest/B.domain", &b))
        return;
    char *text = report_distance_text(&a, &b);
    (void)printf("%s\n", text);
    free(text);
}

static int run_once(struct proc *p) {
    struct job *job = xcalloc(1, sizeof *job);
    int err = job_start(p, job);
    while (!err && job->started) {
        zmq_pollitem_t item = {.fd = job->event_fd, .events = ZMQ_POLLIN};
        err = proc_poll(p, &item, 1, now_us() + IDLE_US);
        // Set in each round, because proc_poll is the place where p->stop changes.
        atomic_store(&job->cancel, p->stop);
        if (!err && item.revents)
            err = job_join(job);
    }
    if (!err)
        (void)printf("%s\nmanifest: manifest/%s.manifest (%zu + %zu held out, digest %s)\n"
                     "contact sheet: samples/curation_%s.png\n",
                     job->curation.summary, job->curation.domain, job->manifest->count,
                     job->manifest->held_out, job->manifest->digest, job->curation.domain);
    // The other domain's curator may have run before; then both files exist.
    if (!err)
        print_distance();
    char text[1024];
    (void)text_copy(text, sizeof text, err_text()); // job_end may overwrite it
    job_end(job);
    free(job);
    return err ? err_set(err, "%s", text) : ERR_OK;
}

static void ignore_event(void *context, const char *level, const char *code, const char *text) {
}

// May run beside a running curator: it sends no points and takes no lock. It writes only caches,
// each in one rename.
static int explain_file(const char *run_dir, const char *domain, const char *file) {
    struct config *config = NULL;
    // Relative names mean the caller's folder, but the run's folder becomes the working directory.
    char *folder = getcwd(NULL, 0); // before it changes
    char *absolute = xasprintf("%s/%s", folder ? folder : "", file);
    // A name that is no file here is passed on as it is: explain looks for it below the root.
    if (*file != '/' && fs_exists(absolute))
        file = absolute;
    struct curation c = {.say = ignore_event};
    int err = chdir(run_dir) ? err_set(ERR_IO, "no folder '%s'", run_dir) : ERR_OK;
    if (!err)
        err = config_load_effective("pipeline.conf", &config);
    if (!err) {
        set_curation(config, *domain, &c);
        err = curate_explain(&c, file, stdout);
    }
    // Both ends take objects that were never filled.
    curation_fini(&c);
    config_free(config);
    free(absolute);
    free(folder);
    return err;
}

struct request {
    struct proc_line line;
    const char *domain, *explain;
    bool once;
};

static int read_arguments(int argc, char **argv, struct request *r) {
    const struct flag rows[] = {
        {.name = "--domain",
         .choice = &r->domain,
         .choices = "A|B",
         .required = true,
         .help = "the domain that it curates"},
        {.name = "--once", .on = &r->once, .help = "curate, print a summary, end"},
        {.name = "--explain",
         .value = "FILE",
         .text = &r->explain,
         .help = "print why FILE was kept or not, end"},
    };
    // The table of kinds is the one source of the help text; it is built at run time.
    char *kinds = curators_help(), *notes = xasprintf("%s%s", help, kinds);
    const struct flags flags = {"curator", intro, rows, COUNT(rows), notes};
    int err = proc_read(argc, argv, &flags, &r->line);
    free(kinds);
    free(notes);
    return err;
}

int main(int argc, char **argv) {
    struct request r = {0};
    struct proc p = {0};
    int err = read_arguments(argc, argv, &r);
    // Explaining does not call proc_start: the ring of points belongs to the curator that runs.
    if (!err && r.explain)
        return proc_end(&p, explain_file(r.line.run, r.domain, r.explain));
    if (!err)
        err = proc_start(&r.line, *r.domain == 'A' ? "curator-A" : "curator-B", &p);
    if (!err)
        err = r.once ? run_once(&p) : run_server(&p);
    return proc_end(&p, err);
}
