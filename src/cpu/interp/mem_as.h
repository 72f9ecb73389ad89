/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data TLB by the privilege of an access: deliveries and far transfers touch descriptor tables
 * and stacks as another level than the present one. Only for mem.c and mem_span.c.
 */
#ifndef UMBRA_CPU_INTERP_MEM_AS_H
#define UMBRA_CPU_INTERP_MEM_AS_H

#include "cpu/interp/mem.h"
#include "cpu/interp/tier.h"

/* IMPLICIT: supervisor, whatever AC says. */
enum mem_as { AS_CPL, AS_USER, AS_SUPERVISOR, AS_IMPLICIT };

/* The view of such an access to lin; slow views have no others. */
static inline uint32_t view_as(const struct interp *c, uint64_t lin, enum mem_as as)
{
    uint32_t view = c->view[half_of(lin)];

    if (view == VIEW_SLOW)
        return VIEW_SLOW;
    switch (as) {
    case AS_USER:
        return view | VIEW_USER;
    case AS_SUPERVISOR:
        return view & ~VIEW_USER;
    case AS_IMPLICIT:
        return view & ~(VIEW_USER | VIEW_AC);
    default:
        return view;
    }
}

/* The bytes of such an access, if the TLB knows them; else NULL. */
static inline void *known_host(struct interp *c, uint64_t lin, unsigned bytes,
                               enum mmu_access_kind kind, enum mem_as as)
{
    uint32_t view = view_as(c, lin, as);
    const struct tlb_entry *e = tlb_view_slot(c, lin, view);

    if ((kind == MMU_WRITE ? e->wtag : e->rtag) != ((lin & PAGE_MASK) | view) ||
        !MEM_FITS(lin, bytes))
        return NULL;
    return (void *)(uintptr_t)(lin + e->addend);
}

/* Takes the result of such an access into the TLB. Tracked frames never get a write tag. */
static inline void tlb_fill(struct interp *c, uint64_t lin, enum mem_as as,
                            const struct mmu_result *r)
{
    uint32_t view = view_as(c, lin, as);
    struct tlb_entry *e = tlb_view_slot(c, lin, view);
    uint64_t tag = (lin & PAGE_MASK) | view;

    if (view == VIEW_SLOW)
        return;
    tier_forget(c, (unsigned)(e - c->tlb));
    e->rtag = r->may_read ? tag : TLB_NO_TAG;
    e->wtag = r->may_write && !r->tracked ? tag : TLB_NO_TAG;
    e->addend = r->hva.v - (lin & PAGE_MASK);
    e->note = r->page_gpa.v | (r->may_note ? TLB_NOTED : 0);
    tlb_frame_set(c, (unsigned)(e - c->tlb), gpa_gfn(r->page_gpa));
    if (!r->global && half_of(lin))
        tlb_note_local(c, (unsigned)(e - c->tlb));
    if (unlikely(c->tier && c->tier->filled))
        c->tier->filled(c, e, lin & PAGE_MASK, view);
}

/* An access at the present CPL. */
static inline struct mmu_access access_of(const struct interp *c, uint64_t lin,
                                          enum mmu_access_kind kind)
{
    return (struct mmu_access){.gva = gva_make(lin), .kind = kind, .user = c->cpl == 3};
}

/* Leaves by an exception, or MMU_MAPPED or MMU_DEVICE come back. */
void mem_translate(struct interp *c, const struct uop *u, const struct mmu_access *a,
                   struct mmu_result *r);

/* The exception of an address that cannot be: #SS or #GP. */
_Noreturn void mem_raise_address(struct interp *c, const struct uop *u);

#endif
