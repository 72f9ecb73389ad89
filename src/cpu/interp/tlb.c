/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's software TLBs as the shadow MMU sees them: data entries (linear page -> host page)
 * and fetch entries (linear page -> decoded page). Both are direct-mapped by linear page alone, so
 * one page has one slot whatever its address space.
 */
#include "cpu/interp/interp.h"

static void data_forget(struct tlb_entry *e)
{
    e->rtag = TLB_NO_TAG;
    e->wtag = TLB_NO_TAG;
    e->note = 0;
}

void tlb_flush_all(struct interp *c)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        data_forget(&c->tlb[i]);
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        c->fetch[i].tag = TLB_NO_TAG;
    c->stats.tlb_flushes++;
}

static void op_flush_all(void *arg)
{
    tlb_flush_all(arg);
}

static void op_flush_page(void *arg, gva_t gva)
{
    struct interp *c = arg;

    data_forget(&c->tlb[(gva.v >> PAGE_SHIFT) % TLB_ENTRIES]);
    c->fetch[(gva.v >> PAGE_SHIFT) % FETCH_ENTRIES].tag = TLB_NO_TAG;
}

/* Host page of an entry; meaningless (and harmless) for an empty one. */
static bool entry_is_at(const struct tlb_entry *e, hva_t page)
{
    if (e->rtag != TLB_NO_TAG && (e->rtag & PAGE_MASK) + e->addend == page.v)
        return true;
    return e->wtag != TLB_NO_TAG && (e->wtag & PAGE_MASK) + e->addend == page.v;
}

static void op_drop_frame(void *arg, hva_t page)
{
    struct interp *c = arg;

    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        if (entry_is_at(&c->tlb[i], page))
            data_forget(&c->tlb[i]);
}

static void op_write_protect_frame(void *arg, hva_t page)
{
    struct interp *c = arg;

    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        if (c->tlb[i].wtag != TLB_NO_TAG && entry_is_at(&c->tlb[i], page)) {
            c->tlb[i].wtag = TLB_NO_TAG;
            c->tlb[i].note |= TLB_NOTED;
        }
}

void tlb_update_views(struct interp *c)
{
    bool user = c->cpl == 3;
    bool ac = (c->s.rflags & RFLAGS_AC) != 0;
    uint32_t asid = mmu_asid(c->mmu);
    uint64_t key = (uint64_t)c->mode + 1 + (c->cs_limited ? CODE_MODES : 0);

    c->fetch_view = asid << 2 | (user ? 1u : 0u) | key << FETCH_VIEW_MODE_SHIFT;
    c->view = asid << 2 | (user ? 1u : 0u);
    if (ac && (c->s.cr4 & CR4_SMAP))
        c->view |= VIEW_AC;
    if ((ac && user && (c->s.cr0 & CR0_AM)) || (c->s.dr[7] & 0xffu) || c->mmu_oracle)
        c->view = VIEW_SLOW;
}

const struct mmu_tlb_ops interp_tlb_ops = {
    .flush_all = op_flush_all,
    .flush_page = op_flush_page,
    .drop_frame = op_drop_frame,
    .write_protect_frame = op_write_protect_frame,
};
