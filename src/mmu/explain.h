/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One address explained: what the guest's tables say, where it lies on the host, what the shadow
 * holds, and whether the two agree. Looks only: nothing is made resident, counted, marked or set.
 *
 * All functions: the vCPU is at a safe point.
 */
#ifndef UMBRA_MMU_EXPLAIN_H
#define UMBRA_MMU_EXPLAIN_H

#include "mmu/format.h"
#include "mmu/mmu.h"

/* Where the guest's walk ended. */
enum mmu_walk_end {
    MMU_WALK_MAPPED,        /* page_base, page_gpa and rights are valid */
    MMU_WALK_NOT_CANONICAL, /* the CPU does not walk at all: #GP, or #SS for the stack */
    MMU_WALK_NOT_PRESENT,
    MMU_WALK_RESERVED, /* a bit is set that must be zero */
    MMU_WALK_HOST_ERROR,
};

/* A table that is not RAM reads as all ones, one that was never touched as zeros. */
enum mmu_table_place {
    MMU_TABLE_IN_RAM,
    MMU_TABLE_IN_REGISTERS,
    MMU_TABLE_ABSENT,
    MMU_TABLE_NOT_RAM
};

enum mmu_shadow_kind {
    MMU_SHADOW_NO_PAGE, /* nothing is kept at this level for this address */
    MMU_SHADOW_EMPTY,   /* the shadow page exists, its entry is not set */
    MMU_SHADOW_LINK,
    MMU_SHADOW_LEAF,
};

/* Guest's entry against shadow's. */
enum mmu_agreement {
    MMU_MISSING, /* no shadow entry: the next access is a hidden fault */
    MMU_AGREE,
    MMU_STALE, /* the guest's entry has changed since the shadow's was made */
};

/* Why the shadow leaf does not let writes through, where guest and shadow agree (bits). */
enum mmu_withheld {
    MMU_WITHHELD_BY_GUEST = 1, /* the guest's entries do not allow it */
    MMU_WITHHELD_CLEAN = 2, /* the guest's dirty bit is still clear: the first write must set it */
    MMU_WITHHELD_RESIDENCE = 4, /* the frame has no host page of its own yet */
    MMU_WITHHELD_CODE = 8,      /* the engine holds decoded instructions of it */
    MMU_WITHHELD_TABLE = 16,    /* it holds a guest table that is followed */
    MMU_WITHHELD_IMAGE = 32,    /* it equals a block of a disk image so far */
};

/* What a shadow page is for, beside its guest table and its place. */
struct mmu_role {
    enum format_id format;
    unsigned level;
    bool user, write, nx; /* rights of the levels above */
    bool nxe, large;      /* EFER.NXE; PS has its meaning */
};

/*
 * A shadow entry. hva: of a 4 KiB leaf that has its own host page, or of the zero page. gpa: of a
 * large or device leaf. raw: the guest's entry when it was made. fresh: known right since the last
 * flush that covers it.
 */
struct mmu_shadow_entry {
    bool large, device, host_writable;
    bool user, write, nx, dirty, global;
    uint8_t pkey;
    bool fresh;
    uint64_t raw;
    hva_t hva;
    gpa_t gpa;
};

/*
 * One level. read: the walk came here; only then the guest part is valid.
 * entry_gpa: of the guest's entry (not for registers); reserved: bits set that must be zero
 * state:     of the frame that holds the table; table_tracked: MEM_TRACK_* bits
 * page_*:    the shadow page (when shadow is not MMU_SHADOW_NO_PAGE): its table, place, role and
 * number
 */
struct mmu_explain_level {
    bool read;
    unsigned index;
    enum mmu_table_place place;
    gpa_t entry_gpa;
    uint64_t entry, reserved;
    bool large;
    enum page_state state;
    unsigned table_tracked;
    enum mmu_shadow_kind shadow;
    enum mmu_agreement agreement;
    uint32_t page_id;
    gfn_t page_table;
    gva_t page_gva;
    unsigned page_present;
    struct mmu_role role;
    struct mmu_shadow_entry spte;
};

struct mmu_rights {
    bool read, write, exec;
};

/*
 * level:   by level, format->top .. 1; last is where the walk ended
 * slot:    NULL: not RAM
 * host:    MEM_OK and hva when the frame can be read now; hva_formula: by the slot, whatever the
 *          state
 * rights:  ANDed over the levels; as_user, as_kernel: with CR0.WP, SMEP, SMAP (AC clear) and keys
 *          applied
 * root_known: the shadow MMU knows this address space
 */
struct mmu_explain {
    gva_t gva;
    uint64_t cr3;
    uint16_t pcid;
    bool is_current, root_known;
    unsigned asid;
    const struct format *format;
    enum mmu_walk_end end;
    unsigned last;
    uint32_t why;
    struct mmu_explain_level level[LEVELS_MAX + 1];
    bool user, write, nx;
    uint8_t pkey;
    struct mmu_rights as_user, as_kernel;
    gpa_t page_base, page_gpa, gpa;
    const struct mem_slot *slot;
    enum page_state state;
    unsigned tracked;
    hva_t hva_formula, hva;
    bool has_hva, hva_is_zero_page, hva_is_shared;
    unsigned withheld;
    enum mmu_agreement agreement;
    uint64_t mappings; /* shadow entries that hold this frame */
    const char *sync;
};

/*
 * cr3 NULL: the current address space; else as MOV CR3 would take it under the current control
 * state.
 */
void mmu_explain(struct mmu *mmu, gva_t gva, const uint64_t *cr3, struct mmu_explain *out);

/*
 * An address space that the shadow MMU knows. CR3 without PCID. used: when it became current, in
 * switches and flushes.
 */
struct mmu_root_info {
    uint64_t cr3;
    uint16_t pcid;
    bool is_current;
    bool wp, smep, smap, pke;
    uint32_t pkru;
    unsigned asid;
    uint64_t used;
    struct mmu_role role;
    unsigned present; /* entries of its top shadow page */
};

#define MMU_ROOTS_MAX 256u

/* The current one first, then by last use. Answers how many were written. */
size_t mmu_roots(const struct mmu *mmu, struct mmu_root_info *out, size_t max);

/* The longest chain of the reverse map: how often one frame is mapped. *gfn is that frame. */
uint64_t mmu_longest_chain(struct mmu *mmu, gfn_t *gfn);

#endif
