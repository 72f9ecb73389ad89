/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's software TLBs as the shadow MMU sees them: data entries (linear page -> host page)
 * and fetch entries (linear page -> decoded page). Both are direct-mapped by linear page alone, so
 * one page has one slot whatever its address space.
 */
#include <string.h>

#include "cpu/interp/tier.h"

static void data_forget(struct interp *c, struct tlb_entry *e)
{
    tier_forget(c, (unsigned)(e - c->tlb));
    e->rtag = TLB_NO_TAG;
    e->wtag = TLB_NO_TAG;
    e->note = 0;
}

void tlb_flush_all(struct interp *c)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        data_forget(c, &c->tlb[i]);
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        fetch_set(c, i, TLB_NO_TAG, NULL);
    c->stats.tlb_flushes++;
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

    for (unsigned mix = 0; mix < TLB_MIXES; mix++) {
        struct tlb_entry *e = &c->tlb[tlb_index(page, mix)];
        unsigned f = fetch_index(page, mix);

        if (is_of_page(e->rtag, page) || is_of_page(e->wtag, page))
            data_forget(c, e);
        if (is_of_page(c->fetch[f].tag, page))
            fetch_set(c, f, TLB_NO_TAG, NULL);
    }
}

/*
 * Finding the entries of a frame: by tlb_frame, which is an eighth of the TLB and compares four
 * entries at once; what it finds may be an empty entry's old frame, or another frame's of the same
 * low bits.
 */
#define FRAMES_AT_ONCE 4
typedef uint32_t frames4_t __attribute__((vector_size(16)));

static bool any_of(frames4_t found)
{
    uint64_t half[2];

    memcpy(half, &found, sizeof half);
    return half[0] | half[1];
}

static bool entry_is_of(const struct tlb_entry *e, gfn_t gfn)
{
    return e->note >> PAGE_SHIFT == gfn.v && (e->rtag != TLB_NO_TAG || e->wtag != TLB_NO_TAG);
}

static void entry_write_protect(struct interp *c, struct tlb_entry *e)
{
    if (e->wtag == TLB_NO_TAG)
        return;
    tier_forget(c, (unsigned)(e - c->tlb));
    e->wtag = TLB_NO_TAG;
    e->note |= TLB_NOTED;
}

static void each_of_frame(struct interp *c, gfn_t gfn,
                          void (*change)(struct interp *c, struct tlb_entry *e))
{
    const frames4_t wanted = (frames4_t){0} + (uint32_t)gfn.v;

    for (unsigned i = 0; i < TLB_ENTRIES; i += 4 * FRAMES_AT_ONCE) {
        const frames4_t *f = (const frames4_t *)(const void *)&c->tlb_frame[i];

        if (likely(!any_of((frames4_t)((f[0] == wanted) | (f[1] == wanted) | (f[2] == wanted) |
                                       (f[3] == wanted)))))
            continue;
        for (unsigned k = i; k < i + 4 * FRAMES_AT_ONCE; k++)
            if (entry_is_of(&c->tlb[k], gfn))
                change(c, &c->tlb[k]);
    }
}

/* Several frames in one pass: a bitmap tells entries that may be of one of them. */
#define BATCH_MIN   8u
#define BATCH_MAX   512u
#define BATCH_BITS  4096u
#define BATCH_OF(f) ((uint32_t)(f) % BATCH_BITS)

static void drop_batch(struct interp *c, const gfn_t *gfns, size_t count)
{
    uint64_t maybe[BATCH_BITS / 64] = {0};

    for (size_t k = 0; k < count; k++)
        maybe[BATCH_OF(gfns[k].v) / 64] |= UINT64_C(1) << BATCH_OF(gfns[k].v) % 64;
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        unsigned bit = BATCH_OF(c->tlb_frame[i]);

        if (likely(!(maybe[bit / 64] >> bit % 64 & 1)))
            continue;
        for (size_t k = 0; k < count; k++)
            if (entry_is_of(&c->tlb[i], gfns[k]))
                data_forget(c, &c->tlb[i]);
    }
}

static void op_drop_frames(void *arg, const gfn_t *gfns, size_t count)
{
    struct interp *c = arg;

    if (count > BATCH_MAX) {
        tlb_flush_all(c);
    } else if (count >= BATCH_MIN) {
        drop_batch(c, gfns, count);
    } else {
        for (size_t k = 0; k < count; k++)
            each_of_frame(c, gfns[k], data_forget);
    }
}

static void op_write_protect_frame(void *arg, gfn_t gfn)
{
    each_of_frame(arg, gfn, entry_write_protect);
}

void tlb_update_views(struct interp *c)
{
    bool user = c->cpl == 3;
    bool ac = (c->s.rflags & RFLAGS_AC) != 0;
    uint32_t asid = mmu_asid(c->mmu);
    uint64_t key = (uint64_t)c->mode + 1 + (c->cs_limited ? CODE_MODES : 0);

    c->mix = asid % TLB_MIXES;
    c->fetch_view = asid << 2 | (user ? 1u : 0u) | key << FETCH_VIEW_MODE_SHIFT;
    c->view = asid << 2 | (user ? 1u : 0u);
    if (ac && (c->s.cr4 & CR4_SMAP))
        c->view |= VIEW_AC;
    if ((ac && user && (c->s.cr0 & CR0_AM)) || (c->s.dr[7] & 0xffu) || c->mmu_oracle)
        c->view = VIEW_SLOW;
    if (c->tier)
        c->tier->view(c);
}

const struct mmu_tlb_ops interp_tlb_ops = {
    .flush_all = op_flush_all,
    .flush_page = op_flush_page,
    .drop_frames = op_drop_frames,
    .write_protect_frame = op_write_protect_frame,
};
