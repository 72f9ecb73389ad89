/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the manager's files only.
 *
 * Invariants
 *   G1  a lease that may be in force with a VM (sent, or the last it confirmed) is counted until
 *       the VM confirms a smaller one
 *   G2  a new lease is sent only when the one before was confirmed
 *   G3  after a restart that was no goodbye nobody grows until former members had time to come back
 */
#ifndef UMBRA_CONTROL_POOL_MANAGER_PRIVATE_H
#define UMBRA_CONTROL_POOL_MANAGER_PRIVATE_H

#include "control/listen.h"
#include "control/pool/manager.h"
#include "control/pool/member_record.h"
#include "control/pool/roll.h"
#include "mem/pool_policy.h"

#define RECORDS_MAX 600
#define SECOND_NS   UINT64_C(1000000000)
#define PERIOD_NS   (SECOND_NS / 4)
#define MIB_PAGES   UINT64_C(256)

struct manager {
    struct manager_config config;
    struct pool pool;
    struct listener listener;
    struct roll roll;
    uint64_t steps;
    uint64_t decided_ns, told_ns, grace_until_ns;
    bool is_urgent;
    struct pool_answer answer;
    struct record record[RECORDS_MAX];
    /* of one decision */
    struct pool_vm vms[RECORDS_MAX];
    struct record *of[RECORDS_MAX];
    size_t count;
    struct record *serving; /* whose message is being taken */
};

static inline uint64_t manager_mib(uint64_t pages)
{
    return pages / MIB_PAGES;
}

void manager_step(struct manager *m);

/* Finds the members: of[], vms[] and count. */
void manager_collect(struct manager *m);

/* Decides, and tells each member its lease when that is news. */
void manager_decide(struct manager *m, uint64_t now_ns);

/* Tells viewers, once a period. */
void watch_tell(struct manager *m, uint64_t now_ns);

#endif
