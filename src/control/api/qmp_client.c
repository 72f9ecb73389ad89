/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/listen.h"
#include "control/paths.h"

/* Removes the socket of a dead VM, unless a new one of that name is just being made. */
static void remove_stale(const char *dir, const char *path)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir_fd < 0)
        return;
    if (!flock(dir_fd, LOCK_EX | LOCK_NB) && listener_is_stale(path))
        unlink(path);
    close(dir_fd);
}

/* A whole message from the bytes that are here; *message is NULL when they do not make one. */
static enum err take_pending(struct qmp_link *link, json_t **message)
{
    const char *why;

    *message = NULL;
    while (link->pending_at < link->pending_used) {
        switch (json_stream_feed(&link->in, link->pending[link->pending_at++], message, &why)) {
        case JSON_STREAM_MORE:
            break;
        case JSON_STREAM_VALUE:
            return ERR_OK;
        case JSON_STREAM_BAD:
            return err_new(ERR_IO, "the VM answers with something that is not JSON");
        }
    }
    return ERR_OK;
}

/* More bytes; how: flags of recv. *more is false when there are none for now. */
static enum err receive(struct qmp_link *link, int how, bool *more)
{
    ssize_t n = recv(link->fd, link->pending, sizeof(link->pending), how);

    *more = n > 0 || (n < 0 && errno == EINTR);
    if (n == 0)
        return err_new(ERR_IO, "the VM closed the connection");
    link->pending_used = n > 0 ? (size_t)n : 0;
    link->pending_at = 0;
    return ERR_OK;
}

enum err qmp_link_take(struct qmp_link *link, json_t **message)
{
    enum err err = take_pending(link, message);
    bool more = true;

    while (!err && !*message && more) {
        err = receive(link, MSG_DONTWAIT, &more);
        if (!err)
            err = take_pending(link, message);
    }
    return err;
}

/* The next message of the server. A new reference, or NULL with an error set. */
static enum err next_message(struct qmp_link *link, json_t **message)
{
    enum err err = take_pending(link, message);
    bool more;

    while (!err && !*message) {
        err = receive(link, 0, &more);
        if (!err && !more)
            return err_new(ERR_IO, "the VM does not answer");
        if (!err)
            err = take_pending(link, message);
    }
    return err;
}

static enum err send_all(struct qmp_link *link, const char *text)
{
    size_t length = strlen(text);

    while (length) {
        ssize_t n = send(link->fd, text, length, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(ERR_IO, "cannot send to the VM");
        text += n;
        length -= (size_t)n;
    }
    return ERR_OK;
}

static enum err send_request(struct qmp_link *link, const char *command, json_t *arguments)
{
    json_t *request = json_pack("{s:s, s:O}", "execute", command, "arguments", arguments);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    enum err err = text ? send_all(link, text) : err_new(ERR_NOMEM, "no memory for a request");

    free(text);
    json_decref(request);
    return err;
}

/* refused: what an error reply means here. */
static enum err call(struct qmp_link *link, const char *command, json_t *arguments,
                     enum err refused, json_t **result)
{
    enum err err = send_request(link, command, arguments);
    json_t *message = NULL;

    *result = NULL;
    while (!err) {
        json_t *got;

        err = next_message(link, &message);
        if (err)
            return err;
        got = json_object_get(message, "error");
        if (got) {
            err = err_new(refused, "the VM refuses '%s': %s", command,
                          json_string_value(json_object_get(got, "desc")));
            json_decref(message);
            return err;
        }
        got = json_object_get(message, "return");
        if (got) {
            *result = json_incref(got);
            json_decref(message);
            return ERR_OK;
        }
        json_decref(message); /* an event */
    }
    return err;
}

enum err qmp_link_call_with(struct qmp_link *link, const char *command, json_t *arguments,
                            json_t **result)
{
    return call(link, command, arguments, ERR_INVAL, result);
}

enum err qmp_link_call(struct qmp_link *link, const char *command, json_t **result)
{
    json_t *none = json_object();
    enum err err = call(link, command, none, ERR_IO, result);

    json_decref(none);
    return err;
}

/* type_flags: of socket(2). */
static enum err reach(struct qmp_link *link, const char *name, int type_flags)
{
    char dir[SOCKET_PATH_MAX], path[SOCKET_PATH_MAX];
    enum err err;

    memset(link, 0, sizeof(*link));
    link->fd = -1;
    err = paths_check_name(name);
    if (!err) {
        err = paths_socket_dir(dir, sizeof(dir), PATHS_MUST_EXIST);
        if (err == ERR_NOTFOUND)
            return err_new(ERR_NOTFOUND, "no VM named '%s' is running; umbra ps lists them", name);
    }
    if (!err)
        err = paths_socket(path, sizeof(path), dir, name);
    if (err)
        return err;
    link->fd = listener_reach(path, type_flags);
    if (link->fd < 0) {
        bool dead = errno == ECONNREFUSED;

        err = dead || errno == ENOENT
                  ? err_new(ERR_NOTFOUND, "no VM named '%s' is running; umbra ps lists them", name)
                  : err_errno(ERR_IO, "cannot reach VM '%s'", name);
        if (dead)
            remove_stale(dir, path);
    }
    return err;
}

enum err qmp_link_begin(struct qmp_link *link, const char *name)
{
    return reach(link, name, SOCK_NONBLOCK);
}

enum err qmp_link_ask(struct qmp_link *link, const char *command)
{
    json_t *none = json_object();
    enum err err = send_request(link, command, none);

    json_decref(none);
    return err;
}

enum err qmp_link_open(struct qmp_link *link, const char *name, unsigned answer_seconds)
{
    struct timeval timeout = {.tv_sec = answer_seconds};
    json_t *message = NULL;
    enum err err = reach(link, name, 0);

    if (err)
        return err;
    if (setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
        setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
        err = err_errno(ERR_IO, "cannot set the socket's timeout");
    if (!err) {
        err = next_message(link, &message);
        json_decref(message);
    }
    if (!err) {
        err = qmp_link_call(link, "qmp_capabilities", &message);
        json_decref(message);
    }
    if (err)
        qmp_link_close(link);
    return err;
}

void qmp_link_close(struct qmp_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    json_stream_fini(&link->in);
}

bool qmp_link_wait_end(struct qmp_link *link, unsigned seconds)
{
    for (unsigned waited_ms = 0; waited_ms < seconds * 1000; waited_ms += 100) {
        struct pollfd fd = {.fd = link->fd, .events = POLLIN};

        if (poll(&fd, 1, 100) <= 0)
            continue;
        ssize_t got = recv(link->fd, link->pending, sizeof(link->pending), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return true;
    }
    return false;
}
