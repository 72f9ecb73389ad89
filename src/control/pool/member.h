/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's side of its pool: reports what the VM holds and wants, hands the lease that the manager
 * answers to the VM as its limit (docs/pool.md). Main thread only, never blocks once joined. While
 * there is no manager the last lease stays in force, and it is looked for once a second.
 */
#ifndef UMBRA_CONTROL_POOL_MEMBER_H
#define UMBRA_CONTROL_POOL_MEMBER_H

#include <poll.h>

#include "base/err.h"
#include "control/vm.h"

/*
 * pool:    name of the pool; borrowed
 * minimum: never asked for less; startup: what it needs to boot; bytes of host memory
 * shares:  its weight among others
 */
struct member_config {
    const char *pool;
    uint64_t minimum_bytes, startup_bytes;
    uint64_t shares;
};

struct member;

/*
 * Joins and waits for a lease of its minimum, which becomes the VM's limit. ERR_NOTFOUND: no such
 * pool; ERR_INVAL: it refuses this VM, in the manager's words; ERR_IO: it does not answer, or has
 * no memory to spare for half a minute.
 */
enum err member_join(struct member **out, struct vm *vm,
                     const struct member_config *config) MUST_USE;

/* NULL is allowed. Goodbye: the VM ended as its guest or user wished, so no start of it will be a
 * restart. */
void member_say_goodbye(struct member *member);
void member_leave(struct member *member);

/* Descriptor and events to poll for, and how long at most (ms). */
struct pollfd member_pollfd(const struct member *member);
int member_timeout_ms(const struct member *member);
void member_serve(struct member *member, short revents);

#endif
