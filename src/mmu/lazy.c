/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lazy strategy ("virtual TLB"): guest tables may be written freely; the shadow follows at page
 * faults and at the flushes that the architecture demands of the guest (SDM 3A 4.10).
 *
 * A flush writes down its time and does nothing else. When a leaf is first used after it, it is
 * compared with the guest's present entry and goes only if that differs; so an unchanged table is
 * never filled again.
 */
#include "mmu/internal.h"

bool lazy_is_current(struct mmu *mmu, struct shadow_page *page, unsigned index)
{
    const void *table = shadow_table(mmu, page);

    mmu->stats.sync_reads++;
    if (!table)
        return false;
    if (table_entry(table, page->entry_bytes, index) == page->raw[index])
        return true;
    mmu->stats.sync_changes++;
    mmu->stats.interventions++;
    return false;
}

/*
 * Links are followed as they are: if one is out of date, what lies behind it can be reached again
 * only by a new link, and then must prove itself.
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
            mmu->stats.interventions++;
            shadow_drop(mmu, page, i);
            return;
        }
        page = spte_child(spte);
    }
}

const struct sync_ops sync_lazy = {
    .name = "lazy",
    .is_current = lazy_is_current,
    .flush_address = flush_address,
};
