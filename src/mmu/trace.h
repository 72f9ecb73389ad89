/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shadow MMU tells a listener, as it happens: every access that left the engine, step by
 * step, and every event of guest and shadow tables.
 *
 * One list names the events; masks, filters, texts and file formats are made from it. Nobody
 * listening costs one predictable branch an exit.
 */
#ifndef UMBRA_MMU_TRACE_H
#define UMBRA_MMU_TRACE_H

#include "mem/mem.h"
#include "mmu/mmu.h"

/* The seven steps: name as in step_NAME, and what happens in it. */
/* clang-format off */
#define MMU_STEPS(X)                                                                               \
    X(exit,          "the engine leaves the guest")                                                \
    X(enter_handler, "the shadow table is asked")                                                  \
    X(read_cause,    "error code and faulting address")                                            \
    X(walk_guest,    "GVA -> GFN by the guest's tables")                                           \
    X(find_slot,     "GFN -> slot -> HVA")                                                         \
    X(make_resident, "HVA gets a host page")                                                       \
    X(set_entry,     "the shadow entry is set, the guest resumes")

/*
 * Events. A group is what stands before the first underscore: true, hidden, device, hit are
 * accesses and end after a step; the others are events of tables.
 */
#define MMU_TRACE_EVENTS(X)                                                                        \
    X(hit,                "shadow hit: only the TLB was refilled")                                 \
    X(true_not_present,   "true fault: not present")                                               \
    X(true_protection,    "true fault: protection")                                                \
    X(true_reserved,      "true fault: reserved bit")                                              \
    X(hidden_missing,     "hidden fault: no shadow entry")                                         \
    X(hidden_stale,       "hidden fault: shadow entry out of date")                                \
    X(hidden_spurious,    "hidden fault: nothing was missing")                                     \
    X(hidden_dirty,       "hidden fault: first write, dirty bit to set")                           \
    X(hidden_residency,   "hidden fault: page not resident for this access")                       \
    X(hidden_tracked,     "hidden fault: write to a tracked frame")                                \
    X(device,             "device access: not RAM")                                                \
    X(host_error,         "the host failed")                                                       \
    X(switch_cr3,         "CR3 load or mode change")                                               \
    X(flush_invlpg,       "INVLPG")                                                                \
    X(flush_invpcid,      "INVPCID")                                                               \
    X(table_write,        "write to a guest table that is followed")                               \
    X(table_unsync,       "a guest table may go out of step until the next flush")                 \
    X(table_sync,         "a guest table is read again")                                           \
    X(table_prefetch,     "a shadow entry set ahead of its use")                                   \
    X(zap,                "a shadow page is dropped")
/* clang-format on */

#define MMU_STEP_NAME(name, text)  MMU_STEP_##name,
#define MMU_TRACE_NAME(name, text) MMU_TRACE_##name,
enum mmu_step { MMU_STEPS(MMU_STEP_NAME) MMU_STEP_COUNT };
enum mmu_trace_event { MMU_TRACE_EVENTS(MMU_TRACE_NAME) MMU_TRACE_COUNT };

#define MMU_TRACE_BIT(event) (UINT32_C(1) << MMU_TRACE_##event)
#define MMU_TRACE_ACCESSES                                                                         \
    (MMU_TRACE_BIT(hit) | MMU_TRACE_BIT(true_not_present) | MMU_TRACE_BIT(true_protection) |       \
     MMU_TRACE_BIT(true_reserved) | MMU_TRACE_BIT(hidden_missing) | MMU_TRACE_BIT(hidden_stale) |  \
     MMU_TRACE_BIT(hidden_spurious) | MMU_TRACE_BIT(hidden_dirty) |                                \
     MMU_TRACE_BIT(hidden_residency) | MMU_TRACE_BIT(hidden_tracked) | MMU_TRACE_BIT(device) |     \
     MMU_TRACE_BIT(host_error))

/*
 * One event. Times are ticks of the host's TSC. What an event has no use for is zero.
 *
 * at, steps:   accesses: step n (from 0) ran from at[n] to at[n + 1], `steps` of them; others:
 *              at[0]
 * cr3, pcid:   the address space it happened in
 * error_code:  true faults: as the guest gets it; hidden faults: the part that the access itself
 *              gives
 * level:       accesses: of the guest's leaf, or where its walk stopped; tables: of the table
 * gfn:         accesses: the frame (when has_gfn); tables: the guest's table
 * before, after: states of the frame
 * may_*:       what the answer allows this privilege without another exit
 * set:         step 7 changed the shadow
 * old_value, new_value:
 *     switch_cr3                 CR3 and PCID before; CR3 as loaded
 *     flush_invpcid              PCID; type
 *     table_write, table_unsync  first byte written in the table; the one behind the last
 *     table_sync                 -; line of 64 bytes that was read again
 *     table_prefetch             -; the guest's entry
 *     zap                        entries that were present; -
 */
struct mmu_trace_record {
    uint64_t at[MMU_STEP_COUNT + 1];
    uint64_t cr3;
    gva_t gva;
    gfn_t gfn;
    hva_t hva;
    uint64_t old_value, new_value;
    uint32_t error_code;
    uint16_t pcid;
    uint8_t event; /* enum mmu_trace_event */
    uint8_t steps;
    uint8_t level;
    uint8_t kind;          /* enum mmu_access_kind */
    uint8_t before, after; /* enum page_state */
    bool user, implicit, has_gfn, set;
    bool may_read, may_write, may_exec;
};

/*
 * mask: MMU_TRACE_BIT of the events wanted. tell is called on the vCPU's thread in the middle of
 * the event: it must be quick and must not call the MMU.
 */
struct mmu_trace {
    void *arg;
    uint32_t mask;
    void (*tell)(void *arg, const struct mmu_trace_record *record);
};

/*
 * Starts (the struct is borrowed until the next call) or ends (NULL) listening; the vCPU is at a
 * safe point.
 */
void mmu_set_trace(struct mmu *mmu, const struct mmu_trace *trace);

#endif
