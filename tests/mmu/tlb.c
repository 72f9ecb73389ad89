/* SPDX-License-Identifier: Apache-2.0 */
#include "tlb.h"

#include <string.h>

void tlb_clear(struct tlb *tlb)
{
    tlb->used = 0;
    tlb->next = 0;
}

static void on_flush_all(void *arg)
{
    tlb_clear(arg);
}

static void on_flush_page(void *arg, gva_t gva)
{
    struct tlb *tlb = arg;

    for (unsigned i = 0; i < tlb->used; i++) {
        if (tlb->entry[i].page == (gva.v & PAGE_MASK))
            tlb->entry[i].used = false;
    }
}

static bool is_of(const struct tlb_entry *e, gfn_t gfn)
{
    return gpa_gfn(e->result.page_gpa).v == gfn.v;
}

static void on_drop_frames(void *arg, const gfn_t *gfns, size_t count)
{
    struct tlb *tlb = arg;

    for (size_t k = 0; k < count; k++) {
        for (unsigned i = 0; i < tlb->used; i++) {
            if (is_of(&tlb->entry[i], gfns[k]))
                tlb->entry[i].used = false;
        }
    }
}

static void on_write_protect(void *arg, gfn_t gfn)
{
    struct tlb *tlb = arg;

    for (unsigned i = 0; i < tlb->used; i++) {
        if (!is_of(&tlb->entry[i], gfn) || !tlb->entry[i].result.may_write)
            continue;
        tlb->entry[i].result.may_write = false;
        tlb->entry[i].result.may_note = true;
    }
}

struct mmu_tlb_ops tlb_ops(struct tlb *tlb)
{
    return (struct mmu_tlb_ops){.arg = tlb,
                                .flush_all = on_flush_all,
                                .flush_page = on_flush_page,
                                .drop_frames = on_drop_frames,
                                .write_protect_frame = on_write_protect};
}

static bool is_at(const struct tlb_entry *e, struct tlb_tags tags, const struct mmu_access *a,
                  bool smap_off)
{
    return e->used && (e->asid == tags.asid || e->asid == tags.global) &&
           e->page == (a->gva.v & PAGE_MASK) && e->user == a->user && e->smap_off == smap_off;
}

const struct mmu_result *tlb_find(const struct tlb *tlb, struct tlb_tags tags,
                                  const struct mmu_access *a, bool smap_off)
{
    for (unsigned i = 0; i < tlb->used; i++) {
        const struct mmu_result *r = &tlb->entry[i].result;
        bool may = a->kind == MMU_READ    ? r->may_read
                   : a->kind == MMU_WRITE ? r->may_write || r->may_note
                                          : r->may_exec;
        if (may && is_at(&tlb->entry[i], tags, a, smap_off))
            return r;
    }
    return NULL;
}

void tlb_fill(struct tlb *tlb, struct tlb_tags tags, const struct mmu_access *a, bool smap_off,
              const struct mmu_result *r)
{
    struct tlb_entry *e = NULL;

    for (unsigned i = 0; !e && i < tlb->used; i++) {
        if (is_at(&tlb->entry[i], tags, a, smap_off))
            e = &tlb->entry[i];
    }
    if (!e && tlb->used < TLB_SIZE)
        e = &tlb->entry[tlb->used++];
    if (!e)
        e = &tlb->entry[tlb->next++ % TLB_SIZE];
    *e = (struct tlb_entry){.used = true,
                            .user = a->user,
                            .smap_off = smap_off,
                            .asid = r->global ? tags.global : tags.asid,
                            .page = a->gva.v & PAGE_MASK,
                            .result = *r};
}
