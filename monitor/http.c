#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/err.h"
#include "base/util.h"
#include "page.h"
#include "schema.h"

#define CONNECTIONS 64
#define LISTENERS 32 // connections to /events
#define IDLE_S 30
#define PORTS 100         // tried one after the other
#define CHANGE_US 500000  // least time between two "change" events of a listener
#define ALIVE_US 10000000 // period of the keep-alive line; a write to a closed connection ends it
#define DYGRAPHS "/usr/share/javascript/dygraphs"
#define PAGE_POLICY "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

struct listener {
    struct http *http; // NULL: free
    struct MHD_Connection *connection;
    uint64_t seen; // value of http.changes in its last event
    int64_t sent_us;
    bool asleep; // its connection is suspended
};

struct http {
    struct MHD_Daemon *daemon;
    struct api api;
    char *database, *runs_dir, *run, *ring_dir;
    char url[128];
    uint64_t changes;
    bool closing;
    struct listener listeners[LISTENERS];
};

// ---- responses ----

// Every response gets the same headers: no script or frame from elsewhere is allowed.
static enum MHD_Result send_response(struct MHD_Connection *c, unsigned status, const char *kind,
                                     struct MHD_Response *r) {
    if (!r)
        return MHD_NO;
    // Adding a header fails only for lack of memory; the response is useful without it.
    (void)MHD_add_response_header(r, "Content-Type", kind);
    (void)MHD_add_response_header(r, "Content-Security-Policy", PAGE_POLICY);
    (void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(r, "Cache-Control", "no-cache");
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r); // the connection holds it
    return result;
}

// The response frees the copy when it has been sent.
static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *text) {
    char *copy = xasprintf("%s\n", text);
    return send_response(
        c, status, "text/plain; charset=utf-8",
        MHD_create_response_from_buffer(strlen(copy), copy, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result send_error(struct MHD_Connection *c, int err) {
    // A client may repeat a request that met a busy database.
    unsigned status = err == ERR_NOT_RUNNING ? MHD_HTTP_NOT_FOUND : MHD_HTTP_SERVICE_UNAVAILABLE;
    return send_text(c, status, err_text());
}

static enum MHD_Result send_file(struct MHD_Connection *c, int fd, const char *kind) {
    struct stat st;
    // Not a regular file: a folder or pipe must not be read.
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            (void)close(fd); // it was only read
        return send_text(c, MHD_HTTP_NOT_FOUND, "no such file");
    }
    return send_response(c, MHD_HTTP_OK, kind,
                         MHD_create_response_from_fd64((uint64_t)st.st_size, fd));
}

// Collects the answer in memory first: an error in the middle becomes a status, not half a body.
static enum MHD_Result send_made(struct MHD_Connection *c, const char *kind,
                                 int (*make)(struct http *h, const char *path,
                                             struct MHD_Connection *c, FILE *out),
                                 struct http *h, const char *path) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int err = out ? make(h, path, c, out) : err_set(ERR_IO, "no memory");
    if (out && fclose(out))
        err = err_set(ERR_IO, "no memory");
    if (err) {
        free(text);
        return send_error(c, err);
    }
    return send_response(c, MHD_HTTP_OK, kind,
                         MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE));
}

// ---- requests ----

static int64_t argument(struct MHD_Connection *c, const char *name, int64_t otherwise) {
    const char *text = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, name);
    char *end;
    errno = 0;
    int64_t n = text ? strtoll(text, &end, 10) : otherwise;
    // A number that is none counts as absent.
    return !text || errno || end == text || *end ? otherwise : n;
}

static int make_api(struct http *h, const char *path, struct MHD_Connection *c, FILE *out) {
    struct api_query q = {
        .run = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "run"),
        .key = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "key"),
        .max_points = argument(c, "max_points", 1000),
        .from = argument(c, "from", 0),
        .to = argument(c, "to", INT64_MAX),
    };
    return api_answer(&h->api, path, &q, out);
}

static int make_prometheus(struct http *h, const char *path, struct MHD_Connection *c, FILE *out) {
    return api_prometheus(&h->api, out);
}

// Relative, and no part is empty or begins with a dot.
static bool is_plain(const char *path) {
    // A backslash is a separator for some clients.
    if (!*path || *path == '/' || *path == '.' || strchr(path, '\\'))
        return false;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        if (slash[1] == '.' || slash[1] == '/' || !slash[1])
            return false;
    return true;
}

