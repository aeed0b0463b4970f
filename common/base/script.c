// script - runs a child with three pipes in one poll loop, within a time limit. No process is left
// behind.
#include "base/script.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

#define CANCEL_CHECK_MS 200

// Buffers stdout or stderr until a line is complete.
struct lines {
    int fd; // -1: ended
    size_t used;
    char bytes[SCRIPT_LINE_MAX + 1];
};

struct child {
    const struct script_job *job;
    pid_t pid;
    int pidfd, in; // -1: not open
    pid_t guard;   // 0: none
    int lifeline;  // when this is closed, the guard kills the script and itself
    size_t written;
    int64_t deadline_us;
    struct lines out, complaints;
    char last_words[256];
};

static void close_fd(int *fd) {
    if (*fd >= 0)
        (void)close(*fd); // a pipe loses nothing by it
    *fd = -1;
}

// ---- start ----

static int spawn(struct child *c, const int in[2], const int out[2], const int complaints[2]) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, broken_pipe;
    (void)sigemptyset(&none);
    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    // These fail for lack of memory only.
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(&files, complaints[1], STDERR_FILENO);
    if (c->job->folder)
        (void)posix_spawn_file_actions_addchdir_np(&files, c->job->folder);
    (void)posix_spawnattr_init(&attributes);
    // The child must not inherit our blocked signals.
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    // SIGPIPE is ignored in most of our processes; a script expects the default.
    (void)posix_spawnattr_setsigdefault(&attributes, &broken_pipe);
    (void)posix_spawnattr_setpgroup(&attributes, c->guard); // the guard is there already
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP);
    int status = posix_spawn(&c->pid, c->job->argv[0], &files, &attributes,
                             (char *const *)c->job->argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&files);
    if (status)
        return err_set(ERR_DATA, "start '%s': %s", c->job->command, strerror(status));
    c->pidfd = pidfd_open(c->pid, 0);
    return c->pidfd < 0 ? fs_failed("watch", c->job->command) : ERR_OK;
}

// The guard leads the script's process group and is started before the script. It reads from the
// lifeline. The read ends when we close our end, or die in any way. Then it kills its group: the
// script and its children. It is spawned, not forked, because a fork would copy the page tables of
// a trainer's gigabytes.
static int spawn_guard(struct child *c, int lifeline) {
    static char *const argv[] = {"sh", "-c", "trap '' HUP INT TERM; read line; kill -9 0", NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    // These fail for lack of memory only.
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_adddup2(&files, lifeline, STDIN_FILENO);
    (void)posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setpgroup(&attributes, 0);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int status = posix_spawn(&c->guard, "/bin/sh", &files, &attributes, argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&files);
    if (status)
        c->guard = 0;
    return status ? err_set(ERR_IO, "start /bin/sh: %s", strerror(status)) : ERR_OK;
}

static int start_guard(struct child *c) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return err_set(ERR_IO, "pipe: %s", strerror(errno));
    c->lifeline = ends[1];
    int err = spawn_guard(c, ends[0]);
    (void)close(ends[0]); // the guard's
    return err;
}

static int make_pipe(int ret[2], int our_end) {
    // O_CLOEXEC: other children must not keep our pipes open. Only our end never blocks.
    if (pipe2(ret, O_CLOEXEC) || fcntl(ret[our_end], F_SETFL, O_NONBLOCK))
        return err_set(ERR_IO, "pipe: %s", strerror(errno));
    return ERR_OK;
}

static int start_child(struct child *c) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, complaints[2] = {-1, -1};
    int err = make_pipe(in, 1);
    if (!err)
        err = make_pipe(out, 0);
    if (!err)
        err = make_pipe(complaints, 0);
    if (!err)
        // The guard comes first, since the script joins its process group.
        err = start_guard(c);
    if (!err)
        err = spawn(c, in, out, complaints);
    // The child's ends are closed here, or its end of file would never come.
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&complaints[1]);
    c->in = in[1];
    c->out.fd = out[0];
    c->complaints.fd = complaints[0];
    return err;
}

// ---- while it runs ----

static void write_input(struct child *c) {
    size_t left = c->job->input_size - c->written;
    ssize_t n = left ? write(c->in, c->job->input + c->written, left) : 0;
    if (n > 0)
        c->written += (size_t)n;
    // A script may close its stdin early. The caller notices which answers are missing.
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || c->written == c->job->input_size)
        close_fd(&c->in);
    // The rest of a line stays in the buffer for the next read.
}

static int take_lines(struct child *c, struct lines *l, int (*take)(struct child *, const char *)) {
    char *line = l->bytes, *newline;
    while ((newline = memchr(line, '\n', l->used - (size_t)(line - l->bytes)))) {
        *newline = 0;
        int err = take(c, line);
        if (err)
            return err;
        line = newline + 1;
    }
    l->used -= (size_t)(line - l->bytes);
    memmove(l->bytes, line, l->used);
    return ERR_OK;
}

