/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots and TLB tags.
 *
 * A root is one address space seen one way: CR3, format role, PCID, and the bits of the view (WP,
 * SMEP, SMAP, PKE, PKRU). Changing any of them finds another root with another tag, so nothing has
 * to be thrown away. A tag is given once between two whole flushes of the TLB: entries of a flushed
 * context can stay where they are, nobody asks for their tag any more.
 *
 * Global translations outlive CR3 loads (SDM 3A 4.10.2.4), so the engine may keep them under a tag
 * that all roots of a family have in common: roots that differ only in CR3 and PCID.
 */
#include <string.h>

#include "mmu/internal.h"

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint32_t view_bits(const struct paging *pg)
{
    return (pg->wp ? 1u : 0) | (pg->smep ? 2u : 0) | (pg->smap ? 4u : 0) | (pg->pke ? 8u : 0);
}

uint32_t role_for(const struct paging *pg, unsigned level)
{
    return (uint32_t)pg->format->id << ROLE_FORMAT_SHIFT | level << ROLE_LEVEL_SHIFT |
           (pg->nxe ? ROLE_NXE : 0) | (pg->large ? ROLE_LARGE : 0);
}

static void forget_large_fills(struct mmu *mmu)
{
    memset(mmu->large_fill, 0, sizeof mmu->large_fill);
    mmu->huge_fill = 0;
}

void root_flush_tlb(struct mmu *mmu)
{
    if (mmu->tlb.flush_all)
        mmu->tlb.flush_all(mmu->tlb.arg);
    forget_large_fills(mmu);
}

void root_age_tlb(struct mmu *mmu)
{
    if (!mmu->tlb.age)
        root_flush_tlb(mmu);
    else if (mmu->tlb.age(mmu->tlb.arg))
        forget_large_fills(mmu);
}

static bool tag_is_valid(const struct mmu *mmu, unsigned asid, uint64_t made, uint64_t flushed)
{
    return asid && made >= later(mmu->asid_floor, flushed);
}

/* Takes the flushes that concern the current root into its need, its tag and its family's. */
static void refresh_current(struct mmu *mmu)
{
    struct root *r = mmu->cur;
    struct root_family *f = mmu->family;
    uint64_t flushed = later(mmu->flushed_all, mmu->flushed_pcid[r->pcid]);

    r->need = later(r->need, flushed);
    if (mmu->next_asid + 2 > ASIDS) { /* room for both, so that neither voids the other */
        root_flush_tlb(mmu);
        mmu->next_asid = 1;
        mmu->asid_floor = ++mmu->now;
    }
    if (!tag_is_valid(mmu, r->asid, r->asid_made, flushed)) {
        r->asid = mmu->next_asid++;
        r->asid_made = mmu->now;
    }
    if (!tag_is_valid(mmu, f->asid, f->asid_made, mmu->flushed_global)) {
        f->asid = mmu->next_asid++;
        f->asid_made = mmu->now;
    }
}

static bool is_of_family(const struct root *r, const struct root_family *f)
{
    return f->asid && f->role == r->role && f->view == r->view && f->pkru == r->pkru;
}

static struct root_family *find_family(struct mmu *mmu, const struct root *r)
{
    struct root_family *f = mmu->family;

    if (f && is_of_family(r, f))
        return f;
    for (unsigned i = 0; i < FAMILIES; i++) {
        f = &mmu->families[i];
        if (is_of_family(r, f))
            return f;
    }
    f = &mmu->families[mmu->next_family++ % FAMILIES];
    *f = (struct root_family){.role = r->role, .view = r->view, .pkru = r->pkru};
    return f;
}

/* The root's place in the cache; whoever else was there only loses its tag. */
static struct root *find_root(struct mmu *mmu, const struct root *key, bool *hit)
{
    uint64_t h = (key->cr3 >> 5) ^ (uint64_t)key->role << 32 ^ (uint64_t)key->pcid << 44 ^
                 (uint64_t)key->view << 20 ^ (uint64_t)key->pkru << 7;
    struct root *r = &mmu->roots[(h * UINT64_C(0x9e3779b97f4a7c15)) >> 56];

