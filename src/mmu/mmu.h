/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shadow MMU of one vCPU's view: from the guest's tables (GVA -> GPA) and the slots (GPA ->
 * HVA) to shadow tables (GVA -> HVA), kept in step by one of three strategies (docs/shadow.md).
 *
 * One access that the engine's TLB does not answer goes through seven named steps:
 *   1 step_exit            the engine leaves the guest            (engine: calls mmu_translate)
 *   2 step_enter_handler   the exit reaches this handler          (a shadow hit ends here: refill)
 *   3 step_read_cause      error code and faulting GVA
 *   4 step_walk_guest      GVA -> GFN, or a true fault
 *   5 step_find_slot       GFN -> slot, or a device
 *   6 step_make_resident   HVA becomes usable
 *   7 step_set_entry       the shadow entry is set; resume
 *
 * This layer knows no CPU: it is driven by mmu_set_context and mmu_translate, and talks back to the
 * engine's TLB through struct mmu_tlb_ops.
 */
#ifndef UMBRA_MMU_MMU_H
#define UMBRA_MMU_MMU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/stats.h"
#include "mem/mem.h"

enum mmu_access_kind { MMU_READ, MMU_WRITE, MMU_FETCH };

/* Page fault error code bits (SDM 3A 4.7). */
#define PF_P    0x01u
#define PF_W    0x02u
#define PF_U    0x04u
#define PF_RSVD 0x08u
#define PF_I    0x10u
#define PF_PK   0x20u

/*
 * user:     the access is a user-mode access (CPL 3 and not implicit)
 * implicit: a supervisor access made by the CPU itself at any CPL (descriptor tables, TSS, event
 *           delivery)
 * overwrites: a write of the whole page, all of it done before anything else happens once the
 *           answer has may_write; else (device, tracked frame) the page is as it was
 * source:   with overwrites: the frames that the bytes come from, which are not made unknown;
 *           MMU_NO_SOURCE: none
 */
#define MMU_NO_SOURCE (gfn_make(UINT64_MAX))
struct mmu_access {
    gva_t gva;
    enum mmu_access_kind kind;
    bool user;
    bool implicit;
    bool overwrites;
    gfn_t source[2];
};

/* The control state that gives guest tables their meaning. AC: RFLAGS.AC (SMAP). */
struct mmu_context {
    uint64_t cr0, cr3, cr4, efer;
    uint32_t pkru;
    uint64_t pdpte[4]; /* PAE: as loaded by MOV CR3 (mmu_load_pdptes) */
};

enum mmu_result_kind {
    MMU_MAPPED,      /* hva, page_gpa, r/w/x valid */
    MMU_GUEST_FAULT, /* true fault: error_code valid; the engine sets CR2 and injects #PF */
    MMU_DEVICE,      /* gpa valid: not RAM, emulate the access */
    MMU_HOST_ERROR,  /* err_text() */
};

/*
 * hva:      host address of the 4 KiB page that holds the GVA; without may_write and may_note it
 *           may be a page that several frames are read from
 * page_gpa: guest physical address of that page
 * gpa:      guest physical address of the GVA itself (also for MMU_DEVICE)
 * may_*:    what a TLB entry of this privilege (access.user, AC state) may allow now; write is
 *           withheld while the frame is tracked, not dirty in the guest's table, or not resident
 *           for writing
 * tracked:  MEM_TRACK_* bits of the frame: a write must go the slow way and be noted
 * may_note: write is withheld only because the frame is tracked: whoever notes each write may write
 * global:   the translation survives a CR3 write
 */
struct mmu_result {
    enum mmu_result_kind kind;
    hva_t hva;
    gpa_t page_gpa;
    gpa_t gpa;
    bool may_read, may_write, may_exec, may_note;
    unsigned tracked;
    bool global;
    uint32_t error_code;
};

/*
 * What the MMU asks of the engine's TLB, whose entries know their frames (page_gpa of the answer).
 * asid: as given by mmu_asid or mmu_global_asid.
 */
