/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following the guest's tables: hearing of writes, and setting single shadow entries anew from
 * guest entries without a walk. What trace and adaptive share.
 *
 * An entry is only ever set from a guest entry whose A bit is set, with write withheld while D is
 * clear, so nothing here writes to the guest's tables and nothing appears that a CPU could not have
 * cached by itself.
 */
#include "mmu/internal.h"

#define ROLE_SHAPE                                                                                 \
    (ROLE_NXE | ROLE_LARGE | ((1u << 6) - 1)) /* format, level and what gives bits a meaning */

bool follow_is_on(struct mmu *mmu, gfn_t gfn)
{
    for (const struct shadow_page *p = shadow_of_frame(mmu, gfn); p; p = p->hash_next) {
        if (p->gfn.v == gfn.v && p->sync != SYNC_LOOSE)
            return true;
    }
    return false;
}

void follow_track(struct mmu *mmu, struct shadow_page *page)
{
    page->sync = SYNC_STEP;
    page->writes = 0;
    page->written = 0;
    mmu->stats.tables_tracked++;
    mem_track_set(mmu->mem, page->gfn, MEM_TRACK_TABLE);
}

void follow_loosen(struct mmu *mmu, struct shadow_page *page)
{
    if (page->sync == SYNC_LOOSE)
        return;
    if (page->sync == SYNC_UNSYNC)
        mmu->stats.unsync_pages--;
    page->sync = SYNC_LOOSE;
    page->written = 0;
    page->calm = 0;
    if (!follow_is_on(mmu, page->gfn))
        mem_track_clear(mmu->mem, page->gfn, MEM_TRACK_TABLE);
}

/* The leaf that a walk would make of this guest entry; 0: none without a walk. */
static uint64_t leaf_from_entry(struct mmu *mmu, const struct shadow_page *page, uint64_t raw)
{
    const struct paging *pg = &mmu->pg;
    bool large = paging_is_large(pg, page->level, raw);

    if (!(raw & PTE_P) || !(raw & PTE_A) || (page->level > 1 && !large) ||
        (page->role & ROLE_SHAPE) != role_for(pg, page->level) ||
        (raw & pg->reserved[page->level][large]))
        return 0;
    uint64_t spte = SPTE_P | ((page->role & ROLE_USER) && (raw & PTE_U) ? SPTE_U : 0) |
                    ((page->role & ROLE_WRITE) && (raw & PTE_W) ? SPTE_W : 0) |
                    ((page->role & ROLE_NX) || (pg->nxe && (raw & PTE_NX)) ? SPTE_NX : 0) |
                    (raw & PTE_D ? SPTE_D : 0) | (raw & PTE_G ? SPTE_G : 0);
    if (pg->format->id >= FORMAT_4LEVEL)
        spte |= (raw >> PTE_PKEY_SHIFT & 15) << SPTE_PKEY_SHIFT;
    gpa_t base = paging_page_base(pg, page->level, raw);
    if (large)
        return spte | SPTE_LG | base.v;

    hva_t hva;
    bool writable;
    if (mem_peek(mmu->mem, gpa_gfn(base), MEM_FOR_READ, &hva, &writable) != MEM_OK)
        return 0;
    return spte | (writable ? SPTE_HW : 0) | hva.v;
}

bool follow_entry(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    const void *table = shadow_table(mmu, page);
    uint64_t raw = page->raw[index];
    uint64_t now = table ? table_entry(table, page->entry_bytes, index) : 0;

    if (now == raw)
        return false;
    if (page->spte[index] & SPTE_LK) {
        /* D means nothing there. */
        if ((now ^ raw) == PTE_D)
            page->raw[index] = now;
        else
            shadow_drop(mmu, page, index);
        return true;
    }
    uint64_t leaf = leaf_from_entry(mmu, page, now);
    if (leaf) {
        shadow_set_leaf(mmu, page, index, now, leaf);
        page->fresh[index / 64] &= ~(UINT64_C(1) << index % 64);
    } else {
        shadow_drop(mmu, page, index);
    }
    return true;
}

void follow_range(struct mmu *mmu, struct shadow_page *page, unsigned start, unsigned end)
{
    unsigned first = start / page->entry_bytes, last = (end - 1) / page->entry_bytes;

    for (unsigned i = first; i <= last && i < page->entries; i++) {
        if (page->spte[i] & SPTE_P)
            follow_entry(mmu, page, i);
    }
}

void follow_prefetch(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    unsigned per_line = (1u << LINE_SHIFT) / page->entry_bytes;
    unsigned first = index & ~(per_line - 1);
    const void *table = shadow_table(mmu, page);

    if (!table || page->in_registers)
        return;
    for (unsigned i = first; i < first + per_line && i < page->entries; i++) {
        if (page->spte[i] & SPTE_P)
            continue;
        uint64_t raw = table_entry(table, page->entry_bytes, i);
        uint64_t leaf = leaf_from_entry(mmu, page, raw);
        if (!leaf)
            continue;
        shadow_set_leaf(mmu, page, i, raw, leaf);
        page->fresh[i / 64] &= ~(UINT64_C(1) << i % 64);
        page->prefetched[i / 64] |= UINT64_C(1) << i % 64;
        mmu->stats.prefetched++;
        if (trace_wants(mmu, MMU_TRACE_table_prefetch))
            trace_page(mmu, MMU_TRACE_table_prefetch, page,
                       gva_make(page->gva + ((uint64_t)i << page->shift)), 0, raw);
    }
}

bool follow_is_no_table(const struct mmu *mmu, const struct shadow_page *page, unsigned start,
                        unsigned end)
{
    bool crosses = start / page->entry_bytes != (end - 1) / page->entry_bytes;

    return page != mmu->cur->page && (crosses || (!page->parents && !page->is_root));
}

void follow_written(struct mmu *mmu, gpa_t gpa, size_t bytes)
{
    gfn_t gfn = gpa_gfn(gpa);
    unsigned start = (unsigned)gpa_offset(gpa);
    unsigned end = bytes < PAGE_SIZE - start ? start + (unsigned)bytes : (unsigned)PAGE_SIZE;
    struct shadow_page *next;
    bool intervened = false;

    if (!(mem_track(mmu->mem, gfn) & MEM_TRACK_TABLE))
        return;
    if (!mmu->walking)
        mmu->stats.table_writes++;
    for (struct shadow_page *p = shadow_of_frame(mmu, gfn); p; p = next) {
        next = p->hash_next;
        if (p->gfn.v != gfn.v || p->sync == SYNC_LOOSE)
            continue;
        if (mmu->walking) {
            follow_range(mmu, p, start, end); /* A or D: known at once, nobody's change of mind */
            continue;
        }
        if (trace_wants(mmu, MMU_TRACE_table_write))
            trace_page(mmu, MMU_TRACE_table_write, p, gva_make(p->gva), start, end);
        if (mmu->sync->written(mmu, p, start, end))
            intervened = true;
    }
    mmu->stats.interventions += intervened;
}
