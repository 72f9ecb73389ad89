/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of guest memory: shared by the files of src/mem/ only. */
#ifndef UMBRA_MEM_INTERNAL_H
#define UMBRA_MEM_INTERNAL_H

#include "base/invariant.h"
#include "mem/mem.h"

#define MEM_SLOTS_MAX     2
#define MEM_OBSERVERS_MAX 8

/*
 * Frames are numbered through all slots ("index") for the arrays: slot_first[s] + (gfn - base_gfn).
 *
 * state: enum page_state by index      track: MEM_TRACK_* by index
 */
struct guest_mem {
    struct mem_slot slots[MEM_SLOTS_MAX];
    uint64_t slot_first[MEM_SLOTS_MAX];
    size_t slot_count;
    uint64_t total_pages;
    uint8_t *state;
    uint8_t *track;
    hva_t zero_page;
    struct mem_ledger ledger;
    struct mem_observer observers[MEM_OBSERVERS_MAX];
    size_t observer_count;
};

#define MEM_NO_INDEX UINT64_MAX

/* Index of a frame and its slot; MEM_NO_INDEX when it is not RAM. */
static inline uint64_t mem_index(const struct guest_mem *mem, gfn_t gfn,
                                 const struct mem_slot **slot)
{
    for (size_t s = 0; s < mem->slot_count; s++) {
        uint64_t off = gfn.v - mem->slots[s].base_gfn.v;
        if (off < mem->slots[s].pages) {
            *slot = &mem->slots[s];
            return mem->slot_first[s] + off;
        }
    }
    return MEM_NO_INDEX;
}

static inline hva_t mem_slot_hva(const struct mem_slot *slot, gfn_t gfn)
{
    return hva_make(slot->userspace_addr.v + ((gfn.v - slot->base_gfn.v) << PAGE_SHIFT));
}

void mem_notify_unmap(struct guest_mem *mem, gfn_t gfn);

#endif
