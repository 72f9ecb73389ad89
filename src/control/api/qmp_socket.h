/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that a VM answers on: NAME.sock in the folder of sockets (paths.h), mode 0600. */
#ifndef UMBRA_CONTROL_API_QMP_SOCKET_H
#define UMBRA_CONTROL_API_QMP_SOCKET_H

#include <stdbool.h>

#include "base/err.h"
#include "control/paths.h"

/* Starts with fd -1. bound: the file is ours */
struct qmp_socket {
    int fd;
    bool bound;
    char path[SOCKET_PATH_MAX];
};

/*
 * Listens. ERR_BUSY: a VM of that name is running. A file left by a dead VM is replaced. Whatever
 * the answer, qmp_socket_close is due.
 */
enum err qmp_socket_open(struct qmp_socket *out, const char *name) MUST_USE;

void qmp_socket_unlink(struct qmp_socket *socket);
void qmp_socket_close(struct qmp_socket *socket);

#endif
