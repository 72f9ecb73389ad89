/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager of a pool of VMs (`umbra host`): takes their reports, lets the policy decide, tells
 * each its lease (docs/pool.md). One thread, an event loop of its own; never touches a VM's memory.
 */
#ifndef UMBRA_CONTROL_POOL_MANAGER_H
#define UMBRA_CONTROL_POOL_MANAGER_H

#include <stdint.h>

#include "base/err.h"

/*
 * name:        of the pool; borrowed
 * bytes:       host memory that all its VMs may hold together
 * tax_percent: idle-memory tax, 0 to 99
 * die_at_step: tests only: it kills itself at this step, counted from 1; 0: it lives. Steps: each
 *              message taken, before and after; each lease, before it is sent
 */
struct manager_config {
    const char *name;
    uint64_t bytes;
    unsigned tax_percent;
    uint64_t die_at_step;
};

struct manager;

/* ERR_BUSY: a manager of that name is running. */
enum err manager_create(struct manager **out, const struct manager_config *config) MUST_USE;
void manager_destroy(struct manager *manager);

/* Until `end_fd` is readable. Tells of members that come and go, and of states, on stderr. */
enum err manager_run(struct manager *manager, int end_fd) MUST_USE;

#endif
