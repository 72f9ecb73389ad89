/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches (SDM 3A 7.3). They do not exist in long mode. */
#ifndef UMBRA_CPU_INTERP_TASK_H
#define UMBRA_CPU_INTERP_TASK_H

#include "cpu/interp/exception.h"
#include "cpu/interp/interp.h"

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/* Far JMP or CALL whose selector names a TSS or a task gate. */
const struct uop *task_switch_far(struct interp *c, const struct uop *u, uint16_t selector,
                                  enum task_reason reason);

/* IRET with NT set: back to the task in the link field. */
const struct uop *task_return(struct interp *c, const struct uop *u);

/* The rest of a switch that the failing host interrupted in its second half. */
void task_go_on(struct interp *c);

/* An event through a task gate of the IDT; selector: the gate's. */
void task_switch_event(struct interp *c, const struct event *e, uint16_t selector);

#endif
