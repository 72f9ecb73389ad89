/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory over the control socket.
 *
 *     x-umbra-memory                                   where it went: umbra-explain(1)
 *     x-umbra-swap {"resident": BYTES | "all", "within-ms": N}
 *                                                      reclaim down to so much, and stay there
 *     x-umbra-limit {"bytes": BYTES | "none"}          the most host memory the VM may hold now
 */
#ifndef UMBRA_CONTROL_API_QMP_MEMORY_H
#define UMBRA_CONTROL_API_QMP_MEMORY_H

#include "control/api/qmp_commands.h"

extern const char *const qmp_swap_arguments[];
extern const char *const qmp_limit_arguments[];

/* As qmp_command_run. */
json_t *qmp_memory_run(struct qmp_call *call);
json_t *qmp_swap_run(struct qmp_call *call);
json_t *qmp_limit_run(struct qmp_call *call);

#endif