// Reads what is available. A last line without a newline counts as a line.
static int read_lines(struct child *c, struct lines *l, int (*take)(struct child *, const char *)) {
    ssize_t n = read(l->fd, l->bytes + l->used, SCRIPT_LINE_MAX - l->used);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return ERR_OK;
    if (n <= 0) {
        close_fd(&l->fd);
        l->bytes[l->used] = 0;
        // The buffer has a byte more than SCRIPT_LINE_MAX for this 0.
        bool rest = l->used > 0;
        l->used = 0;
        return rest ? take(c, l->bytes) : ERR_OK;
    }
    l->used += (size_t)n;
    int err = take_lines(c, l, take);
    if (!err && l->used == SCRIPT_LINE_MAX)
        err = err_set(ERR_DATA, "'%s' wrote a line of more than %d bytes", c->job->command,
                      SCRIPT_LINE_MAX);
    return err;
}

static int take_answer(struct child *c, const char *line) {
    // Every answer renews the time limit: long runs are fine while they make progress.
    c->deadline_us = now_us() + c->job->timeout_us;
    return c->job->take(c->job->context, line);
}

static int take_complaint(struct child *c, const char *line) {
    // The last line of stderr usually has the reason; it goes into the error text.
    (void)text_copy(c->last_words, sizeof c->last_words, line); // may be cut
    c->job->complain(c->job->context, line);
    return ERR_OK;
}

static int check_time(const struct child *c, int64_t *ret_wait_ms) {
    int64_t left_us = c->deadline_us - now_us();
    if (c->job->cancel && atomic_load(c->job->cancel))
        return err_set(ERR_STOPPED, "stopped while '%s' was running", c->job->command);
    if (left_us <= 0)
        return err_set(ERR_DATA, "'%s' has written nothing for %g s (%s)", c->job->command,
                       (double)c->job->timeout_us / 1e6, c->job->timeout_name);
    // Short sleeps, since no event announces `cancel`.
    *ret_wait_ms = MIN(left_us / 1000 + 1, CANCEL_CHECK_MS);
    return ERR_OK;
}

// Serves the script until it has ended and all its output has been read.
static int serve_child(struct child *c) {
    bool alive = true;
    // Grandchildren may keep a pipe open; the time limit ends that case.
    while (alive || c->out.fd >= 0 || c->complaints.fd >= 0) {
        int64_t wait_ms = 0;
        int err = check_time(c, &wait_ms);
        if (!err && c->job->meanwhile)
            err = c->job->meanwhile(c->job->context);
        if (err)
            return err;
        struct pollfd fds[] = {
            {.fd = c->in, .events = POLLOUT},
            {.fd = c->out.fd, .events = POLLIN},
            {.fd = c->complaints.fd, .events = POLLIN},
            {.fd = alive ? c->pidfd : -1, .events = POLLIN},
        };
        if (poll(fds, COUNT(fds), (int)wait_ms) < 0 && errno != EINTR)
            return err_set(ERR_IO, "poll: %s", strerror(errno));
        if (fds[0].revents)
            write_input(c);
        if (fds[2].revents)
            (void)read_lines(c, &c->complaints,
                             take_complaint); // a line that is too long is cut below
        if (fds[1].revents)
            err = read_lines(c, &c->out, take_answer);
        if (err)
            return err;
        alive = alive && !fds[3].revents;
        if (c->complaints.used == SCRIPT_LINE_MAX)
            c->complaints.used = 0;
    }
    return ERR_OK;
}

// ---- end ----

static int check_status(const struct child *c, int status) {
    const char *colon = *c->last_words ? ": " : "";
    if (WIFSIGNALED(status))
        return err_set(ERR_DATA, "'%s' died of signal %d (%s)%s%s", c->job->command,
                       WTERMSIG(status), strsignal(WTERMSIG(status)), colon, c->last_words);
    if (WEXITSTATUS(status))
        return err_set(ERR_DATA, "'%s' exited with status %d%s%s", c->job->command,
                       WEXITSTATUS(status), colon, c->last_words);
    return ERR_OK;
}

// Kills the script after an error. Closing the lifeline kills its children in any case.
static int end_child(struct child *c, int err) {
    int status = 0;
    // The whole group: a script may have started others.
    if (err && c->guard > 0)
        (void)kill(-c->guard, SIGKILL); // fails if the group has ended already
    close_fd(&c->in);
    close_fd(&c->out.fd);
    close_fd(&c->complaints.fd);
    close_fd(&c->pidfd);
    close_fd(&c->lifeline);
    // The guard is waited for as well: it would stay a zombie.
    while (c->guard > 0 && waitpid(c->guard, NULL, 0) < 0 && errno == EINTR) {
    }
    while (c->pid > 0 && waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return err ? err : check_status(c, status);
}

int script_run(const struct script_job *job) {
    struct child *c = xcalloc(1, sizeof *c);
    c->job = job;
    c->pidfd = c->lifeline = c->in = c->out.fd = c->complaints.fd = -1;
    c->deadline_us = now_us() + job->timeout_us;

    // Writing to a script that has ended must return EPIPE here, not kill this process.
    sigset_t broken_pipe, before;
    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    int err = start_child(c);
    if (!err)
        err = serve_child(c);
    err = end_child(c, err);
    (void)sigtimedwait(&broken_pipe, NULL, &(struct timespec){0}); // takes a pending SIGPIPE
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(c);
    return err;
}