    *hit = r->used && r->cr3 == key->cr3 && r->role == key->role && r->pcid == key->pcid &&
           r->view == key->view && r->pkru == key->pkru;
    if (!*hit) {
        *r = *key;
        r->used = true;
    }
    return r;
}

/* Does this context differ from the present one by the table of the top level, at most? */
static bool is_other_root(const struct mmu *mmu, const struct mmu_context *ctx)
{
    const struct mmu_context *now = &mmu->context;

    return mmu->cur && mmu->pg.format->id >= FORMAT_4LEVEL && ctx->cr0 == now->cr0 &&
           ctx->cr4 == now->cr4 && ctx->efer == now->efer && ctx->pkru == now->pkru;
}

static void take_context(struct mmu *mmu, const struct mmu_context *ctx)
{
    if (is_other_root(mmu, ctx)) {
        paging_set_root(&mmu->pg, ctx->cr3, mmu->maxphyaddr);
        return;
    }
    paging_init(&mmu->pg, ctx, mmu->maxphyaddr);
    mmu->context = *ctx;
}

void mmu_set_context(struct mmu *mmu, const struct mmu_context *ctx, enum mmu_switch how)
{
    bool pcide = (ctx->cr4 & CTX_CR4_PCIDE) && (ctx->cr0 & CTX_CR0_PG);
    uint32_t pcid = pcide ? (uint32_t)ctx->cr3 & (PCIDS - 1) : 0;
    bool hit;

    if (mmu->oracle)
        oracle_context(mmu->oracle, ctx, how);
    if (how == MMU_SWITCH_FLUSH_ALL) {
        mmu->flushed_all = ++mmu->now;
        mmu->flushed_global = mmu->now;
        mmu->stats.flush_all++;
    } else if (how == MMU_SWITCH_FLUSH) {
        mmu->flushed_pcid[pcid] = ++mmu->now;
        mmu->stats.flush_context++;
    }
    take_context(mmu, ctx);

    struct root key = {
        .cr3 = gfn_gpa(mmu->pg.root).v,
        .role = role_for(&mmu->pg, mmu->pg.format->top) | ROLE_USER | ROLE_WRITE,
        .pcid = pcid,
        .view = view_bits(&mmu->pg),
        .pkru = mmu->pg.pkru,
    };
    if (mmu->pg.format->id == FORMAT_PAE) {
        key.cr3 |= ctx->cr3 & 0xfe0;
        key.role |= (uint32_t)(ctx->cr3 >> 5 & 0x7f) << ROLE_SUB_SHIFT;
    }
    uint64_t before = mmu->cur ? mmu->cur->cr3 | mmu->cur->pcid : 0;
    mmu->cur = find_root(mmu, &key, &hit);
    mmu->family = find_family(mmu, mmu->cur);
    mmu->stats.root_switches++;
    mmu->stats.root_hits += hit;
    /*
     * Shadow pages are shared between roots, and others may have filled or flushed them meanwhile;
     * so a root that becomes current trusts no leaf. What it may still hold untouched is in the
     * TLB, under its tag.
     */
    mmu->cur->need = ++mmu->now;
    refresh_current(mmu);
    if (trace_wants(mmu, MMU_TRACE_switch_cr3))
        trace_event(mmu, MMU_TRACE_switch_cr3, gva_make(0), before, ctx->cr3);
}

unsigned mmu_asid(const struct mmu *mmu)
{
    return mmu->cur->asid;
}

unsigned mmu_global_asid(const struct mmu *mmu)
{
    return mmu->family->asid;
}

struct shadow_page *root_page(struct mmu *mmu)
{
    struct root *r = mmu->cur;