// Opens folder by folder with O_NOFOLLOW, so that no symbolic link leads out of the run's folder.
static int open_below(const char *runs_dir, const char *path) {
    char part[256];
    int at = open(runs_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0) {
        const char *slash = strchr(path, '/');
        size_t n = slash ? (size_t)(slash - path) : strlen(path);
        // O_NONBLOCK for the file itself: opening a pipe would wait.
        int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (slash ? O_DIRECTORY : O_NONBLOCK);
        int next = -1;
        if (n < sizeof part) {
            memcpy(part, path, n);
            part[n] = 0;
            next = openat(at, part, flags);
        }
        (void)close(at); // it was only read
        if (!slash)
            return next;
        at = next;
        path = slash + 1;
    }
    return -1;
}

static enum MHD_Result answer_file(struct http *h, struct MHD_Connection *c, const char *path) {
    char run[256];
    size_t n = strcspn(path, "/"), length = strlen(path);
    if (!is_plain(path) || n >= sizeof run || n == length || length < 5 ||
        strcmp(path + length - 4, ".png") != 0)
        return send_text(c, MHD_HTTP_NOT_FOUND, "no such file");
    memcpy(run, path, n);
    run[n] = 0;
    // The name must be a row of `sample`: the folder has more than pictures.
    if (api_is_sample(&h->api, run, path + n + 1))
        return send_error(c, ERR_NOT_RUNNING);
    return send_file(c, open_below(h->runs_dir, path), "image/png");
}

static enum MHD_Result answer_health(struct http *h, struct MHD_Connection *c) {
    struct api_query q = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    // Reads a table, so a broken database is noticed.
    int err = out ? api_answer(&h->api, "/api/runs", &q, out) : err_set(ERR_IO, "no memory");
    if (out)
        (void)fclose(out); // its text is not used
    free(text);
    return err ? send_error(c, err) : send_text(c, MHD_HTTP_OK, "ok");
}

// ---- /events ----

// libmicrohttpd's content reader: returns the bytes written, or suspends the connection until
// wake_listeners has something for it. 0 without a suspension would make it poll.
static ssize_t write_events(void *context, uint64_t position, char *ret, size_t max) {
    struct listener *l = context;
    struct http *h = l->http;
    int n = 0;
    int64_t now = now_us();
    if (h->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (l->seen != h->changes && now - l->sent_us >= CHANGE_US)
        n = snprintf(ret, max, "event: change\ndata: %llu\n\n", (unsigned long long)h->changes);
    else if (now - l->sent_us >= ALIVE_US)
        n = snprintf(ret, max, ": alive\n\n");
    if (n > 0 && (size_t)n < max) {
        l->seen = h->changes;
        l->sent_us = now;
        return n;
    }
    l->asleep = true;
    // Suspended instead of polled: idle listeners cost nothing.
    MHD_suspend_connection(l->connection);
    return 0;
}

static void forget_listener(void *context) {
    *(struct listener *)context = (struct listener){0};
}

static enum MHD_Result answer_events(struct http *h, struct MHD_Connection *c) {
    int i = 0;
    // A free element has no http.
    while (i < LISTENERS && h->listeners[i].http)
        i++;
    if (i == LISTENERS)
        return send_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "too many listeners");
    // One behind, so that a new listener gets an event at once.
    h->listeners[i] = (struct listener){.http = h, .connection = c, .seen = h->changes - 1};
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 256, write_events,
                                                               &h->listeners[i], forget_listener);
    if (!r)
        forget_listener(&h->listeners[i]);
    return send_response(c, MHD_HTTP_OK, "text/event-stream", r);
}

static bool has_news(const struct http *h, const struct listener *l, int64_t now) {
    return h->closing || (l->seen != h->changes && now - l->sent_us >= CHANGE_US) ||
           now - l->sent_us >= ALIVE_US;
}

static void wake_listeners(struct http *h) {
    int64_t now = now_us();
    for (int i = 0; i < LISTENERS; i++) {
        struct listener *l = &h->listeners[i];
        if (l->http && l->asleep && has_news(h, l, now)) {
            l->asleep = false;
            MHD_resume_connection(l->connection);
        }
    }
}

// ---- routes ----