struct mmu_tlb_ops {
    void *arg;
    void (*flush_all)(void *arg);
    /* one GVA page in every asid */
    void (*flush_page)(void *arg, gva_t gva);
    /* withdraw all entries of these frames, or only write permission of one, in every asid */
    void (*drop_frames)(void *arg, const gfn_t *gfns, size_t count);
    void (*write_protect_frame)(void *arg, gfn_t gfn);
    /*
     * Frames grow older: the next use of each entry that stays is not told, so what is in use goes,
     * or is told by mem_note_used now. True: nothing stays. NULL: flush_all.
     */
    bool (*age)(void *arg);
};

/* clang-format off */
#define MMU_COUNTERS(X)                                                                            \
    X(step1_exits,            "step 1: the engine left the guest for a translation")               \
    X(step2_shadow_hits,      "step 2: answered by the shadow table, only the TLB was refilled")   \
    X(step3_causes,           "step 3: causes read")                                               \
    X(step4_walks,            "step 4: guest tables walked")                                       \
    X(step5_slots,            "step 5: slots looked up")                                           \
    X(step6_residency,        "step 6: frames made resident")                                      \
    X(step7_entries,          "step 7: shadow entries set")                                        \
    X(true_not_present,       "true faults: not present")                                          \
    X(true_protection,        "true faults: protection")                                           \
    X(true_reserved,          "true faults: reserved bit")                                         \
    X(hidden_missing,         "hidden faults: no shadow entry")                                    \
    X(hidden_dirty,           "hidden faults: first write, dirty bit to set")                      \
    X(hidden_residency,       "hidden faults: page not resident for this access")                  \
    X(hidden_stale,           "hidden faults: shadow entry out of date")                           \
    X(hidden_tracked,         "hidden faults: write to a tracked frame")                           \
    X(hidden_spurious,        "hidden faults: nothing was missing")                                \
    X(device_accesses,        "accesses that ended at a device")                                   \
    X(shadow_pages,           "shadow pages now")                                                  \
    X(shadow_pages_peak,      "shadow pages at the peak")                                          \
    X(shadow_pages_zapped,    "shadow pages dropped")                                              \
    X(shadow_bytes,           "bytes of shadow tables and reverse map now")                        \
    X(zaps_quota,             "of these, to keep the quota")                                       \
    X(zaps_places,            "of these, because the frame is a table at many other places")       \
    X(zaps_idle,              "of these, because they were long idle")                             \
    X(zaps_unshadow,          "of these, because the frame is no table any more")                  \
    X(zaps_reset,             "of these, because guest memory was reset")                          \
    X(frames_unmapped,        "frames whose translations were dropped: they left, or moved")       \
    X(table_writes,           "writes to guest tables that were heard of")                         \
    X(interventions,          "writes followed, tables gone unsync, changes found, INVLPG drops")  \
    X(sync_reads,             "guest entries read again")                                          \
    X(sync_changes,           "of these, found changed")                                           \
    X(unsync_pages,           "shadow pages that may be out of date until a flush, now")           \
    X(unsyncs,                "times that a page went so")                                         \
    X(tables_tracked,         "times that writes to a table began to be heard of")                 \
    X(tables_loosened,        "times that it ended because of many writes without a use")          \
    X(prefetched,             "shadow entries set ahead of their use")                             \
    X(prefetch_used,          "of these, used")                                                    \
    X(root_switches,          "CR3 loads and mode changes")                                        \
    X(root_hits,              "of these, root found in the cache")                                 \
    X(flush_invlpg,           "INVLPG and single-address INVPCID")                                 \
    X(flush_context,          "flushes of one address space")                                      \
    X(flush_all,              "flushes of everything")                                             \
    X(oracle_checks,          "shadow oracle: translations compared with a plain walk")            \
    X(oracle_stale_allowed,   "shadow oracle: stale answers that the architecture allows")         \
    X(oracle_mismatches,      "shadow oracle: mismatches")
