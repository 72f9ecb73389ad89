/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager knows of one connection; shared by the manager's files only. */
#ifndef UMBRA_CONTROL_POOL_MEMBER_RECORD_H
#define UMBRA_CONTROL_POOL_MEMBER_RECORD_H

#include <stdbool.h>

#include "control/paths.h"
#include "control/pool/link.h"
#include "mem/pool_policy.h"

enum record_kind { RECORD_FREE, RECORD_STRANGER, RECORD_MEMBER };

/* Sizes in pages. */
struct record {
    enum record_kind kind;
    struct pool_link link;
    char name[NAME_MAX_BYTES + 1];
    int64_t pid;
    struct pool_vm vm; /* lease: what may be in force */
    uint64_t sent_lease, acked_lease, sent_seq, acked_seq;
    char why[160];
};

/* False: not understood; nothing is changed. */
bool record_join(struct record *r, const json_t *join);
bool record_report(struct record *r, const json_t *report);

#endif
