/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's software TLBs as the shadow MMU sees them: data entries (linear page -> host page)
 * and fetch entries (linear page -> decoded page). Both are direct-mapped by linear page alone, so
 * one page has one slot whatever its address space.
 *
 * All address spaces have the upper half of theirs in common, as far as it is global: its entries
 * have the MMU's tag for global translations, and no CR3 load takes them away. What is filled there
 * and is not global is listed and dropped when another address space becomes the present one, as
 * its tag would have made unreachable. A guest with many such pages (page table isolation) is
 * better served by a tag for each address space in both halves; it is noticed by their number.
 */
#include <string.h>

#include "cpu/interp/tier.h"

static void data_forget(struct interp *c, struct tlb_entry *e)
{
    tier_forget(c, (unsigned)(e - c->tlb));
    tlb_frame_clear(c, (unsigned)(e - c->tlb));
    e->rtag = TLB_NO_TAG;
    e->wtag = TLB_NO_TAG;
    e->note = 0;
}

static void tier_flushed(struct interp *c, uint64_t page, bool all)
{
    if (c->tier && c->tier->flushed)
        c->tier->flushed(c, page, all);
}

/* The entries alone. */
static void empty(struct interp *c)
{
    tlb_frames_all(c, data_forget);
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        fetch_set(c, i, TLB_NO_TAG, NULL);
    c->stats.tlb_flushes++;
}

void tlb_flush_all(struct interp *c)
{
    tier_flushed(c, 0, true);
    empty(c);
}

static void op_flush_all(void *arg)
{
    tlb_flush_all(arg);
}

static bool is_of_page(uint64_t tag, uint64_t page)
{
    return !((tag ^ page) & PAGE_MASK & ((UINT64_C(1) << FETCH_VIEW_MODE_SHIFT) - 1));
}

static void op_flush_page(void *arg, gva_t gva)
{
    struct interp *c = arg;
    uint64_t page = gva.v & PAGE_MASK;

    tier_flushed(c, page, false);
    for (unsigned mix = 0; mix < TLB_MIXES; mix++) {
        struct tlb_entry *e = &c->tlb[tlb_index(page, mix)];
        unsigned f = fetch_index(page, mix);

        if (is_of_page(e->rtag, page) || is_of_page(e->wtag, page))
            data_forget(c, e);
        if (is_of_page(c->fetch[f].tag, page))
            fetch_set(c, f, TLB_NO_TAG, NULL);
    }
}

static void entry_write_protect(struct interp *c, struct tlb_entry *e)
{
    if (e->wtag == TLB_NO_TAG)
        return;
    tier_forget(c, (unsigned)(e - c->tlb));
    e->wtag = TLB_NO_TAG;
    e->note |= TLB_NOTED;
}

/* More frames than this are mostly all that there are. */
#define BATCH_MAX 512u

static void op_drop_frames(void *arg, const gfn_t *gfns, size_t count)
{
    struct interp *c = arg;

    if (c->tier && c->tier->frames)
        c->tier->frames(c, gfns, count, false);
    if (count > BATCH_MAX) {
        empty(c);
        return;
    }
    for (size_t k = 0; k < count; k++)
        tlb_frame_each(c, gfns[k], data_forget);
}

static void op_write_protect_frame(void *arg, gfn_t gfn)
{
    struct interp *c = arg;

    if (c->tier && c->tier->frames)
        c->tier->frames(c, &gfn, 1, true);
    tlb_frame_each(c, gfn, entry_write_protect);
}

static bool op_age(void *arg)
{
    struct interp *c = arg;
    bool nothing_stays = !c->tier || !c->tier->age || c->tier->age(c);

    empty(c);
    return nothing_stays;
}

/* --- the upper half --- */

#define SHARING_JUDGED  256u   /* switches after which sharing is judged */
#define SHARING_RETRIED 16384u /* switches after which it is tried again */
#define SHARING_LOCALS  16u    /* entries dropped at each switch that are too many */

static void note_local(uint16_t *list, unsigned *count, unsigned i)
{
    if (*count && *count <= LOCALS && list[*count - 1] == i)
        return;
    if (*count < LOCALS)
        list[*count] = (uint16_t)i;
    if (*count <= LOCALS)
        ++*count;
}

void tlb_note_local(struct interp *c, unsigned i)
{
    if (c->upper.shares)
        note_local(c->upper.local, &c->upper.local_count, i);
}

void fetch_note_local(struct interp *c, unsigned i)
{
    if (c->upper.shares)
        note_local(c->upper.local_fetch, &c->upper.local_fetch_count, i);
}

static void drop_upper(struct interp *c)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        if (half_of(c->tlb[i].rtag) || half_of(c->tlb[i].wtag))
            data_forget(c, &c->tlb[i]);
    for (unsigned i = FETCH_HALF; i < FETCH_ENTRIES; i++)
        fetch_set(c, i, TLB_NO_TAG, NULL);
}

static void drop_locals(struct interp *c)
{
    struct upper_half *h = &c->upper;

    if (h->local_count > LOCALS || h->local_fetch_count > LOCALS) {
        drop_upper(c);
    } else {
        for (unsigned n = 0; n < h->local_count; n++)
            data_forget(c, &c->tlb[h->local[n]]);
        for (unsigned n = 0; n < h->local_fetch_count; n++)
            fetch_set(c, h->local_fetch[n], TLB_NO_TAG, NULL);
    }
    h->dropped += h->local_count + h->local_fetch_count;
    h->local_count = 0;
    h->local_fetch_count = 0;
}

/* Another address space is the present one. */
static void upper_switch(struct interp *c, uint32_t asid)
{
    struct upper_half *h = &c->upper;

    drop_locals(c);
    h->asid = asid;
    if (++h->switches < (h->shares ? SHARING_JUDGED : SHARING_RETRIED))
        return;
    h->shares = !h->shares || h->dropped < SHARING_LOCALS * SHARING_JUDGED;
    h->switches = 0;
    h->dropped = 0;
}

/* --- views --- */

static void half_update(struct interp *c, unsigned half, uint32_t asid)
{
    bool user = c->cpl == 3;
    bool ac = (c->s.rflags & RFLAGS_AC) != 0;
    uint64_t key = (uint64_t)c->mode + 1 + (c->cs_limited ? CODE_MODES : 0);

    c->mix[half] = asid % TLB_MIXES;
    c->fetch_view[half] = asid << 2 | (user ? 1u : 0u) | key << FETCH_VIEW_MODE_SHIFT;
    c->view[half] = asid << 2 | (user ? 1u : 0u);
    if (ac && (c->s.cr4 & CR4_SMAP))
        c->view[half] |= VIEW_AC;
    if ((ac && user && (c->s.cr0 & CR0_AM)) || (c->s.dr[7] & 0xffu) || c->mmu_oracle)
        c->view[half] = VIEW_SLOW;
}

void tlb_update_views(struct interp *c)
{
    uint32_t asid = mmu_asid(c->mmu);

    if (unlikely(asid != c->upper.asid))
        upper_switch(c, asid);
    half_update(c, 0, asid);
    half_update(c, 1, c->upper.shares ? mmu_global_asid(c->mmu) : asid);
    if (c->tier)
        c->tier->view(c);
}

const struct mmu_tlb_ops interp_tlb_ops = {
    .flush_all = op_flush_all,
    .flush_page = op_flush_page,
    .drop_frames = op_drop_frames,
    .write_protect_frame = op_write_protect_frame,
    .age = op_age,
};
