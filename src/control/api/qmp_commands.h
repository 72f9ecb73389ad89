/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the control socket: one explicit table. */
#ifndef UMBRA_CONTROL_API_QMP_COMMANDS_H
#define UMBRA_CONTROL_API_QMP_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>

#include "control/vm.h"

/*
 * What a command may do and what it wants to be told of afterwards (events follow the reply, as in
 * QEMU).
 * error_class, error_text: set when the command fails
 * balloon:                 the server's part of the balloon
 * raw:                     JSON text that the reply carries in place of the result; freed by the
 *                          server
 * event:                   name of an event to send to all clients after the reply, or NULL
 */
struct qmp_balloon;
struct qmp_call {
    struct vm *vm;
    struct qmp_balloon *balloon;
    const json_t *arguments; /* an object, maybe empty */
    const char *error_class;
    char error_text[200];
    char *raw;
    const char *event;
    bool host_reset, host_quit;
};

#define QMP_GENERIC   "GenericError"
#define QMP_NOT_FOUND "CommandNotFound"

/* Sets the error (printf format). Answers NULL, as a command that fails does. */
json_t *qmp_fail(struct qmp_call *call, const char *class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs `name`. A new reference for "return", or NULL with the error set. */
json_t *qmp_command_run(const char *name, struct qmp_call *call);

/* The object {"qemu": {...}, "package": "..."} of the greeting and query-version. */
json_t *qmp_version(void);

#endif
