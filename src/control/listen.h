/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UNIX socket that listens under a name, of which there is one owner at a time; and how others
 * reach it.
 */
#ifndef UMBRA_CONTROL_LISTEN_H
#define UMBRA_CONTROL_LISTEN_H

#include <stdbool.h>

#include "base/err.h"
#include "control/paths.h"

/*
 * fd -1: not open. spare: a descriptor to be given up where there are no more. replaced: the socket
 * of an owner that died without a goodbye was there.
 */
struct listener {
    int fd, spare;
    char path[SOCKET_PATH_MAX];
    bool is_bound, replaced;
};

#define LISTENER_NONE ((struct listener){.fd = -1, .spare = -1})

/*
 * Mode 0600, non-blocking; the path's folder exists and is our own. ERR_BUSY: somebody listens
 * there.
 */
enum err listener_open(struct listener *listener, const char *path) MUST_USE;

/*
 * The connection of the next who waits, non-blocking; -1: nobody waits, or this process has no
 * descriptor for it, and it has ended.
 */
int listener_accept(struct listener *listener);

/* Removes the name, so that another may take it; who is connected stays so. */
void listener_unlink(struct listener *listener);

/* Removes the name first: whoever sees a connection end may take it. */
void listener_close(struct listener *listener);

/*
 * Connects to whoever listens at `path`; type_flags: of socket(2), with SOCK_NONBLOCK it never
 * waits. Answers the descriptor, or -1 and errno: ECONNREFUSED, ENOENT: nobody listens.
 */
int listener_reach(const char *path, int type_flags);

/* Somebody listens at `path`. Never waits: one that takes nobody any more is no answer. */
bool listener_answers(const char *path);

/* The socket at `path` is that of a dead owner. To be asked under the lock of its folder. */
bool listener_is_stale(const char *path);

#endif
