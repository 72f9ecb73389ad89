/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a running VM: a UNIX socket that speaks QMP (QEMU docs/interop/qmp-spec),
 * so that unmodified clients work. Commands are in qmp_commands.c.
 *
 * Everything happens on the main thread: the event loop asks for descriptors (qmp_server_pollfds),
 * polls and hands the answers back (qmp_server_handle). A client cannot make it block or grow
 * without bound.
 */
#ifndef UMBRA_CONTROL_API_QMP_SERVER_H
#define UMBRA_CONTROL_API_QMP_SERVER_H

#include <jansson.h>
#include <poll.h>
#include <stddef.h>

#include "base/err.h"
#include "control/vm.h"

#define QMP_CLIENTS_MAX 16
#define QMP_POLLFDS_MAX (QMP_CLIENTS_MAX + 3)

struct qmp_server;

/* ERR_BUSY: a VM of that name listens at its socket. Other errors: there can be no such socket. */
enum err qmp_server_check_name(const char *name) MUST_USE;

/*
 * Makes the socket NAME.sock. ERR_BUSY: a VM of that name is running. A file left by a dead VM is
 * replaced.
 */
enum err qmp_server_create(struct qmp_server **out, struct vm *vm) MUST_USE;

/* The VM goes: only destroy may be called after this. NULL is fine. */
void qmp_server_let_go(struct qmp_server *server);

/*
 * Sends what it can to clients within a moment, closes them and removes the socket. NULL is fine.
 */
void qmp_server_destroy(struct qmp_server *server);

/* Fills up to QMP_POLLFDS_MAX entries; answers how many. */
size_t qmp_server_pollfds(struct qmp_server *server, struct pollfd *fds);
void qmp_server_handle(struct qmp_server *server, const struct pollfd *fds, size_t count);

/* Sends an event to every client past its handshake. `data` is taken over; NULL: none. */
void qmp_server_event(struct qmp_server *server, const char *name, json_t *data);

/* The guest has begun to wait for memory, or goes on: why is "" then. */
void qmp_server_tell_stall(struct qmp_server *server, const char *why);

/* Tells of resets since the last call, and of the end. `reason` as in QEMU's ShutdownCause. */
void qmp_server_tell_resets(struct qmp_server *server);
void qmp_server_tell_end(struct qmp_server *server, const char *reason, bool by_guest);

#endif
