/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lazy strategy ("virtual TLB"): guest tables may be written freely; the shadow follows at page faults
 * and at the flushes that the architecture demands of the guest (SDM 3A 4.10).
 *
 * A flush writes down its time and does nothing else. When a page of the flushed context is next used, its
 * leaves are compared with the guest's present entries, and only those that differ go.
 */
#include "mmu/internal.h"

/* Compares every leaf with the guest's table. Links are compared when they are followed (S6). */
static void freshen(struct mmu *mmu, struct shadow_page *page)
{
    const void *table = shadow_table(mmu, page);

    for (unsigned w = 0; w < page->entries / 64u + (page->entries < 64); w++) {
        for (uint64_t left = page->present[w]; left; left &= left - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(left);
            if (page->spte[i] & SPTE_LK)
                continue;
            if (!table || table_entry(table, page->entry_bytes, i) != page->raw[i])
                shadow_drop(mmu, page, i);
        }
    }
    page->verified = mmu->now;
}

static bool link_is_current(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    const void *table = shadow_table(mmu, page);

    return table && table_entry(table, page->entry_bytes, index) == page->raw[index];
}

/*
 * Links are followed as they are: if one is out of date, what lies behind it can be reached again only by a
 * new link, and then must prove itself.
 */
static void flush_address(struct mmu *mmu, gva_t gva)
{
    struct shadow_page *page = mmu->cur->page;

    while (page) {
        unsigned i = shadow_index(page, gva);
        uint64_t spte = page->spte[i];
        if (!(spte & SPTE_P))
            return;
        if (!(spte & SPTE_LK)) {
            shadow_drop(mmu, page, i);
            return;
        }
        page = spte_child(spte);
    }
}

const struct sync_ops sync_lazy = {
    .name = "lazy",
    .freshen = freshen,
    .link_is_current = link_is_current,
    .flush_address = flush_address,
};
