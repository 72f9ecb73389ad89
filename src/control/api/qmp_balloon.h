/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon over the control socket, as QEMU names it (checked against QEMU 7.2):
 *
 *   balloon {value: the guest's size after it}        query-balloon {actual: the guest's size now}
 *   qom-get, qom-set path=/machine/peripheral/balloon0 property=guest-stats,
 *                                                      guest-stats-polling-interval (seconds), type
 *   event BALLOON_CHANGE {actual}: at most one a second, the last value always
 *
 * and what QEMU has not: x-umbra-balloon (all that is known), x-umbra-balloon-hint (one round of
 * free page hinting).
 */
#ifndef UMBRA_CONTROL_API_QMP_BALLOON_H
#define UMBRA_CONTROL_API_QMP_BALLOON_H

#include "control/api/qmp_commands.h"

/*
 * timer_fd:       readable when qmp_balloon_due has something to do
 * changes_seen:   changes of the balloon that an event has told, or waits to tell
 * event_waits:    an event is to be sent at quiet_until_ns
 * poll_s:         the guest is asked for its figures this often; 0: not
 */
struct qmp_balloon {
    int timer_fd;
    unsigned changes_seen;
    bool event_waits;
    uint64_t quiet_until_ns;
    uint64_t poll_s, next_poll_ns;
};

enum err qmp_balloon_init(struct qmp_balloon *balloon) MUST_USE;
void qmp_balloon_fini(struct qmp_balloon *balloon);

/*
 * Called whenever the main thread is awake: asks the guest for its figures when that is due. True:
 * a BALLOON_CHANGE is to be sent now, with *data.
 */
bool qmp_balloon_due(struct qmp_balloon *balloon, struct vm *vm, json_t **data);

/* Commands of the table in qmp_commands.c. */
json_t *qmp_balloon_set(struct qmp_call *call);
json_t *qmp_balloon_query(struct qmp_call *call);
json_t *qmp_balloon_state(struct qmp_call *call);
json_t *qmp_balloon_hint(struct qmp_call *call);
json_t *qmp_balloon_qom_get(struct qmp_call *call);
json_t *qmp_balloon_qom_set(struct qmp_call *call);

#endif
