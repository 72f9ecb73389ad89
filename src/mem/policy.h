/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which means, and how much: pure. A policy sees figures and answers orders; it touches no page,
 * has no clock and keeps its memory in a struct of its owner.
 *
 * One VM held to a limit (docs/memory.md): free page reporting works by itself; then, lightest
 * first, share, balloon, compress, swap, block.
 */
#ifndef UMBRA_MEM_POLICY_H
#define UMBRA_MEM_POLICY_H

#include "mem/pool_policy.h"
#include "mem/reclaim.h"

/*
 * Means that may be kept from the policy, for comparison (bits): those of enum mem_means, and what
 * needs the guest.
 */
enum policy_means {
    POLICY_MEANS_BALLOON = 8,
    POLICY_MEANS_REPORT = 16, /* the device's: it does not offer free page reporting */
    POLICY_MEANS_ALL = MEM_MEANS_ALL | POLICY_MEANS_BALLOON | POLICY_MEANS_REPORT,
};

/*
 * Bytes unless said otherwise. guest_*: the guest's word, UINT64_MAX: unknown.
 * now_ns:      any monotonic clock
 * memory:      what the guest believes it has;  limit: host memory it may hold (UINT64_MAX: any)
 * host_state:  by which means the limit is kept (pool_policy.h); POOL_LOW, also without a pool: by
 *              all, at once
 * overhead:    what the process holds beside pages and stores
 * host:        mem_host_bytes
 * ledger:      pages by state;  came_in_pages: how many came back from stores and files so far
 * active_bytes: own pages used within the last five seconds;  idle_bytes: not for half a minute
 * compressed:  what the compressed store takes
 * knows_disks: pages that equal blocks of the guest's disks are known (mem/image.h)
 * smart_allowed: bytes that may lie in the smart-paging file
 * smart_overdue: what is there must go;  smart_failed: the host fails it
 * user_target: resident size asked by the user, UINT64_MAX: none;  user_balloon: the same for the
 *              balloon (the guest's size after it)
 * forbidden:   POLICY_MEANS_* and MEM_MEANS_* that the policy may not use; what the user asks of
 *              the balloon is asked all the same
 */
struct policy_input {
    uint64_t now_ns;
    enum pool_state host_state;
    uint64_t memory, limit, overhead, host, compressed, compressed_limit;
    struct mem_ledger ledger;
    uint64_t came_in_pages, active_bytes, idle_bytes;
    bool knows_disks;
    uint64_t smart_allowed;
    bool smart_overdue, smart_failed;
    uint64_t user_target, user_balloon;
    bool has_balloon;
    uint64_t balloon_pages;    /* in the balloon now */
    uint64_t balloon_moved_ns; /* when a page last went in or out */
    uint64_t guest_free, guest_available;
    unsigned forbidden;
};

/* What the policy did last and why, for people. */
enum policy_rung {
    POLICY_NOTHING,
    POLICY_SHARE,
    POLICY_BALLOON,
    POLICY_COMPRESS,
    POLICY_SMART,
    POLICY_SWAP,
    POLICY_BLOCK,
    POLICY_RUNGS
};

/*
 * reclaimable_bytes: could be taken without hurting the guest: by its balloon, or as idle pages
 * waits_for_lease:   a guest that meets its limit waits a moment for a bigger one, rather than have
 *                    pages compressed or swapped
 */
struct policy_output {
    uint64_t balloon_target_pages;
    uint64_t reclaimable_bytes;
    bool waits_for_lease;
    struct mem_orders orders;
    enum policy_rung rung;
    bool balloon_stuck;
    char why[160];
};

struct policy_state {
    uint64_t balloon_target_pages;
    uint64_t asked_ns; /* when the target last changed */
    bool stuck;
    uint64_t limit_bytes; /* of orders, while the guest holds more than it may; 0: it does not */
};

#define POLICY_STUCK_NS UINT64_C(5000000000)

/* What a limit leaves for pages and stores beside so much of other memory; UINT64_MAX: any. */
uint64_t policy_room(uint64_t limit, uint64_t overhead);

void policy_decide(struct policy_state *state, const struct policy_input *in,
                   struct policy_output *out);

const char *policy_rung_name(enum policy_rung rung);

#endif
