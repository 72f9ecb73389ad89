/* SPDX-License-Identifier: Apache-2.0 */
#include "control/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

int listener_reach(const char *path, int type_flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error;

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
        error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

bool listener_answers(const char *path)
{
    int fd = listener_reach(path, SOCK_NONBLOCK);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool listener_is_stale(const char *path)
{
    return !listener_answers(path) && errno == ECONNREFUSED;
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static enum err bind_path(struct listener *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, l->path, sizeof(l->path));
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return err_errno(ERR_IO, "cannot make a socket");
    if (bind(l->fd, (struct sockaddr *)&address, sizeof(address))) {
        if (errno != EADDRINUSE)
            return err_errno(ERR_IO, "cannot make %s", l->path);
        if (!listener_is_stale(l->path))
            return err_new(ERR_BUSY, "%s is in use", l->path);
        if (unlink(l->path) || bind(l->fd, (struct sockaddr *)&address, sizeof(address)))
            return err_errno(ERR_IO, "cannot replace %s", l->path);
        l->replaced = true;
    }
    l->is_bound = true;
    l->spare = open_spare();
    if (l->spare < 0)
        return err_errno(ERR_IO, "cannot open /dev/null");
    /* The folder is closed to others already. */
    if (chmod(l->path, 0600) || listen(l->fd, BACKLOG))
        return err_errno(ERR_IO, "cannot listen on %s", l->path);
    return ERR_OK;
}

enum err listener_open(struct listener *l, const char *path)
{
    char dir[SOCKET_PATH_MAX];
    char *slash;
    enum err err;
    int dir_fd;

    *l = LISTENER_NONE;
    snprintf(l->path, sizeof(l->path), "%s", path);
    snprintf(dir, sizeof(dir), "%s", path);
    slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    /* Two starts of one name: the lock makes "is it stale? then replace" one step. */
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0 || flock(dir_fd, LOCK_EX))
        err = err_errno(ERR_IO, "cannot lock %s", dir);
    else
        err = bind_path(l);
    if (dir_fd >= 0)
        close(dir_fd);
    if (err)
        listener_close(l);
    return err;
}

static int accept_next(const struct listener *l)
{
    return accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* One that stays in the queue would wake who polls again and again. */
int listener_accept(struct listener *l)
{
    int fd = accept_next(l);

    if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || l->spare < 0)
        return fd;
    close(l->spare);
    fd = accept_next(l);
    if (fd >= 0)
        close(fd);
    l->spare = open_spare();
    return -1;
}

void listener_unlink(struct listener *l)
{
    if (l->is_bound)
        unlink(l->path);
    l->is_bound = false;
}

void listener_close(struct listener *l)
{
    listener_unlink(l);
    if (l->fd >= 0)
        close(l->fd);
    if (l->spare >= 0)
        close(l->spare);
    *l = LISTENER_NONE;
}