/* clang-format on */

struct mmu_stats {
    MMU_COUNTERS(STATS_FIELD)
};

struct mmu;

/* How the shadow follows the guest's tables (docs/shadow.md). */
enum mmu_strategy { MMU_LAZY, MMU_TRACE, MMU_ADAPTIVE, MMU_STRATEGIES };
const char *mmu_strategy_name(enum mmu_strategy strategy);

/*
 * maxphyaddr: physical address width the guest was told (reserved bits)
 * oracle:     compare every translation with a plain walk (slow; see docs/shadow.md)
 * audit_exits: audit everything after each exit that changed the shadow; a disagreement is our
 *             bug and aborts
 */
struct mmu_config {
    struct guest_mem *mem;
    unsigned maxphyaddr;
    enum mmu_strategy strategy;
    bool oracle;
    bool audit_exits;
    struct mmu_tlb_ops tlb;
};

enum err mmu_create(struct mmu **out, const struct mmu_config *config) MUST_USE;
void mmu_destroy(struct mmu *mmu);

/* How a context change treats cached translations. */
enum mmu_switch {
    MMU_SWITCH_FLUSH, /* MOV CR3 without the no-flush bit: non-global translations of the PCID go */
    MMU_SWITCH_KEEP,  /* MOV CR3 with bit 63 and CR4.PCIDE */
    MMU_SWITCH_FLUSH_ALL /* CR4.PGE/PAE/PSE..., CR0.PG, EFER.NXE: everything goes */
};

/* Sets the control state; the caller has checked its legality. PAE PDPTEs come in ctx->pdpte. */
void mmu_set_context(struct mmu *mmu, const struct mmu_context *ctx, enum mmu_switch how);

/*
 * Identity of the current address space for TLB tags, 1..1023, changed by every flush of it. The
 * engine adds its own privilege bits. Wrap-around calls flush_all.
 */
unsigned mmu_asid(const struct mmu *mmu);

/*
 * The tag for global translations (result.global): the same in all address spaces that differ only
 * in CR3 and PCID, changed by every flush that global translations do not outlive. Of the same
 * numbers as mmu_asid, and never equal to one of those.
 */
unsigned mmu_global_asid(const struct mmu *mmu);

/*
 * Translates one access within one 4 KiB page; may write A/D bits into guest tables (and tells
 * trackers). A write is translated as a write only when it will happen.
 */
void mmu_translate(struct mmu *mmu, const struct mmu_access *access, bool ac,
                   struct mmu_result *out);

/*
 * Would a user's read of gva change nothing that a guest can see, nor bring a frame in? So it is
 * where all entries on the way are marked accessed and the frame is resident.
 */
bool mmu_reads_quietly(struct mmu *mmu, gva_t gva);

void mmu_invlpg(struct mmu *mmu, gva_t gva);

/* INVPCID types 0..3 (SDM 2B); operands already checked. */
void mmu_invpcid(struct mmu *mmu, unsigned type, unsigned pcid, gva_t gva);

/* MMU_PDPTES_RESERVED: #GP. MMU_PDPTES_HOST_ERROR: err_text() */
enum mmu_pdptes { MMU_PDPTES_OK, MMU_PDPTES_RESERVED, MMU_PDPTES_HOST_ERROR };

/* PAE: reads the four PDPTEs at cr3. Not RAM reads as zeros. pdpte changes only with OK. */
enum mmu_pdptes mmu_load_pdptes(struct mmu *mmu, uint64_t cr3, uint64_t pdpte[4]);

/* A plain walk that changes nothing: for debuggers and `umbra walk`. False: no translation. */
bool mmu_probe(struct mmu *mmu, gva_t gva, gpa_t *gpa);

const struct mmu_stats *mmu_stats(const struct mmu *mmu);

/*
 * Re-walks and compares every shadow entry and both directions of the reverse map; false and
 * err_text().
 */
bool mmu_audit(struct mmu *mmu);

#endif
