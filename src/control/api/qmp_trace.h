/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracing over the control socket: x-umbra-trace-start makes X_UMBRA_TRACE events flow to the
 * client that asked, until x-umbra-trace-stop or the end of its connection. One client at a time.
 *
 *     {"event": "X_UMBRA_TRACE", "data": {"dropped": 0, "records": [...]}, "timestamp": {...}}
 */
#ifndef UMBRA_CONTROL_API_QMP_TRACE_H
#define UMBRA_CONTROL_API_QMP_TRACE_H

#include <jansson.h>

#include "control/api/qmp_commands.h"
#include "control/tracer.h"

/* Zero-initialise. client: who follows, while tracer is not NULL. */
struct qmp_trace {
    struct tracer *tracer;
    const void *client;
};

#define QMP_TRACE_START "x-umbra-trace-start"
#define QMP_TRACE_STOP  "x-umbra-trace-stop"

/* One of the two commands for `client`. As qmp_command_run. */
json_t *qmp_trace_run(struct qmp_trace *trace, const char *name, const void *client,
                      struct qmp_call *call);

/* The client is gone. */
void qmp_trace_forget(struct qmp_trace *trace, const void *client);

/* The next event as one line with CRLF and NUL. False: nothing to tell. */
#define QMP_TRACE_MESSAGE_BYTES (48u * 1024)
bool qmp_trace_next(struct qmp_trace *trace, char buf[QMP_TRACE_MESSAGE_BYTES]);

#endif
