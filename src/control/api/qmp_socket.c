/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/* Under the folder's lock: true when nobody listens on `address`. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool stale;

    if (fd < 0)
        return false;
    stale =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static enum err bind_path(struct qmp_socket *s, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, s->path, sizeof(s->path));
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return err_errno(ERR_IO, "cannot make a socket");
    if (bind(s->fd, (struct sockaddr *)&address, sizeof(address))) {
        if (errno != EADDRINUSE)
            return err_errno(ERR_IO, "cannot make %s", s->path);
        if (!is_stale(&address))
            return err_new(ERR_BUSY, "a VM named '%s' is running already; choose another --name",
                           name);
        if (unlink(s->path) || bind(s->fd, (struct sockaddr *)&address, sizeof(address)))
            return err_errno(ERR_IO, "cannot replace %s", s->path);
    }
    s->bound = true;
    /* The folder is closed to others already. */
    if (chmod(s->path, 0600) || listen(s->fd, BACKLOG))
        return err_errno(ERR_IO, "cannot listen on %s", s->path);
    return ERR_OK;
}

enum err qmp_socket_open(struct qmp_socket *out, const char *name)
{
    char dir[SOCKET_PATH_MAX];
    int dir_fd;
    enum err err;

    *out = (struct qmp_socket){.fd = -1};
    err = paths_socket_dir(dir, sizeof(dir), PATHS_CREATE);
    if (!err)
        err = paths_socket(out->path, sizeof(out->path), dir, name);
    if (err)
        return err;
    /* Two starts of one name: the lock makes "is it stale? then replace" one step. */
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0 || flock(dir_fd, LOCK_EX))
        err = err_errno(ERR_IO, "cannot lock %s", dir);
    else
        err = bind_path(out, name);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

void qmp_socket_unlink(struct qmp_socket *s)
{
    if (s->bound)
        unlink(s->path);
    s->bound = false;
}

void qmp_socket_close(struct qmp_socket *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
