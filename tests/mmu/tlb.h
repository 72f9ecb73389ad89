/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's TLB as greedy as its contract allows: it keeps every answer under the MMU's tag and
 * the view of the access, global ones under the tag for those, until it is told to drop it.
 */
#ifndef UMBRA_TESTS_MMU_TLB_H
#define UMBRA_TESTS_MMU_TLB_H

#include "mmu/mmu.h"

#define TLB_SIZE 1024u

struct tlb_entry {
    bool used, user, smap_off;
    unsigned asid;
    uint64_t page;
    struct mmu_result result;
};

struct tlb {
    struct tlb_entry entry[TLB_SIZE];
    unsigned used, next;
};

/* mmu_asid and mmu_global_asid */
struct tlb_tags {
    unsigned asid, global;
};

struct mmu_tlb_ops tlb_ops(struct tlb *tlb);
void tlb_clear(struct tlb *tlb);

/* smap_off: AC is set, counts, and SMAP is on. NULL: nothing kept that allows this kind. */
const struct mmu_result *tlb_find(const struct tlb *tlb, struct tlb_tags tags,
                                  const struct mmu_access *a, bool smap_off);
void tlb_fill(struct tlb *tlb, struct tlb_tags tags, const struct mmu_access *a, bool smap_off,
              const struct mmu_result *r);

#endif
