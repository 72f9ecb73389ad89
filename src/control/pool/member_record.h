/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager knows of one connection; shared by the manager's files only. */
#ifndef UMBRA_CONTROL_POOL_MEMBER_RECORD_H
#define UMBRA_CONTROL_POOL_MEMBER_RECORD_H

#include <stdbool.h>

#include "control/paths.h"
#include "control/pool/link.h"
#include "mem/pool_policy.h"

enum record_kind { RECORD_FREE, RECORD_STRANGER, RECORD_MEMBER, RECORD_VIEWER };
enum record_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_RESTARTING, PHASES };

/*
 * Sizes in pages.
 * is_restart:  it was a member before the manager was restarted, and is started anew: so its first
 *              boot is a restart
 * smart:       in its smart-paging file; smart_allowed: how much may be there, as last decided;
 *              smart_sent, state_sent: as last told
 */
struct record {
    enum record_kind kind;
    struct pool_link link;
    char name[NAME_MAX_BYTES + 1];
    int64_t pid;
    enum record_phase phase;
    bool is_restart;
    uint64_t smart, smart_allowed, smart_sent;
    enum pool_state state_sent;
    struct pool_vm vm; /* lease: what may be in force */
    uint64_t sent_lease, acked_lease, sent_seq, acked_seq;
    char why[320];
};

/* False: not understood; nothing is changed. */
bool record_join(struct record *r, const json_t *join);
bool record_report(struct record *r, const json_t *report);

void record_restarts(struct record *r);

/* What viewers are told; sizes in bytes. A new reference, NULL: no memory. */
json_t *record_to_json(const struct record *r);

#endif