    if (!r->page) {
        r->page = shadow_get(mmu, mmu->pg.root, 0, r->role);
        if (r->page)
            r->page->is_root = true;
    }
    return r->page;
}

void root_forget_page(struct mmu *mmu, const struct shadow_page *page)
{
    for (unsigned i = 0; i < ROOTS; i++) {
        if (mmu->roots[i].page == page)
            mmu->roots[i].page = NULL;
    }
}

/*
 * INVLPG drops the whole translation of a large page (SDM 3A 4.10.4.1), of which the TLB may hold
 * many
 * 4 KiB pieces. Two filters remember where such pieces may be; a wrong guess only drops more.
 */
static unsigned region_hash(gva_t gva, unsigned shift, unsigned bits)
{
    return (unsigned)((gva.v >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

static unsigned large_shift(const struct mmu *mmu)
{
    return mmu->pg.format->id == FORMAT_2LEVEL ? 22 : 21;
}

void root_note_large_fill(struct mmu *mmu, unsigned shift, gva_t gva)
{
    if (mmu->pg.format->id == FORMAT_OFF)
        return; /* nobody flushes addresses that are what they are */
    if (shift == 30) {
        mmu->huge_fill |= UINT64_C(1) << region_hash(gva, 30, 6);
        return;
    }
    unsigned bit = region_hash(gva, shift, LARGE_FILL_SHIFT);
    mmu->large_fill[bit / 64] |= UINT64_C(1) << bit % 64;
}

void root_flush_tlb_page(struct mmu *mmu, gva_t gva)
{
    unsigned shift = large_shift(mmu);
    unsigned bit = region_hash(gva, shift, LARGE_FILL_SHIFT);

    if (mmu->huge_fill >> region_hash(gva, 30, 6) & 1) {
        root_flush_tlb(mmu);
        return;
    }
    if (!mmu->tlb.flush_page)
        return;
    if (!(mmu->large_fill[bit / 64] >> bit % 64 & 1)) {
        mmu->tlb.flush_page(mmu->tlb.arg, gva_make(gva.v & PAGE_MASK));
        return;
    }
    uint64_t base = gva.v >> shift << shift;
    for (uint64_t off = 0; off < UINT64_C(1) << shift; off += PAGE_SIZE)
        mmu->tlb.flush_page(mmu->tlb.arg, gva_make(base + off));
}

static void flush_one(struct mmu *mmu, gva_t gva)
{
    mmu->stats.flush_invlpg++;
    root_flush_tlb_page(mmu, gva);
}

void mmu_invlpg(struct mmu *mmu, gva_t gva)
{
    if (mmu->oracle)
        oracle_invlpg(mmu->oracle, gva);
    mmu->sync->flush_address(mmu, gva);
    flush_one(mmu, gva);
    if (trace_wants(mmu, MMU_TRACE_flush_invlpg))
        trace_event(mmu, MMU_TRACE_flush_invlpg, gva, 0, 0);
}

void mmu_invpcid(struct mmu *mmu, unsigned type, unsigned pcid, gva_t gva)
{
    pcid %= PCIDS;
    if (mmu->oracle)
        oracle_invpcid(mmu->oracle, type, pcid, gva);
    switch (type) {
    case 0:
        if (pcid == mmu->cur->pcid)
            mmu->sync->flush_address(mmu, gva);
        flush_one(mmu, gva);
        break;
    case 1:
        mmu->flushed_pcid[pcid] = ++mmu->now;
        mmu->stats.flush_context++;
        break;
    default:
        /* Type 3 spares global translations, which the shadow nevertheless compares anew. */
        mmu->flushed_all = ++mmu->now;
        if (type == 2)
            mmu->flushed_global = mmu->now;
        mmu->stats.flush_all++;
        break;
    }
    refresh_current(mmu);
    if (trace_wants(mmu, MMU_TRACE_flush_invpcid))
        trace_event(mmu, MMU_TRACE_flush_invpcid, gva, pcid, type);
}
