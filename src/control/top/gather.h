/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks all VMs and pools of this user, over connections that stay, and never waits for any of them:
 * who comes is found, who goes is dropped, who hangs is marked, and the others are up to date.
 */
#ifndef UMBRA_CONTROL_TOP_GATHER_H
#define UMBRA_CONTROL_TOP_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "control/top/model.h"

/* So long a VM or a manager may take to answer before it is said to be silent. */
#define GATHER_DEADLINE_NS UINT64_C(3000000000)

struct gather;

/* model: borrowed, filled from here on */
enum err gather_create(struct gather **out, struct top_model *model) MUST_USE;
void gather_destroy(struct gather *gather);

/*
 * Looks who is there and asks each one that owes no answer. ERR_IO: the folder of the sockets
 * cannot be read.
 */
enum err gather_ask(struct gather *gather, uint64_t now_ns) MUST_USE;

/* Readable when something has come: call gather_serve. */
int gather_fd(const struct gather *gather);
void gather_serve(struct gather *gather, uint64_t now_ns);

/* Marks who is late; answers whether somebody may still answer in time. */
bool gather_is_waiting(struct gather *gather, uint64_t now_ns);

#endif
