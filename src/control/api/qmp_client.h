/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the control socket. Two ways to use it:
 *
 *   open, call, close                 one question; every call ends within a time that is given
 *   begin, then ask and take by poll  many VMs at once; nothing ever waits
 */
#ifndef UMBRA_CONTROL_API_QMP_CLIENT_H
#define UMBRA_CONTROL_API_QMP_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "control/api/json_stream.h"

/* Zero-initialise; fd is valid after a successful open. */
struct qmp_link {
    int fd;
    struct json_stream in;
    char pending[4096];
    size_t pending_used, pending_at;
};

/*
 * For how many seconds an answer is waited for. A VM that is alive may take some to come to it,
 * where its host's processors or disks are busy: who has one thing to ask or to order waits for
 * that; who asks many VMs, or asks again and again, does not.
 */
enum { QMP_LINK_BRIEF_S = 3, QMP_LINK_PATIENT_S = 30 };

/*
 * Connects to the VM `name` and does the handshake; this and each call wait `answer_seconds` for an
 * answer. ERR_NOTFOUND: no such VM runs (a dead one's socket is removed); ERR_IO: it does not
 * answer.
 */
enum err qmp_link_open(struct qmp_link *link, const char *name, unsigned answer_seconds) MUST_USE;
void qmp_link_close(struct qmp_link *link);

/*
 * Runs a command without arguments. *result is a new reference. ERR_IO with the server's words on
 * an error.
 */
enum err qmp_link_call(struct qmp_link *link, const char *command, json_t **result) MUST_USE;

/* The same with arguments (an object, borrowed). ERR_INVAL when the VM refuses them. */
enum err qmp_link_call_with(struct qmp_link *link, const char *command, json_t *arguments,
                            json_t **result) MUST_USE;

/*
 * Connects without a handshake and without ever waiting: the greeting comes by qmp_link_take.
 * ERR_NOTFOUND: no such VM runs (as above); ERR_IO: it cannot be reached now.
 */
enum err qmp_link_begin(struct qmp_link *link, const char *name) MUST_USE;

/*
 * Sends a command without arguments; the answer comes by qmp_link_take. ERR_IO: it cannot be sent.
 */
enum err qmp_link_ask(struct qmp_link *link, const char *command) MUST_USE;

/*
 * The next message if there is one already, else *message is NULL; for a caller that polls link->fd
 * itself.
 * ERR_IO: the connection is closed or broken.
 */
enum err qmp_link_take(struct qmp_link *link, json_t **message) MUST_USE;

/* Waits until the VM closes the connection. False: it did not within `seconds`. */
bool qmp_link_wait_end(struct qmp_link *link, unsigned seconds);

#endif
