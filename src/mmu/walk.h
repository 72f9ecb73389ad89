/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest walker: GVA -> GPA through any format of format.c.
 */
#ifndef UMBRA_MMU_WALK_H
#define UMBRA_MMU_WALK_H

#include "mmu/format.h"
#include "mmu/rights.h"

enum walk_kind { WALK_OK, WALK_GUEST_FAULT, WALK_HOST_ERROR };

enum walk_mode {
    WALK_ACCESS, /* as the CPU: checks the access, sets accessed and dirty bits */
    WALK_PROBE,  /* only translates: no checks, changes nothing, takes no memory */
};

/* The entry used at one level. in_ram: the table is RAM (registers count as such). */
struct walk_step {
    gfn_t table;
    uint64_t entry;
    bool in_ram;
};

/*
 * level:      where the walk ended (the leaf's level for WALK_OK)
 * step:       by level; entries as they are after A and D were set
 * page_base:  first byte of the (perhaps large) page; page_gpa: the 4 KiB page of the GVA
 * why:        for WALK_GUEST_FAULT: the error code's bits that the walk finds (PF_P, PF_RSVD,
 *             PF_PK)
 */
struct walk {
    enum walk_kind kind;
    unsigned level;
    struct walk_step step[LEVELS_MAX + 1];
    struct rights rights;
    gpa_t page_base;
    gpa_t page_gpa;
    uint32_t why;
};

void walk_guest(struct guest_mem *mem, const struct paging *pg, const struct mmu_access *access,
                bool ac, enum walk_mode mode, struct walk *out);

/* The error code's bits that the access itself gives (PF_W, PF_U, PF_I; SDM 3A 4.7). */
uint32_t walk_cause(const struct paging *pg, const struct mmu_access *access);

static inline uint64_t table_entry(const void *table, unsigned entry_bytes, unsigned index)
{
    return entry_bytes == 8 ? __atomic_load_n((const uint64_t *)table + index, __ATOMIC_RELAXED)
                            : __atomic_load_n((const uint32_t *)table + index, __ATOMIC_RELAXED);
}

#endif
