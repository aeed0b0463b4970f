// bind - binding with the check that ZeroMQ lacks: whether a live process has the path.
#include "link/bind.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <zmq.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"

// The path of an ipc endpoint; NULL for another kind.
static const char *ipc_path(const char *endpoint) {
    return strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;
}

// A race between two starters remains possible; the supervisor starts one process per path.
// Removes the socket file of a dead process. ZeroMQ itself would remove that of a live one, too.
static int clear_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return err_set(ERR_LIMIT, "socket path '%s' is longer than %zu bytes", path,
                       sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(ERR_IO, "socket: %s", strerror(errno));
    bool alive = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ||
                 errno == EAGAIN; // it listens, but its queue is full
    (void)close(fd);              // nothing was written
    if (alive)
        return err_set(ERR_BUSY, "another process answers at '%s'", path);
    if (unlink(path) && errno != ENOENT)
        return fs_failed("remove", path);
    return ERR_OK;
}

int link_bind(void *server, const char *endpoint) {
    const char *path = ipc_path(endpoint);
    int err = path ? clear_path(path) : ERR_OK;
    if (err)
        return err;
    if (zmq_bind(server, endpoint))
        return err_set(errno == EADDRINUSE ? ERR_BUSY : ERR_IO, "bind '%s': %s", endpoint,
                       zmq_strerror(errno));
    // ZeroMQ makes the file by the umask.
    if (path && chmod(path, 0600))
        return fs_failed("chmod", path);
    return ERR_OK;
}