static enum MHD_Result answer_request(void *context, struct MHD_Connection *c, const char *url,
                                      const char *method, const char *version, const char *upload,
                                      size_t *upload_size, void **ret_state) {
    struct http *h = context;
    const struct page_file *file = page_find(url);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only");
    if (file)
        return send_response(c, MHD_HTTP_OK, file->kind,
                             MHD_create_response_from_buffer(strlen(file->text), (void *)file->text,
                                                             MHD_RESPMEM_PERSISTENT));
    if (strncmp(url, "/api/", 5) == 0)
        return send_made(c, "application/json", make_api, h, url);
    if (strncmp(url, "/files/", 7) == 0)
        return answer_file(h, c, url + 7);
    if (strcmp(url, "/events") == 0)
        return answer_events(h, c);
    if (strcmp(url, "/metrics") == 0)
        return send_made(c, "text/plain; version=0.0.4; charset=utf-8", make_prometheus, h, url);
    if (strcmp(url, "/healthz") == 0)
        return answer_health(h, c);
    if (strcmp(url, "/dygraph.min.js") == 0)
        return send_file(c, open(DYGRAPHS "/dygraph.min.js", O_RDONLY | O_CLOEXEC),
                         "text/javascript; charset=utf-8");
    if (strcmp(url, "/dygraph.min.css") == 0)
        return send_file(c, open(DYGRAPHS "/dygraph.min.css", O_RDONLY | O_CLOEXEC),
                         "text/css; charset=utf-8");
    return send_text(c, MHD_HTTP_NOT_FOUND, "nothing there");
}

// ---- life ----

static int resolve_address(const char *address, int port, struct addrinfo **ret) {
    // Numeric addresses only: resolving a name could block.
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE};
    char text[16];
    (void)snprintf(text, sizeof text, "%d", port);
    int failure = getaddrinfo(address, text, &hints, ret);
    return failure ? err_set(ERR_CONFIG, "monitor.listen '%s': %s", address, gai_strerror(failure))
                   : ERR_OK;
}

static struct MHD_Daemon *listen_at(struct http *h, const struct addrinfo *at) {
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    if (at->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags, 0, NULL, NULL, answer_request, h, MHD_OPTION_SOCK_ADDR,
                            at->ai_addr, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
}

static int start_daemon(struct http *h, const char *address, int port) {
    // The next ports, because several runs may have dashboards at once.
    for (int i = 0; i < PORTS && !h->daemon && port + i < 65536; i++) {
        struct addrinfo *at = NULL;
        int err = resolve_address(address, port + i, &at);
        if (err)
            return err;
        h->daemon = listen_at(h, at);
        const union MHD_DaemonInfo *info =
            h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
        (void)snprintf(h->url, sizeof h->url,
                       at->ai_family == AF_INET6 ? "http://[%s]:%d/" : "http://%s:%d/", address,
                       info ? info->port : 0);
        freeaddrinfo(at);
    }
    return h->daemon ? ERR_OK
                     : err_set(ERR_BUSY, "no free port for the dashboard from %d on", port);
}

int http_open(const struct http_options *o, struct http **ret_http) {
    struct http *h = xcalloc(1, sizeof *h);
    h->database = xstrdup(o->database);
    h->runs_dir = xstrdup(o->runs_dir);
    h->run = xstrdup(o->run);
    h->ring_dir = xstrdup(o->ring_dir);
    h->changes = 1;
    h->api = (struct api){.run = h->run, .ring_dir = h->ring_dir, .counts = o->counts};
    int err = schema_open_reader(h->database, &h->api.db);
    if (!err)
        err = start_daemon(h, o->listen, o->port);
    if (err) {
        http_close(h);
        return err;
    }
    *ret_http = h;
    return ERR_OK;
}

void http_close(struct http *h) {
    if (!h)
        return;
    h->closing = true;
    // A suspended connection would make the stop wait for ever.
    wake_listeners(h); // libmicrohttpd must not be stopped while connections are suspended
    if (h->daemon) {
        http_run(h);
        MHD_stop_daemon(h->daemon);
    }
    (void)sqlite3_close(h->api.db); // every statement is finalized
    free(h->database);
    free(h->runs_dir);
    free(h->run);
    free(h->ring_dir);
    free(h);
}

const char *http_url(const struct http *h) {
    return h->url;
}

int http_fd(const struct http *h) {
    return MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int64_t http_due_us(struct http *h) {
    // At least once a second, for the time-outs of connections.
    int64_t now = now_us(), due = now + 1000000;
    unsigned long long ms;
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        due = MIN(due, now + (int64_t)MIN(ms, 1000ull) * 1000);
    for (int i = 0; i < LISTENERS; i++) {
        const struct listener *l = &h->listeners[i];
        if (l->http && l->asleep)
            due = MIN(due, l->sent_us + (l->seen != h->changes ? CHANGE_US : ALIVE_US));
    }
    return due;
}

void http_run(struct http *h) {
    wake_listeners(h);
    (void)MHD_run(h->daemon); // fails only for a daemon with threads of its own
}

void http_changed(struct http *h) {
    h->changes++;
}
